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
    frames = SimpleNamespace(rgb=rgb.astype(np.uint8), depth=depth.astype(np.float32))
    return augment.Views(frames, height, width, "cpu")


def cut(v, index, rows, config):
    return v.train(*v.plan(index, rows, config))


def row(**given):
    """One frame's uniform numbers: 0.5 (no zoom offset, no rotation, no mirror) where nothing is given."""
    return np.array([[given.get(name, 0.5) for name in augment.COLUMNS]])


def unit(x):
    """Undo the normalisation: colours in [0, 1]."""
    return x * torch.tensor(augment.STD).view(3, 1, 1) + torch.tensor(augment.MEAN).view(3, 1, 1)


def noise(n=3, height=90, width=130, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3, height, width)), rng.uniform(0.5, 9, (n, height, width))


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_a_frames_numbers_depend_on_seed_epoch_and_frame_only(seed, epoch, a, b):
    few, many = augment.draws(seed, epoch, min(a, b)), augment.draws(seed, epoch, max(a, b))
    assert np.array_equal(few, many[: len(few)])
    assert ((many >= 0) & (many < 1)).all() and many.shape[1] == len(augment.COLUMNS)
    assert not np.array_equal(many, augment.draws(seed, epoch + 1, len(many)))
    assert not np.array_equal(many, augment.draws((seed + 1) % 2**63, epoch, len(many)))


