"""Where frames come from: the official NYU Depth V2 `.mat`, a half-size cache of it, or built-in rooms.

The `.mat` is MATLAB 7.3, under h5py: images (N, 3, W, H) uint8, depths (N, W, H) float32 in metres, scenes
(1, N) references to strings.

A cache is HDF5: `images_png` or `images_jpeg`, (N,) variable-length uint8, one upright RGB image file a
frame; `depths` (N, W, H) uint8 or uint16, metres = (code + offset) * scale with attributes `scale` and
`offset` (0 where code 0 is a hole); `trainNdxs`, `testNdxs`, 0-based; optional `scenes` (N,) str. A cache in
the official split needs no scene names; elsewhere a frame without one is a scene.
"""

import hashlib
import http.client
import io
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

import h5py
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..errors import UserError, reason
from ..files import existing, locked, read_arrays, write_atomic
from . import photos, rooms
from .frames import Frames, carve, dataset, open_h5, writing

DATA_DIR = Path(__file__).parents[2] / "data"  # of the repository, wherever a command is given
NYU_CSV = Path(__file__).with_name("nyu_frames.csv")
PAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
URL = "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat"
SIZE, SHA256 = 2_972_037_809, "2d724b0c0ab358aa1ce5df855e5bd14a2279ab7202efe22f32a30d612dcb86aa"
DEPTH_STEP = 0.0002  # metres in a depth code of the caches written here; 16 bits reach to 13.1 m
LARGEST_DEPTH = 1e4  # metres that a code may stand for
ROOMS, ROOM_VIEWS = 240, 4
# 60 % train, 10 % validation, 30 % test. The first three differ: three rooms already have every split.
ROOM_SPLIT = ("train", "test", "validation", "train", "train", "test", "train", "train", "test", "train")


def load(source):
    """Frames of a data set, whole. Raises UserError: it is unknown, missing, damaged or of another layout.

    source: `rooms` or `rooms:N` (N synthetic frames, built in, 120 x 160 pixels), a cache, or the official
    file, which is converted once to a cache in `DATA_DIR`. What a file is, its content says, not its name.
    """
    source = os.path.expanduser(source)
    if match := re.fullmatch(r"rooms(?::(\d{1,6}))?", source):
        return _rooms(int(match[1] or ROOMS))
    if not Path(source).suffix and not os.path.exists(source):
        raise UserError(f"Unknown data source {source}: say rooms, rooms:N, a cache .h5 or the .mat.")
    path = existing(source)
    with open_h5(path) as file:
        official = "images" in file or path.suffix.lower() == ".mat"
    if not official:
        return read_cache(path)
    cache = cache_of(path)
    if not cache.exists():
        with locked(cache):  # two processes need it at once: the second waits
            if not cache.exists():
                convert(path, cache)
    return read_cache(cache)


def _rooms(n):
    """Frames of n synthetic rooms, rendered once and kept under a name that changes with the renderer."""
    if n < 3 * ROOM_VIEWS:
        raise UserError(f"rooms:{n} is too small for three splits: ask for at least rooms:{3 * ROOM_VIEWS}.")
    source = hashlib.sha256(Path(rooms.__file__).read_bytes()).hexdigest()[:12]
    path = DATA_DIR / f"rooms_{n}x{ROOM_VIEWS}_{source}.npz"
    try:
        arrays = read_arrays(path)
    except UserError:
        arrays = dict(zip(("rgb", "depth", "room"), rooms.render(n, views=ROOM_VIEWS)))
        with suppress(UserError):  # or rendered again
            write_atomic(path, arrays)
    room = arrays["room"]
    split = np.array(ROOM_SPLIT)[room % len(ROOM_SPLIT)]
    return Frames(arrays["rgb"], arrays["depth"], split, np.array([f"room_{k:04d}" for k in room]), "rooms")


def nyu_table():
    """Split (1449,) str (the official train is `train` and `validation`) and scene (1449,) str of NYU."""
    return tuple(np.loadtxt(NYU_CSV, str, delimiter=",", skiprows=1, usecols=(1, 2), unpack=True))


