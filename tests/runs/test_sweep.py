"""Sweeps: what is missing and its order, what fails or is busy, several workers."""

import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import TINY
from making import QUIET, SWEPT, kill_first, make, settled

from lthdepth import files, mask
from lthdepth.config import level
from lthdepth.data import nyu, weights
from lthdepth.model import FCRN
from lthdepth.runs import run as runs
from lthdepth.runs import sweep
from lthdepth.training import arms

pytestmark = pytest.mark.usefixtures("narrow")

ONE = TINY.replace(epochs=1, holdout=False)


@pytest.fixture
def given(frames):
    return runs.Inputs(frames, weights.NONE)


def test_what_a_run_costs(frames):
    """17.5 G products a pass in the paper's network; three passes a frame of training, one a score."""
    assert sweep.macs("resnet50", 228, 304) == pytest.approx(17.5e9, rel=0.01)
    counts = mask.densities(arms.start(TINY, weights.NONE).ticket, FCRN("resnet18"), 32, 32)["counts"]
    assert sweep.macs("resnet18", 32, 32) == counts["mac"]
    passes = 3 * 3 * 12 + 4 + 4 * (3 + 1)  # 12 to fit, 4 to test, 4 to validate 3 + 1 times
    assert sweep.flops(TINY, frames) == 2 * counts["mac"] * passes
    assert sweep.flops(TINY.replace(arm="floor"), frames) == 0


def test_what_a_run_needs_comes_before_it_and_is_made_only_where_it_is_missing(given, store):
    deep = ONE.replace(arm="imp", density=level(3))
    study = [ONE, ONE.replace(arm="omp", density=level(3)), deep, ONE.replace(seed=1)]
    todo = sweep.missing(study, given, store)
    wanted = [("dense", 0, 0, True), ("omp", 3, 0, False)]
    wanted += [("imp", 1, 0, True), ("imp", 2, 0, True), ("imp", 3, 0, False), ("dense", 0, 1, False)]
    rounds = [round(math.log(c.density, 0.8)) for c in todo]
    made = [(c.arm, k, c.seed, how.weights) for k, (c, how) in zip(rounds, todo.items())]
    assert made == wanted
    for file in ("weights.pt", "ticket.npz"):  # a later round needs them
        make(ONE, given.frames, store, weights=True)
        assert list(sweep.missing(study, given, store)) == list(todo)[1:]
        (store.local / given.key(ONE) / file).unlink()
        assert ONE in sweep.missing(study, given, store) and not sweep.missing([ONE], given, store)


def test_what_another_process_makes_is_left_to_the_end_and_then_taken(given, store, capsys, monkeypatch):
    other, study = runs.Store(store.local.parent / "other", store.recorded), [ONE, ONE.replace(arm="floor")]
    busy = files.locked(store.local / given.key(ONE))
    busy.__enter__()

    def finish(seconds):  # the other process does, while this one waits
        key = make(ONE, given.frames, other).key
        shutil.copytree(other.local / key, store.local / key)
        busy.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", finish)
    assert sweep.sweep(study, given, store, QUIET, "toy") == ([], {})
    shown = capsys.readouterr()
    assert ["floor" in line for line in shown.out.splitlines()] == [True, False]
    assert shown.err.count("is at work on") == 1


def test_nothing_is_begun_after_the_deadline_and_a_stopped_run_is_left(given, store):
    study = [TINY.replace(seed=seed) for seed in range(3)]
    late = replace(QUIET, deadline=time.monotonic() - 1)
    assert sweep.sweep(study, given, store, late, "toy") == (study, {}) and not store.local.exists()
    soon = replace(QUIET, deadline=time.monotonic() + 0.01)
    left, failed = sweep.sweep(study, given, store, soon, "toy")
    assert left == study and not failed and list(store.local.glob("*/checkpoint.pt"))


TOY = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from conftest import narrow_networks
from making import SWEPT

from lthdepth.runs import studies
from lthdepth.runs.store import Store

narrow_networks(setattr)
studies.study = lambda *_: studies.Study("quick", "Toy", SWEPT)
Store.__init__.__defaults__ = ({store!r}, "none")
"""


def test_two_workers_make_the_records_of_one_though_one_is_killed(tmp_path):
    one, two = (runs.Store(tmp_path / name, tmp_path / "none") for name in ("one", "two"))
    inputs = runs.Inputs(nyu.load("rooms:24"), weights.NONE)
    assert sweep.sweep(SWEPT, inputs, one, QUIET, "quick") == ([], {})
    (tmp_path / "sitecustomize.py").write_text(
        TOY.format(root=str(runs.ROOT), store=str(two.local)), encoding="utf-8"
    )
    words = [sys.executable, "-m", "lthdepth", "sweep", "quick", "--data", "rooms:24", "--device", "cpu"]
    words += ["--every", "0"]
    paths = os.pathsep.join([str(tmp_path), str(runs.ROOT)])
    how = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen([*words, "--jobs", "2"], **how, stderr=subprocess.PIPE, encoding="utf-8")
    killed = kill_first("*/checkpoint.pt", two.local, lambda: process.poll() is not None)
    _, said = process.communicate()
    assert process.returncode == 0 and killed and "a worker was killed" in said, said
    assert settled(one) == settled(two) and len(settled(one)) == 4
