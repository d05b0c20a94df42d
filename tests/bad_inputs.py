"""People's mistakes and bad files: for each a command, and words of the one sentence that answers it.

A row of `ROWS` is `command | words`. Files that a command names are those of `FILES`; TRAIN stands for a tiny
run, FLAG is what an executed file would leave behind. Of `RECORDS` each is what `show` finds as records.
"""

import io
import json
import lzma
import zlib
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np
import torch
import torchvision
from conftest import Evil
from PIL import Image

from lthdepth.runs.record import sealed

HTML = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
TRAIN = "train --data rooms:24 --device cpu backbone=resnet18 height=32 width=32 batch=4 epochs=1"
FLAG = "ran"


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


def masks(name="layer1.0.conv1.weight", value=None):
    """Masks in Chen's form; one is another, None leaves it out."""

    def make():
        found = {k: torch.ones(v.shape) for k, v in resnet18().items() if v.ndim == 4 and k != "conv1.weight"}
        found = {f"{k}_mask": v for k, v in (found | {name: value}).items() if v is not None}
        return saved(found)

    return make


def arrays(**parts):
    def make():
        buffer = io.BytesIO()
        np.savez(buffer, **parts)
        return buffer.getvalue()

    return make


def ticket(damage=None, **change):
    """A ticket file whose `meta` says something else."""

    def make():
        from lthdepth import mask, ticketfile, tickets

        ticketfile.save(tickets.magnitude(mask.prunable(resnet18()), 0.5), "made.npz", "resnet18", "abc")
        with np.load("made.npz") as file:
            meta, bits = json.loads(file["meta"].tobytes()) | change, file["bits"]
        content = arrays(meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)()
        Path("made.npz").unlink()
        return damage(content) if damage else content

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


def cache_file(name="c.h5", **change):
    """A cache of ten small frames; a change replaces a part of it; None leaves it out."""
    parts = {"images_png": [picture()] * 10, "depths": np.full((10, 12, 8), 9000, np.uint16)}
    parts |= {"trainNdxs": np.arange(6), "testNdxs": np.arange(6, 10), "scale": 0.0002, "offset": 0.0}
    parts |= {"scenes": [f"room_{i}" for i in range(10)]} | change
    with h5py.File(name, "w") as file:
        for key, value in parts.items():
            if value is None or key in ("scale", "offset"):
                continue
            if key == "images_png":
                images = file.create_dataset(key, (len(value),), h5py.vlen_dtype(np.uint8))
                for i, image in enumerate(value):
                    images[i] = image
            else:
                file[key] = value
        for key in ("scale", "offset"):
            if "depths" in file and parts[key] is not None:
                file["depths"].attrs[key] = parts[key]


def mat_file(name="m.mat", **change):
    """A MATLAB 7.3 file of ten small frames."""
    parts = {"images": np.zeros((10, 3, 8, 6), np.uint8), "depths": np.ones((10, 8, 6), np.float32)} | change
    with h5py.File(name, "w") as file:
        for key, value in parts.items():
            if value is not None:
                file[key] = value
        if "scenes" not in change:
            cells = file.create_dataset("scenes", (1, 10), h5py.ref_dtype)
            for i in range(10):
                file[f"#{i}"] = np.frombuffer(f"room_{i}".encode("utf-16-le"), np.uint16)[:, None]
                cells[0, i] = file[f"#{i}"].ref


def h5(make, **change):
    """Bytes of what `cache_file` or `mat_file` writes."""

    def content():
        make("made.h5", **change)
        content = Path("made.h5").read_bytes()
        Path("made.h5").unlink()
        return content

    return content


