"""Frames: RGB and depth of a data set in memory, with its split, and what it holds in numbers.

The official train frames are carved into train and validation by whole scenes, so that nothing is ever
selected on test. The rule: take the train scenes in alphabetical order, without those named bookstore_*
(they are probably the same shop as a test scene and must not pull selection towards it); order them by the
raw 64-bit outputs of numpy's Philox with key 2012 (the year of the data set), smallest first; take scenes
into validation until they hold at least 10 % of the train frames. On NYU that is 30 scenes with 85 of the
795 frames; `nyu_frames.csv` holds the result.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import UserError

SPLITS = ("train", "validation", "test")
GALLERY = 8  # test frames whose depth is kept for pictures


@dataclass(frozen=True, eq=False)
class Frames:
    """A data set in memory.

    Attributes:
        rgb: uint8 (N, 3, H, W).
        depth: float32 (N, H, W), metres; 0 where there is no measurement.
        split: (N,) str, `train`, `validation` or `test`.
        scene: (N,) str.
        name: short name of the data set, such as `nyu` or `rooms`.
        part: how many train and test frames `subset` took of it; None: it is whole.
    """

    rgb: np.ndarray
    depth: np.ndarray
    split: np.ndarray
    scene: np.ndarray
    name: str
    part: tuple | None = None

    @cached_property
    def fingerprint(self):
        """The first 16 hex digits of a SHA-256 over the frames as decoded, their split and their scenes."""
        digest = hashlib.sha256()
        for array in (self.rgb, self.depth):
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array))
        for names in (self.split, self.scene):
            digest.update("\n".join(names.tolist()).encode() + b"\0")
        return digest.hexdigest()[:16]

    def subset(self, train, test):
        """`train` and `test` frames, evenly spaced, for quick runs; of validation the same part as of train.

        Raises:
            UserError: fewer than 1, or more than there are.
        """
        rows = {split: np.flatnonzero(self.split == split) for split in SPLITS}
        have = {split: len(index) for split, index in rows.items()}
        for split, n in (("train", train), ("test", test)):
            if not 1 <= n <= have[split]:
                raise UserError(f"Cannot take {n} {split} frames of {self.name}: it has {have[split]}.")
        validation = max(round(train / have["train"] * have["validation"]), min(1, have["validation"]))
        want = {"train": train, "validation": validation, "test": test}
        # Midpoints of equal stretches: neither end is favoured, and no index is taken twice.
        keep = [
            rows[k][((np.arange(n) + 0.5) * len(rows[k]) / max(n, 1)).astype(int)] for k, n in want.items()
        ]
        keep = np.sort(np.concatenate(keep))
        arrays = (self.rgb, self.depth, self.split, self.scene)
        return Frames(*(array[keep] for array in arrays), self.name, (train, test))

    def summary(self):
        """The part that goes into a record."""
        n, height, _ = self.depth.shape
        part = {"part": list(self.part)} if self.part else {}
        return {"name": self.name, "fingerprint": self.fingerprint, "frames": n, "height": height} | part


def carve(scene, train):
    """The split of a data set whose train frames are known, by the rule at the top of this file.

    Args:
        scene: (N,) str.
        train: (N,) bool, the official train frames; the others are test.

    Returns:
        (N,) str.
    """
    candidates = sorted({name for name in scene[train].tolist() if not name.startswith("bookstore")})
    order = np.argsort(np.random.Philox(key=2012).random_raw(len(candidates)), kind="stable")
    split = np.where(train, "train", "test").astype("<U10")
    for k in order[:-1]:  # the last scene always stays in train
        if 10 * np.sum(split == "validation") >= np.sum(train):
            break
        split[train & (scene == candidates[k])] = "validation"
    return split


def gallery_frames(test_rows):
    """The test frames whose depth is kept: evenly spaced through the test set, chosen before any result."""
    return test_rows[np.unique(np.linspace(0, len(test_rows) - 1, GALLERY + 2).round().astype(int)[1:-1])]


def describe(frames):
    """What a data set holds, as plain numbers that JSON can hold.

    Returns:
        dict: `name`, `fingerprint`, `height` and `width` in pixels, and `splits`: for each of train,
        validation and test `frames`, `scenes`, `scene_sizes` (frames in each scene, sorted), `depth_mean` and
        `depth_std` in metres over valid pixels (None without any), `valid` (the fraction of pixels), and
        `histogram`: 100 counts of valid pixels in bins of 0.1 m from 0 to 10 m, deeper ones in the last.
    """
    splits = {}
    for split in SPLITS:
        rows = np.flatnonzero(frames.split == split)
        histogram, total, squares = np.zeros(100, np.int64), 0.0, 0.0
        for i in rows:  # a frame at a time: a float64 copy of the whole would take gigabytes
            depth = frames.depth[i][frames.depth[i] > 0].astype(np.float64)
            histogram += np.bincount(np.minimum(depth * 10, 99).astype(int), minlength=100)
            total, squares = total + float(depth.sum()), squares + float(np.square(depth).sum())
        n = int(histogram.sum())
        mean = total / n if n else None
        sizes = np.unique(frames.scene[rows], return_counts=True)[1].tolist()
        splits[split] = {
            "frames": len(rows),
            "scenes": len(sizes),
            "scene_sizes": sorted(sizes),
            "depth_mean": mean,
            "depth_std": max(squares / n - mean**2, 0) ** 0.5 if n else None,
            "valid": n / (len(rows) * frames.depth[0].size) if len(rows) else None,
            "histogram": histogram.tolist(),
        }
    _, height, width = frames.depth.shape
    whole = {"name": frames.name, "fingerprint": frames.fingerprint, "height": height, "width": width}
    return whole | {"splits": splits}
