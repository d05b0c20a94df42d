"""What must not be in the repository, and what must not happen when a file of a stranger is opened."""

import io
import lzma
import os
import pickle
import re
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from conftest import Evil
from PIL import EpsImagePlugin, Image

from lthdepth import files, tickets
from lthdepth.data import foreign, photos, weights
from lthdepth.errors import UserError
from lthdepth.runs.store import Store

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
    paths = [ROOT / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_secret_and_no_path_of_a_machine_is_in_the_repository():
    found = {
        (path.name, what)
        for path in tracked()
        if path != Path(__file__)
        for what, pattern in SECRETS.items()
        if re.search(pattern, path.read_bytes())
    }
    assert not found


def test_no_file_is_large_and_no_notebook_holds_outputs():
    assert not [path for path in tracked() if path.stat().st_size > 5_000_000]
    for path in tracked():
        if path.suffix == ".ipynb":
            for cell in nbformat.read(path, as_version=4).cells:
                assert not cell.get("outputs") and cell.get("execution_count") is None, path


def saved(write):
    """Function from an object to the bytes that a function writes of it into a file."""

    def content(evil):
        buffer = io.BytesIO()
        write(buffer, evil)
        return buffer.getvalue()

    return content


torch_zip = saved(lambda file, evil: torch.save({"conv1.weight": evil}, file))
arrays = saved(lambda file, evil: np.savez(file, meta=np.array([evil], object), bits=np.zeros(1, np.uint8)))
ENTRANCES = [
    ("w.pth", torch_zip, weights.load),
    ("w.pth", pickle.dumps, weights.load),
    ("w.pth.xz", lambda evil: lzma.compress(torch_zip(evil)), weights.load),
    ("mask.pt", pickle.dumps, lambda path: foreign.masks(path, {})),
    ("mask.npz", arrays, lambda path: foreign.masks(path, {})),
    ("t.npz", arrays, tickets.load),
    ("checkpoint.pt", torch_zip, files.read_tensors),
    ("runs/k/arrays.npz", arrays, lambda path: Store(path.parents[1], path.parents[2]).arrays("k")),
    ("runs/k/record.json", pickle.dumps, lambda path: Store(path.parents[1], path.parents[2]).records()),
    ("photo.jpg", pickle.dumps, photos.read),
]


@pytest.mark.parametrize(("name", "write", "read"), ENTRANCES, ids=lambda v: getattr(v, "__name__", v))
def test_a_pickle_that_would_run_a_command_does_not(name, write, read, tmp_path):
    flag, path = tmp_path / "ran", tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write(Evil(flag)))
    with pytest.raises(UserError, match=path.name):
        read(path)
    assert not flag.exists()


def test_a_picture_starts_no_other_program(tmp_path, monkeypatch):
    """Pillow hands PostScript, whatever its file is called, to Ghostscript."""
    (tmp_path / "p.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    )
    started, picture = [], Image.new("RGB", (9, 9)).im
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: started.append("gs") or picture)
    with pytest.raises(UserError):
        photos.read(tmp_path / "p.jpg")
    assert not started
