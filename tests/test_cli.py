"""The command line: help, tasks from end to end, and how it ends. Mistakes: tests/test_bad_inputs.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from lthdepth import mask
from lthdepth.__main__ import TASKS, main
from lthdepth.config import FIELDS
from lthdepth.runs import run as runs
from lthdepth.runs import studies

ROOT = Path(__file__).resolve().parents[1]
TINY = "--data rooms:24 --device cpu height=32 width=32 batch=4 epochs=1".split()


@pytest.fixture(autouse=True)
def weights(elsewhere, narrow):
    """Those of a narrow ResNet-18, `r18.pth`."""
    torch.save(torchvision.models.get_model("resnet18").state_dict(), "r18.pth")


@pytest.mark.parametrize("task", [task.__name__ for task in TASKS])
def test_help(task, capsys):
    with pytest.raises(SystemExit) as end:
        main([task, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and f"lthdepth {task}" in text
    assert task != "train" or all(f"\n  {name}=" in text for name in FIELDS)


def test_a_tiny_run_from_end_to_end(elsewhere, capsys, monkeypatch):
    words = ["train", *TINY, "backbone=resnet18", "arm=random", "density=0.3"]
    assert main(words) == 0
    line = capsys.readouterr().out.splitlines()[0]
    key = line.split()[0]
    record = json.loads((elsewhere / "runs" / key / "record.json").read_text())
    assert (record["config"]["epochs"], record["config"]["optimiser"]) == (1, "adamw")  # "tuned" is the start
    assert "random     30.00 %" in line and f"rms {record['test']['full']['pooled']['rms']:.3f} m" in line

    monkeypatch.setattr("lthdepth.training.fit.fit", None)  # the second time it is looked up
    assert main(words) == 0 and capsys.readouterr().out.splitlines()[0] == line
    assert main(["show"]) == 0 and capsys.readouterr().out == f"{line}\n1 runs, 0 failed\n"
    assert main(["show", key[:6]]) == 0 and json.loads(capsys.readouterr().out) == record


SWEEP = "sweep quick --data rooms:24"


@pytest.mark.parametrize(
    "words", [f"{SWEEP} --budget nan", f"{SWEEP} --jobs 0", f"{SWEEP} --devise=cpu", "data rooms more"]
)
def test_an_option_that_is_none_or_out_of_range_is_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == 2 and words.split()[-1] in capsys.readouterr().err


def test_a_dry_sweep_trains_nothing(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr(runs, "run", None)
    for seeds, kept in (([], 6), (["--seeds", "1"], 1)):  # the floor has no seed
        assert main([*SWEEP.split(), "--dry-run", *seeds]) == 0
        first, *lines = capsys.readouterr().out.splitlines()
        assert f": {kept} runs" in first and len(lines) == kept + 1 + 2 * (not seeds)  # 2 that IMP needs
        assert all("missing" in line for line in lines) and not (elsewhere / "runs").exists()


def test_the_verdict_on_committed_runs(capsys, monkeypatch):
    monkeypatch.setattr(runs.Store.__init__, "__defaults__", (ROOT / "no-local-runs", ROOT / "results"))
    assert main(["verdict"]) == 0
    out = capsys.readouterr().out
    assert f"of {len(studies.study('paper').configs)} runs recorded" in out
    assert "one-shot magnitude 51.2 %" in out and "*" not in out


# Tickets


def test_tickets_are_drawn_shown_and_trained(elsewhere, capsys):
    assert main("ticket draw a.npz --weights r18.pth --density 0.1".split()) == 0
    state = torch.load("r18.pth")
    size = sum(w.numel() for w in mask.prunable(state).values())
    text = capsys.readouterr().out
    assert f"keeps {round(0.1 * size):,} of {size:,}" in text and "one-shot magnitude" in text
    assert "drawn from these weights" in text
    torch.save({f"{k}_mask": torch.ones(w.shape) for k, w in mask.prunable(state).items()}, "m.pt")  # Chen's
    assert main("ticket show m.pt --weights r18.pth".split()) == 0
    assert "from unknown weights\n" in capsys.readouterr().out
    assert main(["train", *TINY, "--weights", "r18.pth", "--ticket", "a.npz"]) == 0
    (record,) = runs.Store().records().values()
    assert record["arm"] == "file" and record["density"] == record["densities"]["prunable"]
    assert record["density"] == pytest.approx(0.1, abs=1e-4)


# How it ends


def test_an_interrupted_task_says_how_it_continues(monkeypatch, capsys):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Store, "records", stop)
    assert main(["show"]) == 130 and "the same command continues" in capsys.readouterr().err


def lthdepth(*words, before="pass", **how):
    """The command in a process of its own, whose terminal knows ASCII; before: code that it runs first."""
    code = f"import runpy, sys; {before}; runpy.run_module('lthdepth', run_name='__main__', alter_sys=True)"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, stderr=subprocess.PIPE, env=environment, check=False, **how)


def test_a_terminal_that_lacks_a_letter_is_no_reason_to_stop():
    done = lthdepth("train", "--data", "nö.h5", "--device", "cpu")
    assert done.returncode == 2 and done.stderr.startswith(b"lthdepth: ") and done.stderr.count(b"\n") == 1


def test_a_reader_that_leaves_early_is_no_mistake():
    reader, writer = os.pipe()
    os.close(reader)
    done = lthdepth("show", stdout=writer)
    os.close(writer)
    assert done.returncode == 0 and not done.stderr


def test_frames_are_read_without_torch():
    """Which alone takes half of the memory that reading the official file may take."""
    done = lthdepth("data", "rooms:12", before="sys.modules['torch'] = None", stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["name"] == "rooms" and sum(s["frames"] for s in shown["splits"].values()) == 12
