"""Frames: RGB and depth of a data set in memory, with its split; what the paper shows of it; HDF5 files.

The official train frames are carved into train and validation by whole scenes, so that nothing is ever
selected on test. The rule: take the train scenes in alphabetical order, without those named bookstore_*
(they are probably the same shop as a test scene and must not pull selection towards it); order them by the
raw 64-bit outputs of numpy's Philox with key 2012 (the year of the data set), smallest first; take scenes
into validation until they hold at least 10 % of the train frames. On NYU that is 30 scenes with 85 of the
795 frames; `nyu_frames.csv` holds the result.
"""

import hashlib
import io
import json
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import h5py
import numpy as np

from ..errors import UserError, reason
from ..files import existing, looks_like_html, replacing

SPLITS = ("train", "validation", "test")
GALLERY = 8  # test frames whose depth is kept for pictures


@dataclass(frozen=True, eq=False)
class Frames:
    """A data set in memory."""

    rgb: np.ndarray  # uint8 (N, 3, H, W)
    depth: np.ndarray  # float32 (N, H, W), metres; 0 where there is no measurement
    split: np.ndarray  # (N,) str, `train`, `validation` or `test`
    scene: np.ndarray  # (N,) str
    name: str  # short, such as `nyu` or `rooms`
    part: tuple | None = None  # how many train and test frames `subset` took of it; None: it is whole

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

        Raises UserError: fewer than 1, or more than there are.
        """
        rows = {split: np.flatnonzero(self.split == split) for split in SPLITS}
        have = {split: len(index) for split, index in rows.items()}
        for split, n in (("train", train), ("test", test)):
            if not 1 <= n <= have[split]:
                raise UserError(f"Cannot take {n} {split} frames of {self.name}: it has {have[split]}.")
        validation = max(round(train / have["train"] * have["validation"]), min(1, have["validation"]))
        keep = []
        for split, n in zip(SPLITS, (train, validation, test)):
            # Midpoints of equal stretches: neither end is favoured, and no index is taken twice.
            keep += rows[split][((np.arange(n) + 0.5) * have[split] / max(n, 1)).astype(int)].tolist()
        keep.sort()
        arrays = (self.rgb, self.depth, self.split, self.scene)
        return Frames(*(array[keep] for array in arrays), self.name, (train, test))

    def summary(self):
        """The part that goes into a record."""
        n, height, _ = self.depth.shape
        part = {"part": list(self.part)} if self.part else {}
        return {"name": self.name, "fingerprint": self.fingerprint, "frames": n, "height": height} | part


def carve(scene, train):
    """The split (N,) str of a data set, by the rule at the top of this file.

    scene: (N,) str; train: (N,) bool, the official train frames; the others are test.
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
    """What a data set and each of its splits hold, as plain numbers that JSON can hold.

    Depth is in metres over valid pixels, whose fraction is `valid`; `histogram`: 100 counts of them in bins
    of 0.1 m from 0 to 10 m, deeper ones in the last.
    """
    splits, (_, height, width) = {}, frames.depth.shape
    for split in SPLITS:
        rows = np.flatnonzero(frames.split == split)
        histogram, sums = np.zeros(100, np.int64), np.zeros(2)
        for i in rows:  # a frame at a time: a float64 copy of the whole would take gigabytes
            depth = frames.depth[i][frames.depth[i] > 0].astype(np.float64)
            histogram += np.bincount(np.minimum(depth * 10, 99).astype(int), minlength=100)
            sums += depth.sum(), np.square(depth).sum()
        n = int(histogram.sum())
        mean, square = (sums / max(n, 1)).tolist()
        splits[split] = {
            "frames": len(rows),
            "scenes": len(np.unique(frames.scene[rows])),
            "depth_mean": mean,
            "depth_std": max(square - mean**2, 0) ** 0.5,
            "valid": n / max(len(rows) * height * width, 1),
            "histogram": histogram.tolist(),
        }
    about = {"name": frames.name, "fingerprint": frames.fingerprint, "height": height, "width": width}
    return about | {"splits": splits}


