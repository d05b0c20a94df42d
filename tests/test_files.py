"""Nothing lost: whole files, checksums, the checkpoint before, locks, full disks."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import TINY
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import files, versions
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.runs import run as runs
from lthdepth.training import arms
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")

ROOT = Path(__file__).resolve().parents[1]


def flip(path, at=0.5):
    """One bit of a file changed, in the middle of it."""
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Checksums


def test_tensors_come_back_and_torch_itself_reads_them(tmp_path):
    content = {"w": torch.arange(1000.0), "n": 3}
    files.write_atomic(tmp_path / "a.pt", content)
    for found in (files.read_tensors(tmp_path / "a.pt"), torch.load(tmp_path / "a.pt", weights_only=True)):
        assert torch.equal(found["w"], content["w"]) and found["n"] == 3


@given(st.data())
def test_a_damaged_file_of_tensors_is_never_taken_for_whole(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.pt"
    content = bytearray(files.sealed({"w": torch.arange(500.0)}))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:  # a flip in the word "sha256:" hides the checksum, and the tensors are whole
        assert torch.equal(files.read_tensors(path)["w"], torch.arange(500.0))
    except UserError as error:
        assert "a.pt" in str(error) and "\n" not in str(error)


def test_what_is_written_is_on_disk_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def watched(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    files.write_atomic(tmp_path / "a.json", {"a": 1})
    assert done == ["file", "name", "folder"]


@pytest.mark.parametrize("version", ["2.9.1", "2.6.0+cpu", "1.13"])
def test_an_old_torch_is_refused(version):
    with pytest.raises(UserError, match="2.10 or newer"):
        versions.check_torch(version)


@pytest.mark.parametrize("version", ["2.10.0", "2.11.0+cu130", "3.0.0a0+git1"])
def test_a_newer_torch_is_taken(version):
    versions.check_torch(version)


# The checkpoint and the one before


def stopped(frames, folder, epochs):
    """A run that was stopped after each of its first `epochs` epochs."""
    folder.mkdir()
    config = TINY.replace(test=False)
    ticket, _, _ = runs.arms.start(config, weights.NONE)
    for _ in range(epochs):
        with pytest.raises(train.Stopped):
            train.fit(
                config, frames, arms.Start(ticket, None), folder, train.Options(deadline=0, progress=False)
            )
    return lambda: train.fit(config, frames, arms.Start(ticket, None), folder, train.Options(progress=False))


@pytest.fixture(scope="module")
def reference(narrow, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "run"
    stopped(frames, folder, 0)()
    return torch.load(folder / "weights.pt", weights_only=True)


def assert_reference(folder, reference):
    found = files.read_tensors(folder / "weights.pt")
    assert all(torch.equal(found[k], v) for k, v in reference.items())


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage, frames, tmp_path, capsys, reference):
    go_on = stopped(frames, tmp_path / "run", 2)
    damage(tmp_path / "run" / "checkpoint.pt")
    go_on()
    warning = capsys.readouterr().err
    assert (
        "checkpoint.pt is damaged" in warning
        and "the one before it is used" in warning
        and "Traceback" not in warning
    )
    assert_reference(tmp_path / "run", reference)


def test_without_a_whole_checkpoint_the_run_starts_anew(frames, tmp_path, capsys, reference):
    go_on = stopped(frames, tmp_path / "run", 2)
    flip(tmp_path / "run" / "checkpoint.pt")
    torch.save({"model": {}, "optimiser": {}, "state": {}}, tmp_path / "run" / "checkpoint.previous.pt")
    go_on()
    assert "the run starts anew" in capsys.readouterr().err
    assert_reference(tmp_path / "run", reference)


def test_a_kill_between_the_two_renames_loses_nothing(frames, tmp_path, reference):
    go_on = stopped(frames, tmp_path / "run", 2)
    (tmp_path / "run" / "checkpoint.pt").rename(tmp_path / "run" / "checkpoint.previous.pt")
    go_on()
    assert_reference(tmp_path / "run", reference)


def test_a_full_disk_ends_the_run_in_a_sentence_and_keeps_the_checkpoint(
    frames, tmp_path, monkeypatch, reference
):
    go_on = stopped(frames, tmp_path / "run", 1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="checkpoint.pt .*No space left on device"):
            go_on()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"checkpoint.pt"}
    go_on()
    assert_reference(tmp_path / "run", reference)


def test_a_store_that_cannot_be_written_is_told(frames, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    store = runs.Store(tmp_path / "runs", tmp_path / "results")
    with pytest.raises(UserError, match="cannot write"):
        runs.run(TINY.replace(arm="floor"), frames, weights.NONE, store)


# Locks

HOLD = """
import sys, time
from lthdepth.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path / "run"`."""
    command, environment = (
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_and_a_killed_one_holds_nothing(holder, tmp_path, capsys):
    with (
        pytest.raises(files.Busy, match=f"process {holder.pid} on .* is at work on"),
        files.locked(tmp_path / "run", wait=False),
    ):
        pass
    with pytest.raises(files.Busy), files.locked(tmp_path / "run", deadline=time.monotonic() + 0.3):
        pass
    assert "waiting for it to end" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".weights.pt.abc.part").write_text("half")
    holder.send_signal(signal.SIGKILL)
    with files.locked(tmp_path / "run"):
        assert list((tmp_path / "run").iterdir()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_run_that_another_process_is_making_is_waited_for_or_left(frames, store, monkeypatch):
    config = TINY.replace(arm="floor")
    name = runs.key(config, frames.fingerprint, "none")
    with files.locked(store.local / name), pytest.raises(files.Busy):
        runs.run(config, frames, weights.NONE, store, wait=False)

    def meanwhile(_):  # the other process ends while this one sleeps
        other.close()
        runs.run(config, frames, weights.NONE, store)

    from contextlib import ExitStack

    other = ExitStack()
    other.enter_context(files.locked(store.local / name))
    monkeypatch.setattr(files.time, "sleep", meanwhile)
    record = runs.run(config, frames, weights.NONE, store)
    assert len(list(store.local.glob("*/record.json"))) == 1 and record["arm"] == "floor"


def test_a_lock_that_is_a_link_leaves_what_it_names(tmp_path):
    (tmp_path / "diary").write_text("mine")
    (tmp_path / ".run.lock").symlink_to(tmp_path / "diary")
    with pytest.raises(UserError, match="cannot write"), files.locked(tmp_path / "run"):
        pass
    assert (tmp_path / "diary").read_text() == "mine"


FULL = """
import resource, sys
import numpy as np
from lthdepth.data.hdf5 import writing

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # as a full disk: nothing more can be written
with writing(sys.argv[1]) as file:
    for i in range(40):
        file.create_dataset(str(i), data=np.random.default_rng(i).random((30, 100)), chunks=(10, 100), compression="gzip")
"""


def test_a_full_disk_ends_the_writing_of_hdf5_in_a_sentence(tmp_path):
    """HDF5 itself ends in a segmentation fault."""
    (tmp_path / "a.h5").write_text("old")
    command, environment = (
        [sys.executable, "-c", FULL, str(tmp_path / "a.h5")],
        os.environ | {"PYTHONPATH": str(ROOT)},
    )
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (
        done.returncode == 1
        and "UserError: cannot write" in done.stderr.splitlines()[-1]
        and "File too large" in done.stderr
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"] and (tmp_path / "a.h5").read_text() == "old"


# Runs that diverge


def test_weights_that_left_the_finite_numbers_in_the_last_step_are_no_result(frames, tmp_path, monkeypatch):
    config, step = TINY.replace(epochs=1, holdout=False, test=False), torch.optim.SGD.step

    def last(self, *rest):
        step(self, *rest)
        self.param_groups[1]["params"][0].data.view(-1)[0] = float("inf")

    monkeypatch.setattr(torch.optim.SGD, "step", last)
    ticket, _, _ = runs.arms.start(config, weights.NONE)
    with pytest.raises(train.Diverged):
        train.fit(
            config, make_one_batch(frames), arms.Start(ticket, None), tmp_path, train.Options(progress=False)
        )
    assert list(tmp_path.iterdir()) == []


def make_one_batch(frames):
    """Four training frames: an epoch of one step."""
    keep = (frames.split == "test").nonzero()[0].tolist() + (frames.split == "train").nonzero()[0][
        :4
    ].tolist()
    return type(frames)(*(getattr(frames, k)[keep] for k in ("rgb", "depth", "split", "scene")), "toy")


def test_an_interrupted_run_closes_its_bar(frames, tmp_path, monkeypatch):
    bars = []

    class Bar(train.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            bars.append(self)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "tqdm", Bar)
    monkeypatch.setattr(train.augment.Views, "train", interrupted)
    ticket, _, _ = runs.arms.start(TINY, weights.NONE)
    with pytest.raises(KeyboardInterrupt):
        train.fit(TINY, frames, arms.Start(ticket, None), tmp_path)
    assert bars and all(bar.disable for bar in bars)  # what closing leaves


def test_a_clock_that_is_set_back_again_and_again_changes_nothing(frames, tmp_path, monkeypatch, reference):
    go_on, now = stopped(frames, tmp_path / "run", 1), iter(range(2 * 10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    results, *_ = go_on()
    assert results["seconds"] > 0 and results["images_per_second"] > 0
    assert_reference(tmp_path / "run", reference)
