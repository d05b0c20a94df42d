"""The analysis plan applied to made-up records with a known truth, and to those that are committed."""

import dataclasses
import json
import re
import shutil
from types import SimpleNamespace

import made_up
import numpy as np
import pytest
from scipy.stats import ttest_1samp

from lthdepth import files, metrics
from lthdepth.analysis import budget, stats, verdict
from lthdepth.config import level
from lthdepth.paper import plots, tables
from lthdepth.paper.study import Paper
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments
from lthdepth.runs.record import sealed

LOSSES = {
    ("imp", level(18)): 0.003,
    ("omp", level(18)): 0.03,
    ("random", level(18)): 0.3,
    ("shuffled", level(18)): 0.2,
}


def analyse(seeds, losses=LOSSES, study="paper", missing=0, **truth):
    records, arrays = made_up.study(seeds, losses, **truth)
    return verdict.analyse(study, records + [None] * missing, arrays, made_up.SCENES)


def test_nothing_recorded_is_an_open_question():
    for records in ([], [None] * 3, made_up.study(0, {})[0]):
        found = verdict.analyse("paper", records)
        assert "Open" in found.sentence() and found.main.tickets.empty
        assert plots.differences(found.main) is None
    assert "No ticket of 1.80 % is recorded" in analyse(2, {}).sentence()
    for table in (tables.tickets, tables.break_even, tables.protocols):
        assert table(found.main).empty


def test_fewer_seeds_than_the_plan_asks_for_describe_and_conclude_nothing():
    found = analyse(1, missing=20)
    assert "of which 1 is recorded" in found.sentence() and "m from dense (one pair" in found.sentence()
    assert found.main.tickets[["p", "low", "sign_flip"]].isna().all(axis=None)
    assert (found.main.tickets.scene_low < found.main.tickets.difference).all()
    shown = tables.tickets(found.main)
    assert set(shown.outcome) == {"too few"} and "p non-inferior" not in shown
    two = analyse(2)
    assert "**Open.** The plan decides by 3 pairs of IMP at 1.80 %, of which 2 are" in two.endpoint()
    assert two.main.tickets.p.isna().all() and two.main.tickets.low.notna().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "which weights are kept matters"),
        ({("random", level(18)): 0.003}, "no ticket is needed: so does random"),
        (
            {("random", level(18)): 0.012, ("shuffled", level(18)): 0.013, ("imp", level(18)): 0.010},
            "better than every control is not",
        ),
        ({("imp", level(18)): 0.04}, "worse than the dense network by more than the margin"),
        ({("imp", level(18)): 0.014}, "Not shown either way"),
    ],
)
def test_six_seeds_conclude_what_is_true(change, words):
    assert words in analyse(6, LOSSES | change).sentence()


def test_pairs_that_all_lose_more_than_the_margin_are_named_where_their_mean_shows_nothing():
    for losses, named in (((0.54, 0.25, 0.22), True), ((0.54, 0.25, 0.01), False), ((0.3, 0.3, 0.31), False)):
        low, _ = ttest_1samp(losses, 0).confidence_interval()
        said = verdict.apart(SimpleNamespace(low=low, seeds=losses))
        assert ("at least 0.220 m, about 15 times the margin" in said) == named == bool(said)


def test_without_the_gate_there_is_no_test_and_no_conclusion():
    found = analyse(6, dense=1.0)
    assert "color:#c00" in found.sentence() and "No conclusion" in found.sentence()
    curve = analyse(6, made_up.curve("omp", 0.1), dense=1.0)
    tested = ("p ", "outcome", "non-inferior", "within")
    for shown in (tables.tickets(found.main), tables.controls(found.main), tables.break_even(curve.main)):
        assert len(shown) and not [column for column in shown if column.startswith(tested)]
    assert "p worse" in tables.controls(analyse(6).main)


def test_a_diverged_ticket_counts_as_the_floor_and_a_diverged_dense_run_loses_its_pair():
    records, arrays = made_up.study(6, LOSSES)
    for r in records:
        if (r["arm"], r["seed"]) in (("imp", 2), ("dense", 4)):
            r |= {"status": "failed", "test": None}
    found = verdict.analyse("paper", records, arrays, made_up.SCENES)
    row = found.main.tickets.iloc[0]
    assert (row.arm, row.n, found.failed) == ("imp", 5, 2)
    dense = next(r for r in records if (r["arm"], r["seed"]) == ("dense", 2))["test"]["full"]["pooled"]["rms"]
    assert row.seeds[2] == pytest.approx(records[0]["test"]["full"]["pooled"]["rms"] - dense)
    assert row.p > 0.05 and "2 runs diverged" in found.sentence()

    lost = {"status": "failed", "test": None}
    every = [r | lost if r["arm"] == "imp" else r for r in made_up.study(2, LOSSES)[0]]
    row = verdict.analyse("paper", every, arrays, made_up.SCENES).main.row("imp", level(18))
    assert row.scene_low < row.difference < row.scene_high  # the floor's frames are scored like any others


