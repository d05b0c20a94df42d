"""What the network sees, against geometry done by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lthdepth.config import Config
from lthdepth.data import augment

PLAIN = Config(scale=1.0, rotation=0.0, flip=False, colour=0.0)


def views(rgb, depth, height, width):
    frames = SimpleNamespace(rgb=rgb.round().astype(np.uint8), depth=depth.astype(np.float32))
    return augment.Views(frames, height, width, "cpu")


def unit(x):
    """Undo the normalisation by the statistics of ImageNet: colours in [0, 1]."""
    return x * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) + torch.tensor([0.485, 0.456, 0.406]).view(
        3, 1, 1
    )


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_a_frames_numbers_depend_on_seed_epoch_and_frame_only(seed, epoch, a, b):
    few, many = augment.draws(seed, epoch, min(a, b)), augment.draws(seed, epoch, max(a, b))
    assert np.array_equal(few, many[: len(few)])
    assert ((many >= 0) & (many < 1)).all() and many.shape[1] == len(augment.COLUMNS)
    assert not np.array_equal(many, augment.draws(seed, epoch + 1, len(many)))
    assert not np.array_equal(many, augment.draws((seed + 1) % 2**63, epoch, len(many)))


def test_no_augmentation_is_plain_resizing():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 3, 90, 130))
    v = views(rgb, np.ones((3, 90, 130)), 70, 100)
    x, y = v.train(*v.plan(np.arange(3), np.full((3, 9), 0.5), PLAIN))
    expected = F.interpolate(torch.tensor(rgb).float() / 255, (70, 100), mode="bilinear", align_corners=False)
    torch.testing.assert_close(unit(x), expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(x, v.test(np.arange(3)), rtol=0, atol=1e-3)
    assert y.shape == (3, 48, 64)  # of FCRN's output


@given(
    st.integers(0, 2**20),
    st.sampled_from([(64, 96), (128, 192), (50, 90)]),
    st.floats(1, 2),
    st.floats(0, 180),
    st.booleans(),
    st.floats(0, 0.5),
)
def test_every_pixel_comes_from_where_geometry_says(seed, size, scale, rotation, flip, colour):
    """Of a frame whose colour and depth say where in it they are; turned and mirrored as complex numbers."""
    height, width = 64, 96
    rgb, depth = (
        np.full((1, 3, height, width), 200.0),
        np.arange(height * width).reshape(1, height, width) + 1,
    )
    rgb[0, 0], rgb[0, 1] = np.mgrid[:height, :width] + 0.5
    rgb[0, :2] *= 255 / np.array([height, width]).reshape(2, 1, 1)
    config = Config(scale=scale, rotation=rotation, flip=flip, colour=colour)
    v, rows = views(rgb, depth, *size), augment.draws(seed, 0, 1)
    x, y = v.train(*v.plan([0], rows, config))
    u = dict(zip(augment.COLUMNS, rows[0]))
    zoom = 1 + (scale - 1) * u["zoom"]

    def source(h, w):
        """Row and column of the frame that are seen at each of `(h, w)` places."""
        down, across = (np.mgrid[:h, :w] + 0.5) / np.array([h, w]).reshape(2, 1, 1) - 0.5
        across *= -1 if flip and u["flip"] < 0.5 else 1
        # The axis of rows points down, so that a positive angle turns the picture against the clock.
        turn = np.exp(1j * math.radians(rotation) * (2 * u["rotation"] - 1))
        z = turn * (across * width + 1j * down * height) / zoom
        z += (1 - 1 / zoom) * ((u["x"] - 0.5) * width + 1j * (u["y"] - 0.5) * height)
        return np.stack([z.imag + height / 2, z.real + width / 2])

    shown, sides = source(*size), np.array([height, width]).reshape(2, 1, 1)
    gain = 1 + colour * (2 * np.array([u["red"], u["green"], u["blue"]]) - 1)
    expected = np.concatenate([shown.clip(0.5, sides - 0.5) / sides, np.full((1, *size), 200 / 255)])
    assert np.abs(unit(x)[0].numpy() - (expected * gain.reshape(3, 1, 1)).clip(max=1)).max() < 0.004
    shown, y = source(*y.shape[1:]), y[0].numpy()
    place = np.stack(np.divmod((y * zoom).round() - 1, width)) + 0.5  # of the pixel whose depth was taken
    beyond = np.abs(shown - sides / 2) - sides / 2  # how far outside of the frame
    assert (np.abs(place - shown).max(0)[y > 0] < 0.51).all()
    assert (beyond.max(0)[y == 0] > -0.01).all() and (beyond.max(0)[y > 0] < 0.01).all()


def test_small_inputs_still_show_the_whole_frame():
    """Frames are averaged before they are made much smaller; a part cut off would shift colour and depth."""
    height, width = 48, 100  # 100 columns do not divide by 3
    ramp = np.broadcast_to(255 * (np.arange(width) + 0.5) / width, (1, 3, height, width))
    x = unit(views(ramp, np.ones((1, height, width)), 16, 32).test([0]))[0, 0, 8].numpy()
    assert x == pytest.approx((np.arange(32) + 0.5) / 32, abs=0.004)
