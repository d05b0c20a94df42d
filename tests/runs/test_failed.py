"""Runs that diverge: recorded as failed, seen again with the printed command, carried to other machines,
never a result.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from bad_inputs import cache_file, picture
from conftest import TINY
from PIL import Image

from lthdepth import mask, ticketfile, tickets
from lthdepth.__main__ import main
from lthdepth.config import TUNED, level
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.paper.study import Paper
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments
from lthdepth.runs.record import command as command_of
from lthdepth.runs.record import sealed
from lthdepth.training import fit as train
from lthdepth.training import logits as pretraining

pytestmark = pytest.mark.usefixtures("narrow")

BAD = TINY.replace(lr_encoder=1e30, lr_decoder=1e30, epochs=1, seed=2)


@pytest.fixture
def failed(frames, store):
    """A run of the paper that diverged."""
    with pytest.raises(train.Diverged):
        runs.run(BAD, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False), study="paper")
    (found,) = store.failed().values()
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs.Store.__init__, "__defaults__", (tmp_path / "runs", tmp_path / "results"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return runs.Store()


def test_a_run_that_diverges_is_recorded_as_failed_and_not_as_a_result(frames, store, failed):
    with pytest.raises(train.Diverged, match="diverged: the loss .*an earlier attempt; remove .*runs"):
        runs.run(
            BAD, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False)
        )  # it is not even tried
    assert store.records() == {} and failed["status"] == "failed" and failed["config"]["lr_encoder"] == 1e30
    assert Paper("paper", store=store).lost("paper") == []  # it is none of the study's


def rooms(folder):
    return []


def cache(folder):
    cache_file(
        "kitchen.h5",
        images_png=[picture(64, 48)] * 10,
        depths=np.full((10, 64, 48), 9000, np.uint16),
        scenes=[f"room_{i // 2}" for i in range(10)],
    )
    return ["kitchen.h5"]


def a_cache_with_the_name_of_the_rooms(folder):
    cache(folder)
    (folder / "kitchen.h5").rename(folder / "rooms.h5")
    return ["rooms.h5"]


def pretrained(folder, state):
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, folder / "w.safetensors")
    return ["--weights", "w.safetensors"]


def ticket(folder, state):
    given = tickets.magnitude(mask.prunable(state), 0.5)
    ticketfile.save(given, folder / "t.npz", "resnet18", "abc")
    return ["--ticket", "t.npz"], given.density


@pytest.mark.parametrize(
    "kind", ["rooms", "cache", "namesake", "weights", "ticket", "logits", "photos", "quick"]
)
def test_the_printed_command_fails_again(kind, here, tmp_path, narrow_state, monkeypatch):
    data = {"rooms": rooms, "namesake": a_cache_with_the_name_of_the_rooms}.get(kind, cache)(tmp_path) or [
        "rooms:28"
    ]
    config, files, options = BAD, [*data], []
    if kind in ("weights", "logits", "photos"):
        classifier = {"fc.weight": torch.ones(5, 64), "fc.bias": torch.zeros(5)} if kind != "weights" else {}
        options = pretrained(tmp_path, narrow_state | classifier)
        files.append("w.safetensors")
    if kind in ("logits", "photos"):
        monkeypatch.setattr(pretraining, "LR", 1e30)
        config = TINY.replace(arm="logits", density=level(1), round_epochs=2, epochs=1)
    if kind == "photos":
        (tmp_path / "some").mkdir()
        for i in range(2):
            Image.new("RGB", (40, 40), (90 * i, 30, 60)).save(tmp_path / "some" / f"{i}.png")
        options += ["--photos", "some"]
        files.append("some")
    if kind == "ticket":
        words, density = ticket(tmp_path, narrow_state)
        config, options = config.replace(arm="file", density=density), words
        files.append("t.npz")
    if kind == "quick":  # it takes a part of the frames
        monkeypatch.setattr(experiments, "QUICK_FRAMES", (4, 3))
        monkeypatch.setattr(experiments, "study", lambda *_: experiments.Study("quick", "Toy", (config,)))
        words = ["sweep", "quick", "--data", *data, "--device", "cpu"]
    else:
        settings = [f"{k}={v}" for k, v in dataclasses.asdict(config).items() if v != getattr(TUNED, k)]
        words = ["train", "--data", *data, "--device", "cpu", *options, *settings]
    assert main(words) == 2
    (first,) = here.failed().values()
    shutil.rmtree(here.local)

    command = first["reproduce"].split()
    assert command[:3] == ["python", "-m", "lthdepth"] and command.count("FILE") == len(
        [f for f in files if f != "rooms:28"]
    )
    for file in files:
        command = [
            file if word == "FILE" and i == command.index("FILE") else word for i, word in enumerate(command)
        ]
    order = [
        command[command.index(option) + 1]
        for option in ("--data", "--weights", "--photos", "--ticket")
        if option in command
    ]
    assert order == files
    assert command[3] == "train" and main(command[3:]) == 2
    (again,) = here.failed().values()
    assert {k: v for k, v in again.items() if k != "study"} == {
        k: v for k, v in first.items() if k != "study"
    }


def test_weights_of_torchvision_are_named_in_the_command(failed):
    init = {"name": "torchvision-IMAGENET1K_V2", "fingerprint": "abc"}
    assert " --weights IMAGENET1K_V2 " in command_of(failed | {"init": init})


@pytest.fixture
def toy(monkeypatch):
    """A study of that run."""
    monkeypatch.setattr(
        experiments, "study", lambda name, *_: experiments.Study(name, "Toy", (BAD,) * (name == "paper"))
    )


def test_failed_runs_are_published_beside_the_results(frames, tmp_path, store, failed, toy):
    floor = runs.run(TINY.replace(arm="floor"), runs.Inputs(frames, weights.NONE), store, study="paper")
    store.publish([floor["key"], failed["key"]], "paper")
    other = runs.Store(tmp_path / "nowhere", store.recorded)
    assert other.records().keys() == {floor["key"]} and other.failed() == {failed["key"]: failed}
    lost = Paper("paper", store=other).lost("paper")
    assert [r["key"] for r in lost] == [failed["key"]] and Paper("paper", store=other).lost("pilot") == []
    with pytest.raises(train.Diverged, match=r"remove its line in .*failed\.jsonl"):
        runs.run(BAD, runs.Inputs(frames, weights.NONE), other, runs.Options(progress=False))
    shutil.copy(store.recorded / "failed.jsonl", store.recorded / "runs.jsonl")
    with pytest.raises(UserError, match="line 1 is of a run that is failed, not finished"):
        other.records()


def test_failed_runs_on_other_data_do_not_count(frames, store, failed, toy):
    floor = runs.run(TINY.replace(arm="floor"), runs.Inputs(frames, weights.NONE), store, study="paper")
    store.publish([floor["key"], failed["key"]], "paper")
    for path, mark in (("runs.jsonl", "mine"), ("failed.jsonl", "another")):
        record = json.loads((store.recorded / path).read_text()) | {
            "data": {"name": "toy", "fingerprint": mark},
            "arm": "dense",
        }
        (store.recorded / path).write_text(json.dumps(sealed(record)) + "\n")
    other = Paper("paper", store=runs.Store(store.local / "nowhere", store.recorded))
    assert other.store.failed() and other.lost("paper") == []


def test_a_run_that_is_finished_later_is_failed_no_more(frames, store, failed, monkeypatch):
    store.publish([failed["key"]], "paper")
    (store.recorded / "failed.jsonl").unlink()
    shutil.rmtree(store.local / failed["key"])
    monkeypatch.setattr(
        train, "fit", lambda *_, **__: ({"test": None}, {}, None)
    )  # say, with a library that was mended
    record = runs.run(
        BAD, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False), study="paper"
    )
    (store.recorded / "failed.jsonl").write_text(json.dumps(failed) + "\n")
    assert store.failed() == {}
    store.publish([record["key"]], "paper")
    assert (store.recorded / "failed.jsonl").read_text() == ""


def test_failed_runs_of_several_machines_come_together(frames, tmp_path, store, failed):
    packed, third = (
        runs.Store(store.local, tmp_path / "packed"),
        runs.Store(tmp_path / "c", tmp_path / "none"),
    )
    packed.publish([failed["key"]], "paper")
    for folder in (store.local, tmp_path / "packed"):
        assert third.merge(folder) == (0, 0, [])
        assert third.failed() == {failed["key"]: failed}
        shutil.rmtree(third.local)


def test_a_sweep_publishes_the_rounds_that_its_tickets_follow_from(here, tmp_path, monkeypatch):
    deep = TINY.replace(arm="imp", density=level(2))
    monkeypatch.setattr(experiments, "study", lambda *_: experiments.Study("quick", "Toy", (deep,)))
    words = ["sweep", "quick", "--data", "rooms:24", "--device", "cpu"]
    for more in ([], ["--publish"]):  # also rounds that an earlier sweep has made
        assert main(words + more) == 0
    found = runs.Store(tmp_path / "nowhere", tmp_path / "results").records().values()
    assert sorted(r["density"] for r in found) == [level(2), level(1), 1] and {r["study"] for r in found} == {
        "quick"
    }


def test_a_sweep_publishes_what_failed(here, tmp_path, monkeypatch, capsys):
    deep = BAD.replace(arm="imp", density=level(1))
    monkeypatch.setattr(
        experiments, "study", lambda *_: experiments.Study("quick", "Toy", (TINY.replace(arm="floor"), deep))
    )
    words = [
        "sweep",
        "quick",
        "--data",
        "rooms:24",
        "--device",
        "cpu",
        "--publish",
        "--out",
        str(tmp_path / "out"),
    ]
    for _ in range(2):
        assert main(words) == 2
        for folder in ("results", "out"):
            found = runs.Store(tmp_path / "nowhere", tmp_path / folder)
            assert [r["arm"] for r in found.records().values()] == ["floor"]
            assert [(r["arm"], r["study"]) for r in found.failed().values()] == [
                ("dense", "quick")
            ]  # the round that imp needs
    shutil.rmtree(tmp_path / "out")
    capsys.readouterr()
    assert main(words) == 2 and "an earlier attempt" in capsys.readouterr().out
