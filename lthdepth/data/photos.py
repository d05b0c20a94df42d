"""Pictures as people see them, and sets of unlabelled photos, on which logits are matched."""

import hashlib
import io
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from ..errors import UserError
from ..files import existing
from .frames import dataset, open_h5

SIDE = 256  # pixels; of a larger photo the shorter side is resized to it, as for ImageNet
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # for others Pillow may start another program, Ghostscript for one
MOST = 20_000  # photos held in memory: 4 GB at 256 pixels


@dataclass(frozen=True, eq=False)
class Photos:
    """Square photos in memory.

    Attributes:
        rgb: uint8 (N, 3, S, S).
        name: short name of where they come from.
    """

    rgb: np.ndarray
    name: str

    @cached_property
    def fingerprint(self):
        """The first 16 hex digits of a SHA-256 over the pixels."""
        digest = hashlib.sha256(str(self.rgb.shape).encode())
        for photo in self.rgb:
            digest.update(np.ascontiguousarray(photo))
        return digest.hexdigest()[:16]


def read(path):
    """A picture file as people see it: uint8 (H, W, 3).

    Raises:
        UserError: no such file, or as `decode`.
    """
    return decode(existing(path, "photo"), path)


def decode(file, name):
    """A picture, turned as its EXIF orientation says, grey of 16 bits a pixel scaled to 8: uint8 (H, W, 3).

    Args:
        file: path, open file, or its bytes; name: what to call it in an error.

    Raises:
        UserError: it is damaged, of none of `FORMATS`, or has 178 million pixels or more.
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


def load(source, side=SIDE):
    """Read photos; their central squares, resized.

    Args:
        source: a folder, searched with its subfolders for .jpg, .jpeg and .png, or an HDF5 file with one
            image file a row in `images_jpeg` or `images_png`. Of more than `MOST`, evenly spaced ones.
        side: of the squares, pixels.

    Raises:
        UserError: no photo there, one that does not decode, or a data set with test frames.
    """
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        files = [p for p in path.rglob("[!.]*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
        return _squares(sorted(files), lambda file: decode(file, file), side, path.name)
    with open_h5(path) as file:
        if "testNdxs" in file:
            raise UserError(
                f"{path} is a data set with test frames; without photos, logits takes its training frames."
            )
        images = dataset(file, "images_png" if "images_png" in file else "images_jpeg", (None,), "object")
        rows = range(len(images))
        return _squares(rows, lambda i: decode(images[i].tobytes(), f"photo {i} of {path}"), side, path.stem)


def of_frames(frames, rows):
    """The central squares of some frames of a data set (`frames.Frames`), at their own size."""
    height, width = frames.rgb.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return Photos(frames.rgb[rows, :, top : top + side, left : left + side], frames.name)


def _squares(files, read, side, name):
    """`Photos` of what `read` makes of the files, at most `MOST` of them, evenly spaced."""
    n = min(len(files), MOST)
    if not n:
        raise UserError(f"there is no photo (.jpg, .jpeg, .png) in {name}.")
    rgb = np.empty((n, 3, side, side), np.uint8)
    for i in tqdm(range(n), desc=f"reading {name}", unit="photo", leave=False):
        photo = Image.fromarray(read(files[i * len(files) // n]))
        fitted = ImageOps.fit(photo, (side, side), Image.Resampling.BICUBIC)
        rgb[i] = np.asarray(fitted).transpose(2, 0, 1)
    return Photos(rgb, name)
