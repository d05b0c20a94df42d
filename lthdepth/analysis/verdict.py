"""The verdict: the analysis plan (PLAN.md) applied to recorded runs and their per-image error sums, and to nothing else.

No GPU, network, picture or weights are needed: `python -m lthdepth verdict`, or

    from lthdepth.paper.study import Desk

    desk = Desk("paper")
    verdict = desk.analyse("paper", desk.records("paper"))
    print(verdict.sentence())
    print(verdict.main.tickets)
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from .. import metrics
from ..config import ARMS, WHOLE, level
from ..runs.run import label
from . import stats
from .scores import budget, of_budget, scores

GATE = 0.2  # a dense network must beat the mean depth map's rms by at least this fraction
PRIMARY, LEVEL, SEEDS = (
    "imp",
    level(18),
    3,
)  # the arm, density and least number of pairs that decide question 2
CURVE = "omp"  # the arm whose break-even density is followed from budget to budget (question 1)
CONTROLS = ("random", "shuffled")
SHOP = "bookstore_0001"  # test scene whose shop is probably in two training scenes
PROTOCOLS = {
    "full frame, pooled": ("full", "pooled"),
    "full frame, per image": ("full", "per_image"),
    "Eigen crop, pooled": ("eigen", "pooled"),
}


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the records of one budget say.

    Attributes:
        epochs: the budget.
        gate: `(passed, sentence)`, or None where dense or floor is not recorded.
        dense, floor: mean test rms of the dense runs and of the mean depth map, metres; nan where there is none.
        tickets: a row an arm and density: its difference from dense (metres of rms, positive is worse) with
            intervals over seeds (t, BCa) and over scenes, and the p values; nan where the seeds are too few. `seeds`:
            each difference; `numbers`: the seeds they are of.
        controls: a row a control: how much worse it is than the primary arm, at the primary density.
        break_even: a row an arm: break-even density and its interval; `shown`: the smallest density down to which
            every level passes the test (nan: not even the first).
        protocols: a row an arm and density: the mean difference under every protocol, by name.
    """

    epochs: int
    gate: tuple | None
    dense: float
    floor: float
    tickets: pd.DataFrame
    controls: pd.DataFrame
    break_even: pd.DataFrame
    protocols: pd.DataFrame

    @property
    def passed(self):
        """Whether the gate is passed; without it no test is shown."""
        return bool(self.gate and self.gate[0])

    def row(self, arm, density):
        """A row of `tickets`, or None."""
        if self.tickets.empty:
            return None
        same = self.tickets[(self.tickets.arm == arm) & np.isclose(self.tickets.density, density)]
        return None if same.empty else next(same.itertuples())

    def best(self, density):
        """The row of `tickets` that loses least at a density, or None."""
        same = self.tickets[np.isclose(self.tickets.density, density)] if len(self.tickets) else self.tickets
        return None if same.empty else next(same.sort_values("difference").itertuples())


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the records of a study say, and what follows by the plan.

    Attributes:
        study: its name; missing, failed: numbers of planned runs without a record, and of runs that diverged.
        budgets: `{epochs: Analysis}`, shortest first; main: the `Analysis` of the main budget.
        movement: a row a budget of `CURVE`: break-even density and interval, and by seed.
        closing: a row a level of `CURVE`: the loss at the longest budget minus that at the shortest, by seed.
    """

    study: str
    missing: int
    failed: int
    budgets: dict
    main: Analysis
    movement: pd.DataFrame
    closing: pd.DataFrame

    def sentence(self):
        """Both answers, in plain words and no more (Markdown)."""
        lost = ""
        if self.failed:
            lost = f" {self.failed} runs diverged, or follow from one; a ticket then counts as the mean depth map."
        return f"{self.break_even()}\n\n{self.endpoint()}{lost}"

    def break_even(self):
        """Question 1: the break-even density, and whether it moves with the budget."""
        rows = self.movement
        if rows.empty:
            return "**Open.** No budget has a dense network, a mean depth map and two levels recorded yet."
        parts = [] if len(rows) == 1 else [_moved(rows)]
        for r in rows.itertuples():
            n = f"{r.seeds} seeds" if r.seeds > 1 else "one seed"
            interval = f", 95 % interval {_percent(r.low)} to {_percent(r.high)}" if r.seeds > 1 else ""
            parts.append(f"After {r.epochs} epochs of training it lies {broke(r)} ({n}{interval}).")
        if len(rows) == 1:
            return f"**{parts[0].replace(' it lies ', ' a ticket breaks even with the dense network ')}**"
        return " ".join(parts)

    def endpoint(self):
        """Question 2: the primary arm at 1.80 % against dense."""
        main = self.main
        if main is None or main.gate is None:
            return "**Open.** Until the dense network and the mean depth map are recorded there is nothing to compare with."
        if not main.passed:
            return main.gate[1]
        row = main.row(PRIMARY, LEVEL)
        if row is not None and row.n >= SEEDS and self.study in ("paper", "full"):
            return f"{_outcome(main, row)} {main.gate[1]}"
        best = main.best(LEVEL)
        if best is None:
            return f"**Open.** No ticket of {100 * LEVEL:.2f} % is recorded yet. {main.gate[1]}"
        if self.study in ("paper", "full"):
            pairs = 0 if row is None else row.n
            why = f"The plan asks for {SEEDS} pairs of {ARMS[PRIMARY]} at {100 * LEVEL:.2f} %; {pairs} recorded."
        else:
            why = "These runs are not those of the plan: they describe, and decide nothing."
        return (
            f"**Nothing is concluded yet.** {why} The best ticket so far. {difference(best)} {main.gate[1]}"
        )


def analyse(study, records, arrays=None, scene=None, main=None):
    """Apply the plan.

    Args:
        study: name of the study.
        records: its records, None for a missing one; one that failed has the status "failed".
        arrays: function from a run's key to its arrays (`Store.arrays`); None: no interval over scenes.
        scene: names of the scenes of all frames of the data set, by frame index.
        main: the main budget, epochs; None: the one with the most runs.

    Returns:
        A `Verdict`.
    """
    done = [r for r in records if r]
    counts = Counter(budget(r) for r in done if budget(r))
    sums = _sums(done, arrays) if arrays and scene is not None else {}
    budgets = {epochs: _of_budget(epochs, of_budget(done, epochs), sums, scene) for epochs in sorted(counts)}
    main = main if main in budgets else max(counts, key=counts.get, default=None)
    failed = sum(r.get("status") == "failed" for r in done)
    chosen = budgets.get(main) or _of_budget(0, done, sums, scene)
    return Verdict(
        study, len(records) - len(done), failed, budgets, chosen, _movement(budgets), _closing(budgets)
    )


def _of_budget(epochs, records, sums, scene):
    table = scored(records)
    pairs = _pairs(table)
    return Analysis(
        epochs,
        gate(records),
        *(table[table.arm == arm].rms.mean() if len(table) else np.nan for arm in ("dense", "floor")),
        _tickets(table, pairs, sums, scene),
        _controls(table),
        _break_even(pairs),
        _protocols(records, pairs, sums, scene),
    )


def gate(records):
    """Whether the dense network is good enough for a claim: `(passed, sentence)`; None without both rows."""
    table = scores(records)
    if table.empty or not {"floor", "dense"} <= set(table.arm):
        return None
    dense, floor = (table[table.arm == arm].rms.mean() for arm in ("dense", "floor"))
    passed = bool(dense < (1 - GATE) * floor)
    below = f"{100 * (1 - dense / floor):.0f} % below it"
    text = f"dense rms {dense:.3f} m against {floor:.3f} m of the mean depth map, {below}"
    if passed:
        return True, f"Gate passed: {text}."
    return False, (
        f'<span style="color:#c00">**Gate not passed: {text}; at least {100 * GATE:.0f} % is asked for. '
        "No conclusion about pruning is drawn from these runs.**</span>"
    )


def scored(records, protocol="full", average="pooled"):
    """`scores`, with a row of the floor, its key too, in place of that of a ticket's run that diverged."""
    table = scores(records, protocol, average)
    failed = [r for r in records if r.get("status") == "failed" and r["arm"] not in ("floor", "dense")]
    if table.empty or not failed or "floor" not in set(table.arm):
        return table
    floor = table[table.arm == "floor"].iloc[0].to_dict()
    lost = [floor | {k: r[k] for k in ("arm", "density", "seed")} | {"epochs": budget(r)} for r in failed]
    return pd.concat([table, pd.DataFrame(lost)])


