"""Frames: RGB and depth of a whole data set in memory, with its split.

Sources are the official NYU Depth V2 `.mat`, a half-resolution cache of it, and built-in synthetic rooms.

The official train frames are carved into train and validation by whole scenes, so that nothing is ever
selected on test. The rule: take the train scenes in alphabetical order, without those named bookstore_*
(they are probably the same shop as a test scene and must not pull selection towards it); order them by the
raw 64-bit outputs of numpy's Philox with key 2012 (the year of the data set), smallest first; take scenes
into validation until they hold at least 10 % of the train frames. On NYU that is 30 scenes with 85 of the
795 frames; `nyu_frames.csv` holds the result.
"""

import hashlib
import io
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from . import furniture, rooms
from .convert import NYU_FRAMES, convert, nyu_table, source_stamp, train_mask
from .errors import UserError
from .files import locked, read_arrays, replacing
from .hdf5 import dataset, open_h5

DATA_DIR = Path(__file__).parents[1] / "data"  # of the repository, wherever a command is given: downloads and caches
SPLITS = ("train", "validation", "test")
LARGEST_DEPTH = 1e4  # metres that a code may stand for
ROOMS = 240
ROOM_VIEWS = 4
# 60 % train, 10 % validation, 30 % test. The first three differ: three rooms already have every split.
ROOM_SPLIT = ("train", "test", "validation", "train", "train", "test", "train", "train", "test", "train")


@dataclass(frozen=True, eq=False)
class Frames:
    """A data set in memory.

    Attributes:
        rgb: uint8 (N, 3, H, W).
        depth: float32 (N, H, W), metres; 0 where there is no measurement.
        split: (N,) str, `train`, `validation` or `test`.
        scene: (N,) str.
        name: short name of the data set, such as `nyu` or `rooms`.
    """
    rgb: np.ndarray
    depth: np.ndarray
    split: np.ndarray
    scene: np.ndarray
    name: str

    @cached_property
    def fingerprint(self):
        """The first 16 hex digits of a SHA-256 over the frames as decoded, their split and their scenes."""
        digest = hashlib.sha256()
        for array in (self.rgb, self.depth):
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            for frame in array:
                digest.update(np.ascontiguousarray(frame))
        for names in (self.split, self.scene):
            digest.update("\n".join(names.tolist()).encode() + b"\0")
        return digest.hexdigest()[:16]

    def subset(self, train, test):
        """Evenly spaced frames of every split, for quick runs.

        Args:
            train: how many frames of the split `train` to keep; validation keeps the same fraction, at least
                one frame.
            test: how many frames of the split `test` to keep.

        Raises:
            UserError: fewer than 1, or more than there are.
        """
        have = {split: np.flatnonzero(self.split == split) for split in SPLITS}
        want = {"train": train, "test": test}
        for split, n in want.items():
            if not 1 <= n <= len(have[split]):
                raise UserError(f"Cannot take {n} {split} frames of {self.name}: it has {len(have[split])}, "
                                f"so choose 1 to {len(have[split])}.")
        fraction = train / len(have["train"])
        want["validation"] = max(round(fraction * len(have["validation"])), min(1, len(have["validation"])))
        # Midpoints of equal stretches: neither end is favoured, and no index is taken twice.
        keep = np.sort(np.concatenate([
            index[((np.arange(want[split]) + 0.5) * len(index) / max(want[split], 1)).astype(int)]
            for split, index in have.items()]))
        return Frames(self.rgb[keep], self.depth[keep], self.split[keep], self.scene[keep], self.name)


def load(source, progress=True):
    """Loads a data set whole.

    Args:
        source: `rooms` or `rooms:N` (N synthetic frames, built in), a cache `.h5`, or the official `.mat`,
            which is converted once to a cache in `DATA_DIR`.
        progress: show a progress bar.

    Returns:
        Frames. NYU frames are 240 x 320, rooms 120 x 160 pixels.

    Raises:
        UserError: the source is unknown, missing, damaged or of another layout.
    """
    check(source)
    if number := _number_of_rooms(source):
        return _rooms(number)
    path = Path(source)
    if path.suffix.lower() == ".mat":
        cache = cache_of(path)
        with locked(cache):  # two processes need it at once: the second waits
            if not _made_from(cache, path):
                convert(path, cache, progress=progress)
        return read_cache(cache, progress)
    return read_cache(path, progress)


