"""People's mistakes and bad files: each gets one sentence and a status, and overwrites nothing.

A row of `ROWS` is `command | words of the sentence`; the files that it names are those of `FILES`. `BAD` and
`RECORDS` hold files and what is said of them. TRAIN is a tiny run.
"""

import io
import json
import lzma
import os
import shlex
import zlib
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from datafiles import SHAPE, write_cache, write_mat
from PIL import Image

from lthdepth import mask
from lthdepth.__main__ import main
from lthdepth.data import nyu
from lthdepth.runs.record import sealed

HTML = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
TRAIN = "train --data rooms:24 --device cpu backbone=resnet18 height=32 width=32 batch=4 epochs=1"


def content(write, *rest, **parts):
    """The bytes that a function writes into a file."""
    buffer = io.BytesIO()
    write(buffer, *rest, **parts)
    return buffer.getvalue()


def saved(value):
    return content(partial(torch.save, value))


@cache
def resnet18():
    """A narrow resnet18 state dict, all zeros."""
    return {k: torch.zeros_like(v) for k, v in torchvision.models.get_model("resnet18").state_dict().items()}


def state(name="bn1.bias", value=None):
    """Weights of which one tensor is another."""
    return saved(resnet18() | {name: torch.zeros(64) if value is None else value})


def masks():
    """Masks of ones in Chen's form."""
    return saved({f"{k}_mask": torch.ones(v.shape) for k, v in mask.prunable(resnet18()).items()})


