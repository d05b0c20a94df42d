"""What every parser makes of damaged and of wrong files: a sentence, or what is right; never anything else.

`python tests/fuzz.py 300` tries so many at each entrance, at most a minute each, and writes the counts to
benchmarks/fuzz.csv; test_fuzz.py tries a few. An entrance is a hypothesis strategy and a function `(folder, drawn)`
that reads what was drawn and asserts that it is right.
"""

import json
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import safetensors.torch
import torch
from bad_inputs import cache_file, mat_file, photo, picture, record_line
from hypothesis import strategies as st

from lthdepth import files, ticketfile, tickets
from lthdepth.config import FIELDS, Config
from lthdepth.data import photos, summary, weights
from lthdepth.data.nyu import convert, read_cache
from lthdepth.errors import UserError
from lthdepth.paper import provenance
from lthdepth.runs import record
from lthdepth.runs import run as runs

TENSORS = {
    "layer1.0.conv1.weight": torch.linspace(-1, 1, 300).view(10, 30, 1, 1),
    "bn1.bias": torch.arange(4.0),
}
CONVOLUTIONS = {k: v for k, v in TENSORS.items() if v.ndim == 4}
TICKET = tickets.magnitude(CONVOLUTIONS, 0.3)
MASKS = {f"{k}_mask": m.float() for k, m in TICKET.masks.items()}
ARRAYS = {"test/full": np.arange(70.0).reshape(10, 7), "test/frames": np.arange(10)}
RECORD = record.sealed(json.loads(record_line(key="a" * 16, seconds=12.5)))


@st.composite
def damage(draw):
    """Function from bytes to damaged bytes: cut short, up to eight bits flipped, or up to eight stretches overwritten."""
    kind, at = (
        draw(st.sampled_from(("cut", "flip", "smear"))),
        draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8)),
    )
    bit, byte = draw(st.integers(0, 7)), draw(st.integers(0, 255))

    def apply(content):
        places = [int(x * len(content)) for x in at]
        if kind == "cut":
            return content[: places[0]]
        content = bytearray(content)
        for place in places:
            if kind == "flip":
                content[place] ^= 1 << bit
            else:
                content[place : place + 16] = bytes([byte]) * len(content[place : place + 16])
        return bytes(content)

    return apply


def damaged(name, make, check):
    """An entrance: a whole file, made once, is damaged and read again."""

    def go(folder, apply):
        whole, copy = folder / name, folder / "damaged" / name
        if not whole.exists():
            whole.parent.mkdir(exist_ok=True)
            make(whole)
        copy.parent.mkdir(exist_ok=True, parents=True)
        copy.write_bytes(apply(whole.read_bytes()))
        check(copy)

    return damage(), go


def one(value):
    """Function that writes it."""
    return lambda path: files.write_atomic(path, value)


def sound(frames, n=10):
    """Frames that can be trained on: of the right form, depths finite and not negative, some in every split."""
    assert frames.rgb.dtype == np.uint8 and frames.depth.dtype == np.float32
    assert len(frames.rgb) == len(frames.depth) == len(frames.split) == len(frames.scene) == n
    assert frames.rgb.shape[1] == 3 and frames.rgb.shape[2:] == frames.depth.shape[1:]
    assert np.isfinite(frames.depth).all() and (frames.depth >= 0).all() and frames.depth.max() <= 1e4
    assert {"train", "test"} <= set(frames.split) <= {"train", "validation", "test"}
    assert all(frames.depth[frames.split == s].any() for s in set(frames.split))


def converts(path, split='{"train": [0, 1, 2, 3, 4], "test": [5, 6, 7, 8, 9]}'):
    out, lists = path.with_name("out.h5"), path.with_name("s.json")
    lists.write_text(split)
    out.unlink(missing_ok=True)
    try:
        convert(path, out, lists, progress=False)
    finally:
        assert not list(out.parent.glob(".*"))  # nothing half-written stays
    sound(read_cache(out, progress=False))


def initial(path, same=False):
    with mock.patch.object(weights, "_architecture", return_value="resnet18"):
        found = weights.load(path).state
    assert all(
        v.dtype in (torch.float32, torch.int64, torch.bool) or not v.is_floating_point()
        for v in found.values()
    )
    assert all(isinstance(k, str) and torch.isfinite(v).all() for k, v in found.items())
    if same:
        assert found.keys() == TENSORS.keys() and all(torch.equal(v, TENSORS[k]) for k, v in found.items())


