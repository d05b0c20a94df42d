"""Every bad input gets one sentence and a status, runs nothing, overwrites nothing."""

import hashlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bad_inputs import FILES, FLAG, RECORDS, ROWS, TRAIN

from lthdepth.__main__ import main
from lthdepth.data import nyu
from lthdepth.runs.store import Store

ROOT = Path(__file__).resolve().parents[1]
MADE = {"failed.json", "ticket.npz"}  # of a run that diverges


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Store.__init__, "__defaults__", (tmp_path / "runs", tmp_path / "results"))
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


def contents(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts]
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def one_sentence(command, words, folder, capsys):
    before = contents(folder)
    assert main(command) == 2
    shown = capsys.readouterr().err
    said = [line for line in shown.splitlines() if line.startswith("lthdepth: ")]  # besides progress bars
    assert len(said) == 1 and words in said[0] and len(said[0]) < 400 and "Traceback" not in shown
    after = contents(folder)
    assert not (folder / FLAG).exists()
    assert {p: after[p] for p in before} == before  # nothing overwritten, nothing removed
    assert {p.name for p in after.keys() - before.keys()} <= (MADE if words == "diverged" else set())


@pytest.mark.parametrize(("command", "words"), ROWS, ids=lambda v: v)
def test_a_bad_input_gets_one_sentence(command, words, elsewhere, capsys, monkeypatch):
    if ".mat" in command:
        monkeypatch.setattr(nyu, "DATA_DIR", elsewhere / "data")
    command = shlex.split(command.replace("TRAIN", TRAIN))
    for name in command:
        content = FILES.get(name, b"")
        if content is None:
            Path(name).mkdir()
        elif name in FILES:
            Path(name).write_bytes(content() if callable(content) else content)
    one_sentence([word for word in command if word != "a.json"], words, elsewhere, capsys)


@pytest.mark.parametrize(("file", "content", "words"), RECORDS)
def test_a_bad_record_gets_one_sentence(file, content, words, elsewhere, capsys):
    Path(file).parent.mkdir(parents=True)
    Path(file).write_bytes(content)
    one_sentence(["show"], words, elsewhere, capsys)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PYTHON": "/no/such/python"}, "PYTHON=/no/such/python is no Python"),
        ({"PYTHON": "/"}, "PYTHON=/ is no Python"),
        ({"PYTHON": "/bin/true"}, "is no Python"),
        ({"TQDM_MININTERVAL": "often"}, "TQDM_MININTERVAL"),
        ({"MPLBACKEND": "paper"}, "MPLBACKEND"),
    ],
    ids=lambda v: "".join(v) if isinstance(v, dict) else "",
)
def test_a_bad_variable_gets_one_sentence(environment, words):
    command = (
        ["bash", ROOT / "build.sh"] if "PYTHON" in environment else [sys.executable, "-m", "lthdepth", "show"]
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and words in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_there_are_many():
    assert len(ROWS) + len(RECORDS) >= 100
