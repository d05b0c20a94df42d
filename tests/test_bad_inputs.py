"""People's mistakes and bad files: each gets one sentence and a status, and overwrites nothing.

A row of `ROWS` is `command | words of the sentence`; the files that a command names are those of `FILES`, and
TRAIN is a tiny run. RECORDS is what `show` finds.
"""

import hashlib
import io
import json
import lzma
import os
import shlex
import subprocess
import zlib
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from lthdepth import mask, ticketfile, tickets
from lthdepth.__main__ import main
from lthdepth.data import nyu
from lthdepth.runs.record import sealed

HTML = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
TRAIN = "train --data rooms:24 --device cpu backbone=resnet18 height=32 width=32 batch=4 epochs=1"


@cache
def resnet18():
    """A resnet18 state dict, all zeros: it packs to little."""
    return {k: torch.zeros_like(v) for k, v in torchvision.models.resnet18().state_dict().items()}


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def state(name="bn1.bias", value=None):
    """Weights of which one tensor is another."""
    return lambda: saved(resnet18() | {name: torch.zeros(64) if value is None else value})


def masks():
    """Masks of ones in Chen's form."""
    weights = mask.prunable(resnet18())
    return saved({f"{k}_mask": torch.ones(v.shape) for k, v in weights.items()})


def arrays(**parts):
    def make():
        buffer = io.BytesIO()
        np.savez(buffer, **parts)
        return buffer.getvalue()

    return make


def ticket(**change):
    """A ticket file whose `meta` says something else."""

    def make():
        ticketfile.save(tickets.magnitude(mask.prunable(resnet18()), 0.5), "made.npz", "resnet18", "abc")
        with np.load("made.npz") as file:
            meta, bits = json.loads(file["meta"].tobytes()) | change, file["bits"]
        Path("made.npz").unlink()
        return arrays(meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)()

    return make