def test_no_augmentation_is_plain_resizing():
    rgb, depth = noise()
    v = views(rgb, depth, 70, 100)
    x, y = cut(v, np.arange(3), np.concatenate([row()] * 3), PLAIN)
    expected = F.interpolate(torch.tensor(rgb).float() / 255, (70, 100), mode="bilinear", align_corners=False)
    torch.testing.assert_close(unit(x), expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(x, v.test(np.arange(3)), rtol=0, atol=1e-3)
    assert y.shape == (3, 48, 64)  # of FCRN's output
    nearest = F.interpolate(torch.tensor(depth).float()[:, None], (48, 64), mode="nearest-exact")[:, 0]
    same = (y == nearest).float().mean()
    assert same > 0.99  # a sample that falls between two pixels may go either way
    assert np.isin(y.numpy(), v.depth.numpy()).all()


def test_normalisation_is_that_of_imagenet():
    rgb = np.zeros((1, 3, 32, 32)) + np.array([0, 128, 255]).reshape(1, 3, 1, 1)
    x = views(rgb, np.ones((1, 32, 32)), 32, 32).test([0])
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert x[0, :, 16, 16].tolist() == pytest.approx(expected, rel=1e-5)


def test_flip_mirrors_colour_and_depth():
    rgb, depth = noise()
    v, config = views(rgb, depth, 90, 130), PLAIN.replace(flip=True)
    index = np.arange(3)
    plain_x, plain_y = cut(v, index, np.concatenate([row(flip=0.7)] * 3), config)
    x, y = cut(v, index, np.concatenate([row(flip=0.2)] * 3), config)
    same_x, same_y = cut(v, index, np.concatenate([row(flip=0.2)] * 3), PLAIN)
    torch.testing.assert_close(x, plain_x.flip(2 + 1), rtol=0, atol=2e-3)
    assert (y == plain_y.flip(2)).float().mean() > 0.99
    assert torch.equal(same_x, plain_x) and torch.equal(same_y, plain_y)  # flip=False never mirrors


@pytest.mark.parametrize("x, y", [(0.5, 0.5), (0.0, 1.0), (0.9, 0.2)])
def test_zoom_shows_a_window_of_1_over_s_and_divides_depth_by_s(x, y):
    height, width, s = 120, 160, 1.6
    # Colour and depth say where in the frame they are.
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    rgb = np.zeros((1, 3, height, width))
    rgb[0, 0], rgb[0, 1] = (255 * columns).round(), (255 * rows[:, None]).round()
    depth = (1 + np.arange(height)[:, None] * width + np.arange(width))[None]
    v = views(rgb, depth, 120, 160)
    out, target = cut(v, [0], row(zoom=0.5, x=x, y=y), PLAIN.replace(scale=2 * s - 1))
    left, top = (1 - 1 / s) * x, (1 - 1 / s) * y
    shown = unit(out)[0].numpy()
    assert np.abs(shown[0] - (left + columns / s)).max() < 0.01
    assert np.abs(shown[1] - (top + rows / s)[:, None]).max() < 0.01
    h, w = target.shape[1:]
    pixel = (target[0] * s).numpy().round() - 1  # number of the pixel that was taken
    rows, columns = (pixel // width + 0.5) / height, (pixel % width + 0.5) / width
    assert np.abs(rows - (top + (np.arange(h)[:, None] + 0.5) / h / s)).max() <= 0.51 / height
    assert np.abs(columns - (left + (np.arange(w) + 0.5) / w / s)).max() <= 0.51 / width


@pytest.mark.parametrize("u, largest", [(1.0, 30), (0.0, 30), (0.9, 90), (0.5, 45)])
def test_rotation_turns_about_the_centre_in_a_frame_that_is_not_square(u, largest):
    height, width = 64, 96
    depth, rgb = np.ones((1, height, width)), np.zeros((1, 3, height, width))
    r, c = 20, 60  # a bright patch of 5x5 about this pixel, 5 m away
    depth[0, r - 2 : r + 3, c - 2 : c + 3], rgb[0, :, r - 2 : r + 3, c - 2 : c + 3] = 5, 255
    config = PLAIN.replace(rotation=float(largest))
    x, y = cut(views(rgb, depth, 2 * height, 2 * width), [0], row(rotation=u), config)
    angle = math.radians(largest) * (2 * u - 1)
    dx, dy = c + 0.5 - width / 2, r + 0.5 - height / 2
    cos, sin = math.cos(angle), math.sin(angle)  # y is downwards: a positive angle turns against the clock
    expected = height / 2 - sin * dx + cos * dy, width / 2 + cos * dx + sin * dy
    found = np.argwhere(y[0].numpy() == 5).mean(0) + 0.5
    assert found == pytest.approx(expected, abs=0.3)
    bright = unit(x)[0].mean(0).numpy()
    grid = np.stack(np.meshgrid(np.arange(2 * height), np.arange(2 * width), indexing="ij"), -1) + 0.5
    assert (grid * bright[..., None]).sum((0, 1)) / bright.sum() / 2 == pytest.approx(expected, abs=0.3)


def test_what_rotation_brings_in_from_outside_has_no_depth():
    v = views(np.full((1, 3, 64, 64), 200), np.full((1, 64, 64), 3.0), 128, 128)
    x, y = cut(v, [0], row(rotation=1.0), PLAIN.replace(rotation=45.0))
    corners = y[0][[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()
    assert set(y.unique().tolist()) == {0, 3}
    inside = (y > 0).float().mean().item()
    assert inside == pytest.approx(2 * (2**0.5 - 1), abs=0.03)  # an octagon is left of the square
    torch.testing.assert_close(unit(x), torch.full_like(x, 200 / 255), rtol=0, atol=1e-5)


def smooth(height, width, seed):
    """A smooth random pattern in [0, 1]."""
    coarse = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return fine[0, 0].clamp(0, 1).numpy()


@pytest.mark.parametrize(("size", "seed"), [((64, 96), 0), ((128, 192), 1), ((32, 32), 2)])
def test_colour_and_depth_stay_together_under_every_augmentation(size, seed):
    pattern = smooth(64, 96, seed)
    v = views(np.repeat(255 * pattern[None, None], 3, 1).round(), 1 + pattern[None], *size)
    rows = augment.draws(seed, 0, 1)
    config = PLAIN.replace(scale=1.8, rotation=25.0, flip=True)
    x, y = cut(v, [0], rows, config)
    zoom = augment.transforms(rows, config, 96 / 64)[1].item()
    colour = F.interpolate(unit(x)[:, :1], y.shape[1:], mode="area")[0, 0]
    valid = y[0] > 0
    assert valid.float().mean() > 0.5
    error = (colour - (y[0] * zoom - 1)).abs()[valid]
    assert error.mean() < 0.02 and error.quantile(0.99) < 0.08


def test_small_inputs_still_show_the_whole_frame():
    """Frames are averaged before they are made much smaller; a part cut off would shift colour and depth."""
    height, width = 48, 100  # 100 columns do not divide by 3
    ramp = np.broadcast_to((255 * (np.arange(width) + 0.5) / width).round(), (1, 3, height, width))
    x = unit(views(ramp, np.ones((1, height, width)), 16, 32).test([0]))[0, 0, 8].numpy()
    assert x == pytest.approx((np.arange(32) + 0.5) / 32, abs=0.004)


def test_colour_multiplies_each_channel_and_stops_at_white():
    rgb = np.zeros((1, 3, 32, 32)) + np.array([100, 100, 250]).reshape(1, 3, 1, 1)
    v = views(rgb, np.ones((1, 32, 32)), 32, 32)
    x, y = cut(v, [0], row(red=0.0, green=0.75, blue=0.999), PLAIN.replace(colour=0.2))
    expected = [0.8 * 100 / 255, 1.1 * 100 / 255, 1.0]
    assert unit(x)[0, :, 9, 9].tolist() == pytest.approx(expected, abs=1e-5)
    assert (y == 1).all()