cached, matlab = partial(h5, cache_file), partial(h5, mat_file)
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
    "evil.pth": state(value=Evil(FLAG)),
    "evil.pth.xz": lambda: lzma.compress(state(value=Evil(FLAG))()),
    "header.safetensors": (2**60).to_bytes(8, "little") + b"{}",
    "claims.pth": state("fc.weight", torch.zeros(1, 1).expand(2**20, 2**20)),
    "one.pth": lambda: saved({"conv1.weight": torch.zeros(2)}),
    "shape.pth": state(value=torch.zeros(3)),
    "r18.pth": state(),
    "nan.pth": state(value=torch.full((64,), float("nan"))),
    "int8.pth": state(CONV, torch.zeros(64, 64, 3, 3, dtype=torch.int8)),
    "list.pth": lambda: saved([1, 2]),
    "named.pth": lambda: saved({"net": {"weight": torch.ones(2), "bias": torch.ones(2)}}),
    "ones.pt": masks(value=torch.ones(64, 64, 3, 3)),
    "missing.pt": masks(),
    "another.pt": masks("layer9.0.conv1.weight", torch.ones(2)),
    "shape.pt": masks(value=torch.ones(1, 2, 3, 4)),
    "halves.pt": masks(value=torch.full((64, 64, 3, 3), 0.5)),
    "evil.pt": masks(value=Evil(FLAG)),
    "weights.pt": state(CONV, torch.full((64, 64, 3, 3), 0.3)),
    "empty.npz": b"",
    "page.npz": HTML,
    "notes.npz": b"notes",
    "t.npz": ticket(),
    "cut.npz": half(ticket()),
    "flipped.npz": ticket(lambda c: c[:900] + bytes([c[900] ^ 1]) + c[901:]),
    "later.npz": ticket(format="lthdepth ticket 9"),
    "layers.npz": ticket(layers={"a": [2, 2, 1, 1]}),
    "claims.npz": ticket(layers={"a": [10**6, 10**6]}),
    "endless.npz": ticket(layers={"a": [float("inf")]}),
    "brackets.npz": arrays(meta=np.frombuffer(b"[" * 10**5, np.uint8), bits=np.zeros(1, np.uint8)),
    "evil.npz": lambda: arrays(a=np.array([Evil(FLAG)], object))(),
    "order.npz": arrays(**{f"{CONV}_mask": np.ones((2, 2), ">f4")}),
    "folder.jpg": None,
    "page.jpg": HTML,
    "cut.png": half(lambda: picture(400, 300).tobytes()),
    "huge.png": huge_picture,
    "long.png": lambda: picture(400, 30).tobytes(),
    "photo.png": lambda: picture().tobytes(),
    "a.png": b"png",
    "a.json": b"{",
    "b.png": b"png",
    "cost.json": b"[" * 10**5,
}

ROWS = """
data | --download
data absent.mat | absent.mat
data folder.h5 | folder.h5
data rooms:2 | rooms:2
data rooms: | rooms:
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
show a.png a.json | a.json
cost --device cpu --run abcdef | no run abcdef
cost --device cpu --ticket absent.npz | absent.npz
cost --device cpu --weights absent.pth | absent.pth
cost --device cpu --ticket ones.pt | another network
cost --device cpu --out cost.json | no file of measurements
TRAIN dropout=0.5 | dropout
TRAIN epochs | name=value
TRAIN =3 | unknown setting
TRAIN seed=one | seed
TRAIN seed=1.5 | seed
TRAIN seed=-1 | seed
TRAIN flip=maybe | flip
TRAIN arm=magic | arm
TRAIN arm=omp density=0 | density
TRAIN arm=omp density=1.5 | density
TRAIN arm=random density=nan | density
TRAIN arm=dense density=0.5 | density
TRAIN arm=omp density=1e-12 | keeps none
TRAIN arm=imp density=0.5 | 0.8^k
TRAIN epochs=0 | epochs
TRAIN batch=1 | batch
TRAIN batch=100 | batch
TRAIN height=16 | height
TRAIN lr_encoder=inf | lr_encoder
TRAIN lr_decoder=-1 | lr_decoder
TRAIN momentum=1 | momentum
TRAIN loss=huber | loss
TRAIN precision=float8 | precision
TRAIN holdout=false patience=2 | patience
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
TRAIN --weights evil.pth | nothing in it was run
TRAIN --weights evil.pth.xz | nothing in it was run
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
TRAIN --ticket missing.pt | has no mask for layer1.0.conv1.weight
TRAIN --ticket another.pt | layer9
TRAIN --ticket shape.pt | (1, 2, 3, 4)
TRAIN --ticket halves.pt | other than 0 and 1
TRAIN --ticket evil.pt | nothing in it was run
TRAIN --ticket weights.pt | holds no masks
TRAIN --ticket list.pth | holds no masks
TRAIN --ticket empty.npz | empty.npz
TRAIN --ticket page.npz | page.npz
TRAIN --ticket cut.npz | cut.npz
TRAIN --ticket flipped.npz | flipped.npz
TRAIN --ticket evil.npz | evil.npz
TRAIN --ticket order.npz | order.npz
ticket show later.npz | this version reads
ticket show layers.npz | damaged
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