def check(source):
    """Refuses what `load` cannot read, as far as that can be told at once. Raises UserError."""
    number = _number_of_rooms(source)
    if number is None and Path(source).suffix.lower() not in (".mat", ".h5", ".hdf5"):
        raise UserError(f"Unknown data source {source}: say rooms, rooms:N, a cache .h5 or the official .mat.")
    if number is None:
        with open_h5(source):
            pass
    elif number < 3 * ROOM_VIEWS:
        raise UserError(f"rooms:{number} is too small for three splits: ask for at least rooms:{3 * ROOM_VIEWS}.")


def _number_of_rooms(source):
    found = re.fullmatch(r"rooms(?::(\d{1,6}))?", str(source))
    return int(found[1] or ROOMS) if found else None


def cache_of(mat):
    """Where the half-resolution cache of a `.mat` lies: named after the file and its folder, for names repeat."""
    mat = Path(mat).resolve()
    return DATA_DIR / f"{mat.stem}_{hashlib.sha256(os.fsencode(mat)).hexdigest()[:8]}_half.h5"


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


def read_cache(path, progress=True):
    """Reads a half-resolution cache.

    Its datasets: `images_png` or `images_jpeg`, (N,) variable-length uint8, one upright RGB image file a
    frame; `depths` (N, W, H) uint8 or uint16, metres = (code + offset) * scale with attributes `scale` and
    `offset` (0.5 where absent); `trainNdxs`, `testNdxs`, 0-based; optional `scenes` (N,) str. A cache of 1449
    frames in the official split needs no scene names; elsewhere a frame without one is a scene of its own.

    Raises:
        UserError: anything missing, damaged or of another shape.
    """
    with open_h5(path) as file:
        codes = dataset(file, "depths", (None, None, None), "uint8", "uint16")
        n, width, height = codes.shape
        needed, memory = 7 * n * width * height, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > memory:
            raise UserError(f"{path} needs {needed / 1e9:.1f} GB of memory, this machine has {memory / 1e9:.1f}: "
                            "take fewer frames or another machine.")
        images = dataset(file, "images_png" if "images_png" in file else "images_jpeg", (n,), "object")
        train, test = (dataset(file, name, (None,), "int32", "int64", "uint16", "uint32")[: n + 1]
                       for name in ("trainNdxs", "testNdxs"))
        train = train_mask(train, test, n, path)
        name, split, scene = _split(file, n, train)
        metres = _metres(codes)
        rgb = np.empty((n, 3, height, width), np.uint8)
        depth = np.empty((n, height, width), np.float32)
        label = f"reading {Path(path).name}"
        for i in tqdm(range(n), desc=label, unit="frame", disable=not progress, leave=False):
            rgb[i] = _decode(images[i], width, height, f"frame {i} of {path}")
            depth[i] = metres[codes[i].T]
    measured = depth.reshape(n, -1).any(1)
    for part in np.unique(split):
        if not measured[split == part].any():
            raise UserError(f"{path} has no valid depth in its {part} frames: nothing can be learnt or scored.")
    return Frames(rgb, depth, split, scene, name)


def _metres(codes):
    """float32 (256,) or (65536,): the depth in metres that each code stands for."""
    try:
        scale, offset = float(codes.attrs["scale"]), float(codes.attrs.get("offset", 0.5))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{codes.file.filename} gives no scale for its depths: it is not in the expected "
                        "layout.") from None
    if not (np.isfinite(scale) and scale > 0 and np.isfinite(offset) and offset >= 0):
        raise UserError(f"{codes.file.filename} gives scale {scale} and offset {offset} for its depths: "
                        "the scale must be a positive number of metres, the offset at least 0.")
    metres = (np.arange(np.iinfo(codes.dtype).max + 1) + offset) * scale
    if metres[-1] > LARGEST_DEPTH:
        raise UserError(f"{codes.file.filename} gives scale {scale} for its depths, up to {metres[-1]:.2g} m: "
                        "the scale must be in metres.")
    return metres.astype(np.float32)