@dataclass(frozen=True, eq=False)
class Summary:
    """What the paper shows of a data set: numbers, and the gallery at less than 320 pixels width."""

    description: dict  # `describe`
    mean: np.ndarray  # (H, W) metres, the mean depth map of all official training frames
    index: np.ndarray  # of the frames in the gallery
    rgb: np.ndarray  # uint8 (8, h, w, 3)
    depth: np.ndarray  # float (8, h, w), metres
    scene: list  # of the frames in the gallery


def mean_map(depth):
    """The mean depth map, `(H, W)` float32, of `(N, H, W)`, 0 = invalid: the prediction that never looks at
    the picture. Where no frame has depth it is the mean of all.
    """
    valid, total = (depth > 0).sum(0), depth.sum(0, dtype=np.float64)
    everywhere = total.sum() / max(valid.sum(), 1)
    return np.where(valid > 0, total / np.maximum(valid, 1), everywhere).astype(np.float32)


def summarise(frames):
    """The `Summary` of `frames.Frames`."""
    index = gallery_frames(np.flatnonzero(frames.split == "test"))
    step = max(1, frames.depth.shape[2] // 160)
    h, w = (side // step * step for side in frames.depth.shape[1:])
    rgb = frames.rgb[index, :, :h, :w].reshape(len(index), 3, h // step, step, w // step, step).mean((3, 5))
    rgb = rgb.round().astype(np.uint8).transpose(0, 2, 3, 1)
    mean = mean_map(frames.depth[frames.split != "test"])
    depth = frames.depth[index, :h:step, :w:step]
    return Summary(describe(frames), mean, index, rgb, depth, frames.scene[index].tolist())


def save_summary(summary, path):
    """Write a summary to HDF5 (about 0.6 MB for NYU Depth V2)."""
    with writing(path) as file:
        file.attrs.update(description=json.dumps(summary.description), scene=json.dumps(summary.scene))
        file["index"] = summary.index
        for name, dtype in (("mean", np.float16), ("depth", np.float16), ("rgb", np.uint8)):
            values = getattr(summary, name).astype(dtype)
            file.create_dataset(name, data=values, compression="gzip", shuffle=True)


def load_summary(path):
    """Read what `save_summary` wrote. Raises UserError where it is absent or damaged."""
    with open_h5(path) as file:
        description, scene = (json.loads(file.attrs[name]) for name in ("description", "scene"))
        mean, depth = (file[name][()].astype(np.float32) for name in ("mean", "depth"))
        return Summary(description, mean, file["index"][()], file["rgb"][()], depth, scene)


@contextmanager
def open_h5(source):
    """An HDF5 file opened for reading.

    Raises UserError: no such file, another kind of file, or one of which a part cannot be read.
    """
    path = existing(source)
    try:
        if not h5py.is_hdf5(path):
            with open(path, "rb") as file:
                kind = "a web page, perhaps to log in" if looks_like_html(file.read(1024)) else "no HDF5 file"
            raise UserError(f"{path} is {kind}: give the .mat (MATLAB 7.3) or a cache .h5.")
        with h5py.File(path, "r", locking=False) as file:  # many network file systems have no locks
            yield file
    except (OSError, RuntimeError) as error:  # h5py raises the latter for damage in what links the parts
        raise UserError(f"{path} cannot be read ({reason(error)}): copy or download it again.") from None


@contextmanager
def writing(path):
    """A new HDF5 file that takes the place of `path` whole or not at all, as `files.replacing`.

    It is built in memory, as HDF5 itself may crash where the disk is full.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        yield file
    with replacing(path) as part:
        part.write_bytes(buffer.getbuffer())


def dataset(file, name, shape, *dtypes):
    """The dataset `name` of an open file. Raises UserError: it is missing, or of another shape or dtype.

    shape: None stands for any length of at least 1; dtypes: how the names of those allowed begin; "object":
    strings, references, variable lengths.
    """
    part = file.get(name)
    have, dtype = getattr(part, "shape", None) or (), str(getattr(part, "dtype", "nothing"))
    if len(have) == len(shape) and all(n >= 1 if m is None else n == m for n, m in zip(have, shape)):
        if dtype.startswith(dtypes):
            return part
    wanted = f"{' or '.join(dtypes)} of {' x '.join('N' if n is None else str(n) for n in shape)}"
    holds = f"holds {name} as {dtype} {have}, not as {wanted}"
    raise UserError(f"{file.filename} {holds}; help(lthdepth.data.nyu) says what such a file has.")