def publish(store, records):
    text = "".join(json.dumps(sealed(r)) + "\n" for r in records)
    files.write_atomic(store.recorded / "runs.jsonl", text)


def recorded(*configs, init="i", **change):
    """Records of configurations, of made-up data and weights."""
    named = {"init": {"name": "w", "description": "", "fingerprint": init}}
    one = made_up.study(0, {})[0][0] | named | change
    its = [{k: getattr(c, k) for k in ("arm", "density", "seed")} for c in configs]
    keys = [{"key": runs.key(c, "d", init), "config": dataclasses.asdict(c)} for c in configs]
    return [one | a | b for a, b in zip(its, keys, strict=True)]


def test_a_run_that_diverges_takes_with_it_all_that_follow_from_it_and_nothing_else(tmp_path):
    store = runs.Store(tmp_path / "runs", tmp_path / "results")
    configs = experiments.study("full").configs
    imp = {(round(np.log(c.density) / np.log(0.8)), c.seed): c for c in configs if c.arm == "imp"}
    dense = {c.seed: c for c in configs if c.arm == "dense"}
    seventh = imp[9, 1].replace(density=level(7))  # a round on the way, no run of the study
    publish(store, recorded(configs[0], dense[0], dense[1]))
    how = {"status": "failed", "test": None, "reason": "it diverged."}
    lost = recorded(seventh, **how) + recorded(imp[3, 2].replace(epochs=1), **how)  # of another training
    lost += recorded(imp[3, 2], init="other", **how)  # of other weights
    shutil.copy(runs.ROOT / "results" / "nyu_summary.h5", store.recorded)
    for r in lost:
        files.write_atomic(store.local / r["key"] / "failed.json", sealed(r))
    paper = Paper("paper", store=store)
    assert [r["key"] for r in paper.lost("full")] == [
        runs.key(imp[k, 1], "d", "i") for k in (18, 17, 15, 12, 9)
    ]
    analysis = paper.analyse("full", paper.records("full"))
    assert analysis.failed == 5
    assert set(analysis.main.tickets.density) == {level(k) for k in (9, 12, 15, 17, 18)}