def _split(file, n, train):
    """Name of the data set, split (n,) str and scene (n,) str."""
    scene = None
    if "scenes" in file:
        try:
            scene = np.array(dataset(file, "scenes", (n,), "object").asstr()[:].tolist())
        except (TypeError, UnicodeDecodeError):
            raise UserError(f"{file.filename} holds scenes that are not text: it is not in the expected "
                            "layout.") from None
    if n == NYU_FRAMES:
        split, names = nyu_table()
        if np.array_equal(split != "test", train) and (scene is None or np.array_equal(scene, names)):
            return "nyu", split, names
    if scene is None:
        scene = np.array([f"frame_{i:05d}" for i in range(n)])
    return Path(file.filename).stem, carve(scene, train), scene


def _decode(data, width, height, where):
    """uint8 (3, height, width) from the bytes of an image file."""
    try:
        image = Image.open(io.BytesIO(np.asarray(data, np.uint8).tobytes()))
        if (image.mode, image.size) == ("RGB", (width, height)):
            return np.asarray(image).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UserError(f"The image of {where} cannot be decoded: copy or convert the file again.") from None
    raise UserError(f"The image of {where} is {image.mode} of {image.size[0]} x {image.size[1]} pixels, but "
                    f"its depth asks for RGB of {width} x {height}.")


def _made_from(cache, mat):
    """Whether the cache was converted from this state of the `.mat`."""
    try:
        with open_h5(cache) as file:
            return file.attrs.get("source") == source_stamp(mat)
    except (UserError, OSError):
        return False


def _rooms(n):
    """Frames of n synthetic rooms, rendered once and kept under a name that changes with the renderer."""
    source = hashlib.sha256(b"".join(Path(m.__file__).read_bytes() for m in (rooms, furniture))).hexdigest()[:12]
    path = DATA_DIR / f"rooms_{n}x{ROOM_VIEWS}_{source}.npz"
    try:
        found = read_arrays(path)
        rgb, depth, room = found["rgb"], found["depth"], found["room"]
        if any(path.parent.glob(f".{path.name}.*")):  # a process was killed right after it kept them
            with suppress(UserError), locked(path, wait=False):
                pass
    except (UserError, KeyError):
        rgb, depth, room = rooms.render(n, views=ROOM_VIEWS)
        try:
            with locked(path), replacing(path) as part, open(part, "wb") as file:
                np.savez(file, rgb=rgb, depth=depth, room=room)
        except UserError:
            pass  # no place to keep them: they are rendered again next time
    split = np.array(ROOM_SPLIT)[room % len(ROOM_SPLIT)]
    return Frames(rgb, depth, split, np.array([f"room_{k:04d}" for k in room]), "rooms")


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
        here = np.flatnonzero(frames.split == split)
        histogram, total, squares = np.zeros(100, np.int64), 0.0, 0.0
        for i in here:  # a frame at a time: a float64 copy of the whole would take gigabytes
            depth = frames.depth[i][frames.depth[i] > 0].astype(np.float64)
            histogram += np.bincount(np.minimum(depth * 10, 99).astype(int), minlength=100)
            total, squares = total + float(depth.sum()), squares + float(np.square(depth).sum())
        n = int(histogram.sum())
        mean = total / n if n else None
        splits[split] = {
            "frames": len(here), "scenes": len(set(frames.scene[here].tolist())),
            "scene_sizes": sorted(np.unique(frames.scene[here], return_counts=True)[1].tolist()),
            "depth_mean": mean, "depth_std": max(squares / n - mean**2, 0) ** 0.5 if n else None,
            "valid": n / (len(here) * frames.depth[0].size) if len(here) else None,
            "histogram": histogram.tolist()}
    return {"name": frames.name, "fingerprint": frames.fingerprint, "height": frames.depth.shape[1],
            "width": frames.depth.shape[2], "splits": splits}
