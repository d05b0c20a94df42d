"""The one reader of pictures: as people see them."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

from ..errors import UserError
from ..files import existing

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # for others Pillow may start another program, Ghostscript for one


def read(path):
    """A picture file as people see it: uint8 (H, W, 3). Raises UserError: no such file, or as `decode`."""
    return decode(existing(path, "photo"), path)


def decode(file, name):
    """A picture, turned as its EXIF orientation says, grey of 16 bits a pixel scaled to 8: uint8 (H, W, 3).

    file: path, open file, or its bytes; name: what to call it in an error. Raises UserError: it is damaged,
    of none of `FORMATS`, or has 178 million pixels or more.
    """
    file = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit stays
            with Image.open(file, formats=FORMATS) as image:
                image = ImageOps.exif_transpose(image)
                if image.mode.startswith("I"):  # Pillow would cut everything above 255 to white
                    image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
                if image.has_transparency_data:  # on white: what lies under it is not to be seen
                    white = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(white, image.convert("RGBA"))
                return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        wanted = "give a whole .jpg or .png of less than 178 million pixels"
        raise UserError(f"{name} cannot be decoded as a photo: {wanted}.") from None