def difference(row):
    """A row of `Analysis.tickets` as a sentence: the difference and its interval, over seeds or else over scenes."""
    name = label(row._asdict() if hasattr(row, "_asdict") else row)
    text = f"{name[0].upper()}{name[1:]}: {row.difference:+.3f} m from dense"
    if row.n >= 2:
        return f"{text} over {row.n} pairs, 95 % interval {row.low:+.3f} to {row.high:+.3f} m."
    if np.isfinite(row.scene_low):
        return f"{text} (one pair; 95 % over test scenes: {row.scene_low:+.3f} to {row.scene_high:+.3f} m)."
    return f"{text} (one pair)."


def broke(row):
    """The break-even density of a row of `movement` in words."""
    if not row.density:
        return f"below {100 * row.smallest:.3g} % of the weights, the sparsest level"
    if row.density > row.largest:
        return f"above {100 * row.largest:.3g} % of the weights, the densest level"
    return f"at {_percent(row.density)} of the weights"


def _percent(density):
    return f"{100 * density:.2g} %" if density < 1 else "100 %"


def _moved(rows):
    """Which way the break-even density goes as the budget grows, by the plan's table."""
    first, last = rows.iloc[0], rows.iloc[-1]
    both = sorted(first.by_seed.keys() & last.by_seed.keys())
    moves = [np.sign(np.log(_floor(last.by_seed[s]) / _floor(first.by_seed[s]))) for s in both]
    span = f"from {first.epochs} to {last.epochs} epochs"
    seeds = "both seeds" if len(both) == 2 else f"all {len(both)} seeds"
    if len(both) < 2:
        return f"**So far one seed has budgets {span}, which shows no trend yet.**"
    if all(m > 0 for m in moves):
        return (
            f"**Pruning looks free where training is weak: the break-even density rises {span}, in {seeds}.**"
        )
    if all(m < 0 for m in moves):
        return f"**Longer training makes up for pruning: the break-even density falls {span}, in {seeds}.**"
    return f"**{span[0].upper()}{span[1:]} the break-even density moves in no direction that these seeds agree on.**"


