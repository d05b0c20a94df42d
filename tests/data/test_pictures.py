"""Pictures as people see them; the set of photos behind the arm logits is what it was."""

import io

import numpy as np
import pytest
from PIL import Image

from lthdepth.data import photos
from lthdepth.paper.study import LOGITS
from lthdepth.training import logits


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
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
    stored = Image.fromarray(np.ascontiguousarray(turned[orientation - 1]))
    found = photos.decode(encoded(stored, exif=exif.tobytes()), "p")
    assert (found == meant).all()


def test_grey_of_16_bits_keeps_its_shades(tmp_path):
    codes = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(codes)))
    (tmp_path / "._a.png").write_bytes(b"what another system leaves")
    wanted = np.repeat((codes >> 8).astype(np.uint8)[..., None], 3, axis=2)
    assert (photos.read(tmp_path / "a.png") == wanted).all()
    assert (photos.load(tmp_path, 8, progress=False).rgb[0] == wanted.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    found = photos.decode(encoded(Image.new("RGB", (9, 7), "white").convert(mode), kind), "p")
    assert found.shape == (7, 9, 3) and found.dtype == np.uint8 and (found == 255).all()


def test_the_photos_and_the_recipe_behind_the_arm_logits_are_those_of_the_paper(shared, pqf):
    found = photos.load(shared("imagenet/imagenet_sample_256.h5"), progress=False)
    assert logits.fingerprint(pqf, found) == LOGITS
