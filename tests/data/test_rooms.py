"""The built-in rooms are the same to the bit everywhere, and depend on nothing else."""

import hashlib

import numpy as np
import pytest

from lthdepth.data.rooms import render


@pytest.fixture(scope="module")
def frames():
    return render(24, 60, 80, seed=3, views=2)


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