def _floor(density):
    return density or 1e-3  # "below the smallest level" is smaller than every level


def _movement(budgets):
    rows = []
    for epochs, analysis in budgets.items():
        table = analysis.tickets
        table = table[(table.arm == CURVE) & (table.density < 1)] if len(table) else table
        if not analysis.passed or len(table) < 2:
            continue
        table = table.sort_values("density", ascending=False)
        value, low, high = stats.break_even(list(table.density), list(table.seeds))
        numbers = set.intersection(*map(set, table.numbers))
        by_seed = {
            s: stats.crossing(
                table.density, [d[n.index(s)] for d, n in zip(table.seeds, table.numbers, strict=True)]
            )
            for s in sorted(numbers)
        }
        row = {"epochs": epochs, "seeds": int(table.n.min()), "density": value, "low": low, "high": high}
        largest, smallest = table.density.iloc[0], table.density.iloc[-1]
        rows.append(row | {"largest": largest, "smallest": smallest, "by_seed": by_seed})
    return pd.DataFrame(rows)


def _closing(budgets):
    if len(budgets) < 2:
        return pd.DataFrame()
    first, *_, last = budgets.values()
    rows = []
    for density in sorted(set(first.tickets.get("density", ())) & set(last.tickets.get("density", ()))):
        one, two = (a.row(CURVE, density) for a in (first, last))
        if one is None or two is None:
            continue
        both = sorted(set(one.numbers) & set(two.numbers))
        d = [two.seeds[two.numbers.index(s)] - one.seeds[one.numbers.index(s)] for s in both]
        if d:
            low, high = stats.interval(d)
            row = {
                "arm": CURVE,
                "density": density,
                "n": len(d),
                "change": np.mean(d),
                "low": low,
                "high": high,
            }
            rows.append(row | {"first": one.difference, "last": two.difference})
    return pd.DataFrame(rows)


def _outcome(analysis, row):
    test = f"{difference(row)} p = {row.p:.2g} against the margin of {stats.MARGIN:.3f} m."
    tickets, controls = analysis.tickets, analysis.controls
    if row.p >= stats.ALPHA:
        if row.low > stats.MARGIN:
            return f"**The ticket is worse than the dense network by more than the margin.** {test}"
        return f"**Not shown either way; the interval is the result.** {test}"
    beside = tickets[tickets.arm.isin(CONTROLS) & np.isclose(tickets.density, LEVEL)]
    if also := [ARMS[c.arm] for c in beside.itertuples() if c.holm < stats.ALPHA]:
        named = " and ".join(also)
        return f"**{100 * LEVEL:.2f} % of the weights suffice, but no ticket is needed: so does {named}.** {test}"
    if len(controls[controls.holm < stats.ALPHA]) == len(CONTROLS):
        return f"**The ticket carries what depth needs, and which weights are kept matters.** {test}"
    return f"**The ticket suffices; that it is better than every control is not shown.** {test}"


def _pairs(table):
    """Differences from dense, `{(arm, density): Series over seeds}`, in the order of the records."""
    if table.empty:
        return {}
    kept = table[~table.arm.isin(["floor", "dense"])]
    keys = kept[["arm", "density"]].drop_duplicates().itertuples(index=False)
    pairs = {(arm, density): stats.pair(table, arm, density) for arm, density in keys}
    return {k: d for k, d in pairs.items() if len(d)}


