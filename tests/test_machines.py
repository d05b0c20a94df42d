"""Machines that are not ours: a user who may write nothing."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAKE = """#!/bin/sh
[ "$1" = -c ] && echo True && exit
touch "$PYTHONPATH/build" "$HOME/.cache" && echo "$PYTHONPATH" "$@"
"""


@pytest.fixture
def clone():
    """A folder with build.sh that everyone may read, and a Python that writes where a build writes."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        (clone / "lthdepth").mkdir(parents=True)
        shutil.copy(ROOT / "build.sh", clone)
        (clone / "python").write_text(FAKE, encoding="utf-8")
        for path in (clone / "build.sh", clone / "python", clone / "lthdepth", clone, Path(folder)):
            path.chmod(0o555)
        yield clone
        for path in (clone / "lthdepth", clone, Path(folder)):
            path.chmod(0o755)


def test_a_user_who_may_write_neither_clone_nor_home_builds_in_a_copy(clone):
    """The paper comes out, and nothing of the clone is touched."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv")
    other = ["setpriv", "--reuid=12345", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*other, "bash", str(clone / "build.sh"), "--profile", "quick"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHON": str(clone / "python")}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    copy, *words = done.stdout.split()
    assert f"building in a copy of it, {copy}" in done.stderr
    assert words[:4] == ["-P", "-m", "lthdepth", "build"] and Path(copy, "lthdepth").is_dir()
    assert {path.name for path in clone.iterdir()} == {"build.sh", "lthdepth", "python"}
    shutil.rmtree(copy)


@pytest.fixture
def latin(tmp_path):
    """The environment of a person whose system speaks ISO-8859-1; without the locale, whose terminal does."""
    environment = os.environ | {"PYTHONUTF8": "0", "OMP_NUM_THREADS": "1"}
    name = "en_US.ISO-8859-1"
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(tmp_path / name)]
    if shutil.which("localedef") and not subprocess.run(command, capture_output=True, check=False).returncode:
        return environment | {"LOCPATH": str(tmp_path), "LC_ALL": name}
    return environment | {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONCOERCECLOCALE": "0"}


def test_a_latin_terminal_gets_an_answer(latin):
    """Where a table's numbers come from, with an ellipsis, which ISO-8859-1 lacks."""
    command = [sys.executable, "-m", "lthdepth", "show", "figures/comparison_table.csv"]
    done = subprocess.run(command, cwd=ROOT, env=latin, capture_output=True, check=False)
    assert done.returncode == 0 and b"SHA-256" in done.stdout and b"Traceback" not in done.stderr, done.stderr
