"""build.sh where things go wrong: what a person is told, and what a shell or a machine may not change."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHELL = {"CDPATH": ".:/tmp", "BASH_FUNC_cd%%": "() { echo elsewhere; }", "SHELLOPTS": "noglob"}
SHELL |= {"POSIXLY_CORRECT": "1", "GREP_OPTIONS": "--invert-match"}  # a caller's, which changes nothing


def program(path, script):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def build_sh(tmp_path):
    """The script in a folder of its own, where python3 prints `pip.log` and makes no environment."""
    for name in ("build.sh", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    program(tmp_path / "bin" / "python3", f'[ "$2" = venv ] && cat "{tmp_path}/pip.log" && exit 1\nexit 0')
    program(tmp_path / "bin" / "df", "printf 'x\\nx 1 1 99999999 1 x\\n'")

    def run(*words, **more):
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "PYTHONPATH")}
        clean |= SHELL | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"} | more
        how = {"capture_output": True, "encoding": "utf-8", "cwd": tmp_path, "check": False}
        return subprocess.run([shutil.which("bash"), "build.sh", *words], env=clean, **how)

    return run


LOGS = {
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "disk is full",
    "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'": "HTTPS_PROXY",
    "ERROR: No matching distribution found for torch==2.14.1": "install.log",
}


@pytest.mark.parametrize("log, told", LOGS.items())
def test_a_failed_installation_says_why_and_what_a_killed_one_left_is_made_anew(
    log, told, build_sh, tmp_path
):
    (tmp_path / "pip.log").write_text(log + "\n", encoding="utf-8")
    half = tmp_path / ".venv" / "half"
    program(half, "")
    done = build_sh("--quiet")
    *before, last = done.stderr.strip().splitlines()
    assert done.returncode == 2 and last.startswith("build.sh: the installation failed") and told in last
    assert log in before and "Making the environment" not in done.stderr
    assert not half.exists() and not (tmp_path / ".venv" / "lthdepth").exists()


PYTHONS = ("python3", "python3.11", "python3.12", "python3.13")
WRONG = {  # what is told: words, environment, programs of the machine
    "python3-venv": ([], {}, dict.fromkeys(PYTHONS, "exit 1")),
    "needs 10 GB of free disk space": ([], {}, {"df": "printf 'x\\nx 1 1 3145728 1 x\\n'"}),
    '"poster"': (["--profile", "poster"], {}, {}),
    "--data needs a value": (["--data"], {}, {}),
    '"everything"': (["everything"], {}, {}),
    "PYTHON=/no/such/python is no Python": ([], {"PYTHON": "/no/such/python"}, {}),
}


@pytest.mark.parametrize("told", WRONG)
def test_what_lacks_or_is_wrong_is_told_before_anything_is_made(told, build_sh, tmp_path):
    words, environment, programs = WRONG[told]
    for name, script in programs.items():
        program(tmp_path / "bin" / name, script)
    done = build_sh(*words, **environment)
    assert done.returncode == 2 and told in done.stderr and "Making" not in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_another_process_makes_is_left_alone(build_sh, tmp_path):
    program(tmp_path / "bin" / "python3", f'[ "$1" = -c ] && exec {sys.executable} "$@"\nexit 0')
    half = tmp_path / ".venv" / "half"
    program(half, "")
    with open(tmp_path / ".venv.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = build_sh()
    assert done.returncode == 2 and "another build.sh is making" in done.stderr and half.exists()


WRITES = """[ "$1" = -c ] && echo True && exit
touch "$PYTHONPATH/build" "$HOME/.cache" && echo "$PYTHONPATH" "$@"
"""


def test_a_user_who_may_write_neither_clone_nor_home_builds_in_a_copy():
    """With a Python that writes where a build writes; nothing of the clone is touched."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv")
    other = ["setpriv", "--reuid=12345", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:  # not below the folder of pytest, which is its user's alone
        clone = Path(folder) / "clone"
        clone.mkdir()
        shutil.copy(ROOT / "build.sh", clone)
        program(clone / "python", WRITES)
        for path, mode in ((clone, 0o555), (Path(folder), 0o755)):
            path.chmod(mode)
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHON": str(clone / "python")}
        command = [*other, "bash", str(clone / "build.sh"), "--profile", "quick"]
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
        clone.chmod(0o755)
        left = {path.name for path in clone.iterdir()}
    copy, *words = done.stdout.split()
    assert done.returncode == 0 and f"building in a copy of it, {copy}" in done.stderr
    assert words[:4] == ["-P", "-m", "lthdepth", "build"] and left == {"build.sh", "python"}
    shutil.rmtree(copy)