def _tickets(table, pairs, sums, scene):
    rows = []
    for (arm, density), d in pairs.items():
        own = table[(table.arm == arm) & (table.density == density)]
        dense = table[table.arm == "dense"]
        test = stats.non_inferiority(d) if len(d) > 1 else None
        row = {"arm": arm, "density": density, "n": len(d), "seeds": tuple(d), "numbers": tuple(d.index)}
        row |= {"difference": d.mean(), "sd": d.std(), "rms": own.rms.mean()}
        row["low"], row["high"] = stats.interval(d)
        row["bca_low"], row["bca_high"] = stats.bca(d)
        row["scene_low"], row["scene_high"] = _over_scenes(arm, density, d.index, table, sums, scene)
        row["p"] = test.p if test else np.nan
        row["equivalence"] = stats.equivalence(d) if test else np.nan
        row["sign_flip"] = stats.sign_flip(d) if test else np.nan
        row["chen"] = stats.chen(own.rms, dense.rms) if len(dense) > 1 else None
        rows.append(row)
    result = pd.DataFrame(rows)
    if rows:  # Holm over the arms of a density; the primary endpoint stands alone
        result["holm"] = result.p
        primary = (result.arm == PRIMARY) & np.isclose(result.density, LEVEL)
        for _, family in result[~primary & result.p.notna()].groupby("density"):
            result.loc[family.index, "holm"] = stats.holm(family.p)
    return result


def _over_scenes(arm, density, seeds, table, sums, scene):
    def of(arm, density):
        same = table[(table.arm == arm) & (table.density == density)].set_index("seed").key
        return [sums[same[s]] for s in seeds if same[s] in sums]

    one, two = of(arm, density), of("dense", 1)
    if not sums or len(one) < len(seeds) or len(two) < len(seeds):
        return np.nan, np.nan
    return stats.over_scenes(*(np.stack([s for _, s in runs]) for runs in (one, two)), scene[one[0][0]])


def _sums(records, arrays):
    """Frame indices and error sums over the full frame of every scored run, by key."""
    loaded = {r["key"]: arrays(r["key"]) for r in records if r.get("test")}
    return {k: (a["test/frames"], a["test/full"]) for k, a in loaded.items() if "test/full" in a}


def _controls(table):
    rows = []
    for arm in CONTROLS if len(table) else ():
        d = stats.pair(table, arm, LEVEL, against=PRIMARY)
        if len(d) > 1:
            low, high = stats.interval(d)
            p = 0.0 if np.ptp(d) == 0 and d.mean() > 0 else ttest_1samp(d, 0, alternative="greater").pvalue
            rows.append((arm, LEVEL, len(d), d.mean(), low, high, p))
    result = pd.DataFrame(rows, columns=["arm", "density", "n", "difference", "low", "high", "p"])
    return result.assign(holm=stats.holm(result.p))


def _break_even(pairs):
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in pairs if arm not in WHOLE):
        levels = sorted((density for a, density in pairs if a == arm), reverse=True)
        if len(levels) < 2:
            continue
        value, low, high = stats.break_even(levels, [pairs[arm, k] for k in levels])
        shown = np.nan
        for k in levels:  # from dense to sparse, and no further than the first level that does not pass
            if len(pairs[arm, k]) < 2 or not stats.non_inferiority(pairs[arm, k]).passed:
                break
            shown = k
        row = {"arm": arm, "levels": len(levels), "largest": levels[0], "smallest": levels[-1]}
        row |= {"seeds": min(len(pairs[arm, k]) for k in levels), "density": value, "low": low, "high": high}
        rows.append(row | {"shown": shown})
    return pd.DataFrame(rows)


def _protocols(records, pairs, sums, scene):
    tables = {name: scored(records, *how) for name, how in PROTOCOLS.items()}
    if sums and SHOP in scene:
        table = tables["full frame, pooled"].copy()
        for key in set(table.key) & sums.keys():
            frames, full = sums[key]
            table.loc[table.key == key, "rms"] = metrics.summarise(full[scene[frames] != SHOP])["pooled"][
                "rms"
            ]
        tables[f"pooled, without {SHOP}"] = table
    rows = []
    for (arm, density), d in pairs.items():
        means = {name: stats.pair(table, arm, density).mean() for name, table in tables.items()}
        rows.append({"arm": arm, "density": density, "n": len(d)} | means)
    return pd.DataFrame(rows)
