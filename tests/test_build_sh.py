"""build.sh where things go wrong: what a person is told."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build_sh(folder, *words, **environment):
    """The script in a folder of its own, with a python3 that does what `folder/pip` says."""
    for name in ("build.sh", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    python = folder / "bin" / "python3"
    python.parent.mkdir(exist_ok=True)
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit {environment.pop("version", 0)}\n[ "$2" = venv ] && cat "{folder}/pip" && exit 1\n'
    )
    python.chmod(0o755)
    path = f"{python.parent}:{os.environ['PATH']}"
    command = ["bash", str(folder / "build.sh"), *words]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "PYTHONPATH")}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=clean | {"PATH": path} | environment,
        cwd=folder,
        check=False,
    )


@pytest.mark.parametrize(
    "log, told",
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        ("The virtual environment was not created because ensurepip is not available.", "python3-venv"),
        (
            "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'",
            "HTTPS_PROXY",
        ),
        ("  Temporary failure in name resolution", "HTTPS_PROXY"),
        (
            "error: command 'gcc' failed: No such file or directory\nERROR: Failed building wheel for h5py",
            "compiler",
        ),
        ("ERROR: No matching distribution found for torch==2.14.1", "64-bit"),
        ("something else went wrong", "install.log"),
    ],
)
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_failed_installation_says_why(log, told, quiet, tmp_path):
    (tmp_path / "pip").write_text(log + "\n")
    free = tmp_path / "bin" / "df"
    free.parent.mkdir()
    free.write_text("#!/bin/sh\nprintf 'x\\nx 1 1 99999999 1 x\\n'\n")
    free.chmod(0o755)
    done = build_sh(tmp_path, *quiet)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("build.sh: the installation failed") and told in last
    assert log.splitlines()[-1].strip() in done.stderr  # the log's end stands above
    assert ("Making the environment" in done.stderr) == (not quiet)
    assert (tmp_path / ".venv" / "lthdepth").read_text() == "failed\n"


def test_too_little_disk_is_said_before_anything_is_fetched(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "df").write_text("#!/bin/sh\nprintf 'x\\nx 1 1 3145728 1 x\\n'\n")
    (tmp_path / "bin" / "df").chmod(0o755)
    done = build_sh(tmp_path)
    assert (
        done.returncode == 2 and "needs 10 GB of free disk space" in done.stderr and "has 3 GB" in done.stderr
    )


@pytest.mark.parametrize(
    "words, told",
    [
        (["--profile", "poster"], "poster"),
        (["--data"], "--data needs a value"),
        (["everything"], '"everything"'),
    ],
)
def test_a_wrong_word_is_named(words, told, tmp_path):
    done = build_sh(tmp_path, *words)
    assert done.returncode == 2 and told in done.stderr and not (tmp_path / ".venv").exists()


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    done = build_sh(tmp_path, PYTHON="/no/such/python")
    assert done.returncode == 2 and "/no/such/python" in done.stderr


def test_the_help_and_the_readme_promise_the_same_times():
    said = r"takes (about .+?) minutes on two cores; a second time (about [\w ]+)"
    found = [re.search(said, (ROOT / name).read_text()).groups() for name in ("README.md", "build.sh")]
    assert found[0] == found[1]


def test_what_the_readme_imports_is_there():
    lines = re.findall(r"^    (from lthdepth.* import .+)$", (ROOT / "README.md").read_text(), flags=re.M)
    assert len(lines) > 4
    for line in lines:
        exec(line, {})


def test_help_needs_nothing(tmp_path):
    done = build_sh(tmp_path, "--help")
    assert done.returncode == 0 and "--quiet" in done.stdout and "minutes" in done.stdout
