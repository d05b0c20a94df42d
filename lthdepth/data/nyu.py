"""Where frames come from: the official NYU Depth V2 `.mat`, a half-resolution cache of it, built-in synthetic rooms."""

import hashlib
import io
import os
import re
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..errors import UserError
from ..files import locked, read_arrays, replacing, tidy
from . import furniture, rooms
from .convert import NYU_FRAMES, convert, nyu_table, source_stamp, train_mask
from .frames import Frames, carve
from .hdf5 import dataset, open_h5
from .photos import FORMATS

DATA_DIR = (
    Path(__file__).parents[2] / "data"
)  # of the repository, wherever a command is given: downloads and caches
LARGEST_DEPTH = 1e4  # metres that a code may stand for
ROOMS = 240
ROOM_VIEWS = 4
# 60 % train, 10 % validation, 30 % test. The first three differ: three rooms already have every split.
ROOM_SPLIT = ("train", "test", "validation", "train", "train", "test", "train", "train", "test", "train")


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
        if not _made_from(cache, path):
            with locked(cache):  # two processes need it at once: the second waits
                if not _made_from(cache, path):
                    convert(path, cache, progress=progress)
        tidy(cache)
        return read_cache(cache, progress)
    return read_cache(path, progress)


def check(source):
    """Refuses what `load` cannot read, as far as that can be told at once. Raises UserError."""
    number = _number_of_rooms(source)
    if number is None and Path(source).suffix.lower() not in (".mat", ".h5", ".hdf5"):
        raise UserError(
            f"Unknown data source {source}: say rooms, rooms:N, a cache .h5 or the official .mat."
        )
    if number is None:
        with open_h5(source):
            pass
    elif number < 3 * ROOM_VIEWS:
        raise UserError(
            f"rooms:{number} is too small for three splits: ask for at least rooms:{3 * ROOM_VIEWS}."
        )


def _number_of_rooms(source):
    found = re.fullmatch(r"rooms(?::(\d{1,6}))?", str(source))
    return int(found[1] or ROOMS) if found else None


def cache_of(mat):
    """Where the half-resolution cache of a `.mat` lies: named after the file and its folder, for names repeat."""
    mat = Path(mat).resolve()
    return DATA_DIR / f"{mat.stem}_{hashlib.sha256(os.fsencode(mat)).hexdigest()[:8]}_half.h5"


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
            raise UserError(
                f"{path} needs {needed / 1e9:.1f} GB of memory, this machine has {memory / 1e9:.1f}: "
                "take fewer frames or another machine."
            )
        images = dataset(file, "images_png" if "images_png" in file else "images_jpeg", (n,), "object")
        train, test = (
            dataset(file, name, (None,), "int32", "int64", "uint16", "uint32")[: n + 1]
            for name in ("trainNdxs", "testNdxs")
        )
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
            raise UserError(
                f"{path} has no valid depth in its {part} frames: nothing can be learnt or scored."
            )
    return Frames(rgb, depth, split, scene, name)


def _metres(codes):
    """float32 (256,) or (65536,): the depth in metres that each code stands for."""
    try:
        scale, offset = float(codes.attrs["scale"]), float(codes.attrs.get("offset", 0.5))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{codes.file.filename} gives no scale for its depths: it is not in the expected layout."
        ) from None
    if not (np.isfinite(scale) and scale > 0 and np.isfinite(offset) and offset >= 0):
        raise UserError(
            f"{codes.file.filename} gives scale {scale} and offset {offset} for its depths: "
            "the scale must be a positive number of metres, the offset at least 0."
        )
    metres = (np.arange(np.iinfo(codes.dtype).max + 1) + offset) * scale
    if metres[-1] > LARGEST_DEPTH:
        raise UserError(
            f"{codes.file.filename} gives scale {scale} for its depths, up to {metres[-1]:.2g} m: "
            "the scale must be in metres."
        )
    return metres.astype(np.float32)


def _split(file, n, train):
    """Name of the data set, split (n,) str and scene (n,) str."""
    scene = None
    if "scenes" in file:
        try:
            scene = np.array(dataset(file, "scenes", (n,), "object").asstr()[:].tolist())
        except (TypeError, UnicodeDecodeError):
            raise UserError(
                f"{file.filename} holds scenes that are not text: it is not in the expected layout."
            ) from None
    if n == NYU_FRAMES:
        split, names = nyu_table()
        if np.array_equal(split != "test", train) and (scene is None or np.array_equal(scene, names)):
            return "nyu", split, names
    if scene is None:
        scene = np.array([f"frame_{i:05d}" for i in range(n)])
    name = Path(file.filename).stem
    return (
        f"{name}.h5" if name in ("nyu", "rooms") else name,
        carve(scene, train),
        scene,
    )  # those two are other data


def _decode(data, width, height, where):
    """uint8 (3, height, width) from the bytes of an image file."""
    try:
        image = Image.open(io.BytesIO(np.asarray(data, np.uint8).tobytes()), formats=FORMATS)
        if (image.mode, image.size) == ("RGB", (width, height)):
            return np.asarray(image).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UserError(f"The image of {where} cannot be decoded: copy or convert the file again.") from None
    raise UserError(
        f"The image of {where} is {image.mode} of {image.size[0]} x {image.size[1]} pixels, but "
        f"its depth asks for RGB of {width} x {height}."
    )


def _made_from(cache, mat):
    """Whether the cache was converted from this state of the `.mat`."""
    try:
        with open_h5(cache) as file:
            return file.attrs.get("source") == source_stamp(mat)
    except (UserError, OSError):
        return False


def _rooms(n):
    """Frames of n synthetic rooms, rendered once and kept under a name that changes with the renderer."""
    source = hashlib.sha256(b"".join(Path(m.__file__).read_bytes() for m in (rooms, furniture))).hexdigest()[
        :12
    ]
    path = DATA_DIR / f"rooms_{n}x{ROOM_VIEWS}_{source}.npz"
    try:
        found = read_arrays(path)
        rgb, depth, room = found["rgb"], found["depth"], found["room"]
        tidy(path)
    except (UserError, KeyError):
        rgb, depth, room = rooms.render(n, views=ROOM_VIEWS)
        try:
            with locked(path), replacing(path) as part, open(part, "wb") as file:
                np.savez(file, rgb=rgb, depth=depth, room=room)
        except UserError:
            pass  # no place to keep them: they are rendered again next time
    split = np.array(ROOM_SPLIT)[room % len(ROOM_SPLIT)]
    return Frames(rgb, depth, split, np.array([f"room_{k:04d}" for k in room]), "rooms")
