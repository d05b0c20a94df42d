"""What a notebook asks of the records: which studies there are, and which records a profile shows."""

import json

import numpy as np
import pytest
from test_paper import RECORDED, record

from lthdepth.analysis import budget
from lthdepth.data import nyu as data
from lthdepth.data import summary
from lthdepth.errors import UserError
from lthdepth.paper import sentences
from lthdepth.paper.study import Paper
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments
from lthdepth.runs.record import command, sealed


def test_every_study_has_distinct_runs_and_a_floor_that_all_share():
    floors = set()
    for name in experiments.STUDIES:
        configs = experiments.study(name).configs
        keys = [runs.key(c, "data", "init") for c in configs]
        assert len(set(keys)) == len(keys)
        found = {k for k, c in zip(keys, configs, strict=True) if c.arm == "floor"}
        floors |= set() if name.startswith("postmortem") else found
    assert len(floors) == 1


def test_no_run_of_the_recipe_search_looks_at_test_frames():
    assert all(c.holdout and not c.test for c in experiments.study("recipe").configs)


@pytest.mark.parametrize(("dense", "passed"), [(0.95, True), (0.97, False), (1.3, False)])
def test_gate_asks_the_dense_network_to_be_a_fifth_below_the_floor(dense, passed):
    found = budget.gate([record("floor", rms=1.2), record(rms=dense)])
    assert found[0] is passed
    assert ("No conclusion" in found[1]) is not passed


def test_a_quick_network_departs_from_about_the_mean_depth():
    """Of what a quick build trains on: the rooms, of which 24 stand for all, and NYU Depth V2 as recorded."""
    frames = data.load("rooms:24")
    counts = np.array(
        summary.load(runs.ROOT / "results" / "nyu_summary.h5").description["splits"]["train"]["histogram"],
        float,
    )
    means = [
        frames.depth[frames.split != "test"].mean(),
        (counts * np.arange(0.05, 10, 0.1)).sum() / counts.sum(),
    ]
    networks = [c for c in experiments.study("quick", "resnet18").configs if c.arm != "floor"]
    assert all(abs(c.bias - mean) < 0.3 for c in networks for mean in means)


def test_the_tuned_setting_is_the_best_recorded_on_validation():
    recorded = [r for r in Paper("paper", store=RECORDED).records("recipe") if r]
    best = min(recorded, key=lambda r: r["validation"]["full"]["pooled"]["rms"])["config"]
    assert len(recorded) > 1 and all(r["test"] is None for r in recorded)
    for name in ("optimiser", "lr_encoder", "lr_decoder", "weight_decay", "schedule", "warmup"):
        assert best[name] == getattr(experiments.TUNED, name)


@pytest.mark.parametrize(
    ("study", "short"),
    [
        ("quick", "last 1 epoch, its last one 4"),
        ("pilot", "last 1 epoch, its last one 6"),
        ("paper", "last 2 epochs"),
        ("full", ""),
    ],
)
def test_shortened_imp_is_said_so_where_it_is_shown(study, short):
    shown, hidden = (sentences.progress(study, [record(arm)]) for arm in ("imp", "omp"))
    assert ("shortened" in shown) == bool(short) and short in shown and "shortened" not in hidden


def test_the_command_of_a_record_makes_a_run_of_the_same_key():
    for made in RECORDED.records().values():
        settings = [word for word in command(made).split() if "=" in word]
        config = experiments.Config.parse(settings, experiments.TUNED)
        assert runs.key(config, made["data"]["fingerprint"], made["init"]["fingerprint"]) == made["key"]


def test_paper_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match="profile"):
        Paper("slow")
    with pytest.raises(UserError, match="weights without data"):
        Paper("paper", weights_source="x.pth")
    with pytest.raises(UserError, match="unknown study"):
        experiments.study("big")


def test_runs_on_other_data_show_once_they_are_the_most(tmp_path):
    """A replicator's data and weights have other fingerprints; nobody types them anywhere."""
    store, lines = runs.Store(tmp_path / "runs", tmp_path / "results"), []
    for config in experiments.study("pilot").configs[:3]:
        for mark, wanted in (("theirs", ("dense", "floor")), ("mine", ("dense", "omp", "random", "floor"))):
            if config.arm in wanted:
                key = runs.key(config, mark, f"{mark}-weights")
                lines.append(
                    record(config.arm, config.density)
                    | {
                        "key": key,
                        "study": "pilot",
                        "config": {"height": 1, "width": 1},
                        "data": {"name": "nyu", "fingerprint": mark},
                    }
                )
                lines[-1]["init"] = {"name": "w", "description": "", "fingerprint": f"{mark}-weights"}
    store.recorded.mkdir()
    (store.recorded / "runs.jsonl").write_text("".join(json.dumps(sealed(line)) + "\n" for line in lines))
    paper = Paper("paper", store=store)
    assert paper.basis("pilot") == ("mine", "mine-weights", 1)
    assert [bool(r) for r in paper.records("pilot")][:4] == [True, True, True, False]
    assert {r["data"]["fingerprint"] for r in paper.records("pilot") if r} == {"mine"}
    assert "Left out: 1 of its runs" in sentences.basis(paper, "pilot", paper.records("pilot"))
    assert paper.basis("paper")[:2] == ("mine", "mine-weights")  # none of its own yet
    assert paper.records("paper")[0]["data"]["fingerprint"] == "mine"
    assert Paper("paper", store=runs.Store(tmp_path / "x", tmp_path / "x")).records("pilot") == [None] * 16
