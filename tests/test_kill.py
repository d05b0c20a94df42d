"""A handful of trials of the kill test; `python benchmarks/kill.py` does a hundred."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("kind", "trials"), [("train", 3), ("sweep", 1)])
def test_killed_work_that_is_started_again_ends_as_if_nothing_had_happened(kind, trials, tmp_path):
    command = [sys.executable, "benchmarks/kill.py", "--trials", str(trials), "--kind", kind, "--seed", "suite"]
    done = subprocess.run([*command, "--folder", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{trials} of {trials} trials ended as if nothing had happened" in done.stdout
    assert os.listdir(tmp_path) == []
