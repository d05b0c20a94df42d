"""The built-in rooms: their depth against closed forms, their light, and that they depend on nothing else."""

import hashlib
import itertools
import math

import numpy as np
import pytest

from lthdepth.data import rooms
from lthdepth.data.rooms import FOCAL, Box, photograph, render

GREY = (np.full(3, 0.5), np.full(3, 0.5), 1.0)
SIZE, EYE = np.array([4.0, 8.0, 2.5]), np.array([2.0, 1.0, 1.5])
NORTH = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # right, down, forward: level, looking along +y


@pytest.fixture(scope="module")
def frames():
    return render(24, 60, 80, seed=3, views=2)


def box(centre, half, turn=(1.0, 0.0)):
    return Box(np.array(centre), np.array(half), GREY, turn)


def photo(*boxes, size=(96, 128), lamp=(2.0, 2.5, 2.1)):
    """Picture and depth of a grey room with nothing but the given boxes."""
    walls = [b for b in rooms._shell(np.random.Generator(np.random.Philox(0)), SIZE) if b.half.max() > 2]
    walls = [wall._replace(material=GREY) for wall in walls]
    rng = np.random.Generator(np.random.Philox(1))
    return photograph([*walls, *boxes], np.array(lamp), (EYE, NORTH), size, rng)


def slopes(height, width):
    """Right and down, per metre forward, of the ray through every pixel: two (height, width) arrays."""
    right = [(i + 0.5 - width / 2) / (519 * width / 640) for i in range(width)]
    down = [(i + 0.5 - height / 2) / (519 * width / 640) for i in range(height)]
    return np.meshgrid(right, down)


def test_frames_are_the_same_to_the_bit_everywhere(frames):
    """Records of the quick profile name the rooms by their fingerprint."""
    rgb, depth, room = frames
    assert room.tolist() == [i // 2 for i in range(24)]
    digests = [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in (rgb, depth)]
    assert digests == ["58bb9b3e97464efc", "06178b21ad0e9dae"]


def test_a_frame_depends_on_seed_room_and_view_alone(frames):
    for a, b in zip(frames, render(3, 60, 80, seed=3, views=2), strict=True):
        assert np.array_equal(a[:3], b)
    depth = np.concatenate([render(4, 24, 32, seed=seed, views=2)[1] for seed in (0, 1, 2**40)])
    assert all(np.mean(np.abs(a - b) > 0.01) > 0.5 for a, b in itertools.combinations(depth, 2))


@pytest.mark.parametrize("size", [(96, 128), (33, 80)])
def test_empty_room_is_six_planes(size):
    _, depth = photo(size=size)
    right, down = slopes(*size)
    side = 2 / np.abs(right)
    floor = np.where(down > 0, EYE[2] / np.maximum(down, 1e-9), np.inf)
    ceiling = np.where(down < 0, (SIZE[2] - EYE[2]) / np.maximum(-down, 1e-9), np.inf)
    far = np.full_like(side, SIZE[1] - EYE[1])  # all over the wall: along the axis, not the ray
    planes = np.stack([side, floor, ceiling, far])
    assert set(np.argmin(planes, 0).flat) == {0, 1, 2, 3}  # all of them are seen
    np.testing.assert_allclose(depth, planes.min(0), rtol=1e-5)


def test_box_of_known_size_and_a_turned_one():
    c, s = math.cos(0.5), math.sin(0.5)
    turned = box((1.4, 3.5, 1.5), (0.4, 0.2, 0.3), (c, s))  # anticlockwise, seen from above
    row = photo(turned, box((2.6, 3.5, 1.5), (0.2, 0.3, 0.1)), size=(193, 257))[1][96]
    # The edge that comes first, where its front (local y = -0.2) and its left end (local x = -0.4) meet
    edge = (1.4 - 0.4 * c + 0.2 * s - EYE[0]), (3.5 - 0.4 * s - 0.2 * c - EYE[1])
    assert row[:128].min() == pytest.approx(edge[1], abs=0.005)
    assert row[:128].argmin() == pytest.approx(128 + FOCAL * 257 * edge[0] / edge[1], abs=1)
    columns = 129 + np.flatnonzero(np.isclose(row[129:], 2.2, rtol=1e-5))  # the front of the other
    pixels = [128.5 + FOCAL * 257 * (x - EYE[0]) / 2.2 for x in (2.4, 2.8)]
    assert [columns[0], columns[-1] + 1] == pytest.approx(pixels, abs=1)