def fits(path, same=False):
    ticket = ticketfile.read(path, CONVOLUTIONS)
    assert {k: (m.dtype, m.shape) for k, m in ticket.masks.items()} == {
        k: (torch.bool, w.shape) for k, w in CONVOLUTIONS.items()
    }
    assert ticket.kept > 0 and (not same or ticket.fingerprint == TICKET.fingerprint)


def is_ticket(path):
    assert ticketfile.load(path)[0].fingerprint == TICKET.fingerprint


def records(path):
    store = runs.Store(path.parent / "none", path.parent)
    for found in store.records().values():
        for name in RECORD.keys() - {"study", "sha256"} if "sha256" in found else ():
            assert found[name] == RECORD[name]


def same_arrays(found):
    for name in found.keys() & ARRAYS.keys():
        assert found[name].dtype == ARRAYS[name].dtype and np.array_equal(found[name], ARRAYS[name])


def published(path):
    with h5py.File(path, "w") as file:
        for name, value in ARRAYS.items():
            file.create_dataset(name, data=value, compression="gzip", fletcher32=True)
        file.attrs["sha256"] = files.digest(ARRAYS)


def same_tensors(path):
    found = files.read_tensors(path)
    assert found.keys() == TENSORS.keys() and all(torch.equal(v, TENSORS[k]) for k, v in found.items())


def squares(path):
    rgb = photos.load(path if path.suffix == ".h5" else path.parent, 16, progress=False).rgb
    assert rgb.dtype == np.uint8 and rgb.shape[1:] == (3, 16, 16) and len(rgb) >= 1


def photos_file(path):
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images_png", (3,), h5py.vlen_dtype(np.uint8))
        for i in range(3):
            images[i] = picture(20, 16)


def summary_file(path):
    shape = {"mean": (8, 12), "depth": (2, 8, 12), "rgb": (2, 8, 12, 3), "index": (2,)}
    arrays = {
        k: np.ones(s, np.uint8 if k == "rgb" else int if k == "index" else np.float32)
        for k, s in shape.items()
    }
    summary.save(summary.Summary({"name": "toy"}, **arrays, scene=["a", "b"]), path)


def settings(_, words):
    config = Config.parse(words)
    assert Config.parse(config.changes()) == config


ODD = st.sampled_from((float("nan"), float("inf"), -1.0, 0.0, 1e-30, 2.5, 1e30))
DTYPES = st.sampled_from(("uint8", "uint16", "int16", "int64", "float16", "float32", "float64"))
NUMBERS = st.lists(st.integers(-2, 11), max_size=11)


@st.composite
def arrays_of(draw, shape, dtype):
    """An array that is right but, perhaps, for its dtype, its order of axes, or a value in it."""
    with np.errstate(all="ignore"):
        wrong = draw(st.sampled_from(("nothing", "dtype", "order", "everywhere", "somewhere")))
        value = np.full(shape, draw(ODD) if wrong == "everywhere" else 1).astype(
            draw(DTYPES) if wrong == "dtype" else dtype
        )
        if wrong == "somewhere":
            value[draw(st.integers(0, shape[0] - 1))] = np.asarray(draw(ODD)).astype(value.dtype)
    return value.transpose(draw(st.permutations(range(len(shape))))) if wrong == "order" else value


def wrong_cache(folder, drawn):
    path = folder / "wrong.h5"
    cache_file(path, **drawn)
    sound(read_cache(path, progress=False))


def wrong_mat(folder, drawn):
    path = folder / "wrong.mat"
    mat_file(path, images=drawn["images"], depths=drawn["depths"])
    converts(path, json.dumps(dict(zip(("train", "test"), drawn["split"], strict=True))))


def wrong_masks(folder, drawn):
    torch.save({f"{k}_mask": torch.from_numpy(drawn.copy()) for k in CONVOLUTIONS}, folder / "wrong.pt")
    fits(folder / "wrong.pt")


WRONG_CACHE = {
    "depths": arrays_of((10, 12, 8), "uint16"),
    "scale": ODD,
    "offset": ODD,
    "trainNdxs": NUMBERS.map(np.array),
    "testNdxs": NUMBERS.map(np.array),
    "scenes": st.sampled_from((None, ["a"] * 10, ["a"] * 9, np.arange(10))),
}
WRONG_MAT = {"images": arrays_of((10, 3, 8, 6), "uint8"), "depths": arrays_of((10, 8, 6), "float32")}
LISTS = st.sampled_from([([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])] * 3) | st.tuples(NUMBERS, NUMBERS)

