"""Runs of tests, made in a moment and without a word."""

import os
import signal
import time

import torch
from conftest import TINY

from lthdepth.config import level
from lthdepth.data import weights
from lthdepth.runs import run as runs

QUIET = runs.Options(progress=False)
DIFFERS = ("seconds", "images_per_second", "date", "sha256", "study", "device", "commit", "dirty")
SWEPT = (TINY.replace(epochs=8), TINY.replace(seed=1), TINY.replace(arm="imp", density=level(1)))
BROKEN = {"lr_encoder": 1e30, "lr_decoder": 1e30, "epochs": 1}  # a run of it diverges


def make(config, frames, store, initial=weights.NONE, study="toy", **options):
    """The record of a run; options: of `runs.Options`."""
    how = runs.Options(**{"progress": False, "every": 1e9} | options)
    return runs.run(config, runs.Inputs(frames, initial), store, how, study)


def saved(store, record, file="weights.pt"):
    """The tensors that a run has left."""
    return torch.load(store.local / record["key"] / file, weights_only=True)


def dense_of(store):
    """The record of the one dense run in a store."""
    (record,) = (r for r in store.records().values() if r["arm"] == "dense")
    return record


def same(one, two):
    """Whether two state dicts have the same bits."""
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def settled(store):
    """The records of a store without what differs from one making to the next."""
    return {k: {n: v for n, v in r.items() if n not in DIFFERS} for k, r in store.records().items()}


def kill_first(pattern, folder, over=lambda: False):
    """Kill the first worker that writes a checkpoint, unless the work is over; whether one was killed."""
    until = time.monotonic() + 300
    while not over() and time.monotonic() < until:
        for path in folder.glob(pattern):
            lock = path.parents[1] / ".locks" / f"{path.parent.name}.lock"  # says who holds it
            if lock.exists() and (text := lock.read_text(encoding="utf-8").split()):
                os.kill(int(text[1]), signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False
