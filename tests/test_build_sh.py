"""build.sh where things go wrong: what a person is told, and what a shell may not change."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASH = shutil.which("bash")


def program(path, script):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def build_sh(folder, *words, script=None, **environment):
    """The script in a folder of its own, where python3 prints `folder/pip` and makes no environment."""
    for name in ("build.sh", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    program(folder / "bin" / "python3", f'[ "$2" = venv ] && cat "{folder}/pip" && exit 1\nexit 0')
    if not (folder / "bin" / "df").exists():
        program(folder / "bin" / "df", "printf 'x\\nx 1 1 99999999 1 x\\n'")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "PYTHONPATH")}
    path = environment.pop("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return subprocess.run(
        [BASH, script or str(folder / "build.sh"), *words],
        capture_output=True,
        encoding="utf-8",
        env=clean | {"PATH": path} | environment,
        cwd=folder,
        check=False,
    )


NO_SPACE = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
NO_PROXY = "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'"
LOGS = {
    NO_SPACE: "disk is full",
    NO_PROXY: "HTTPS_PROXY",
    "Temporary failure in name resolution": "HTTPS_PROXY",
}
LOGS["ERROR: No matching distribution found for torch==2.14.1"] = "install.log"


@pytest.mark.parametrize("log, told", LOGS.items())
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_failed_installation_says_why(log, told, quiet, tmp_path):
    (tmp_path / "pip").write_text(log + "\n", encoding="utf-8")
    done = build_sh(tmp_path, *quiet)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("build.sh: the installation failed") and told in last
    assert log in done.stderr  # the log's end stands above
    assert ("Making the environment" in done.stderr) == (not quiet)
    assert not (tmp_path / ".venv" / "lthdepth").exists()


def test_a_python_without_venv_is_told(tmp_path):
    for name in ("python3.11", "python3.12", "python3.13"):
        program(tmp_path / "bin" / name, "exit 1")
    (tmp_path / "own").mkdir()
    program(tmp_path / "own" / "python3", "exit 1")
    done = build_sh(tmp_path, PATH=f"{tmp_path / 'own'}:{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 2 and "python3-venv" in done.stderr and not (tmp_path / ".venv").exists()


def test_too_little_disk_is_said_before_anything_is_fetched(tmp_path):
    program(tmp_path / "bin" / "df", "printf 'x\\nx 1 1 3145728 1 x\\n'")
    done = build_sh(tmp_path)
    assert done.returncode == 2
    assert "needs 10 GB of free disk space" in done.stderr and "has 3 GB" in done.stderr


WRONG = {
    '"poster"': (["--profile", "poster"], {}),
    "--data needs a value": (["--data"], {}),
    '"everything"': (["everything"], {}),
} | {f"PYTHON={name} is no Python": ([], {"PYTHON": name}) for name in ("/no/such/python", "ls", "true", "/")}


@pytest.mark.parametrize("told", WRONG)
def test_a_wrong_word_or_interpreter_is_named(told, tmp_path):
    words, environment = WRONG[told]
    done = build_sh(tmp_path, *words, **environment)
    assert done.returncode == 2 and told in done.stderr and not (tmp_path / ".venv").exists()


def test_what_a_killed_installation_left_is_made_anew(tmp_path):
    (tmp_path / "pip").write_text("no\n", encoding="utf-8")
    half = tmp_path / ".venv" / "bin" / "python"
    program(tmp_path / ".venv" / "x", "")
    program(half, "exit 0")
    build_sh(tmp_path)
    assert not half.exists() and (tmp_path / ".venv" / "install.log").read_text(encoding="utf-8") == "no\n"


def test_an_environment_that_another_process_makes_is_left_alone(tmp_path):
    """Also where there are neither ps nor flock, as in slim containers."""
    for name in ("cat", "cksum", "dirname", "grep", "rm"):
        program(tmp_path / "slim" / name, f'exec {shutil.which(name)} "$@"')
    real = f'[ "$1" = -c ] && exec {sys.executable} "$@"\nexit 0'
    program(tmp_path / "slim" / "python3", real)
    half = tmp_path / ".venv" / "half"
    program(half, "")
    with open(tmp_path / ".venv.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = build_sh(tmp_path, PATH=str(tmp_path / "slim"))
    assert done.returncode == 2 and "another build.sh is making" in done.stderr and half.exists()


SHELLS = {"CDPATH": ".:/tmp", "BASH_FUNC_cd%%": "() { echo elsewhere; }", "SHELLOPTS": "noglob"}
SHELLS |= {"POSIXLY_CORRECT": "1", "GREP_OPTIONS": "--invert-match"}


@pytest.mark.parametrize("name", SHELLS)
def test_the_callers_shell_changes_nothing(name, tmp_path):
    (tmp_path / "pip").write_text("ERROR: No space left on device\n", encoding="utf-8")
    plain = build_sh(tmp_path)
    done = build_sh(tmp_path, script="build.sh", **{name: SHELLS[name]})
    assert done.returncode == 2 and done.stderr == plain.stderr and "disk is full" in done.stderr


def test_help_needs_nothing(tmp_path):
    done = build_sh(tmp_path, "--help", PYTHON="/no/such/python")
    assert done.returncode == 0 and "--quiet" in done.stdout and "#" not in done.stdout
