"""The built-in rooms: their depth against closed forms, their light, and that they depend on nothing else."""

import hashlib

import numpy as np
import pytest

from lthdepth.data import rooms
from lthdepth.data.rooms import Room, photograph, render

GREY = (np.full(3, 0.5), np.full(3, 0.5), 1.0, False)
SIZE, EYE = np.array([4.0, 8.0, 2.5]), np.array([2.0, 1.0, 1.5])
NORTH = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # right, down, forward: level, looking along +y


@pytest.fixture(scope="module")
def frames():
    return render(24, 60, 80, seed=3, views=2)


def photo(*boxes, size=(96, 128), lamp=(2.0, 2.5, 2.1)):
    """Picture and depth of a grey room with nothing but the given boxes."""
    walls = [b for b in rooms._shell(np.random.Generator(np.random.Philox(0)), SIZE) if b.half.max() > 2]
    walls = [wall._replace(material=GREY) for wall in walls]
    room = Room(SIZE, [*walls, *boxes], np.array(lamp))
    return photograph(room, EYE, NORTH, size, np.random.Generator(np.random.Philox(1)))


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
    assert digests == ["dd3a83148de14c07", "672bd498a19f0abc"]


def test_a_frame_depends_on_seed_room_and_view_alone(frames):
    for a, b in zip(frames, render(3, 60, 80, seed=3, views=2), strict=True):
        assert np.array_equal(a[:3], b)
    assert np.array_equal(render(1, 24, 32, views=1)[1], render(1, 24, 32, views=4)[1])
    depth = np.concatenate([render(4, 24, 32, seed=seed, views=2)[1] for seed in (0, 1, 2**40)])
    for i in range(len(depth)):
        for j in range(i):
            assert np.mean(np.abs(depth[i] - depth[j]) > 0.01) > 0.5


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
