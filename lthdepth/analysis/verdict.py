"""The verdict: the analysis plan (PLAN.md) applied to recorded runs and their per-image error sums, and to
nothing else.

No GPU, network, picture or weights are needed: `python -m lthdepth verdict`, or

    from lthdepth.paper.study import Paper

    paper = Paper("paper")
    verdict = paper.analyse("paper", paper.records("paper"))
    print(verdict.sentence())
    print(verdict.main.tickets)
"""

from collections import Counter
from dataclasses import dataclass
from itertools import dropwhile, takewhile

import numpy as np
import pandas as pd

from ..config import ARMS
from . import budget as plan
from . import stats

CURVE = "omp"  # the arm whose break-even density is followed from budget to budget (question 1)
SAID = {  # what follows, by the outcome of the test
    "none": "No IMP or one-shot ticket has a dense network of these seeds beside it.",
    "too few": "Fewer than three pairs: no test is made.",
    "–": "Gate not passed: nothing is concluded about pruning.",
    "not shown": "Not shown either way; the interval is the result.",
    "worse": "The ticket is worse than the dense network by more than the margin.",
    "non-inferior": "The ticket loses less than the margin.",
    "controls worse": "The ticket carries what depth needs, and which weights are kept matters.",
    "controls open": "The ticket suffices; that it is better than every control is not shown.",
    "control passes": "{kept} of the weights suffice, but no ticket is needed: so does {controls}.",
}


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the records of a study say, and what follows by the plan.

    Attributes:
        study: its name; failed: number of runs that diverged.
        budgets: `{epochs: budget.Analysis}`, shortest first; main: that of the main budget.
        movement: a row a budget of `CURVE` over `budget.LEVELS`: break-even density, interval, the fewest
            and most seeds of the levels beside it, the `budget.Place` of each seed, what is missing.
        closing: a row a level of `CURVE`: the loss at the longest budget minus that at the shortest.
    """

    study: str
    failed: int
    budgets: dict
    main: plan.Analysis
    movement: pd.DataFrame
    closing: pd.DataFrame

    def sentence(self):
        """Both answers, in plain words and no more (Markdown)."""
        tested = "" if self.movement.empty else f" {self.tested()}"
        return f"{self.break_even()}{tested}\n\n{self.endpoint()}{self.lost()}"

    def lost(self):
        """How many runs have no result, and how they count; "" for none."""
        if not self.failed:
            return ""
        runs = "One run" if self.failed == 1 else f"{self.failed} runs"
        return f" {runs} diverged or followed from one that did; a ticket then counts as the floor."

    def break_even(self):
        """Question 1: the break-even density, and whether it moves with the budget."""
        rows = self.movement
        if rows.empty and self.main.gate and not self.main.passed:
            return f"**Open.** {self.main.gate[1]}"
        if rows.empty:
            return "**Open.** No budget has a dense network, a mean depth map and two levels recorded yet."
        said = "On average an encoder pruned once by magnitude (one-shot) loses no more than "
        said += f"{stats.MARGIN:.3f} m of rms as long as it keeps, of its prunable weights, "
        said += f"{'; '.join(map(_place, rows.itertuples()))}."
        rest = " This share is the break-even density."
        if weak := [str(n) for n, a in self.budgets.items() if a.gate and not a.passed]:
            rest += f" Left out, for the gate is not passed there: {', '.join(weak)} epochs."
        direction, known = moved(rows)
        return f"**{direction}** {said}{rest}" if known else f"**{said}**{rest} {direction}".rstrip()

    def tested(self):
        """How many levels of the curve have the pairs of a test, and how many are shown to be within."""
        curves = [a.row(CURVE, k) for a in self.budgets.values() for k in plan.LEVELS if a.passed]
        tested = [r for r in curves if r and r.n >= plan.SEEDS]
        passing = sum(r.holm < stats.ALPHA for r in tested)
        said = f"Of {len(curves)} levels {len(tested)} have the three pairs that the plan's test takes; "
        return f"{said}{passing or 'none'} passed it."

    def endpoint(self):
        """Question 2: the primary arm at 1.80 % against dense."""
        main, sparse = self.main, f"{100 * plan.LEVEL:.2f} %"
        if main.gate is None:
            return "**Open.** There is no dense network or no mean depth map to compare with."
        if not main.passed:
            return main.gate[1]
        row, best = main.row(plan.PRIMARY, plan.LEVEL), main.best(plan.LEVEL)
        if best is None:
            return f"**Open.** No ticket of {sparse} is recorded yet. {main.gate[1]}"
        pairs, planned = row.n if row else 0, self.study in ("paper", "full")
        if pairs >= plan.SEEDS and planned:
            test = f"{plan.difference(row)} p = {row.p:.2g} against the margin of {stats.MARGIN:.3f} m."
            return f"**{conclude(main, row)}** {test} {apart(row)}{main.gate[1]}"
        why = f"The plan decides by {plan.SEEDS} pairs of {ARMS[plan.PRIMARY]} at {sparse}, of which {pairs} "
        why += "is recorded." if pairs == 1 else "are recorded."
        if not planned:
            why = "These runs are not those of the plan: they describe, and decide nothing."
        if row and best.arm != plan.PRIMARY:
            why += f" {plan.difference(row)}"
        why += f" {plan.difference(best)} That is the best ticket of {sparse} so far."
        return f"**Open.** {why} {main.gate[1]}"


def analyse(study, records, arrays=None, scene=None, main=None):
    """Apply the plan: the `Verdict` of a study's records, None for a missing one.

    Args:
        arrays: function from a run's key to its arrays (`Store.arrays`); None: no interval over scenes.
        scene: names of the scenes of all frames of the data set, by frame index.
        main: the main budget, epochs; None: the one with the most runs.
    """
    done = [r for r in records if r]
    counts = Counter(plan.budget(r) for r in done if plan.budget(r))
    sums = error_sums(done, arrays) if arrays and scene is not None else {}
    budgets = {n: plan.analyse(n, plan.of_budget(done, n), sums, scene) for n in sorted(counts)}
    main = main if main in budgets else max(counts, key=counts.get, default=None)
    failed = sum(r.get("status") == "failed" for r in done)
    chosen = budgets.get(main) or plan.analyse(0, done, sums, scene)
    return Verdict(study, failed, budgets, chosen, _movement(budgets), _closing(budgets))


def _place(row):
    """Where the break-even density of a row of `movement` lies, with its interval where it has one."""
    n = f"{row.seeds} seeds" if row.seeds > 1 else "one seed"
    if row.fewest < row.seeds:
        n += f", at some densities {row.fewest}"
    if (interval := plan.density_interval(row)) != "–":
        n += f"; 95 % interval {interval}"
    return f"{plan.density(row, row.density)} after {row.epochs} epochs ({n}{row.missing})"


def moved(rows):
    """Which way the break-even density of rows of `movement` goes as the budget grows, by the plan's table:
    `(sentence, whether it is known)`.
    """
    if len(rows) < 2:
        return "", False
    first, last = rows.iloc[0], rows.iloc[-1]
    span, steps = f"from {first.epochs} to {last.epochs} epochs", []
    for seed, before in first.by_seed.items():
        if after := last.by_seed.get(seed):
            step = int(after.bounds[0] > before.bounds[1]) - int(after.bounds[1] < before.bounds[0])
            whole = all(p.density or p.smallest == r.smallest for p, r in ((before, first), (after, last)))
            steps += [step] if step or whole else []
    if len(steps) < 2:
        return f"Whether it moves {span} is open: fewer than two seeds show it.", False
    seeds = "both seeds" if len(steps) == 2 else f"all {len(steps)} seeds"
    if set(steps) == {1}:
        said = f"Pruning looks free where training is weak: the break-even density rises {span}, in {seeds}."
    elif set(steps) == {-1}:
        said = f"Longer training makes up for pruning: the break-even density falls {span}, in {seeds}."
    else:
        said = f"{span[0].upper()}{span[1:]} the break-even density moves in no way that {seeds} show."
    return said, True


def curve(analysis, arm):
    """The rows of an arm at `budget.LEVELS`, from the densest recorded to the first that is not: nothing is
    read across a gap.
    """
    rows = dropwhile(lambda t: t is None, (analysis.row(arm, k) for k in plan.LEVELS))
    return list(takewhile(lambda t: t is not None, rows))


def _movement(budgets):
    rows = []
    for epochs, analysis in budgets.items():
        levels = curve(analysis, CURVE)
        if not analysis.passed or not levels or (len(levels) == 1 and levels[0].difference > stats.MARGIN):
            continue
        densities = [t.density for t in levels]
        row = {"epochs": epochs, "largest": densities[0], "smallest": densities[-1]}
        row["missing"] = _missing(analysis, levels[-1])
        row |= zip(("density", "low", "high"), stats.break_even(densities, [t.seeds for t in levels]))
        before = sum(k >= row["density"] for k in densities)
        beside = [t.n for t in levels[max(before - 1, 0) : before + 1]]  # the levels that it lies between
        row |= {"fewest": min(beside), "seeds": max(beside)}
        if min(t.n for t in levels) < 2:  # a level of one seed shows nothing
            row |= {"low": 0.0, "high": 1.0}
        row["by_seed"] = by_seed(levels)
        rows.append(row)
    return pd.DataFrame(rows)


def by_seed(levels):
    """The `budget.Place` where every seed breaks even, by its losses at levels (of `curve`) down to the first
    that it lacks.
    """
    found = {}
    for seed, losses in pd.DataFrame({t.density: t.seeds for t in levels}).iterrows():
        known = losses[losses.notna().cummin()]
        if len(known):
            found[seed] = plan.Place(stats.crossing(known.index, known), known.index[0], known.index[-1])
    return found


def _missing(analysis, last):
    """Which `budget.LEVELS` are not recorded, and what the next beyond the last that was read loses."""
    rows = {f"{100 * k:#.3g} %": analysis.row(CURVE, k) for k in plan.LEVELS}
    absent = [name for name, row in rows.items() if row is None]
    beyond = [
        f"; {k} loses {row.difference:.3f} m" for k, row in rows.items() if row and row.density < last.density
    ]
    return "".join([f"; not recorded yet: {', '.join(absent)}" if absent else "", *beyond[:1]])


def _closing(budgets):
    passed = [a for a in budgets.values() if a.passed]
    rows = []
    for k in plan.LEVELS if len(passed) > 1 else ():
        one, two = (a.row(CURVE, k) for a in (passed[0], passed[-1]))
        losses = pd.DataFrame({"first": one.seeds, "last": two.seeds}).dropna() if one and two else ()
        if len(losses):
            change = losses["last"] - losses["first"]
            row = {"arm": CURVE, "density": k, "n": len(losses), "change": change.mean()}
            row |= {"start": passed[0].epochs, "end": passed[-1].epochs} | losses.mean().to_dict()
            rows.append(row | dict(zip(("low", "high"), stats.interval(change))))
    return pd.DataFrame(rows)


def primary(row):
    """Whether a row of `Analysis.tickets` is the one that decides question 2."""
    return row.arm == plan.PRIMARY and bool(np.isclose(row.density, plan.LEVEL))


def conclude(analysis, row, margin=stats.MARGIN):
    """What follows by the plan from a row of `Analysis.tickets`; the primary one's controls count."""
    said, passing = analysis.outcome(row, margin), []
    if said == "non-inferior" and primary(row):
        beside = [control for arm in plan.CONTROLS if (control := analysis.row(arm, row.density))]
        passing = [ARMS[c.arm] for c in beside if c.holm < stats.ALPHA]
        worse = (analysis.controls.holm < stats.ALPHA).sum() == len(plan.CONTROLS)
        said = "control passes" if passing else "controls worse" if worse else "controls open"
    return SAID[said].format(kept=f"{100 * row.density:.2f} %", controls=" and ".join(passing))


def apart(row):
    """What a mean hides whose interval shows nothing though every pair loses more than the margin; or ""."""
    if not row.low < stats.MARGIN < min(row.seeds):
        return ""
    least, times = min(row.seeds), f"about {min(row.seeds) / stats.MARGIN:.0f} times the margin"
    said = f"Each pair alone loses at least {least:.3f} m, {times}"
    return f"{said}; they differ so much that the interval of their mean is wide. "


def error_sums(records, arrays):
    """Frame indices and error sums over the full frame of every scored run, by key."""
    loaded = {r["key"]: arrays(r["key"]) for r in records if r.get("test")}
    return {k: (a["test/frames"], a["test/full"]) for k, a in loaded.items() if "test/full" in a}