def cache_of(mat):
    """Where the cache of a `.mat` lies: named after its place and state, as names repeat and files change."""
    path = existing(mat).resolve()
    stat = path.stat()
    mark = hashlib.sha256(f"{os.fsencode(path)} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:8]
    return DATA_DIR / f"{path.stem}_{mark}_half.h5"


def read_cache(path):
    """Frames of a cache. Raises UserError for anything missing, damaged or of another layout."""
    with open_h5(path) as file:
        codes = dataset(file, "depths", (None, None, None), "uint8", "uint16")
        n, width, height = codes.shape
        images = dataset(file, "images_png" if "images_png" in file else "images_jpeg", (n,), "object")
        name, split, scene = _split(file, n)
        metres = _metres(codes)
        rgb, depth = np.empty((n, 3, height, width), np.uint8), np.empty((n, height, width), np.float32)
        for i in tqdm(range(n), desc="reading", unit="frame", leave=False):
            picture = photos.decode(images[i].tobytes(), f"frame {i} of {path}")
            if picture.shape[:2] != (height, width):
                size = f"{picture.shape[1]} x {picture.shape[0]}"
                raise UserError(f"Frame {i} of {path} is {size} pixels, its depth {width} x {height}.")
            rgb[i], depth[i] = picture.transpose(2, 0, 1), metres[codes[i].T]
    for part in np.unique(split):
        if not depth[split == part].any():
            raise UserError(f"{path} has no valid depth in its {part} frames: nothing can be scored.")
    return Frames(rgb, depth, split, scene, name)


def _metres(codes):
    """float32 (256,) or (65536,): the depth in metres that each code stands for."""
    with suppress(KeyError, TypeError, ValueError):  # missing, or no number
        scale, offset = (float(np.asarray(codes.attrs[name]).item()) for name in ("scale", "offset"))
        metres = (np.arange(np.iinfo(codes.dtype).max + 1) + offset) * scale
        if 0 <= metres[0] < metres[-1] <= LARGEST_DEPTH:
            return metres.astype(np.float32)
    raise UserError(
        f"{codes.file.filename} gives its depths no scale and offset that make metres of them: (code + "
        "offset) * scale, with one number above 0 as scale and one as offset, 0 where code 0 is a hole."
    )


def _split(file, n):
    """Name of the data set, split (n,) str and scene (n,) str."""
    train, test = (dataset(file, name, (None,), "int", "uint")[:] for name in ("trainNdxs", "testNdxs"))
    if sorted([*train, *test]) != list(range(n)):
        wanted = f"each of the frames 0 to {n - 1} must be exactly once in the two"
        raise UserError(f"{file.filename} has {len(train)} trainNdxs and {len(test)} testNdxs: {wanted}.")
    train, named = np.isin(np.arange(n), train), "scenes" in file
    scene = np.array([f"frame_{i:05d}" for i in range(n)])
    if named:
        scene = np.array(dataset(file, "scenes", (n,), "object").asstr()[:].tolist())
    split, names = nyu_table()
    if np.array_equal(split != "test", train) and (not named or np.array_equal(scene, names)):
        return "nyu", split, names
    return Path(file.filename).name, carve(scene, train), scene


def convert(mat, cache):
    """Converts the official `.mat` to a cache of half its size, which takes its name when it is complete.

    Of 2 x 2 pixels RGB is the mean, rounded; depth is the lower median of those that are valid, always a
    depth that was there: an edge never becomes a point in the air between an object and what is behind it.
    It is stored as uint16 in steps of 0.2 mm, code 0 for no measurement.

    Raises UserError: `mat` is damaged or not the official file, or `cache` cannot be written.
    """
    split, names = nyu_table()
    with open_h5(mat) as file:
        depths = dataset(file, "depths", (None, None, None), "float")
        n, width, height = depths.shape
        images = dataset(file, "images", (n, 3, width, height), "uint8")
        cells = dataset(file, "scenes", (1, n), "object")[0]  # references to arrays of UTF-16 codes
        scenes = [file[cell][:].astype("<u2").tobytes().decode("utf-16-le") for cell in cells]
        if scenes != names.tolist():
            raise UserError(
                f"{mat} does not hold the frames of the official file, so the official split does not fit: "
                "make a cache of it, as help(lthdepth.data.nyu) says."
            )
        with writing(cache) as out:
            out["trainNdxs"] = np.flatnonzero(split != "test").astype(np.int32)
            out["testNdxs"] = np.flatnonzero(split == "test").astype(np.int32)
            out.create_dataset("scenes", data=scenes, dtype=h5py.string_dtype())
            _write_frames(out, images, depths)


def _write_frames(out, images, depths):
    n, width, height = depths.shape
    pictures = out.create_dataset("images_png", (n,), h5py.vlen_dtype(np.uint8))
    options = {"chunks": (1, width // 2, height // 2), "compression": "gzip", "shuffle": True}
    codes = out.create_dataset("depths", (n, width // 2, height // 2), np.uint16, **options)
    codes.attrs.update(scale=DEPTH_STEP, offset=0.0, units="metres = (code + offset) * scale; 0 = no depth")
    block = 64  # frames: as the file's chunks span several, one by one would read each of them often
    for i in tqdm(range(n), desc="converting", unit="frame"):
        if i % block == 0:
            rgb, metres = images[i : i + block], depths[i : i + block]
        file = io.BytesIO()
        Image.fromarray(rgb[i % block].T).reduce(2).save(file, "PNG", compress_level=3)
        pictures[i] = np.frombuffer(file.getvalue(), np.uint8)
        codes[i] = np.rint(halve_depth(metres[i % block]) / DEPTH_STEP)


def halve_depth(depth):
    """float (W, H) to (W/2, H/2), metres: the lower median of the valid ones of 2 x 2 pixels, or 0."""
    four = np.stack([depth[0::2, 0::2], depth[0::2, 1::2], depth[1::2, 0::2], depth[1::2, 1::2]])
    valid = np.isfinite(four) & (four > 0)
    four = np.sort(np.where(valid, four, 0), axis=0)
    holes = 4 - valid.sum(0)
    return np.take_along_axis(four, (holes + (3 - holes) // 2)[None], axis=0)[0]


def download(out=DATA_DIR / "nyu_depth_v2_labeled.mat", url=URL, size=SIZE, sha256=SHA256):
    """The official file, fetched unless it is there; what an earlier attempt left is continued.

    size: bytes; sha256: hex digits. Raises UserError, which says how to get it by hand.
    """
    part = out.with_name(out.name + ".part")
    try:
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "ab+") as file:
                if file.tell() < size:
                    _receive(url, file, size)
                file.seek(0)
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    part.unlink()
                    raise OSError("what came is not the official file")
            part.replace(out)
        return out
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: of a proxy's address
        raise UserError(
            f"{url} could not be downloaded to {out} ({reason(error)}): try again, it continues where it "
            f"broke, or get the labeled dataset ({size:,} bytes) by hand from {PAGE} and save it there."
        ) from None


def _receive(url, file, size):
    """Appends what is missing of an open file; a server that knows no ranges sends it all anew."""
    headers = {"User-Agent": "lthdepth", "Range": f"bytes={file.tell()}-"}
    with urlopen(Request(url, headers=headers), timeout=30) as answer:
        if answer.status != 206:
            file.truncate(file.seek(0))
        missing = size - file.tell()
        if int(answer.headers.get("Content-Length", missing)) != missing:  # as that of a login page
            raise OSError(f"the file there has not {size} bytes")
        with tqdm.wrapattr(answer, "read", total=missing) as stream:
            shutil.copyfileobj(stream, file, 1 << 20)
    if file.tell() != size:
        raise OSError("the connection broke")
