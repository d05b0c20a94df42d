"""Files are whole or absent, locks end with their process."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import files, tickets
from lthdepth.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = {"w": torch.arange(500.0)}


@given(st.data())
def test_a_damaged_file_is_never_taken_for_whole(tmp_path_factory, data):
    """Cut short or one bit flipped: a sentence, or (where zip does not care for the bit) the same values."""
    path, ticket = tmp_path_factory.mktemp("damaged") / "a", tickets.random(WEIGHTS, 0.3, 0)
    if tensors := data.draw(st.booleans()):
        files.write_atomic(path, WEIGHTS)
    else:
        path = path.with_suffix(".npz")
        tickets.save(ticket, path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        if tensors:
            assert torch.equal(files.read_tensors(path)["w"], WEIGHTS["w"])
        else:
            assert tickets.load(path)[0].fingerprint == ticket.fingerprint
    except UserError as error:
        assert path.name in str(error) and "\n" not in str(error)


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    files.write_atomic(tmp_path / "a.json", {"a": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write .*No space left on device"):
        files.write_atomic(tmp_path / "a.json", {"a": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and "1" in (tmp_path / "a.json").read_text()


HOLD = """
import sys, time
from lthdepth.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_and_a_killed_one_holds_nothing(tmp_path, capsys):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(files.Busy, match=f"process {holder.pid} on"),
            files.locked(tmp_path / "run", wait=False),
        ):
            pass
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / ".weights.pt.abc.part").write_text("half")
        (tmp_path / "run" / "weights.pt").write_text("whole")
        threading.Timer(0.3, holder.kill).start()
        with files.locked(tmp_path / "run"):
            assert [p.name for p in (tmp_path / "run").iterdir()] == ["weights.pt"]
        assert "waiting for it to end" in capsys.readouterr().err