def half(make):
    return lambda: (lambda content: content[: len(content) // 2])(make())


def picture(width=12, height=8, mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return np.frombuffer(file.getvalue(), np.uint8)


def huge_picture():
    """A small PNG that says it has 400 million pixels."""
    content = bytearray(picture().tobytes())
    content[16:24] = (20000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def h5(write):
    """Of a function from parts to an open HDF5 file: one from changes of the parts to a maker of bytes."""

    def changed(**change):
        def make():
            buffer = io.BytesIO()
            with h5py.File(buffer, "w") as file:
                write(file, change)
            return buffer.getvalue()

        return make

    return changed


@h5
def cached(file, change):
    """A cache of ten small frames; a change replaces a part of it; None leaves it out."""
    parts = {"images_png": [picture()] * 10, "depths": np.full((10, 12, 8), 9000, np.uint16)}
    parts |= {"trainNdxs": np.arange(6), "testNdxs": np.arange(6, 10)}
    parts |= {"scenes": [f"room_{i}" for i in range(10)], "scale": 0.0002, "offset": 0.0} | change
    attributes = {k: parts.pop(k) for k in ("scale", "offset")}
    images = parts.pop("images_png")
    rows = file.create_dataset("images_png", (len(images),), h5py.vlen_dtype(np.uint8))
    for i, image in enumerate(images):
        rows[i] = image
    for key, value in parts.items():
        if value is not None:
            file[key] = value
    for key, value in attributes.items():
        if "depths" in file and value is not None:
            file["depths"].attrs[key] = value


@h5
def matlab(file, change):
    """A MATLAB 7.3 file of ten small frames."""
    parts = {"images": np.zeros((10, 3, 8, 6), np.uint8), "depths": np.ones((10, 8, 6), np.float32)} | change
    for key, value in parts.items():
        if value is not None:
            file[key] = value
    if "scenes" not in change:
        cells = file.create_dataset("scenes", (1, 10), h5py.ref_dtype)
        for i in range(10):
            file[f"#{i}"] = np.frombuffer(f"room_{i}".encode("utf-16-le"), np.uint16)[:, None]
            cells[0, i] = file[f"#{i}"].ref


CONV = "layer1.0.conv1.weight"

FILES = {  # by name: content, what gives it, or None for a folder
    "folder.h5": None,
    "empty.h5": b"",
    "page.h5": HTML,
    "cut.h5": half(cached()),
    "layout.h5": b"\x89HDF\r\n\x1a\n" + bytes(2000),
    "depthless.h5": cached(depths=None),
    "floats.h5": cached(depths=np.ones((10, 12, 8), np.float32)),
    "bytes.h5": cached(depths=np.full((10, 12, 8), 9000, ">u2")),
    "fewer.h5": cached(depths=np.ones((9, 12, 8), np.uint16)),
    "unscaled.h5": cached(scale=None),
    "scalenan.h5": cached(scale=float("nan")),
    "scale0.h5": cached(scale=0.0),
    "negative.h5": cached(scale=-0.1),
    "kilometres.h5": cached(scale=1e30),
    "black.h5": cached(depths=np.zeros((10, 12, 8), np.uint16)),
    "untrained.h5": cached(trainNdxs=np.empty(0, int)),
    "twice.h5": cached(trainNdxs=np.arange(7)),
    "beyond.h5": cached(testNdxs=np.arange(7, 11)),
    "images.h5": cached(images_png=[np.zeros(9, np.uint8)] * 10),
    "large.h5": cached(images_png=[picture(3000, 2000)] * 10),
    "whole.mat": matlab(),
    "page.mat": HTML,
    "five.mat": b"MATLAB 5.0 MAT-file",
    "cut.mat": half(matlab()),
    "imageless.mat": matlab(images=None),
    "ints.mat": matlab(depths=np.ones((10, 8, 6), np.int32)),
    "axes.mat": matlab(images=np.zeros((6, 8, 3, 10), np.uint8)),
    "odd.mat": matlab(images=np.zeros((10, 3, 7, 6), np.uint8), depths=np.ones((10, 7, 6), np.float32)),
    "scenes.mat": matlab(scenes=np.zeros((1, 10))),
    "millimetres.mat": matlab(depths=np.full((10, 8, 6), 2500, np.float32)),
    "good.json": b'{"train": [0, 1, 2, 3, 4], "test": [5, 6, 7, 8, 9]}',
    "brace.json": b"{train",
    "fractions.json": b'{"train": [0.5], "test": [1]}',
    "untrained.json": b'{"train": [], "test": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}',
    "from1.json": b'{"train": [1, 2, 3, 4, 5], "test": [6, 7, 8, 9, 10]}',
    "brackets.json": b"[" * 10**6,
    "folder.pth": None,
    "empty.pth": b"",
    "page.pth": HTML,
    "page.pth.xz": lzma.compress(HTML),
    "cut.pth": half(state()),
    "cut.pth.xz": lambda: lzma.compress(state()(), preset=0)[:-500],
    "header.safetensors": (2**60).to_bytes(8, "little") + b"{}",
    "claims.pth": state("fc.weight", torch.zeros(1, 1).expand(2**20, 2**20)),
    "one.pth": lambda: saved({"conv1.weight": torch.zeros(2)}),
    "shape.pth": state(value=torch.zeros(3)),
    "r18.pth": state(),
    "nan.pth": state(value=torch.full((64,), float("nan"))),
    "int8.pth": state(CONV, torch.zeros(64, 64, 3, 3, dtype=torch.int8)),
    "list.pth": lambda: saved([1, 2]),
    "named.pth": lambda: saved({"net": {"weight": torch.ones(2), "bias": torch.ones(2)}}),
    "ones.pt": masks,
    "weights.pt": state(CONV, torch.full((64, 64, 3, 3), 0.3)),
    "empty.npz": b"",
    "page.npz": HTML,
    "notes.npz": b"notes",
    "t.npz": ticket(),
    "claims.npz": ticket(layers={"a": [10**6, 10**6]}),
    "endless.npz": ticket(layers={"a": [float("inf")]}),
    "brackets.npz": arrays(meta=np.frombuffer(b"[" * 10**5, np.uint8), bits=np.zeros(1, np.uint8)),
    "order.npz": arrays(**{f"{CONV}_mask": np.ones((2, 2), ">f4")}),
    "folder.jpg": None,
    "page.jpg": HTML,
    "cut.png": half(lambda: picture(400, 300).tobytes()),
    "huge.png": huge_picture,
    "long.png": lambda: picture(400, 30).tobytes(),
    "photo.png": lambda: picture().tobytes(),
    "b.png": b"png",
    "cost.json": b"[" * 10**5,
}

ROWS = """
data | --download
data absent.mat | absent.mat
data folder.h5 | folder.h5
data rooms:2 | rooms:2
data rooms:-3 | rooms:-3
data whole.mat --out o.txt | o.txt
data rooms:24 --out o.h5 | --out
train --data absent.h5 | absent.h5
train --data kitchen | kitchen
train --data rooms:24 --device gpu | gpu
train --data rooms:24 --device cuda:99 | cuda:99
sweep everything --data rooms:24 | everything
sweep quick --data rooms:24 --budget -5 | --budget
sweep quick --data rooms:24 --budget nan | --budget
show abcdef | abcdef
show --study nope | nope
show absent.png | absent.png
show b.png | sidecar
cost --device cpu --run abcdef | no run abcdef
cost --device cpu --ticket absent.npz | absent.npz
cost --device cpu --weights absent.pth | absent.pth
cost --device cpu --ticket ones.pt | another network
cost --device cpu --out cost.json | no file of measurements
TRAIN dropout=0.5 | dropout
TRAIN epochs | name=value
TRAIN seed=one | seed
TRAIN flip=maybe | flip
TRAIN arm=magic | arm
TRAIN arm=omp density=0 | density
TRAIN arm=omp density=1e-12 | keeps none
TRAIN arm=imp density=0.5 | 0.8^k
TRAIN batch=100 | batch
TRAIN arm=file | mask file
TRAIN --photos some | arm logits
TRAIN --frames 4 4 | rooms:N
TRAIN lr_encoder=1e30 lr_decoder=1e30 | diverged
data empty.h5 | is empty
data page.h5 | web page
data cut.h5 | cut.h5
data layout.h5 | layout.h5
data depthless.h5 | depths
data floats.h5 | depths
data bytes.h5 | depths
data fewer.h5 | images
data unscaled.h5 | scale
data scalenan.h5 | scale
data scale0.h5 | scale
data negative.h5 | scale
data kilometres.h5 | scale
data black.h5 | no valid depth
data untrained.h5 | trainNdxs
data twice.h5 | exactly once
data beyond.h5 | frame 10
data images.h5 | frame 0
data large.h5 | 3000 x 2000
data page.mat | web page
data five.mat | MATLAB 5
data cut.mat | cut.mat
data imageless.mat | images
data ints.mat | depths
data axes.mat | images
data odd.mat | even
data scenes.mat | scenes
data whole.mat | official split does not fit
data millimetres.mat --splits good.json --out o.h5 | metres
data whole.mat --splits absent.json --out o.h5 | absent.json
data whole.mat --splits brace.json --out o.h5 | brace.json
data whole.mat --splits fractions.json --out o.h5 | whole numbers
data whole.mat --splits untrained.json --out o.h5 | 0 train
data whole.mat --splits from1.json --out o.h5 | frame 10
data whole.mat --splits brackets.json --out o.h5 | brackets.json
TRAIN --weights absent.pth | no weights file absent.pth
TRAIN --weights folder.pth | folder.pth
TRAIN --weights empty.pth | empty.pth cannot be read
TRAIN --weights page.pth | web page
TRAIN --weights page.pth.xz | web page
TRAIN --weights cut.pth | cut.pth
TRAIN --weights cut.pth.xz | cut short
TRAIN --weights header.safetensors | header too large
TRAIN --weights claims.pth | unpacks to more
TRAIN --weights one.pth | does not fit
TRAIN --weights shape.pth | bn1.bias is (3,) there, and (64,)
TRAIN --weights r18.pth backbone=resnet50 | holds a resnet18
TRAIN --weights nan.pth | not finite
TRAIN --weights int8.pth | layer1.0.conv1.weight as int8
TRAIN --weights list.pth | in a list
TRAIN --weights named.pth | named weight, bias
TRAIN --weights IMAGENET1K_V9 | IMAGENET1K_V9
TRAIN --ticket absent.pt | no ticket or mask file absent.pt
TRAIN --ticket weights.pt | holds no masks
TRAIN --ticket empty.npz | empty.npz
TRAIN --ticket page.npz | page.npz
TRAIN --ticket order.npz | order.npz
ticket show claims.npz | damaged
ticket show endless.npz | damaged
ticket show brackets.npz | damaged
ticket show t.npz --picture p.nope | p.nope
ticket draw n.npz --arm imp | imp
ticket draw notes.npz | notes.npz
ticket draw n.txt | n.txt
ticket convert ones.pt | --out
predict --run abcdef absent.jpg | absent.jpg
predict --run abcdef folder.jpg | folder.jpg
predict --run abcdef page.jpg | cannot be decoded
predict --run abcdef cut.png | cannot be decoded
predict --run abcdef huge.png | million pixels
predict --run abcdef long.png | 400×30
predict --run abcdef photo.png | no run abcdef
build --data absent.h5 | absent.h5
build --data page.h5 | web page
build --weights absent.pth | absent.pth
"""
ROWS = [row.split(" | ") for row in ROWS.strip().splitlines()]


def line(**change):
    record = {"key": "k", "study": "own", "arm": "dense", "density": 1.0, "seed": 0, "data": {}, "init": {}}
    record |= {"config": {"height": 8, "width": 8}} | change
    record = {k: v for k, v in record.items() if v is not None}
    return (json.dumps(record if "sha256" in record else sealed(record)) + "\n").encode()


RECORDS = [  # file, content, words
    ("results/runs.jsonl", b"not json\n", "line 1"),
    ("results/runs.jsonl", b"\xff\xfe\x00{\n", "line 1"),
    ("results/runs.jsonl", b"[" * 10**5, "line 1"),
    ("results/runs.jsonl", line(seed=None), "line 1"),
    ("results/runs.jsonl", line(density="all"), "line 1"),
    ("results/runs.jsonl", line(config={}), "line 1"),
    ("results/runs.jsonl", line(test={"full": "good"}), "line 1"),
    ("results/runs.jsonl", line(science_version="new"), "line 1"),
    ("results/runs.jsonl", line(init={"name": "<script>"}, sha256=""), "line 1"),
    ("results/runs.jsonl", line(key="../../x"), "line 1"),
    ("results/runs.jsonl", line(sha256="0" * 64), "was changed"),
    ("results/runs.jsonl", line(arm="quantum"), "later version"),
    ("results/runs.jsonl", line(science_version=99), "later version"),
    ("results/runs.jsonl", line(status="failed"), "failed, not finished"),
    ("results/failed.jsonl", line(status="finished"), "finished, not failed"),
    ("runs/abc/record.json", b'{"key": "abc", ', "record.json"),
    ("runs/abc/failed.json", b'{"key": "abc", ', "failed.json"),
]


pytestmark = pytest.mark.usefixtures("elsewhere")
MADE = {"failed.json", "ticket.npz"}  # of a run that diverges


def contents(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts]
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def one_sentence(command, words, folder, capsys):
    before = contents(folder)
    assert main(command) == 2
    shown = capsys.readouterr().err
    said = [line for line in shown.splitlines() if line.startswith("lthdepth: ")]  # besides progress bars
    assert len(said) == 1 and words in said[0] and len(said[0]) < 400 and "Traceback" not in shown
    after = contents(folder)
    assert {p: after[p] for p in before} == before  # nothing overwritten, nothing removed
    assert {p.name for p in after.keys() - before.keys()} <= (MADE if words == "diverged" else set())


@pytest.mark.parametrize(("command", "words"), ROWS, ids=lambda v: v)
def test_a_bad_input_gets_one_sentence(command, words, elsewhere, capsys, monkeypatch):
    if ".mat" in command:
        monkeypatch.setattr(nyu, "DATA_DIR", elsewhere / "data")
    command = shlex.split(command.replace("TRAIN", TRAIN))
    for name in command:
        content = FILES.get(name, b"")
        if content is None:
            Path(name).mkdir()
        elif name in FILES:
            Path(name).write_bytes(content() if callable(content) else content)
    one_sentence(command, words, elsewhere, capsys)


@pytest.mark.parametrize(("file", "content", "words"), RECORDS)
def test_a_bad_record_gets_one_sentence(file, content, words, elsewhere, capsys):
    Path(file).parent.mkdir(parents=True)
    Path(file).write_bytes(content)
    one_sentence(["show"], words, elsewhere, capsys)


@pytest.mark.parametrize("python", ["/no/such/python", "/", "/bin/true"])
def test_a_bad_interpreter_gets_one_sentence(python):
    build = Path(__file__).resolve().parents[1] / "build.sh"
    done = subprocess.run(
        ["bash", build], capture_output=True, text=True, env=os.environ | {"PYTHON": python}, check=False
    )
    assert done.returncode == 2 and f"PYTHON={python} is no Python" in done.stderr.splitlines()[-1]
