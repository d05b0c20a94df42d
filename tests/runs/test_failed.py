"""Runs that diverge: recorded as failed, seen again with the printed command, never a result; publishing."""

import shutil

import pytest
import safetensors.torch
from conftest import TINY
from datafiles import write_cache
from making import BROKEN, make

from lthdepth import mask, tickets
from lthdepth.__main__ import main
from lthdepth.config import TUNED, level
from lthdepth.paper.study import Paper
from lthdepth.runs import run as runs
from lthdepth.runs import studies
from lthdepth.runs.record import command as command_of
from lthdepth.training.fit import Diverged

pytestmark = pytest.mark.usefixtures("narrow")

BAD = TINY.replace(**BROKEN, seed=2)
FLOOR = TINY.replace(arm="floor")


@pytest.fixture
def failed(frames, store):
    """A run of the paper that diverged."""
    with pytest.raises(Diverged):
        make(BAD, frames, store, study="paper")
    (record,) = store.failed().values()
    return record


@pytest.fixture
def here(elsewhere):
    return runs.Store()


@pytest.fixture
def toy(monkeypatch):
    """Function that makes `quick` and `paper` studies of some runs."""

    def replaced(*configs):
        def study(name, *_):
            return studies.Study(name, "Toy", configs if name in ("quick", "paper") else ())

        monkeypatch.setattr(studies, "study", study)

    return replaced


def test_a_run_that_diverges_is_recorded_as_failed_and_not_as_a_result(frames, store, failed):
    with pytest.raises(Diverged, match="diverged: the loss .*an earlier attempt; remove .*runs/"):
        make(BAD, frames, store)  # it is not even tried
    assert store.records() == {} and failed["status"] == "failed" and failed["config"]["lr_encoder"] == 1e30
    assert Paper("paper", store=store).lost("paper") == []  # it is none of the study's
    init = {"name": "torchvision-IMAGENET1K_V2", "fingerprint": "abc"}
    assert " --weights IMAGENET1K_V2 " in command_of(failed | {"init": init})


@pytest.mark.parametrize("quick", [False, True])
def test_the_printed_command_fails_again(quick, here, narrow_state, toy, monkeypatch):
    """Of a ticket's run from files, and of one of the quick study, which takes a part of the frames."""
    write_cache("kitchen.h5")
    safetensors.torch.save_file({k: v.contiguous() for k, v in narrow_state.items()}, "w.safetensors")
    tickets.save(tickets.magnitude(mask.prunable(narrow_state), 0.5), "t.npz", "resnet18", "abc")
    files = {"--data": "kitchen.h5", "--weights": "w.safetensors"}
    words = ["sweep", "quick"]
    if quick:
        monkeypatch.setattr(studies, "QUICK_FRAMES", (4, 3))
        toy(BAD)
    else:
        files["--ticket"] = "t.npz"
        words = ["train", *(f"{k}={v}" for k, v in vars(BAD).items() if v != getattr(TUNED, k))]
    given = [word for pair in files.items() for word in pair]
    assert main([*words, "--device", "cpu", *given]) == 2
    (first,) = here.failed().values()
    shutil.rmtree(here.local)
    command = first["reproduce"].split()
    assert command[:4] == ["python", "-m", "lthdepth", "train"] and command.count("FILE") == len(files)
    for option, file in files.items():
        command[command.index(option) + 1] = file
    assert main(command[3:]) == 2
    (again,) = here.failed().values()
    assert again | {"study": ""} == first | {"study": ""}


def test_failed_runs_are_published_beside_the_results(frames, tmp_path, store, failed, toy):
    toy(BAD)
    floor = make(FLOOR, frames, store, study="paper")
    store.publish([floor["key"], failed["key"]], "paper")
    other = runs.Store(tmp_path / "nowhere", store.recorded)
    assert other.records().keys() == {floor["key"]} and other.failed() == {failed["key"]: failed}
    lost = Paper("paper", store=other).lost("paper")
    assert [r["key"] for r in lost] == [failed["key"]] and Paper("paper", store=other).lost("full") == []
    with pytest.raises(Diverged, match=r"its line in .*failed\.jsonl"):
        make(BAD, frames, other)


def test_a_run_that_is_finished_later_is_failed_no_more(frames, store, failed, monkeypatch):
    store.publish([failed["key"]], "paper")
    (store.local / failed["key"] / "failed.json").unlink()
    monkeypatch.setattr(runs.Store, "failed", lambda _: {})  # its line is removed, and it is mended
    monkeypatch.setattr("lthdepth.training.fit.fit", lambda *_, **__: ({"test": None}, {}, None))
    make(BAD, frames, store, study="paper")
    monkeypatch.undo()
    assert store.failed() == {}
    store.publish([failed["key"]], "paper")
    assert (store.recorded / "failed.jsonl").read_text() == ""


SWEEP = ["sweep", "quick", "--data", "rooms:24", "--device", "cpu"]


def test_a_sweep_publishes_the_rounds_that_its_tickets_follow_from(here, tmp_path, toy):
    toy(TINY.replace(arm="imp", density=level(2), epochs=1, height=32))
    for more in ([], ["--publish"]):  # also rounds that an earlier sweep has made
        assert main(SWEEP + more) == 0
    known = runs.Store(tmp_path / "nowhere", tmp_path / "results").records().values()
    assert sorted(r["density"] for r in known) == [level(2), level(1), 1]
    assert {r["study"] for r in known} == {"quick"}


def test_a_sweep_publishes_what_failed(here, tmp_path, toy, capsys):
    toy(FLOOR, BAD.replace(arm="imp", density=level(1)))
    known = runs.Store(tmp_path / "nowhere", tmp_path / "results")
    for _ in range(2):
        assert main([*SWEEP, "--publish"]) == 2
        assert [r["arm"] for r in known.records().values()] == ["floor"]
        lost = [(r["arm"], r["study"]) for r in known.failed().values()]
        assert lost == [("dense", "quick")]  # the round that imp needs
    shutil.rmtree(here.local)
    capsys.readouterr()
    assert main([*SWEEP, "--publish"]) == 2 and "an earlier attempt" in capsys.readouterr().out
