"""What a notebook asks of the records: which studies there are, and which records a profile shows."""

import json
from types import SimpleNamespace

import pytest
from made_up import record

from lthdepth.analysis import budget, stats
from lthdepth.config import TUNED, Config, level
from lthdepth.errors import UserError
from lthdepth.paper import build, sentences
from lthdepth.paper.study import Paper
from lthdepth.runs import run as runs
from lthdepth.runs import studies
from lthdepth.runs.record import command, sealed


def test_every_study_has_distinct_runs_and_a_floor_that_all_share():
    floors = set()
    for name in studies.STUDIES:
        keys = {runs.key(c, "data", "init"): c.arm for c in studies.study(name).configs}
        assert len(keys) == len(studies.study(name).configs)
        if not name.startswith("postmortem"):
            floors |= {k for k, arm in keys.items() if arm == "floor"}
    assert len(floors) == 1


def test_gate_asks_the_dense_network_to_be_a_fifth_below_the_floor():
    for rms, passed in ((0.95, True), (0.97, False)):
        gate, said = budget.gate(rms, 1.2)
        assert gate is passed and ("No conclusion" in said) is not passed


def test_the_tuned_setting_is_the_best_recorded_on_validation(paper):
    recorded = [r for r in paper.records("recipe") if r]
    best = min(recorded, key=lambda r: r["validation"]["full"]["pooled"]["rms"])["config"]
    assert len(recorded) > 1 and all(r["test"] is None for r in recorded)
    assert all(c.holdout and not c.test for c in studies.study("recipe").configs)
    for name in ("optimiser", "lr_encoder", "lr_decoder", "weight_decay", "schedule", "warmup"):
        assert best[name] == getattr(TUNED, name)


def test_the_command_of_a_record_makes_a_run_of_the_same_key(paper):
    for made in paper.store.records().values():
        settings = [word for word in command(made).split() if "=" in word]
        config = Config.parse(settings, TUNED)
        assert runs.key(config, made["data"]["fingerprint"], made["init"]["fingerprint"]) == made["key"]


def test_weights_without_data_are_refused():
    with pytest.raises(UserError, match="weights without data"):
        Paper("paper", weights_source="x.pth")


def published(folder, name, configs, mark):
    """The paper over made-up records of some runs of a study, made on data and weights of `mark`."""
    (folder / "results").mkdir(exist_ok=True)
    with open(folder / "results" / "runs.jsonl", "a", encoding="utf-8") as file:
        for c in configs:
            key, init = runs.key(c, mark, f"{mark}-weights"), {"name": "w", "description": ""}
            made = record(c.arm, c.density, c.seed, study=name, key=key, config={**vars(c)})
            made["data"]["fingerprint"], made["init"] = mark, init | {"fingerprint": f"{mark}-weights"}
            file.write(json.dumps(sealed(made)) + "\n")
    return Paper("paper", store=runs.Store(folder / "runs", folder / "results"))


def test_runs_on_other_data_show_once_they_are_the_most(tmp_path):
    """A replicator's data and weights have other fingerprints; nobody types them anywhere."""
    floor, dense, omp = studies.study("full").configs[:3]
    published(tmp_path, "full", [floor, dense], "theirs")
    paper = published(tmp_path, "full", [floor, dense, omp], "mine")
    assert paper.basis("full") == ("mine", "mine-weights", 1)
    assert [r and r["data"]["fingerprint"] for r in paper.records("full")][:4] == ["mine"] * 3 + [None]
    assert "Left out: 1 of its runs" in sentences.basis(paper, "full", paper.records("full"))
    assert paper.basis("paper")[:2] == ("mine", "mine-weights")  # none of its own yet
    assert paper.records("paper")[0]["data"]["fingerprint"] == "mine"


def test_rounds_are_recorded_runs_outside_the_grid_and_stand_beside_those_of_their_budget(paper):
    planned = {c for c in paper.study.configs}
    assert paper.rounds and all(r["arm"] == "imp" and r.config not in planned for r in paper.rounds)
    (epochs,) = {r["config"]["epochs"] for r in paper.rounds}
    for seed in {r["seed"] for r in paper.rounds}:
        at = [r for r in paper.at(epochs) if r["seed"] == seed]
        rms = {(r["arm"], r["density"]): r["test"]["full"]["pooled"]["rms"] for r in at}
        losses = {d: value - rms["dense", 1.0] for (arm, d), value in rms.items() if arm == "imp"}
        assert len(losses) == sum(r["seed"] == seed for r in paper.rounds)
        even = 100 * stats.crossing(list(losses), list(losses.values()))
        assert len(losses) < 5 or f"{even:.3g} %" in sentences.rounds(paper)  # with every level
    assert not {r["key"] for r in paper.rounds} & {r["key"] for r in paper.main}


