"""The official `nyu_depth_v2_labeled.mat` made into a small half-resolution cache, frame by frame."""

import csv
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from lthdepth.errors import UserError

NYU_CSV = Path(__file__).with_name("nyu_frames.csv")
NYU_FRAMES = 1449


def nyu_table():
    """The committed list of the 1449 labelled NYU Depth V2 frames.

    Returns:
        split: (1449,) str, `train`, `validation` or `test`; the official train is the first two.
        scene: (1449,) str.
    """
    with open(NYU_CSV, newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([row["split"] for row in rows]), np.array([row["scene"] for row in rows])


@contextmanager
def open_h5(path):
    """An HDF5 file opened for reading, whatever is wrong with it told in a sentence.

    Raises:
        UserError: no such file, a folder, an empty file, a web page, a MATLAB 5 file, another kind of file,
            a file cut short, or (while it is open) a part that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the file itself.")
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"There is no file {path}: check its name and folder.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}): check its name and permissions.") from None
    if size == 0:
        raise UserError(f"{path} is empty: copy or download it again.")
    if looks_like_html(head):
        raise UserError(f"{path} is a web page (HTML), not data: open it to see what the server said, fetch it again.")
    if head.startswith(b"MATLAB 5.0"):
        raise UserError(f"{path} is a MATLAB 5 file, but the official data set is MATLAB 7.3 (HDF5): give that one.")
    if not h5py.is_hdf5(path):
        raise UserError(f"{path} is not an HDF5 file: give the official .mat (MATLAB 7.3) or a cache .h5.")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        what = "is cut short" if "truncated" in str(error) else "is damaged"
        raise UserError(f"{path} {what} (it has {size:,} bytes): copy or download it again.") from None
    with file:
        try:
            yield file
        except OSError:
            raise UserError(f"{path} is damaged (a part of it cannot be read): copy or download it again.") from None


def looks_like_html(head):
    """Whether the first bytes of a file are those of a web page."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--"))


def dataset(file, name, shape, *dtypes):
    """The dataset `name` of an open file, checked.

    Args:
        file: open `h5py.File`.
        name: its name.
        shape: the shape it must have; None stands for any length of at least 1.
        dtypes: names of the dtypes allowed (`"object"` for strings, references and variable lengths).

    Raises:
        UserError: it is missing, damaged, or of another shape or dtype.
    """
    try:
        found = file[name] if name in file else None
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{file.filename} has no dataset {name}: it is not in the expected layout.")
        actual, dtype = found.shape, str(found.dtype)
    except (KeyError, RuntimeError, TypeError, ValueError):
        raise UserError(f"{file.filename} is damaged at {name}: copy or download it again.") from None
    fits = actual is not None and len(actual) == len(shape) and all(
        have >= 1 if want is None else have == want for have, want in zip(actual, shape))
    if not fits or dtype not in dtypes:
        wanted = " x ".join("N" if n is None else str(n) for n in shape)
        raise UserError(f"{file.filename} holds {name} as {dtype} {actual}, not as {' or '.join(dtypes)} of "
                        f"{wanted}: it is not in the expected layout.")
    return found


def convert(mat, cache, splits=None, progress=True):
    """Converts the official `.mat` to a half-resolution cache, as `lthdepth.data.read_cache` reads it.

    Half resolution is made of 2 x 2 blocks. RGB is their mean, rounded. Depth is their lower median, the second
    smallest of the four (of the valid ones, where some are not): always a depth that was there, so that an object's
    edge never becomes a point in the air between it and what is behind. It is also what the public half-resolution
    copies of this data set hold. Depth is stored as uint16 in steps of 0.2 mm, code 0 for no measurement.

    The file is read in blocks of at most 128 frames and written to a temporary file in the folder of `cache`, which
    is put in place when it is complete.

    Args:
        mat: the `.mat`, MATLAB 7.3: under h5py images (N, 3, W, H) uint8, depths (N, W, H) float32 in metres, scenes.
        cache: the `.h5` to write.
        splits: for a file that is not the 1449 frames of NYU: a MATLAB 5 `splits.mat` with 1-based trainNdxs and
            testNdxs, or a `.json` with 0-based lists `train` and `test`. NYU has its split in `nyu_frames.csv`.
        progress: show a progress bar.

    Raises:
        UserError: `mat` or `splits` is missing, damaged or of another layout, or `cache` cannot be written.
    """
    mat, cache = Path(mat), Path(cache)
    with open_h5(mat) as file:
        depths = dataset(file, "depths", (None, None, None), "float32", "float64")
        n, width, height = depths.shape
        images = dataset(file, "images", (n, 3, width, height), "uint8")
        if width % 2 or height % 2:
            raise UserError(f"{mat} has frames of {width} x {height} pixels: both sides must be even to be halved.")
        scenes = _matlab_strings(file, "scenes", n)
        train, test = _official_split(mat, scenes) if splits is None else _read_splits(Path(splits), n)
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            with replacing(cache) as part, h5py.File(part, "w") as out:
                _write(out, images, depths, progress and f"converting {mat.name}")
                out["trainNdxs"], out["testNdxs"] = train.astype(np.int32), test.astype(np.int32)
                out.create_dataset("scenes", data=scenes, dtype=h5py.string_dtype())
                out.attrs["source"] = source_stamp(mat)
        except _WriteError as error:
            raise UserError(f"{cache} cannot be written ({error}): free some space or use another folder.") from None
