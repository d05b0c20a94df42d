"""Pictures as people see them."""

import io

import numpy as np
import pytest
from PIL import Image

from lthdepth.data import photos


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_orientation_says(orientation):
    """A camera that stores `stored` with an orientation means `meant`: the definitions of EXIF, by hand."""
    meant = np.zeros((4, 6, 3), np.uint8)
    meant[0, 0], meant[0, -1] = 255, 128  # top left and top right tell all eight apart
    turned = [meant, meant[:, ::-1], meant[::-1, ::-1], meant[::-1]]
    turned += [meant.swapaxes(0, 1), np.rot90(meant), meant[::-1, ::-1].swapaxes(0, 1)]
    turned.append(np.rot90(meant, -1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turned[orientation - 1])
    assert (photos.decode(encoded(stored, exif=exif.tobytes()), "p") == meant).all()


WHITE, BLACK, PRINTED = (Image.new("RGB", (9, 7), colour) for colour in ("white", "black", (180, 90, 40)))
CODES, HIDDEN = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8), np.zeros((7, 9, 4), np.uint8)
HIDDEN[:, :4, 3] = 255
SEEN = {  # a file, the shades or the colour that a person sees, and how far off they may be
    "grey of 16 bits": (encoded(CODES), CODES[..., None] >> 8, 0),
    "transparent on white": (encoded(HIDDEN), np.where(HIDDEN[..., 3:], 0, 255), 0),
    "colours of print": (encoded(PRINTED.convert("CMYK"), "JPEG", quality=95), (180, 90, 40), 7),
    **{mode: (encoded(WHITE.convert(mode)), 255, 0) for mode in ("L", "P", "RGBA", "1")},
    # Of several pictures in a file the first; MPO is what phones and stereo cameras call .jpg.
    **{k: (encoded(WHITE, k, save_all=True, append_images=[BLACK]), 255, 4) for k in ("MPO", "WEBP")},
    "moving PNG": (encoded(WHITE, save_all=True, append_images=[BLACK]), 255, 0),
}


@pytest.mark.parametrize("case", SEEN)
def test_every_kind_of_picture_becomes_the_rgb_that_is_seen(case):
    content, wanted, off = SEEN[case]
    rgb = photos.decode(content, "p")
    assert rgb.dtype == np.uint8 and rgb.shape[2] == 3 and np.abs(rgb.astype(int) - wanted).max() <= off
