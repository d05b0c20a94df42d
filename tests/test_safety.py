"""What must not be in the repository or in its code: secrets, a machine's paths, ways to run what a file holds."""

import ast
import os
import re
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from lthdepth import versions
from lthdepth.data import nyu as data
from lthdepth.data import photos
from lthdepth.errors import UserError
from lthdepth.inference import predict

ROOT = Path(__file__).resolve().parents[1]

SECRETS = {
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a cloud key": rb"\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b",
    "a token": rb"\b(ghp|gho|ghs|github_pat|glpat|hf|pypi|xox[bp])[-_][0-9A-Za-z_-]{20,}",
    "a password in an address": rb"[a-z]+://[^/\s:@\"'<>]+:[^/\s:@\"'<>]+@",
    "a token in an address": rb"[?&]token=[0-9a-f]{16,}",
    "a path of one machine": rb"(?<![\w.])/(?:home|Users|root|work|mnt|media)/[\w.-]+/|[A-Z]:\\\\Users\\\\",
    "a folder for temporary files": rb"/tmp/[\w.-]+/[\w.-]+",
}


def tracked():
    """Files in git, or, without git, those that would be."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [
        ROOT / os.fsdecode(name)
        for name in done.stdout.split(b"\0")
        if name and (ROOT / os.fsdecode(name)).is_file()
    ]


def found_in(content):
    return [what for what, pattern in SECRETS.items() if re.search(pattern, content)]


def test_no_secret_and_no_path_of_a_machine_is_in_the_repository():
    problems = {
        path.relative_to(ROOT): found_in(path.read_bytes()) for path in tracked() if path != Path(__file__)
    }
    assert not {path: found for path, found in problems.items() if found}


def test_no_file_is_large_and_no_notebook_holds_outputs():
    assert not [path for path in tracked() if path.stat().st_size > 5_000_000]
    for path in tracked():
        if path.suffix == ".ipynb":
            for cell in nbformat.read(path, as_version=4).cells:
                assert not cell.get("outputs") and cell.get("execution_count") is None, path


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN RSA " + b"PRIVATE KEY-----",
        b"AKIA" + b"ABCDEFGHIJKLMNOP",
        b"ghp_" + b"a" * 36,
        b"https://me:secret" + b"@host/x",
        b"?token=" + b"0123456789abcdef0",
        b'"/home/' + b'me/data"',
        b"/tmp/" + b"pytest-1/x",
    ],
)
def test_the_scan_finds_what_it_looks_for(text):
    assert found_in(b"some text " + text + b" and more")


FORBIDDEN = {"eval", "exec", "compile", "__import__"}


def test_no_code_here_can_run_what_a_file_holds():
    """Every `torch.load` is `weights_only=True`, every `np.load` without pickle; no eval, no shell, no pickle, no unpacking."""
    for path in sorted((ROOT / "lthdepth").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not names & {"shelve", "marshal", "dill", "joblib", "yaml"}, path
            if not isinstance(node, ast.Call):
                continue
            called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            where = f"{path.name}:{node.lineno}: {called}"
            assert called not in FORBIDDEN, where
            assert not called.startswith("pickle.") and not called.endswith(
                ("extractall", "unpack_archive")
            ), where
            assert given.get("shell", "False") == "False" and given.get("allow_pickle", "False") == "False", (
                where
            )
            if called == "torch.load":
                assert given.get("weights_only") == "True", where
            if called == "np.load":
                assert given.get("allow_pickle") == "False", where


def test_a_torchvision_that_does_not_fit_is_told(monkeypatch):
    import builtins

    real = builtins.__import__

    def fail(name, *rest):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(UserError, match="do not belong together"):
        versions.check_torchvision()


@pytest.mark.parametrize(
    "read",
    [
        predict.photo,
        lambda path: photos.load(path.parent, progress=False),
        lambda path: data._decode(np.frombuffer(path.read_bytes(), np.uint8), 9, 9, "frame 0"),
    ],
)
def test_a_picture_starts_no_other_program(read, tmp_path, monkeypatch):
    """Pillow hands PostScript, whatever its file is called, to Ghostscript."""
    (tmp_path / "p.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    started = []
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *_: started.append("gs") or Image.new("RGB", (9, 9)).im
    )
    with pytest.raises(UserError):
        read(tmp_path / "p.jpg")
    assert not started


def test_jupyterlab_starts_on_this_machine_alone_and_with_its_token(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nif [ "$1" = -c ]; then echo whole; exit; fi\necho "$@"\n')
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python)}
    done = subprocess.run(
        ["./build.sh", "lab"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    words = done.stdout.split()
    assert words[:3] == ["-m", "jupyter", "lab"] and "--ip=127.0.0.1" in words
    assert not [
        word
        for word in words
        if "token" in word or "password" in word or "allow_remote" in word or "0.0.0.0" in word
    ]


@pytest.mark.parametrize("python", ["/nowhere/python", "absent-python"])
def test_an_interpreter_that_is_not_there_is_told(python):
    environment = os.environ | {"PYTHON": python}
    done = subprocess.run(
        ["./build.sh", "lab"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (
        done.returncode == 2
        and f"PYTHON={python} is no program here" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_the_tables_of_the_page_are_those_that_are_kept(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import safety

    text = safety.PAGE.read_text()
    assert safety.refresh(text, safety.render()) == text, "`python benchmarks/safety.py` brings it up to date"
    kills = safety.rows("kill.csv")
    assert sum(int(row["trials"]) for row in kills) >= 100
    assert all(row["identical"] == row["trials"] and row["half-written"] == "0" for row in kills)
    assert all(row["without the guard"] == "fails" for row in safety.rows("guards.csv"))
