"""Inputs that are a person's mistake, a damaged file or an attack: entrance, what is prepared, the command, what it must say.

Each must get one sentence, exit status 2 and no traceback, run nothing and overwrite nothing (test_bad_inputs.py).
"""

import io
import json
import lzma
import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import h5py
import numpy as np
import torch
import torchvision
from conftest import Evil
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
HTML = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
TINY = ["backbone=resnet18", "height=32", "width=32", "batch=4", "epochs=1"]
TRAIN = ["train", "--data", "rooms:24", "--device", "cpu", *TINY]
FLAG = "ran"  # what a file that is executed would leave behind


def write(name, content):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


# Files made ready


@cache
def resnet18():
    """Bytes of a resnet18 state dict, all zeros: it packs to little."""
    state = {
        k: torch.zeros_like(v) for k, v in torchvision.models.resnet18(weights=None).state_dict().items()
    }
    return state


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def state(**change):
    return saved({**resnet18(), **{k.replace("_", "."): v for k, v in change.items()}})


def masks(**change):
    """Masks of a resnet18 in Chen's form; a change replaces one, None leaves it out."""
    found = {
        f"{k}_mask": torch.ones(v.shape) for k, v in resnet18().items() if v.ndim == 4 and k != "conv1.weight"
    }
    found |= {k.replace("__", "."): v for k, v in change.items()}
    return {k: v for k, v in found.items() if v is not None}


def mask_file(name="mask.pt", **change):
    write(name, saved(masks(**change)))


def ticket_file(name="t.npz", damage=None):
    from lthdepth import mask, ticketfile, tickets

    ticketfile.save(tickets.magnitude(mask.prunable(resnet18()), 0.5), name, "resnet18", "abc")
    if damage:
        content = bytearray(Path(name).read_bytes())
        Path(name).write_bytes(damage(content))


def lying_ticket(**change):
    ticket_file()
    with np.load("t.npz") as file:
        meta, bits = json.loads(file["meta"].tobytes()) | change, file["bits"]
    np.savez("t.npz", meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)


def bomb(name, member, size=2**32 - 2**20):
    """A small archive that says it unpacks to 4 GiB."""
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(2**16))
    content = Path(name).read_bytes()
    write(name, content.replace((2**16).to_bytes(4, "little"), size.to_bytes(4, "little")))


def greedy_xz(name):
    """A packed file that asks for a dictionary of 4 GiB."""
    packed = lzma.compress(b"small", preset=0)
    size = (packed[12] + 1) * 4
    header = bytearray(packed[12 : 12 + size])
    header[header.index(b"\x21\x01") + 2] = 40  # of the filter LZMA2: 4 GiB - 1
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    write(name, packed[:12] + bytes(header) + packed[12 + size :])


