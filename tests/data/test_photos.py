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


def test_grey_of_16_bits_keeps_its_shades(tmp_path):
    codes = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    (tmp_path / "a.png").write_bytes(encoded(codes))
    wanted = np.repeat((codes >> 8).astype(np.uint8)[..., None], 3, axis=2)
    assert (photos.read(tmp_path / "a.png") == wanted).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode):
    image = Image.new("RGB", (9, 7), "white").convert(mode)
    rgb = photos.decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), "p")
    assert rgb.shape == (7, 9, 3) and rgb.dtype == np.uint8 and (rgb == 255).all()


def test_of_several_pictures_in_a_file_the_first_is_seen():
    first, other = (Image.new("RGB", (9, 7), name) for name in ("white", "black"))
    for kind in ("MPO", "WEBP", "PNG"):  # MPO: what phones and stereo cameras call .jpg
        content = encoded(first, kind, save_all=True, append_images=[other])
        assert photos.decode(content, "p").min() > 250


def test_what_is_transparent_is_white():
    hidden = np.zeros((7, 9, 4), np.uint8)
    hidden[:, :4, 3] = 255
    rgb = photos.decode(encoded(hidden), "p")
    assert (rgb[:, :4] == 0).all() and (rgb[:, 4:] == 255).all()


def test_the_colours_of_print_are_those_that_were_saved():
    rgb = np.full((16, 16, 3), (180, 90, 40), np.uint8)
    cmyk = encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(photos.decode(cmyk, "p").astype(int) - rgb).max() < 8
