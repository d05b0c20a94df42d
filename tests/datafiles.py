"""Small data files: a cache of ten frames, one in the layout of the official file, and pictures for them."""

import io

import h5py
import numpy as np
from PIL import Image

WIDTH, HEIGHT, N = 12, 8, 10  # at half size
SHAPE = (N, WIDTH, HEIGHT)


def picture(i=0, width=WIDTH, height=HEIGHT, kind="PNG"):
    """Encoded noise, as a cache holds it, and its pixels (height, width, 3)."""
    pixels = np.random.Generator(np.random.Philox(i)).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return np.frombuffer(file.getvalue(), np.uint8), pixels


def write_cache(path, **change):
    """`change` replaces a dataset or, named scale or offset, an attribute; None omits it."""
    parts = {
        "images_png": [picture(i)[0] for i in range(N)],
        "depths": np.arange(N * WIDTH * HEIGHT, dtype=np.uint16).reshape(SHAPE),
        "trainNdxs": np.arange(6, dtype=np.int32),
        "testNdxs": np.arange(6, N, dtype=np.int32),
        "scenes": [f"room_{i // 2}" for i in range(N)],
        "scale": 0.0002,
        "offset": 0.0,
    } | change
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if name.startswith("images") and isinstance(value, list):
                images = file.create_dataset(name, (len(value),), h5py.vlen_dtype(np.uint8))
                for i, image in enumerate(value):
                    images[i] = image
            elif name not in ("scale", "offset") and value is not None:
                file[name] = value
            elif value is not None and "depths" in file:
                file["depths"].attrs[name] = value


def write_mat(path, n=N, **change):
    """Frames of twice the size; their parts are returned."""
    rng = np.random.Generator(np.random.Philox(7))
    parts = {
        "images": rng.integers(0, 256, (n, 3, 2 * WIDTH, 2 * HEIGHT), np.uint8),
        "depths": rng.uniform(0.7, 10, (n, 2 * WIDTH, 2 * HEIGHT)).astype(np.float32),
        "scenes": [f"room_{i}" for i in range(n)],
    } | change
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if isinstance(value, list):
                cells = file.create_dataset(name, (1, len(value)), h5py.ref_dtype)
                for i, scene in enumerate(value):
                    file[f"#refs#/{i}"] = np.array([[ord(letter)] for letter in scene], np.uint16)
                    cells[0, i] = file[f"#refs#/{i}"].ref
            elif value is not None:
                file[name] = value
    return parts