def picture(width=12, height=8, mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return np.frombuffer(file.getvalue(), np.uint8)


def cache_file(name="c.h5", **change):
    """A cache of ten small frames; a change replaces a dataset, or an attribute of depths; None leaves it out."""
    parts = {
        "images_png": [picture()] * 10,
        "depths": np.full((10, 12, 8), 9000, np.uint16),
        "trainNdxs": np.arange(6),
        "testNdxs": np.arange(6, 10),
        "scenes": [f"room_{i}" for i in range(10)],
        "scale": 0.0002,
        "offset": 0.0,
    } | change
    with h5py.File(name, "w") as file:
        for key, value in parts.items():
            if value is None:
                continue
            if key in ("scale", "offset"):
                if "depths" in file:
                    file["depths"].attrs[key] = value
            elif key == "images_png":
                images = file.create_dataset(key, (len(value),), h5py.vlen_dtype(np.uint8))
                for i, image in enumerate(value):
                    images[i] = image
            elif callable(value):
                value(file, key)
            else:
                file[key] = value


def endless(file, key):
    """A dataset that claims 7 TB and holds nothing."""
    file.create_dataset(key, (10**5, 10**4, 10**4), np.uint8, chunks=(1, 100, 100), compression="gzip")


def twice(file, key):
    """Two datasets that claim 2 GiB each."""
    for i in range(2):
        file.create_dataset(f"{key}{i}", (2**31,), np.uint8, chunks=(2**20,), compression="gzip")


def outside(file, key):
    write("secret", bytes(2 * 960))
    file.create_dataset(key, (10, 12, 8), np.uint16, external=[("secret", 0, 1920)])


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


def split(content):
    mat_file()
    write("s.json", content)


def half(name, make):
    make()
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[: len(content) // 2])


def record_line(**change):
    record = {
        "key": "k",
        "study": "own",
        "arm": "dense",
        "density": 1.0,
        "seed": 0,
        "config": {"height": 8, "width": 8},
    }
    record |= {"data": {}, "init": {}} | change
    return json.dumps({k: v for k, v in record.items() if v is not None}) + "\n"


def photo(name, size=(40, 30), keep=1.0):
    """A picture file of one colour, of which only a part is kept."""
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "JPEG" if name.endswith(".jpg") else "PNG")
    write(name, file.getvalue()[: int(keep * len(file.getvalue()))])


def huge_photo(name):
    """A small PNG that says it has 400 million pixels."""
    photo(name)
    content = bytearray(Path(name).read_bytes())
    content[16:24] = (20000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    write(name, bytes(content))


def h5(name, fill, key="depths"):
    """An HDF5 file of one dataset, as a function makes it."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(name, "w") as file:
        fill(file, key)


def store(method, *args):
    """A question to the store of the folder."""
    from lthdepth.runs import run as runs

    return lambda: getattr(runs.Store("runs", "results"), method)(*args)


def shell(*words, **environment):
    """A command in a process of its own; what it says on its last line as `UserError`, as it would be here."""
    from lthdepth.errors import UserError

    def go():
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            check=False,
        )
        lines = done.stderr.strip().splitlines()
        if done.returncode == 2 and "Traceback" not in done.stderr and lines:
            raise UserError(lines[-1].split(": ", 1)[1])
        return done.returncode

    return go


def build_sh(**environment):
    return shell("bash", str(ROOT / "build.sh"), "--profile", "quick", **environment)


def lthdepth(*words, **environment):
    return shell(sys.executable, "-m", "lthdepth", *words, **environment)


def program(name):
    """A program that says its name, whatever it is asked."""
    write(name, f"#!/bin/sh\necho {name}\n")
    Path(name).chmod(0o755)


def pretrained(**environment):
    def go():
        from lthdepth.data import weights

        with mock.patch.dict(os.environ, environment):
            weights.load("IMAGENET1K_V1", "resnet18")

    return go


def download(**environment):
    def go():
        from lthdepth.data import download

        with (
            mock.patch.dict(os.environ, environment),
            mock.patch("urllib.request._opener", None),
        ):  # it is made anew
            download.download("m.mat")

    return go


def cluster(**environment):
    """A sweep on a Ray that refuses its address as Ray does."""

    def go():
        from lthdepth.runs import cluster

        ray = SimpleNamespace(
            init=mock.Mock(side_effect=ValueError("Malformed address: 'here'. Expected '<host>:<port>'."))
        )
        with mock.patch.dict(os.environ, environment), mock.patch.object(cluster, "ray", ray):
            cluster.Ray(1, 0, None, None, "quick", 0)

    return go


def both(*makers):
    for make in makers:
        make()


def desk(*args):
    from lthdepth.paper.study import Desk

    return partial(Desk, *args)


WEIGHTS = ["train", "--data", "rooms:24", "--device", "cpu", *TINY, "--weights"]
TICKET = [*TRAIN, "--ticket"]
SPLIT = ["data", "m.mat", "--splits", "s.json", "--out", "o.h5"]
CACHE = ["data", "c.h5"]
PREDICT = ["predict", "--run", "abcdef"]
COST = ["cost", "--device", "cpu"]

# entrance: {what is wrong: (what makes it, the command or function, a word of the answer)}
INPUTS = {
    "command line": {
        "no such data": (None, ["data", "absent.mat"], "absent.mat"),
        "no such cache": (None, ["train", "--data", "absent.h5"], "absent.h5"),
        "no such source": (None, ["train", "--data", "kitchen"], "kitchen"),
        "a folder as data": (partial(Path("folder.h5").mkdir), ["data", "folder.h5"], "folder"),
        "no source": (None, ["data"], "--download"),
        "a source and a download": (None, ["data", "--download", "rooms"], "--download takes no source"),
        "too few rooms": (None, ["data", "rooms:2"], "rooms:2"),
        "rooms without a number": (None, ["data", "rooms:"], "rooms:"),
        "minus rooms": (None, ["data", "rooms:-3"], "rooms:-3"),
        "a cache of another name": (mat_file, ["data", "m.mat", "--out", "o.txt"], "o.txt"),
        "a cache of rooms": (None, ["data", "rooms:24", "--out", "o.h5"], "--out"),
        "a summary of rooms": (None, ["data", "rooms:24", "--record"], "--record"),
        "an unknown device": (None, ["train", "--data", "rooms:24", "--device", "gpu"], "gpu"),
        "a device that is absent": (None, ["train", "--data", "rooms:24", "--device", "cuda:99"], "cuda:99"),
        "an unknown study": (None, ["sweep", "everything", "--data", "rooms:24"], "everything"),
        "a negative budget": (None, ["sweep", "quick", "--data", "rooms:24", "--budget", "-5"], "--budget"),
        "a budget that is no number": (
            None,
            ["sweep", "quick", "--data", "rooms:24", "--budget", "nan"],
            "--budget",
        ),
        "a negative interval": (None, ["sweep", "quick", "--data", "rooms:24", "--every", "-1"], "--every"),
        "an unknown run": (None, ["show", "abcdef"], "abcdef"),
        "an unknown study to show": (None, ["show", "--study", "nope"], "nope"),
        "photos for an arm without": (None, [*TRAIN, "--photos", "some"], "arm logits"),
        "a part of the rooms": (None, [*TRAIN, "--frames", "4", "4"], "rooms:N"),
        "the cost of nothing": (None, [*COST, "--repeats", "0"], "--repeats"),
        "the cost of 0.8^99": (None, [*COST, "--levels", "99"], "--levels"),
        "the cost at no size": (None, [*COST, "--size", "0", "64"], "--size"),
        "the cost of no run": (None, [*COST, "--run", "abcdef"], "no run abcdef"),
        "the cost of a run and a ticket": (None, [*COST, "--run", "abcdef", "--ticket", "t.npz"], "--run"),
        "the cost of no ticket": (None, [*COST, "--ticket", "t.npz"], "t.npz"),
        "the cost of no weights": (None, [*COST, "--weights", "w.pth"], "w.pth"),
        "the cost of another network": (mask_file, [*COST, "--ticket", "mask.pt"], "another network"),
        "the cost on no device": (None, ["cost", "--device", "tpu"], "tpu"),
        "the cost in a file of another name": (None, [*COST, "--out", "cost.csv"], "cost.csv"),
        "the cost in a file of brackets": (
            partial(write, "cost.json", "[" * 10**5),
            [*COST, "--out", "cost.json"],
            "no file of measurements",
        ),
    },
    "environment variables": {
        "PYTHON that is not there": (
            None,
            build_sh(PYTHON="/no/such/python"),
            "PYTHON=/no/such/python is no Python",
        ),
        "PYTHON that is a folder": (None, build_sh(PYTHON="/"), "PYTHON=/ is no Python"),
        "PYTHON that is another program": (None, build_sh(PYTHON="/bin/true"), "no Python"),
        "PYTHON that is too old": (
            partial(program, "old"),
            build_sh(PYTHON="./old"),
            "no Python 3.11 or newer",
        ),
        "PYTHON without the packages": (
            partial(program, "bare"),
            build_sh(PYTHON="./bare"),
            "no Python 3.11 or newer with the packages",
        ),
        "TQDM_MININTERVAL that is no number": (
            None,
            lthdepth("show", TQDM_MININTERVAL="often"),
            "TQDM_MININTERVAL",
        ),
        "MPLBACKEND that is unknown": (None, lthdepth("show", MPLBACKEND="paper"), "MPLBACKEND"),
        "a proxy that is no address": (None, download(http_proxy="http:/x", https_proxy="http:/x"), "proxy"),
        "TORCH_HOME that is a file": (
            partial(write, "home", b""),
            pretrained(TORCH_HOME="home"),
            "could not download",
        ),
        "RAY_ADDRESS that is none": (None, cluster(RAY_ADDRESS="here"), "RAY_ADDRESS"),
    },
    "settings": {
        "an unknown setting": (None, [*TRAIN, "dropout=0.5"], "dropout"),
        "no value": (None, [*TRAIN, "epochs"], "name=value"),
        "no name": (None, [*TRAIN, "=3"], "unknown setting"),
        "a word as a number": (None, [*TRAIN, "seed=one"], "seed"),
        "a fraction as a whole number": (None, [*TRAIN, "seed=1.5"], "seed"),
        "a negative seed": (None, [*TRAIN, "seed=-1"], "seed"),
        "a maybe": (None, [*TRAIN, "flip=maybe"], "flip"),
        "an unknown arm": (None, [*TRAIN, "arm=magic"], "arm"),
        "density 0": (None, [*TRAIN, "arm=omp", "density=0"], "density"),
        "density 1.5": (None, [*TRAIN, "arm=omp", "density=1.5"], "density"),
        "density nan": (None, [*TRAIN, "arm=random", "density=nan"], "density"),
        "density of a dense network": (None, [*TRAIN, "arm=dense", "density=0.5"], "density"),
        "density that keeps nothing": (None, [*TRAIN, "arm=omp", "density=1e-12"], "keeps none"),
        "density between two rounds": (None, [*TRAIN, "arm=imp", "density=0.5"], "0.8^k"),
        "no epochs": (None, [*TRAIN, "epochs=0"], "epochs"),
        "a batch of one": (None, [*TRAIN, "batch=1"], "batch"),
        "too large a batch": (None, [*TRAIN, "batch=100"], "batch"),
        "too small an input": (None, [*TRAIN, "height=16"], "height"),
        "an endless learning rate": (None, [*TRAIN, "lr_encoder=inf"], "lr_encoder"),
        "a negative learning rate": (None, [*TRAIN, "lr_decoder=-1"], "lr_decoder"),
        "momentum 1": (None, [*TRAIN, "momentum=1"], "momentum"),
        "an unknown loss": (None, [*TRAIN, "loss=huber"], "loss"),
        "an unknown precision": (None, [*TRAIN, "precision=float8"], "precision"),
        "patience without validation": (None, [*TRAIN, "holdout=false", "patience=2"], "patience"),
        "a mask without its arm": (None, [*TRAIN, "arm=file"], "mask file"),
        "a step that diverges": (None, [*TRAIN, "lr_encoder=1e30", "lr_decoder=1e30"], "diverged"),
    },
    "cache of frames": {
        "empty": (partial(write, "c.h5", b""), CACHE, "is empty"),
        "a web page": (partial(write, "c.h5", HTML), CACHE, "web page"),
        "cut short": (partial(half, "c.h5", cache_file), CACHE, "c.h5"),
        "another layout": (partial(write, "c.h5", b"\x89HDF\r\n\x1a\n" + bytes(2000)), CACHE, "c.h5"),
        "no depths": (partial(cache_file, depths=None), CACHE, "depths"),
        "depths as floats": (partial(cache_file, depths=np.ones((10, 12, 8), np.float32)), CACHE, "depths"),
        "depths in the other byte order": (
            partial(cache_file, depths=np.full((10, 12, 8), 9000, ">u2")),
            CACHE,
            "depths",
        ),
        "depths of other frames": (
            partial(cache_file, depths=np.ones((9, 12, 8), np.uint16)),
            CACHE,
            "images",
        ),
        "a depth that is a group": (
            partial(cache_file, depths=lambda f, k: f.create_group(k)),
            CACHE,
            "depths",
        ),
        "no scale": (partial(cache_file, scale=None), CACHE, "scale"),
        "scale nan": (partial(cache_file, scale=float("nan")), CACHE, "scale"),
        "scale 0": (partial(cache_file, scale=0.0), CACHE, "scale"),
        "a negative scale": (partial(cache_file, scale=-0.1), CACHE, "scale"),
        "a huge scale": (partial(cache_file, scale=1e30), CACHE, "scale"),
        "no depth anywhere": (
            partial(cache_file, depths=np.zeros((10, 12, 8), np.uint16)),
            CACHE,
            "no valid depth",
        ),
        "no train frames": (partial(cache_file, trainNdxs=np.empty(0, int)), CACHE, "trainNdxs"),
        "a frame in both splits": (partial(cache_file, trainNdxs=np.arange(7)), CACHE, "exactly once"),
        "a frame that is not there": (partial(cache_file, testNdxs=np.arange(7, 11)), CACHE, "frame 10"),
        "images that are none": (
            partial(cache_file, images_png=[np.zeros(9, np.uint8)] * 10),
            CACHE,
            "frame 0",
        ),
        "images of another size": (
            partial(cache_file, images_png=[picture(10000, 10000)] * 10),
            CACHE,
            "10000 x 10000",
        ),
    },
    ".mat and splits": {
        "a web page": (partial(write, "m.mat", HTML), ["data", "m.mat"], "web page"),
        "MATLAB 5": (partial(write, "m.mat", b"MATLAB 5.0 MAT-file"), ["data", "m.mat"], "MATLAB 5"),
        "cut short": (partial(half, "m.mat", mat_file), ["data", "m.mat"], "m.mat"),
        "no images": (partial(mat_file, images=None), ["data", "m.mat"], "images"),
        "depths as whole numbers": (
            partial(mat_file, depths=np.ones((10, 8, 6), np.int32)),
            ["data", "m.mat"],
            "depths",
        ),
        "axes in another order": (
            partial(mat_file, images=np.zeros((6, 8, 3, 10), np.uint8)),
            ["data", "m.mat"],
            "images",
        ),
        "an odd width": (
            partial(
                mat_file, images=np.zeros((10, 3, 7, 6), np.uint8), depths=np.ones((10, 7, 6), np.float32)
            ),
            ["data", "m.mat"],
            "even",
        ),
        "scenes that are numbers": (partial(mat_file, scenes=np.zeros((1, 10))), ["data", "m.mat"], "scenes"),
        "another number of frames": (mat_file, ["data", "m.mat"], "official split does not fit"),
        "depths in millimetres": (
            partial(
                both,
                partial(mat_file, depths=np.full((10, 8, 6), 2500, np.float32)),
                partial(write, "s.json", '{"train": [0,1,2,3,4], "test": [5,6,7,8,9]}'),
            ),
            SPLIT,
            "metres",
        ),
        "no such split": (mat_file, SPLIT, "s.json"),
        "a split that is no JSON": (partial(split, "{train"), SPLIT, "s.json"),
        "a split of fractions": (partial(split, '{"train": [0.5], "test": [1]}'), SPLIT, "whole numbers"),
        "an empty split": (partial(split, '{"train": [], "test": [0,1,2,3,4,5,6,7,8,9]}'), SPLIT, "0 train"),
        "a split counted from 1": (
            partial(split, '{"train": [1,2,3,4,5], "test": [6,7,8,9,10]}'),
            SPLIT,
            "frame 10",
        ),
        "a split of a million brackets": (partial(split, "[" * 10**6), SPLIT, "s.json"),
    },
    "weights": {
        "no such file": (None, [*WEIGHTS, "absent.pth"], "absent.pth"),
        "a folder": (partial(Path("w.pth").mkdir), [*WEIGHTS, "w.pth"], "w.pth"),
        "empty": (partial(write, "w.pth", b""), [*WEIGHTS, "w.pth"], "w.pth"),
        "a web page": (partial(write, "w.pth", HTML), [*WEIGHTS, "w.pth"], "web page"),
        "a web page, packed": (
            partial(write, "w.pth.xz", lzma.compress(HTML)),
            [*WEIGHTS, "w.pth.xz"],
            "w.pth.xz",
        ),
        "cut short": (partial(half, "w.pth", lambda: write("w.pth", state())), [*WEIGHTS, "w.pth"], "w.pth"),
        "packed, cut short": (
            lambda: write("w.pth.xz", lzma.compress(state(), preset=0)[:-500]),
            [*WEIGHTS, "w.pth.xz"],
            "w.pth.xz",
        ),
        "a command in a zip": (
            lambda: write("w.pth", saved({"conv1.weight": Evil(FLAG)})),
            [*WEIGHTS, "w.pth"],
            "nothing in it was run",
        ),
        "a command in a plain pickle": (
            lambda: write("w.pth", pickle.dumps(Evil(FLAG))),
            [*WEIGHTS, "w.pth"],
            "w.pth",
        ),
        "a command, packed": (
            lambda: write("w.pth.xz", lzma.compress(saved(Evil(FLAG)))),
            [*WEIGHTS, "w.pth.xz"],
            "nothing in it was run",
        ),
        "an archive of 4 GiB": (
            partial(bomb, "w.pth", "archive/data.pkl"),
            [*WEIGHTS, "w.pth"],
            "unpacks to more",
        ),
        "a classifier that claims 4 TiB": (
            lambda: write("w.pth", state(fc_weight=torch.zeros(1, 1).expand(2**20, 2**20))),
            [*WEIGHTS, "w.pth"],
            "unpacks to more",
        ),
        "a packed file that wants 4 GiB": (
            partial(greedy_xz, "w.pth.xz"),
            [*WEIGHTS, "w.pth.xz"],
            "w.pth.xz",
        ),
        "safetensors with a header of 2^60": (
            partial(write, "w.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
            [*WEIGHTS, "w.safetensors"],
            "w.safetensors",
        ),
        "another network": (
            lambda: write("w.pth", saved({"conv1.weight": torch.zeros(2)})),
            [*WEIGHTS, "w.pth"],
            "does not fit",
        ),
        "one layer of another shape": (
            lambda: write("w.pth", state(bn1_bias=torch.zeros(3))),
            [*WEIGHTS, "w.pth"],
            "does not fit",
        ),
        "another depth of network": (
            lambda: write("w.pth", state()),
            [*WEIGHTS, "w.pth", "backbone=resnet50"],
            "resnet18",
        ),
        "nan": (
            lambda: write("w.pth", state(bn1_bias=torch.full((64,), float("nan")))),
            [*WEIGHTS, "w.pth"],
            "not finite",
        ),
        "a list": (lambda: write("w.pth", saved([1, 2])), [*WEIGHTS, "w.pth"], "in a list"),
        "an unknown name": (None, [*WEIGHTS, "IMAGENET1K_V9"], "IMAGENET1K_V9"),
    },
    "tickets and masks": {
        "no such mask": (None, [*TICKET, "absent.pt"], "absent.pt"),
        "empty": (partial(write, "t.npz", b""), [*TICKET, "t.npz"], "t.npz"),
        "a web page": (partial(write, "t.npz", HTML), [*TICKET, "t.npz"], "t.npz"),
        "cut short": (partial(ticket_file, damage=lambda c: c[: len(c) // 2]), [*TICKET, "t.npz"], "t.npz"),
        "a flipped bit": (
            partial(ticket_file, damage=lambda c: c[:300] + bytes([c[300] ^ 1]) + c[301:]),
            [*TICKET, "t.npz"],
            "t.npz",
        ),
        "a later format": (
            partial(lying_ticket, format="lthdepth ticket 9"),
            ["ticket", "show", "t.npz"],
            "this version reads",
        ),
        "layers that are not in it": (
            partial(lying_ticket, layers={"a": [2, 2, 1, 1]}),
            ["ticket", "show", "t.npz"],
            "damaged",
        ),
        "a claim of 10^12 weights": (
            partial(lying_ticket, layers={"a": [10**6, 10**6]}),
            ["ticket", "show", "t.npz"],
            "damaged",
        ),
        "a command in a .pt": (
            lambda: mask_file(layer1__0__conv1__weight_mask=Evil(FLAG)),
            [*TICKET, "mask.pt"],
            "nothing in it was run",
        ),
        "a command in a .npz": (
            lambda: np.savez("t.npz", a=np.array([Evil(FLAG)], object)),
            [*TICKET, "t.npz"],
            "t.npz",
        ),
        "an archive of 4 GiB": (
            partial(bomb, "t.npz", "meta.npy"),
            ["ticket", "show", "t.npz"],
            "unpacks to more",
        ),
        "a layer of endless size": (
            partial(lying_ticket, layers={"a": [float("inf")]}),
            ["ticket", "show", "t.npz"],
            "damaged",
        ),
        "a header of brackets": (
            lambda: np.savez("t.npz", meta=np.frombuffer(b"[" * 10**5, np.uint8), bits=np.zeros(1, np.uint8)),
            ["ticket", "show", "t.npz"],
            "damaged",
        ),
        "masks in the other byte order": (
            lambda: np.savez("m.npz", **{"a.weight_mask": np.ones((2, 2), ">f4")}),
            [*TICKET, "m.npz"],
            "m.npz",
        ),
        "a layer is missing": (
            lambda: mask_file(layer1__0__conv1__weight_mask=None),
            [*TICKET, "mask.pt"],
            "no mask for",
        ),
        "another layer": (
            lambda: mask_file(layer9__0__conv1__weight_mask=torch.ones(2)),
            [*TICKET, "mask.pt"],
            "layer9",
        ),
        "another shape": (
            lambda: mask_file(layer1__0__conv1__weight_mask=torch.ones(1, 2, 3, 4)),
            [*TICKET, "mask.pt"],
            "(1, 2, 3, 4)",
        ),
        "values of one half": (
            lambda: mask_file(layer1__0__conv1__weight_mask=torch.full((64, 64, 3, 3), 0.5)),
            [*TICKET, "mask.pt"],
            "other than 0 and 1",
        ),
        "a ticket of an arm that trains": (None, ["ticket", "draw", "n.npz", "--arm", "imp"], "imp"),
        "a ticket over another file": (
            partial(write, "notes.npz", b"notes"),
            ["ticket", "draw", "notes.npz"],
            "notes.npz",
        ),
        "a ticket without its name": (None, ["ticket", "draw", "n.txt"], "n.txt"),
        "a conversion into nothing": (mask_file, ["ticket", "convert", "mask.pt"], "--out"),
        "a picture of no kind": (ticket_file, ["ticket", "show", "t.npz", "--picture", "p.nope"], "p.nope"),
    },
    "photos": {
        "no such photo": (None, [*PREDICT, "p.jpg"], "p.jpg"),
        "a folder": (partial(Path("p.jpg").mkdir), [*PREDICT, "p.jpg"], "p.jpg"),
        "a web page": (partial(write, "p.jpg", HTML), [*PREDICT, "p.jpg"], "cannot be decoded"),
        "cut short": (partial(photo, "p.jpg", keep=0.6), [*PREDICT, "p.jpg"], "cannot be decoded"),
        "400 million pixels": (partial(huge_photo, "p.png"), [*PREDICT, "p.png"], "million pixels"),
        "a panorama": (partial(photo, "p.jpg", (400, 30)), [*PREDICT, "p.jpg"], "400×30"),
        "an unknown run": (partial(photo, "p.jpg"), [*PREDICT, "p.jpg"], "no run abcdef"),
    },
    "records": {
        "a line that is no JSON": (partial(write, "results/runs.jsonl", "not json\n"), ["show"], "line 1"),
        "a line that is no text": (
            partial(write, "results/runs.jsonl", b"\xff\xfe\x00{\n"),
            ["show"],
            "line 1",
        ),
        "a line of brackets": (partial(write, "results/runs.jsonl", "[" * 10**5), ["show"], "line 1"),
        "a record without a seed": (
            lambda: write("results/runs.jsonl", record_line(seed=None)),
            ["show"],
            "line 1",
        ),
        "a density that is text": (
            lambda: write("results/runs.jsonl", record_line(density="all")),
            ["show"],
            "line 1",
        ),
        "a record that was changed": (
            lambda: write("results/runs.jsonl", record_line(sha256="0" * 64)),
            ["show"],
            "was changed",
        ),
        "an arm of the future": (
            lambda: write("results/runs.jsonl", record_line(arm="quantum")),
            ["show"],
            "later version",
        ),
        "science of the future": (
            lambda: write("results/runs.jsonl", record_line(science_version=99)),
            ["show"],
            "later version",
        ),
        "science of no number": (
            lambda: write("results/runs.jsonl", record_line(science_version="new")),
            ["show"],
            "line 1",
        ),
        "a record without its size": (
            lambda: write("results/runs.jsonl", record_line(config={})),
            ["show"],
            "line 1",
        ),
        "scores that are text": (
            lambda: write("results/runs.jsonl", record_line(test={"full": "good"})),
            ["show"],
            "line 1",
        ),
        "a score that is text": (
            lambda: write(
                "results/runs.jsonl",
                record_line(test={"full": {"pooled": {"rel": 1, "rms": 1, "delta1": 1, "rmse": "1"}}}),
            ),
            ["show"],
            "finite number",
        ),
        "a failed run among the results": (
            lambda: write("results/runs.jsonl", record_line(status="failed")),
            ["show"],
            "failed, not finished",
        ),
        "a result among the failed runs": (
            lambda: write("results/failed.jsonl", record_line(status="finished")),
            ["show"],
            "finished, not failed",
        ),
        "a key that leads out of the folder": (
            lambda: write("far/runs.jsonl", record_line(key="../../x")),
            ["merge", "far"],
            "line 1",
        ),
        "a label that is markup": (
            lambda: write("results/runs.jsonl", record_line(init={"name": "<script>"})),
            ["show"],
            "line 1",
        ),
        "arrays that claim 7 TB": (
            lambda: h5("results/arrays/k.h5", endless),
            store("arrays", "k"),
            "unpacks to more",
        ),
        "arrays of 2 GiB, twice": (
            lambda: h5("results/arrays/k.h5", twice),
            store("arrays", "k"),
            "unpacks to more",
        ),
        "arrays kept in another file": (
            lambda: h5("results/arrays/k.h5", outside),
            store("arrays", "k"),
            "another file",
        ),
        "half a record": (partial(write, "runs/abc/record.json", '{"key": "abc", '), ["show"], "record.json"),
        "half a failed record": (
            partial(write, "runs/abc/failed.json", '{"key": "abc", '),
            ["show"],
            "failed.json",
        ),
        "a figure without a sidecar": (partial(write, "a.png", b"png"), ["show", "a.png"], "sidecar"),
        "a sidecar that is no JSON": (
            partial(both, partial(write, "a.png", b"png"), partial(write, "a.json", "{")),
            ["show", "a.png"],
            "a.json",
        ),
        "a sidecar that is no text": (
            partial(both, partial(write, "a.png", b"png"), partial(write, "a.json", b"\xff")),
            ["show", "a.png"],
            "a.json",
        ),
        "no such figure": (None, ["show", "absent.png"], "absent.png"),
        "a store that is a file": (partial(write, "runs", b""), [*TRAIN, "arm=floor"], "cannot write"),
    },
    "notebooks and builds": {
        "an unknown profile": (None, desk("poster"), "poster"),
        "data that are not there": (None, desk("quick", "absent.h5"), "absent.h5"),
        "weights without data": (None, desk("paper", None, "w.pth"), "weights without data"),
        "a device that is none": (None, desk("quick", "rooms:24", None, "tpu"), "tpu"),
        "a build from no data": (None, ["build", "--data", "absent.h5"], "absent.h5"),
        "a build from a web page": (
            partial(write, "page.h5", HTML),
            ["build", "--data", "page.h5"],
            "web page",
        ),
        "a build from no weights": (None, ["build", "--weights", "absent.pth"], "absent.pth"),
    },
}

CASES = [(entrance, name) for entrance, inputs in INPUTS.items() for name in inputs]