ENTRANCES = {
    "cache of frames (.h5)": damaged("c.h5", cache_file, lambda p: sound(read_cache(p, progress=False))),
    "cache with wrong parts": (st.fixed_dictionaries({}, optional=WRONG_CACHE), wrong_cache),
    "official file (.mat)": damaged("m.mat", mat_file, converts),
    ".mat with wrong parts": (st.fixed_dictionaries(WRONG_MAT | {"split": LISTS}), wrong_mat),
    "split (.json)": damaged("s.json", one('{"train": [0, 1, 2], "test": [3, 4]}'), lambda p: _split(p)),
    "weights (.pth)": damaged("w.pth", lambda p: torch.save(TENSORS, p), initial),
    "weights (.pth.xz)": damaged(
        "w.pth.xz", lambda p: p.write_bytes(_packed()), lambda p: initial(p, same=True)
    ),
    "weights (.safetensors)": damaged(
        "w.safetensors", lambda p: safetensors.torch.save_file(TENSORS, p), initial
    ),
    "ticket (.npz)": damaged("t.npz", lambda p: ticketfile.save(TICKET, p, "resnet18", "abc"), is_ticket),
    "masks of Chen et al. (.pt)": damaged("mask.pt", lambda p: torch.save(MASKS, p), fits),
    "masks of Chen et al. (.npz)": damaged(
        "mask.npz",
        lambda p: np.savez(p, **{k: m.numpy() for k, m in MASKS.items()}),
        lambda p: fits(p, same=True),
    ),
    "masks with wrong values": (arrays_of((10, 30, 1, 1), "float32"), wrong_masks),
    "records (.jsonl)": damaged("runs.jsonl", one(2 * (json.dumps(RECORD) + "\n")), records),
    "any bytes as a record": (st.binary(max_size=200), lambda _, content: record.parse(content, "here")),
    "arrays of a run (.npz)": damaged(
        "arrays.npz", lambda p: np.savez_compressed(p, **ARRAYS), lambda p: same_arrays(files.read_arrays(p))
    ),
    "published arrays (.h5)": damaged(
        "arrays/a.h5", published, lambda p: same_arrays(runs.Store(p, p.parents[1]).arrays("a"))
    ),
    "checkpoint (.pt)": damaged("checkpoint.pt", one(TENSORS), same_tensors),
    "photo (.jpg)": damaged("p.jpg", lambda p: photo(str(p)), squares),
    "photo (.png)": damaged("p.png", lambda p: photo(str(p)), squares),
    "photos (.h5)": damaged("photos.h5", photos_file, squares),
    "summary of a data set (.h5)": damaged("summary.h5", summary_file, summary.load),
    "sidecar of a figure (.json)": damaged("a.json", lambda p: _sidecar(p), provenance.read),
    "settings": (
        st.lists(
            st.builds(
                "{}={}".format,
                st.sampled_from(sorted(FIELDS)),
                ODD | st.integers() | st.booleans() | st.text(max_size=5),
            ),
            max_size=3,
        ),
        settings,
    ),
}


def _split(path):
    from lthdepth.data.nyu import _read_splits

    train = _read_splits(path, 5)
    assert train.dtype == bool and train.shape == (5,) and 0 < train.sum() < 5


def _packed():
    import io
    import lzma

    buffer = io.BytesIO()
    torch.save(TENSORS, buffer)
    return lzma.compress(buffer.getvalue())


def _sidecar(path):
    path.write_text((sorted((Path(__file__).parents[1] / "figures").glob("*.json"))[0]).read_text())


def attempt(name, folder, drawn):
    """Whether an entrance read what was drawn, and read it right; False where it was refused in a sentence."""
    try:
        ENTRANCES[name][1](folder, drawn)
        return True
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
        return False


def main(examples):
    import csv
    import tempfile
    import time
    from collections import Counter

    from hypothesis import HealthCheck, given
    from hypothesis import settings as profile

    rows = []
    for name, (strategy, _) in ENTRANCES.items():
        counts, until = Counter(), time.monotonic() + 60
        with tempfile.TemporaryDirectory() as folder:

            @profile(
                max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            )
            @given(drawn=strategy, fixed=st.just((name, Path(folder), counts, until)))
            def check(drawn, fixed):
                name, folder, counts, until = fixed
                if counts.total() < 20 or time.monotonic() < until:
                    counts[attempt(name, folder, drawn)] += 1

            check()
        rows.append([name, sum(counts.values()), counts[False], counts[True]])
        print(*rows[-1], sep="; ", flush=True)
    with open(
        Path(__file__).parents[1] / "benchmarks" / "fuzz.csv", "w", encoding="utf-8", newline=""
    ) as out:
        csv.writer(out, lineterminator="\n").writerows(
            [["entrance", "files tried", "refused in a sentence", "read right"], *rows]
        )


if __name__ == "__main__":
    import sys

    main(int(sys.argv[1]))
