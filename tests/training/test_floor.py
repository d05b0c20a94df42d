"""The mean depth map on real depth, against values computed apart from this code at full resolution."""

import numpy as np
import pytest

from lthdepth.config import Config
from lthdepth.data.frames import Frames
from lthdepth.runs.studies import PUBLISHED_FLOOR
from lthdepth.training import fit as train


def floor_of(nyu_depth, config):
    depth, test = nyu_depth
    split = np.full(len(depth), "train", "<U10")
    split[test] = "test"
    frames = Frames(np.zeros((len(depth), 3, 1, 1), np.uint8), depth, split, split, "nyu")
    return train.floor(config, frames)


def test_the_floor_of_the_official_split(nyu_depth):
    """Published to three digits for the 795/654 split; every 16th pixel tells the same."""
    results, arrays = floor_of(nyu_depth, Config(arm="floor", holdout=False))
    pooled = results["test"]["full"]["pooled"]
    expected = {"rel": 0.408, "rms": 1.202, "delta1": 0.426, "delta2": 0.714, "delta3": 0.873}
    assert {k: pooled[k] for k in expected} == pytest.approx(expected, abs=0.01)
    assert results["test"]["full"]["per_image"]["rms"] == pytest.approx(1.095, abs=0.01)
    assert results["test"]["frames"] == 654 and results["fit_frames"] == 795
    assert arrays["test/full"].shape == (654, 7)


@pytest.mark.parametrize(
    ("last", "rel", "rms", "rms_image", "delta"),
    [(0, 0.308, 1.403, 1.291, (0.419, 0.734, 0.912)), (50, 0.328, 1.262, 1.179, (0.417, 0.736, 0.917))],
)
def test_the_floor_of_the_published_frames(nyu_depth, last, rel, rms, rms_image, delta):
    results, _ = floor_of(nyu_depth, PUBLISHED_FLOOR.replace(last_batch=last))
    pooled, image = (results["test"]["full"][k] for k in ("pooled", "per_image"))
    assert image["rms"] == pytest.approx(rms_image, abs=0.01)
    scores = [pooled[k] for k in ("rel", "rms", "delta1", "delta2", "delta3")]
    assert scores == pytest.approx([rel, rms, *delta], abs=0.01)
