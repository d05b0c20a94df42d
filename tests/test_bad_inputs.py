"""Every bad input gets one sentence and a status, runs nothing, overwrites nothing."""

import hashlib
import signal

import pytest
from bad_inputs import CASES, FLAG, INPUTS

from lthdepth.__main__ import main
from lthdepth.data import nyu as data
from lthdepth.errors import UserError
from lthdepth.runs import run as runs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs.Store.__init__, "__defaults__", (tmp_path / "runs", tmp_path / "results"))
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


def contents(folder):
    return {
        p: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("[!.]*")
        if p.is_file() and ".locks" not in p.parts
    }


@pytest.mark.parametrize(("entrance", "name"), CASES, ids=lambda v: v)
def test_a_bad_input_gets_one_sentence(entrance, name, elsewhere, capsys, monkeypatch):
    prepare, action, says = INPUTS[entrance][name]
    if entrance == ".mat and splits":
        monkeypatch.setattr(data, "DATA_DIR", elsewhere / "data")
    if prepare:
        prepare()
    before = contents(elsewhere)
    if isinstance(action, list):
        assert main(action) == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "%|" not in line]
        assert len(said) == 1 and said[0].startswith("lthdepth: ")  # besides progress bars
        text = said[0].removeprefix("lthdepth: ")
    else:
        with pytest.raises(UserError) as error:
            action()
        text = str(error.value)
    assert says in text and "\n" not in text and "Traceback" not in text and len(text) < 400
    after = contents(elsewhere)
    assert not (elsewhere / FLAG).exists()
    assert {p: after[p] for p in before} == before  # nothing overwritten, nothing removed
    made = {p.name for p in after.keys() - before.keys()}
    assert made <= (
        {"failed.json", "ticket.npz"} if entrance == "settings" else set()
    )  # and nothing half made


def test_there_are_many():
    assert len(CASES) >= 100