def test_every_arm_of_the_study_is_named_in_the_plan_and_the_reverse():
    table = (runs.ROOT / "PLAN.md").read_text().partition("| arm |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == {c.arm for c in experiments.study("paper").configs}


def test_holm_spares_the_primary_endpoint_and_corrects_the_other_arms_of_a_density():
    found = analyse(6).main.tickets.set_index("arm")
    assert found.holm["imp"] == found.p["imp"]
    assert found.holm[["omp", "random", "shuffled"]].tolist() == pytest.approx(
        stats.holm(found.p[["omp", "random", "shuffled"]])
    )


def test_protocols_are_those_of_the_records_and_of_the_sums_without_the_shop():
    records, arrays = made_up.study(2, LOSSES)
    found = verdict.analyse("paper", records, arrays, made_up.SCENES).main.protocols.set_index("arm")
    keep = made_up.SCENES[made_up.TEST] != budget.SHOP
    assert keep.sum() == 54

    def rms(arm, seed):
        key = next(r["key"] for r in records if (r["arm"], r["seed"]) == (arm, seed))
        return metrics.summarise(arrays(key)["test/full"][keep])["pooled"]["rms"]

    expected = np.mean([rms("omp", s) - rms("dense", s) for s in (0, 1)])
    assert found.loc["omp", f"pooled, without {budget.SHOP}"] == pytest.approx(expected)
    scores = {(r["arm"], r["seed"]): r["test"]["full"]["per_image"]["rms"] for r in records}
    expected = np.mean([scores["omp", s] - scores["dense", s] for s in (0, 1)])
    assert found.loc["omp", "full frame, per image"] == pytest.approx(expected)


def test_the_levels_shown_to_pass_stop_at_the_first_failure():
    losses = made_up.curve("omp", 0.1)  # 0.1 (k / 18)^4 reaches 0.015 m at k = 11.2
    row = analyse(6, losses).main.break_even.iloc[0]
    assert row.low < 0.8**11.2 < row.high and row.shown in (level(6), level(9))
    bumpy = losses | {("omp", level(6)): 0.05}  # a level that fails hides the better ones below it
    assert analyse(6, bumpy).main.break_even.iloc[0].shown == level(3)
    assert "below 1.8 %" in tables.break_even(analyse(3, made_up.curve("omp", 0.0)).main).to_string()


def test_committed_scores_follow_from_the_committed_error_sums():
    store = runs.Store(runs.ROOT / "no-local-runs", runs.ROOT / "results")
    checked = 0
    for r in store.records().values():
        if r.get("test"):
            again = metrics.summarise(store.arrays(r["key"])["test/full"])
            for average, scores in r["test"]["full"].items():
                if average in again:
                    assert again[average] == pytest.approx(scores, rel=1e-4)
                    checked += 1
    assert checked


def budgets(seeds, slopes, levels=(3, 6, 12, 18)):
    """Records of several budgets: `{epochs: loss at 1.80 %}` of one-shot tickets, whose loss grows along
    `curve`.
    """
    records, arrays = [], {}
    for epochs, loss in slopes.items():
        part, of = made_up.study(seeds, made_up.curve("omp", loss, levels), epochs=epochs, spread=0.0005)
        records += part if not records else part[1:]  # one floor for all
        arrays[epochs] = of
    return verdict.analyse("paper", records, main=6)


def test_the_break_even_density_is_followed_from_budget_to_budget():
    found = budgets(3, {2: 0.05, 6: 0.1, 18: 0.4})
    assert list(found.movement.epochs) == [2, 6, 18] and found.main.epochs == 6
    for r, loss in zip(found.movement.itertuples(), (0.05, 0.1, 0.4), strict=True):
        assert set(r.by_seed) == {0, 1, 2} and r.seeds == 3
        table = found.budgets[r.epochs].tickets
        below, above = table[table.difference <= stats.MARGIN], table[table.difference > stats.MARGIN]
        assert above.density.max() <= r.density <= below.density.min()
        assert r.density == pytest.approx(0.8 ** (18 * (0.015 / loss) ** 0.25), rel=0.35)
    said = found.break_even()
    assert "rises from 2 to 18 epochs, in all 3 seeds" in said
    assert "% after 6 epochs (3 seeds" in said
    closing = found.closing.set_index("density")
    assert closing.change[level(18)] == pytest.approx(0.35, abs=0.01) and (closing.n == 3).all()


def test_the_other_ways_the_break_even_density_can_go_are_said_as_the_plan_has_them():
    assert "Longer training makes up" in budgets(3, {2: 0.4, 18: 0.05}).break_even()
    alone = budgets(3, {6: 0.1}).break_even()
    assert "% after 6 epochs (3 seeds" in alone and "Whether" not in alone
    one = budgets(1, {2: 0.05, 18: 0.4})
    low, high = (f"{100 * d:.3g} %" for d in one.movement.density)
    assert f"weights, {low} after 2 epochs (one seed" in one.break_even()
    assert f"; {high} after 18 epochs (one seed" in one.break_even()
    assert one.break_even().endswith("from 2 to 18 epochs is open: fewer than two seeds show it.")
    lost = budgets(2, {2: 40.0, 6: 50.0}).break_even()  # where both lie above what was tried
    assert "above 51.2 % after" in lost and "in no way that both seeds show" in lost
    free = budgets(2, {2: 0.0, 6: 0.0})
    assert "below 1.8 % after" in free.break_even() and len(plots.budgets(free).axes) == 2
    gap = budgets(2, {6: 0.1}, levels=(3, 12, 18))  # 26.2 % is missing, and nothing is read across it
    assert "below 51.2 %" in gap.break_even() and "26.2 %; 6.87 % loses 0.0" in gap.break_even()
    assert budgets(2, {6: 40.0}, levels=(3, 12, 18)).movement.empty  # above 51.2 %, and that is all


def test_a_seed_breaks_even_by_its_own_levels_from_the_densest_to_the_first_that_it_lacks():
    records, _ = made_up.study(2, made_up.curve("omp", 0.1, levels=(1, 3, 6, 12, 18)), epochs=6)
    whole = verdict.analyse("paper", records).movement.iloc[0].by_seed
    assert whole[0].largest == 0.8 and whole[0].smallest == pytest.approx(level(18))
    assert whole[1].bounds == (whole[1].density, whole[1].density)
    for i, k in enumerate(budget.LEVELS):
        fewer = [r for r in records if r["seed"] == 0 or r["density"] != k]
        found = verdict.analyse("paper", fewer).movement.iloc[0].by_seed
        above = [d for d in budget.LEVELS[:i] if d >= whole[1].density]
        assert found[0] == whole[0] and (1 in found) == (i > 0)
        if i and len(above) < i:  # it lies above the level before the gap
            assert found[1].density == whole[1].density and found[1].smallest == budget.LEVELS[i - 1]
        elif i:
            assert str(found[1]) == f"below {100 * budget.LEVELS[i - 1]:.3g} %"


def shifted(seeds, **losses):
    """The verdict of two budgets and some seeds: `s0e2=(loss at 80 %, at 51.2 % ...)` of seed 0, 2 epochs."""
    records = []
    for epochs in (2, 18):
        part, _ = made_up.study(seeds, made_up.curve("omp", 0.1, levels=(1, 3, 6, 12, 18)), epochs=epochs)
        dense = {r["seed"]: r["test"]["full"]["pooled"]["rms"] for r in part if r["arm"] == "dense"}
        for r in part:
            if r["arm"] == "omp":
                wanted = losses[f"s{r['seed']}e{epochs}"]
                i = int(np.argmin(np.abs(np.log(budget.LEVELS) - np.log(r["density"]))))
                if i >= len(wanted):
                    continue
                r["test"]["full"]["pooled"]["rms"] = dense[r["seed"]] + wanted[i]
            records += [r] if r["arm"] != "floor" or epochs == 2 else []
    return verdict.analyse("paper", records, main=2)


def test_a_direction_is_claimed_only_where_the_levels_of_two_seeds_show_it():
    early, late = (0.0, 0.01, 0.03, 0.1, 0.2), (0.0, 0.002, 0.01, 0.1, 0.2)
    known = {"s0e2": early, "s0e18": late, "s1e2": early}
    for after, said in {
        (): "open",
        (0.0,): "open",  # below 80 %: it may be more or less
        (0.0, 0.002): "open",  # below 51.2 %, and so was what it is compared with
        (0.0, 0.002, 0.01): "falls from 2 to 18 epochs, in both seeds",  # below 26.2 %
        (0.0, 0.1): "no way that both seeds show",
        (0.1,): "no way that both seeds show",  # above 80 %
        late: "falls from 2 to 18 epochs, in both seeds",
        early: "no way that both seeds show",
    }.items():
        assert said in shifted(2, **known, s1e18=after).break_even(), after
    both = {"s0e2": late, "s0e18": early, "s1e2": late, "s1e18": (0.1,)}
    assert "rises from 2 to 18 epochs, in both seeds" in shifted(2, **both).break_even()


def test_a_budget_whose_gate_is_not_passed_has_no_break_even_density():
    records, _ = made_up.study(2, made_up.curve("omp", 0.1), dense=1.1, epochs=2)
    found = verdict.analyse("paper", records)
    assert (
        found.movement.empty
        and found.break_even().startswith("**Open.** <span")
        and "Gate not" in found.break_even()
    )
    better = [*records, *made_up.study(2, made_up.curve("omp", 0.1), epochs=6)[0][1:]]
    assert "gate is not passed there: 2 epochs" in verdict.analyse("paper", better, main=6).break_even()


def test_the_tail_is_what_the_worst_frames_carry():
    squares = np.r_[np.full(99, 4.0), 604.0]
    assert budget.tail(np.stack([np.ones(100), np.zeros(100), squares], 1)) == pytest.approx(604 / 1000)


def test_images_count_what_the_earlier_rounds_cost():
    base = experiments.study("paper").configs[1].replace(epochs=6, batch=8)
    one = 795 // 8 * 8
    assert budget.images(base, 795) == 6 * one
    imp = base.replace(arm="imp", density=level(18), stride=3, round_epochs=2)
    assert budget.images(imp, 795) == (6 + 5 * 2 + 2) * one
    assert budget.images(base.replace(arm="fisher", density=0.1, round_epochs=2), 795) == 8 * one
    assert budget.images(base.replace(arm="gradual", density=0.1), 795) == 6 * one


def test_levels_of_one_budget_alone_and_fewer_seeds_there_leave_the_break_even_density_with_its_interval():
    records, arrays = made_up.study(3, made_up.curve("omp", 0.1, levels=(3, 6, 9, 12, 15, 18)), epochs=6)
    alone = {level(9), level(15)}
    fewer = [r for r in records if r["density"] not in alone or r["seed"] == 0]
    row, same = (verdict.analyse("paper", rs, arrays).movement.iloc[0] for rs in (fewer, records))
    assert [row.density, row.low, row.high, row.by_seed] == [same.density, same.low, same.high, same.by_seed]
    for k, seeds in ((18, "3 seeds"), (12, "3 seeds, at some densities 2")):  # far from it, and beside it
        one_less = [r for r in records if r["density"] != level(k) or r["seed"] < 2]
        said = verdict.analyse("paper", one_less, arrays).break_even()
        assert f"after 6 epochs ({seeds}; 95 % interval" in said
