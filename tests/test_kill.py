"""A handful of trials of the kill test: two of one run, one of a sweep. `python benchmarks/kill.py` does a hundred, with builds."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_killed_work_that_is_started_again_ends_as_if_nothing_had_happened(tmp_path):
    command = [
        sys.executable,
        "benchmarks/kill.py",
        "--trials",
        "3",
        "--narrow",
        "--seed",
        "suite",
        "--folder",
        tmp_path,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "3 of 3 trials ended as if nothing had happened" in done.stdout and "sweep 1/1: killed" in done.stdout
    )
    assert os.listdir(tmp_path) == []
