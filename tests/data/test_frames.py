"""Frames in memory: the split, the fingerprint, parts of them, and what they hold in numbers."""

import csv
import json

import numpy as np
import pytest

from lthdepth.data.frames import SPLITS, Frames, carve, describe
from lthdepth.data.nyu import nyu_table
from lthdepth.errors import UserError


def test_committed_split_is_what_the_rule_says_and_no_scene_is_in_two_splits():
    split, scene = nyu_table()
    assert np.array_equal(carve(scene, split != "test"), split)
    chosen = set(scene[split == "validation"].tolist())
    assert np.sum(split == "validation") == 85 and len(chosen) == 30
    assert not [name for name in chosen if name.startswith("bookstore")]
    assert len(set(zip(scene.tolist(), split.tolist()))) == len(set(scene.tolist())) == 464


def test_committed_split_is_the_official_one(shared):
    official = json.loads(shared("nyu/splits.json").read_text(encoding="utf-8"))
    split, scene = nyu_table()
    assert np.flatnonzero(split != "test").tolist() == official["train"]
    assert np.flatnonzero(split == "test").tolist() == official["test"]
    with open(shared("nyu/frames.csv"), encoding="utf-8", newline="") as file:
        assert scene.tolist() == [row["scene"] for row in csv.DictReader(file)]


def toy_frames(n=40):
    rng = np.random.Generator(np.random.Philox(3))
    split = np.where(np.arange(n) % 4 == 3, "test", np.where(np.arange(n) % 8 == 1, "validation", "train"))
    rgb = rng.integers(0, 256, (n, 3, 4, 5), np.uint8)
    depth = rng.uniform(0, 12, (n, 4, 5)).astype(np.float32)
    return Frames(rgb, depth, split, np.array([f"s{i}" for i in range(n)]), "toy")


def test_fingerprint_sees_every_part_and_nothing_else():
    frames = toy_frames()
    same = Frames(frames.rgb, frames.depth, frames.split.astype("<U30"), frames.scene, "another name")
    assert same.fingerprint == frames.fingerprint
    seen = {frames.fingerprint}
    for part in ("rgb", "depth", "split", "scene"):
        parts = {name: getattr(frames, name).copy() for name in ("rgb", "depth", "split", "scene")}
        parts[part][-1] = parts[part][0]
        seen.add(Frames(**parts, name="toy").fingerprint)
    assert len(seen) == 5


@pytest.mark.parametrize("train, test", [(1, 1), (7, 3), (25, 10)])
def test_subset_is_evenly_spaced(train, test):
    frames = toy_frames()
    part = frames.subset(train, test)
    rows = np.array([int(name[1:]) for name in part.scene])
    assert np.array_equal(part.rgb, frames.rgb[rows]) and np.array_equal(part.split, frames.split[rows])
    for split, n in zip(SPLITS, (train, max(1, round(train / 25 * 5)), test)):
        steps = np.diff(np.searchsorted(np.flatnonzero(frames.split == split), rows[part.split == split]))
        assert len(steps) == n - 1 and (n == 1 or 0 < steps.min() >= steps.max() - 1)
    assert (part.fingerprint == frames.fingerprint) == (train == 25)
    with pytest.raises(UserError, match="frames of toy: it has"):
        frames.subset(train + 25, test)


def test_describe_counts_valid_pixels_only():
    depth = np.array([0, 0.05, 0.15, 0.17, 9.95, 12], np.float32).reshape(1, 2, 3)
    frames = Frames(np.zeros((1, 3, 2, 3), np.uint8), depth, np.array(["train"]), np.array(["a"]), "one")
    told = json.loads(json.dumps(describe(frames)))
    train, test = told["splits"]["train"], told["splits"]["test"]
    valid = [0.05, 0.15, 0.17, 9.95, 12]
    assert train["depth_mean"] == pytest.approx(np.mean(valid))
    assert train["depth_std"] == pytest.approx(np.std(valid))
    assert train["valid"] == pytest.approx(5 / 6)
    assert {i: n for i, n in enumerate(train["histogram"]) if n} == {0: 1, 1: 2, 99: 2}
    assert (test["frames"], test["scenes"], test["valid"]) == (0, 0, 0)
    assert (told["height"], told["width"], train["scenes"]) == (2, 3, 1)
