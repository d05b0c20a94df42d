"""The official `nyu_depth_v2_labeled.mat` made into a small half-resolution cache, frame by frame."""

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image
from tqdm.auto import tqdm

from ..errors import UserError
from .hdf5 import dataset, open_h5, writing

NYU_CSV = Path(__file__).with_name("nyu_frames.csv")
NYU_FRAMES = 1449
DEPTH_STEP = 0.0002  # metres in a depth code of the cache; 16 bits reach to 13.1 m


def nyu_table():
    """The committed list of the 1449 labelled NYU Depth V2 frames.

    Returns:
        split: (1449,) str, `train`, `validation` or `test`; the official train is the first two.
        scene: (1449,) str.
    """
    with open(NYU_CSV, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([row["split"] for row in rows]), np.array([row["scene"] for row in rows])


def convert(mat, cache, splits=None, progress=True):
    """Converts the official `.mat` to a half-resolution cache, as `lthdepth.data.read_cache` reads it.

    Half resolution is made of 2 x 2 blocks. RGB is their mean, rounded. Depth is their lower median, the
    second smallest of the four (of the valid ones, where some are not): always a depth that was there, so
    that an edge never becomes a point in the air between an object and what is behind it. Depth is stored as
    uint16 in steps of 0.2 mm, code 0 for no measurement.

    The file is read in blocks of at most 256 MiB and written to a temporary file in the folder of `cache`,
    which takes its name when it is complete.

    Args:
        mat: the `.mat`, MATLAB 7.3: under h5py images (N, 3, W, H) uint8, depths (N, W, H) float32 in metres,
            scenes (1, N) references to strings.
        cache: the `.h5` to write.
        splits: for a file that is not the 1449 frames of NYU: a MATLAB 5 `splits.mat` with 1-based trainNdxs
            and testNdxs, or a `.json` with 0-based lists `train` and `test`. NYU's is in `nyu_frames.csv`.
        progress: show a progress bar.

    Raises:
        UserError: `mat` or `splits` is missing, damaged or of another layout, or `cache` cannot be written.
    """
    mat, cache = Path(mat), Path(cache)
    with open_h5(mat) as file:
        depths = dataset(file, "depths", (None, None, None), "float32", "float64")
        n, width, height = depths.shape
        images = dataset(file, "images", (n, 3, width, height), "uint8")
        if width % 2 or height % 2 or max(width, height) > 8192:
            raise UserError(
                f"{mat} has frames of {width} x {height} pixels: both sides must be even, at most 8192."
            )
        scenes = _scenes(file, n)
        train = _official_split(mat, scenes) if splits is None else _read_splits(Path(splits), n)
        with writing(cache) as out:
            out["trainNdxs"] = np.flatnonzero(train).astype(np.int32)
            out["testNdxs"] = np.flatnonzero(~train).astype(np.int32)
            out.create_dataset("scenes", data=scenes, dtype=h5py.string_dtype())
            out.attrs["source"] = source_stamp(mat)
            _write_frames(out, images, depths, progress and f"converting {mat.name}")


def source_stamp(mat):
    """Text that tells one state of a file from another: its size in bytes and time of change."""
    stat = Path(mat).stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def train_mask(train, test, n, where):
    """The train frames of a split, after a check that it is one.

    Args:
        train, test: integer arrays, 0-based.
        n: number of frames.
        where: the file, for the message.

    Returns:
        (n,) bool.

    Raises:
        UserError: an index outside 0 to n - 1, or a frame that is not exactly once in the two.
    """
    both = np.concatenate([train, test]).astype(np.int64)
    if not len(train) or not len(test):
        raise UserError(
            f"The split in {where} has {len(train)} train and {len(test)} test frames: it needs both."
        )
    if both.min() < 0 or both.max() >= n:
        frame = both.min() if both.min() < 0 else both.max()
        raise UserError(f"The split in {where} names frame {frame} (counted from 0), but there are {n}.")
    wrong = np.flatnonzero(np.bincount(both, minlength=n) != 1)
    if len(wrong):
        raise UserError(
            f"The split in {where} does not have frame {wrong[0]} (counted from 0) exactly once: "
            "every frame must be in one of train and test."
        )
    return np.isin(np.arange(n), train)


def _write_frames(out, images, depths, label):
    n, width, height = depths.shape
    pictures = out.create_dataset("images_png", (n,), h5py.vlen_dtype(np.uint8))
    codes = out.create_dataset(
        "depths",
        (n, width // 2, height // 2),
        np.uint16,
        compression="gzip",
        chunks=(1, width // 2, height // 2),
        shuffle=True,
    )
    codes.attrs.update(scale=DEPTH_STEP, offset=0.0, units="metres = (code + offset) * scale; 0 = no depth")
    block = max(1, 2**28 // (width * height * (3 + depths.dtype.itemsize)))
    with tqdm(total=n, desc=label or None, unit="frame", disable=not label) as bar:
        for start in range(0, n, block):
            rgb, metres = _read(images, start, block), _read(depths, start, block)
            for i in range(len(metres)):
                file = io.BytesIO()
                Image.fromarray(halve_rgb(rgb[i]).T).save(file, "PNG", compress_level=3)
                pictures[start + i] = np.frombuffer(file.getvalue(), np.uint8)
                half = halve_depth(metres[i])
                if half.max() > DEPTH_STEP * 65535:
                    raise UserError(
                        f"{depths.file.filename} has a depth of {half.max():.4g} in frame "
                        f"{start + i}, but depths are metres, at most 13.1: check the file."
                    )
                codes[start + i] = np.rint(half / DEPTH_STEP)
                bar.update()


def halve_rgb(rgb):
    """uint8 (3, W, H) to uint8 (3, W/2, H/2): the mean of 2 x 2 pixels, halves rounded up."""
    sums = rgb.reshape(3, rgb.shape[1] // 2, 2, rgb.shape[2] // 2, 2).sum((2, 4), dtype=np.uint16)
    return ((sums + 2) // 4).astype(np.uint8)


def halve_depth(depth):
    """float (W, H) to (W/2, H/2), metres: the lower median of the valid ones of 2 x 2 pixels, or 0."""
    four = np.stack([depth[0::2, 0::2], depth[0::2, 1::2], depth[1::2, 0::2], depth[1::2, 1::2]])
    valid = np.isfinite(four) & (four > 0)
    four = np.sort(np.where(valid, four, 0), axis=0)
    holes = 4 - valid.sum(0)
    return np.take_along_axis(four, (holes + (3 - holes) // 2)[None], axis=0)[0]


def _read(source, start, length):
    try:
        return source[start : start + length]
    except OSError:
        raise UserError(
            f"{source.file.filename} is damaged in {source.name[1:]} near frame {start}: copy or "
            "download it again."
        ) from None


def _scenes(file, n):
    """list of n str from a MATLAB cell array of strings: references to (length, 1) arrays of UTF-16 codes."""
    cells = dataset(file, "scenes", (1, n), "object")[0]
    try:
        names = [file[cell][:].astype("<u2").tobytes().decode("utf-16-le") for cell in cells]
        if any("\0" in name for name in names):
            raise ValueError
        return names
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError):
        raise UserError(
            f"{file.filename} holds scenes that are not a cell array of strings: it is not in "
            "the expected layout."
        ) from None


def _official_split(mat, scenes):
    split, names = nyu_table()
    if len(scenes) != NYU_FRAMES:
        raise UserError(
            f"{mat} holds {len(scenes)} frames, not {NYU_FRAMES}, so the official split does not "
            "fit: give another (a splits.mat, or a .json with 0-based lists train and test)."
        )
    wrong = np.flatnonzero(names != np.array(scenes))
    if len(wrong):
        raise UserError(
            f"{mat} calls the scene of frame {wrong[0]} {scenes[wrong[0]]}, not "
            f"{names[wrong[0]]}: it is not the official file, so give a split with it."
        )
    return split != "test"


def _read_splits(path, n):
    if not path.is_file():
        raise UserError(f"There is no split file {path}: check its name and folder.")
    try:
        if path.stat().st_size > 2**20:
            raise ValueError
        if path.suffix.lower() == ".json":
            lists = json.loads(path.read_text())
            # an empty list has no type of its own
            train, test = (np.array(lists[name] or np.empty(0, int)) for name in ("train", "test"))
        else:
            lists = scipy.io.loadmat(path)
            # int64 before the subtraction: the file's uint16 would make -1 of a wrong 0 into 65535
            train, test = (lists[name].ravel().astype(np.int64) - 1 for name in ("trainNdxs", "testNdxs"))
    except Exception:  # the parsers' many ways to fail on a bad file
        raise UserError(
            f"{path} is not a split: give a MATLAB 5 file with trainNdxs and testNdxs, or a "
            ".json with 0-based lists train and test."
        ) from None
    if any(index.ndim != 1 or index.dtype.kind not in "iu" for index in (train, test)):
        raise UserError(f"{path} is not a split: its lists must hold whole numbers.")
    return train_mask(train, test, n, path)