def test_gradual_tickets_break_even_where_their_losses_say(paper):
    rms = {(r["arm"], r["density"]): r["test"]["full"]["pooled"]["rms"] for r in paper.main if r["seed"] == 0}
    for arm in ("gradual", "omp"):
        losses = {d: value - rms["dense", 1.0] for (a, d), value in rms.items() if a == arm}
        even = stats.crossing(list(losses), list(losses.values()))
        assert len(losses) > 5 and f"at {100 * even:.3g} %" in sentences.gradual(paper)


def keys_of(paper, arm, epochs, seed, densities=(1.0,)):
    found = (r for r in [*paper.shown, *paper.earlier] if r and (r["arm"], r["seed"]) == (arm, seed))
    return [r["key"] for r in found if r["density"] in densities and r["config"]["epochs"] == epochs]


def spoilt(paper, failed, gone=()):
    """The committed paper, had runs of these keys diverged, or never been made."""
    other, records = Paper("paper"), paper.store.records()
    other.__dict__["_finished"] = {k: r for k, r in records.items() if k not in {*failed, *gone}}
    other.__dict__["_failed"] = {
        k: type(records[k])(records[k] | {"status": "failed", "test": None}) for k in failed
    }
    other.scenes = lambda _: None  # no intervals over scenes, which take long
    return other


def test_a_ticket_counts_as_the_floor_where_a_round_behind_it_diverged(paper):
    later = keys_of(paper, "imp", 2, 2, [level(15)]) + keys_of(paper, "imp", 6, 2, [level(18)])
    found = spoilt(paper, keys_of(paper, "imp", 2, 2, [level(12)]), later)
    main = found.verdict.main
    assert main.row("imp", level(18)).n == 3
    rms = {r["seed"]: r["test"]["full"]["pooled"]["rms"] for r in paper.main if r["arm"] == "dense"}
    assert main.row("imp", level(18)).seeds[2] == pytest.approx(main.floor - rms[2])
    assert "a ticket then counts as the floor" in sentences.smallest(found)


def test_the_finding_is_said_whichever_runs_diverge(paper):
    for arm, epochs, seeds, densities in (("dense", 18, [0], [1.0]), ("imp", 6, range(3), [level(18)])):
        failed = [key for seed in seeds for key in keys_of(paper, arm, epochs, seed, densities)]
        assert len(failed) == len(seeds) and all(sentences.finding(spoilt(paper, failed)))


def test_a_run_made_again_is_said_with_the_break_even_density_that_it_would_give(paper):
    (again,) = (r for r in paper.store.reruns() if r["key"] in {q["key"] for q in paper.shown if q})
    rms = {
        (r["arm"], r["density"]): r for r in paper.at(2) if r["seed"] == 0 and r["arm"] in ("dense", "omp")
    }
    rms = {k: r["test"]["full"]["pooled"]["rms"] for k, r in rms.items()}
    losses = {
        d: value - again["test"]["full"]["pooled"]["rms"] for (arm, d), value in rms.items() if arm == "omp"
    }
    even = stats.crossing(list(losses), list(losses.values()))
    assert f"seed 0: {100 * even:.3g} % instead of" in sentences.reruns(paper)


def test_pages_of_other_data_say_which_parts_are_not_of_them(paper, tmp_path):
    for mark, says in (("mine", "recipe and postmortem-small"), ("", "")):
        given = mark or paper.basis("recipe")[0], mark or paper.basis("recipe")[1]
        mine = SimpleNamespace(profile="paper", live=True, basis=paper.basis)
        mine.frames, mine.initial = (SimpleNamespace(fingerprint=fingerprint) for fingerprint in given)
        banner = build.banner(mine, "NYU Depth V2")
        assert banner.count(says) and bool(banner) == bool(says)
    assert not build.banner(paper, "")