def half(content):
    return content[: len(content) // 2]


def picture(width=12, height=8, mode="RGB"):
    return content(Image.new(mode, (width, height)).save, "PNG")


def huge_picture():
    """A small PNG that says it has 400 million pixels."""
    content = bytearray(picture())
    content[16:24] = (20000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


arrays, cached, matlab = (partial(content, write) for write in (np.savez, write_cache, write_mat))
CONV = "layer1.0.conv1.weight"

FILES = {  # that several rows name
    "page.h5": HTML,
    "whole.mat": matlab(),
    "r18.pth": state,
    "ones.pt": masks,
    "b.png": b"png",
    "cost.json": b"[" * 10**5,
    "notes.npz": b"notes",
}

BAD = {  # by command and name: content, what gives it, or what makes it there; words of the sentence
    "data {}": {
        "folder.h5": (os.mkdir, "folder.h5"),
        "pipe.h5": (os.mkfifo, "no file pipe.h5"),
        "depth.png": (picture(mode="I;16"), "no HDF5 file"),
        "empty.h5": (b"", "no HDF5 file"),
        "cut.h5": (half(cached()), "cut.h5"),
        "depthless.h5": (cached(depths=None), "depths"),
        "floats.h5": (cached(depths=np.ones(SHAPE, np.float32)), "depths"),
        "bytes.h5": (cached(depths=np.full(SHAPE, 9000, ">u2")), "depths"),
        "flat.h5": (cached(depths=np.ones((10, 96), np.uint8)), "(10, 96)"),
        "fewer.h5": (cached(depths=np.ones((9, 12, 8), np.uint16)), "images"),
        "none.h5": (cached(depths=np.ones((0, 12, 8), np.uint8), images_png=[]), "depths"),
        "black.h5": (cached(depths=np.zeros(SHAPE, np.uint16)), "no valid depth"),
        "unscaled.h5": (cached(scale=None), "scale"),
        "negative.h5": (cached(scale=-0.1), "scale"),
        "kilometres.h5": (cached(scale=1e30), "scale"),
        "offset.h5": (cached(offset=-1.0), "offset"),
        "untrained.h5": (cached(trainNdxs=np.empty(0, int)), "trainNdxs"),
        "fractions.h5": (cached(testNdxs=np.arange(6, 10) + 0.5), "testNdxs"),
        "overlap.h5": (cached(testNdxs=np.arange(5, 10)), "exactly once"),
        "beyond.h5": (cached(testNdxs=np.arange(7, 11)), "exactly once"),
        "numbers.h5": (cached(images_png=np.zeros(10)), "images_png"),
        "images.h5": (cached(images_png=[np.zeros(9, np.uint8)] * 10), "frame 0"),
        "large.h5": (cached(images_png=[np.frombuffer(picture(3000, 2000), np.uint8)] * 10), "3000 x 2000"),
        "scenes.h5": (cached(scenes=np.arange(10)), "scenes"),
        "two.h5": (cached(scenes=["a", "b"]), "scenes"),
        "imageless.mat": (matlab(images=None), "images"),
        "ints.mat": (matlab(depths=np.ones((10, 24, 16), np.int32)), "depths"),
        "axes.mat": (matlab(images=np.zeros((16, 24, 3, 10), np.uint8)), "images"),
        "scenes.mat": (matlab(scenes=np.zeros((1, 10))), "scenes"),
    },
    "TRAIN --weights {}": {
        "folder.pth": (os.mkdir, "folder.pth"),
        "empty.pth": (b"", "empty.pth cannot be read"),
        "page.pth": (HTML, "web page"),
        "page.pth.xz": (lzma.compress(HTML), "web page"),
        "cut.pth": (lambda: half(state()), "cut.pth"),
        "cut.pth.xz": (lambda: lzma.compress(state(), preset=0)[:-500], "cut short"),
        "header.safetensors": ((2**60).to_bytes(8, "little") + b"{}", "no file of tensors"),
        "claims.pth": (lambda: state("fc.weight", torch.zeros(1, 1).expand(2**20, 2**20)), "unpacks to more"),
        "one.pth": (lambda: saved({"conv1.weight": torch.zeros(2)}), "does not fit"),
        "shape.pth": (lambda: state(value=torch.zeros(3)), "bn1.bias is (3,) there, and (64,)"),
        "nan.pth": (lambda: state(value=torch.full((64,), float("nan"))), "not finite"),
        "int8.pth": (lambda: state(CONV, torch.zeros(8, 64, 3, 3, dtype=torch.int8)), f"{CONV} as int8"),
        "list.pth": (lambda: saved([1, 2]), "in a list"),
        "named.pth": (lambda: saved({"net": {"a": torch.ones(2), "b": torch.ones(2)}}), "named a, b"),
    },
    "TRAIN --ticket {}": {
        "weights.pt": (lambda: state(CONV, torch.full((8, 64, 3, 3), 0.3)), "other than 0 and 1"),
        "page.npz": (HTML, "page.npz"),
        "order.npz": (arrays(**{f"{CONV}_mask": np.ones((2, 2), ">f4")}), "order.npz"),
    },
    "predict --run abcdef {}": {
        "folder.jpg": (os.mkdir, "folder.jpg"),
        "page.jpg": (HTML, "cannot be decoded"),
        "cut.png": (half(picture(400, 300)), "cannot be decoded"),
        "huge.png": (huge_picture(), "million pixels"),
        "photo.png": (picture(), "no run abcdef"),
    },
}

ROWS = """
data absent.mat | absent.mat
data rooms:2 | rooms:2
data room | say rooms, rooms:N
data https://example.org/nyu.h5 | no file https
data LONG.h5 | there is no file
train --data absent.h5 | absent.h5
train --data rooms:24 --device gpu | gpu
train --data rooms:24 --device cuda:99 | cuda:99
show abcdef | abcdef
show absent.png | absent.png
TRAIN dropout=0.5 | dropout
TRAIN epochs | name=value
TRAIN epochs= | int
TRAIN density=half | float
TRAIN flip=maybe | flip
TRAIN arm=magic | arm
TRAIN arm=omp density=1e-12 | keeps none
TRAIN arm=imp density=0.5 | 0.8^k
TRAIN batch=100 | batch
TRAIN arm=file | mask file
TRAIN arm=omp density=0.5 --ticket ones.pt | only that arm
TRAIN --frames 4 4 | rooms:N
TRAIN lr_encoder=1e30 lr_decoder=1e30 | diverged
data page.h5 | web page
data whole.mat | official split does not fit
TRAIN --weights absent.pth | no weights file absent.pth
train --data rooms:24 --weights r18.pth backbone=resnet50 | holds a resnet18
TRAIN --weights IMAGENET1K_V9 | IMAGENET1K_V9
TRAIN --ticket absent.pt | no ticket or mask file absent.pt
ticket draw n.txt | n.txt
ticket show absent.pt | absent.pt
ticket show page.h5 | page.h5
predict --run abcdef absent.jpg | absent.jpg
build --data absent.h5 | absent.h5
build --weights absent.pth | absent.pth
show b.png | sidecar
cost --device cpu --out cost.json | is no measurement
ticket draw notes.npz | notes.npz
"""
ROWS = [row.split(" | ") for row in ROWS.strip().splitlines()]
ROWS += [(way.format(name), words) for way, files in BAD.items() for name, (_, words) in files.items()]
FILES |= {name: content for files in BAD.values() for name, (content, _) in files.items()}


def line(**change):
    record = {"key": "k", "study": "own", "arm": "dense", "density": 1.0, "seed": 0, "data": {}, "init": {}}
    return (
        json.dumps(sealed(record | {"config": {"height": 8, "width": 8, "epochs": 1}} | change)) + "\n"
    ).encode()


RECORDS = [  # file, content, words
    ("results/runs.jsonl", b"not json\n", "line 1"),
    ("results/runs.jsonl", b"\xff\xfe\x00{\n", "line 1"),
    ("results/runs.jsonl", b"[" * 10**5, "line 1"),
    ("results/runs.jsonl", b"[1]\n", "line 1"),
    ("results/runs.jsonl", line(init="a").replace(b'"a"', b'"<script>"'), "line 1"),
    ("results/runs.jsonl", line(key="../../x"), "line 1"),
    ("results/runs.jsonl", line().replace(b'"density": 1.0', b'"density": 0.5'), "was changed"),
    ("results/runs.jsonl", line(arm="quantum"), "later version"),
    ("results/runs.jsonl", line(science_version=99), "later version"),
    ("runs/abc/record.json", b'{"key": "abc", ', "record.json"),
    ("runs/abc/failed.json", b'{"key": "abc", ', "failed.json"),
]


pytestmark = pytest.mark.usefixtures("elsewhere", "narrow")
MADE = {"failed.json", "ticket.npz"}  # of a run that diverges


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts}


def one_sentence(command, words, folder, capsys):
    before = contents(folder)
    assert main(command) == 2
    shown = capsys.readouterr().err
    said = [line for line in shown.splitlines() if line.startswith("lthdepth: ")]  # besides progress bars
    assert len(said) == 1 and words in said[0] and len(said[0]) < 400 and "Traceback" not in shown
    after = contents(folder)
    assert before.items() <= after.items()  # nothing overwritten, nothing removed
    assert {p.name for p in after.keys() - before.keys()} <= (MADE if words == "diverged" else set())


@pytest.mark.parametrize(("command", "words"), ROWS, ids=lambda v: v)
def test_a_bad_input_gets_one_sentence(command, words, elsewhere, capsys, monkeypatch):
    if ".mat" in command:
        monkeypatch.setattr(nyu, "DATA_DIR", elsewhere / "data")
    command = shlex.split(command.replace("TRAIN", TRAIN).replace("LONG", "x" * 300))
    for name in command:
        content = FILES.get(name)
        if content in (os.mkdir, os.mkfifo):
            content(name)
        elif content is not None:
            Path(name).write_bytes(content() if callable(content) else content)
    one_sentence(command, words, elsewhere, capsys)


@pytest.mark.parametrize(("file", "content", "words"), RECORDS)
def test_a_bad_record_gets_one_sentence(file, content, words, elsewhere, capsys):
    Path(file).parent.mkdir(parents=True)
    Path(file).write_bytes(content)
    one_sentence(["show"], words, elsewhere, capsys)
