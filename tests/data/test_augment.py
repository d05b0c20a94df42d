"""What the network sees, against geometry done by hand."""

import math
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lthdepth.config import Config
from lthdepth.data import augment

MEAN, STD = ((np.array(part) / 1000).reshape(3, 1, 1) for part in ((485, 456, 406), (229, 224, 225)))


def views(rgb, depth, size, **how):
    frames = SimpleNamespace(rgb=rgb.round().astype(np.uint8), depth=depth.astype(np.float32))
    return augment.Views(frames, *size, "cpu", **how)


@given(st.integers(0, 2**63 - 1), st.integers(0, 1000), st.integers(1, 20), st.integers(1, 20))
def test_a_frames_numbers_depend_on_seed_epoch_and_frame_only(seed, epoch, a, b):
    few, many = augment.draws(seed, epoch, min(a, b)), augment.draws(seed, epoch, max(a, b))
    assert np.array_equal(few, many[: len(few)])
    assert ((many >= 0) & (many < 1)).all() and many.shape[1] == len(augment.COLUMNS)
    assert not np.array_equal(many, augment.draws(seed, epoch + 1, len(many)))
    assert not np.array_equal(many, augment.draws((seed + 1) % 2**63, epoch, len(many)))


HEIGHT, WIDTH = SIDES = 64, 96  # of the frame below, whose colour and depth say where in it they are
ACROSS, DOWN = (np.arange(WIDTH) + 0.5) / WIDTH, (np.arange(HEIGHT)[:, None] + 0.5) / HEIGHT
RGB = np.stack([255 * DOWN + 0 * ACROSS, 255 * ACROSS + 0 * DOWN, np.full(SIDES, 200)])[None]
DEPTH = 1 + np.arange(HEIGHT * WIDTH).reshape(1, *SIDES)


def source(size, window, zoom=1.0, angle=0.0, mirrored=False, x=0.5, y=0.5):
    """Row and column of the frame that are seen at each of `size` places, by way of complex numbers."""
    down, across = (np.mgrid[: size[0], : size[1]] + 0.5) / np.reshape(size, (2, 1, 1)) - 0.5
    # The axis of rows points down, so that a positive angle turns the picture against the clock.
    z = np.exp(1j * math.radians(angle)) * ((-across if mirrored else across) * WIDTH + 1j * down * HEIGHT)
    z = window * (z / zoom + (1 - 1 / zoom) * ((x - 0.5) * WIDTH + 1j * (y - 0.5) * HEIGHT))
    return np.stack([z.imag + HEIGHT / 2, z.real + WIDTH / 2])


def colours(places, square, gain=(1, 1, 1)):
    """The frame's colours at places, in [0, 1]: at most those of the centres of its outer squares."""
    sides = np.reshape(SIDES, (2, 1, 1))
    inside = places.clip(square / 2, sides - square / 2) / sides
    seen = np.concatenate([inside, np.full((1, *places.shape[1:]), 200 / 255)])
    return (seen * np.reshape(gain, (3, 1, 1))).clip(max=1)


@given(
    st.integers(0, 2**20),
    # For much smaller inputs squares of pixels are averaged first: not of 3, for 3 does not divide 64.
    st.sampled_from([((64, 96), 1), ((128, 192), 1), ((50, 90), 1), ((16, 32), 2)]),
    st.floats(1, 2),
    st.floats(0, 180),
    st.booleans(),
    st.floats(0, 0.5),
    st.booleans(),
    st.booleans(),
)
def test_every_pixel_comes_from_where_geometry_says(
    seed, shape, scale, rotation, flip, colour, normalise, crop
):
    """With `crop` from the middle of the frame: resized to 250 rows, of which 228 are cut out."""
    size, square = shape
    config = Config(scale=scale, rotation=rotation, flip=flip, colour=colour)
    rows, v = augment.draws(seed, 0, 1), views(RGB, DEPTH, size, normalise=normalise, crop=crop)
    u, window, small = dict(zip(augment.COLUMNS, rows[0])), 228 / 250 if crop else 1, v.target_size
    assert small == tuple(16 * math.ceil(side / 32) for side in size)  # of FCRN's output
    zoom, angle = 1 + (scale - 1) * u["zoom"], rotation * (2 * u["rotation"] - 1)
    what = window, zoom, angle, flip and u["flip"] < 0.5, u["x"], u["y"]
    x, y = v.train(*v.plan([0], rows, config))
    gain = 1 + colour * (2 * np.array([u["red"], u["green"], u["blue"]]) - 1)
    plain = colours(source(size, window), square)
    seen = (x, colours(source(size, *what), square, gain)), (v.test([0]), plain)
    for shown, wanted in seen:
        found = shown[0].numpy() * STD + MEAN if normalise else shown[0].numpy()
        assert np.abs(found - wanted).max() < 0.004
    y, places = y[0].numpy(), source(small, *what)
    taken = np.stack(np.divmod((y * zoom).round() - 1, WIDTH)) + 0.5  # the pixel whose depth it is
    assert (np.abs(taken - places).max(0)[y > 0] < 0.51).all()
    middle = np.reshape(SIDES, (2, 1, 1)) / 2
    beyond, near = (np.abs(places - middle) - window * middle).max(0), 0.51 if crop else 0.01
    assert (beyond[y == 0] > -near).all() and (beyond[y > 0] < near).all()


@given(st.integers(64, 400), st.integers(64, 400))
def test_a_smaller_input_has_about_half_the_area_in_whole_strides(height, width):
    for side, small in zip((height, width), augment.smaller((height, width))):
        assert small % 32 == 0 and abs(small - side / 2**0.5) <= 16
