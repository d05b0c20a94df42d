"""The verdict: the analysis plan (PLAN.md) applied to recorded runs and their per-image error sums, and to nothing else.

No GPU, network, picture or weights are needed:

    from lthdepth import verdict
    from lthdepth.desk import Desk

    desk = Desk("paper")
    found = desk.analyse("pilot", desk.records("pilot"))
    print(found.sentence())
    print(found.tickets)
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from .. import metrics
from ..config import ARMS, level
from ..paper import plots
from ..runs.run import label
from . import stats

GATE = 0.2  # a dense network must beat the mean depth map's rms by at least this fraction before anything is concluded
PRIMARY, LEVEL, SEEDS = "imp", level(18), 6  # the arm, density and least number of paired seeds that decide
CONTROLS = ("random", "shuffled")
SHOP = "bookstore_0001"  # test scene whose shop is probably in two training scenes
PROTOCOLS = {
    "full frame, pooled": ("full", "pooled"),
    "full frame, per image": ("full", "per_image"),
    "Eigen crop, pooled": ("eigen", "pooled"),
}


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the records of a study say.

    Attributes:
        study: its name; only that of "paper" is what the plan is about.
        missing, failed: numbers of planned runs without a record, and of runs that diverged.
        gate: `(passed, sentence)`, or None where dense or floor is not recorded.
        tickets: a row an arm and density: its difference from dense (metres of rms, positive is worse) with intervals
            over seeds (t, BCa) and over scenes, and the p values; nan where the seeds are too few. `seeds`: each of them.
        controls: a row a control: how much worse it is than the primary arm, at the primary density.
        break_even: a row an arm: break-even density and its interval; `shown`: the smallest density down to which every
            level passes the test, none left out (nan: not even the first).
        protocols: a row an arm and density: the mean difference under every protocol, by name.
    """

    study: str
    missing: int
    failed: int
    gate: tuple | None
    tickets: pd.DataFrame
    controls: pd.DataFrame
    break_even: pd.DataFrame
    protocols: pd.DataFrame

    def sentence(self):
        """What may be concluded, in plain words and no more (Markdown)."""
        lost = (
            f" {self.failed} runs diverged, or one that they follow from; a ticket then counts as the mean depth map."
            if self.failed
            else ""
        )
        if self.gate is None:
            return f"**Open.** Until the dense network and the mean depth map are recorded there is nothing to compare with.{lost}"
        passed, gate = self.gate
        if not passed:
            return gate
        if self.tickets.empty:
            return f"**Open.** No ticket is recorded yet. {gate}"
        primary = self.tickets[(self.tickets.arm == PRIMARY) & np.isclose(self.tickets.density, LEVEL)]
        decides = self.study == "paper" and not self.missing and len(primary) and primary.iloc[0].n >= SEEDS
        if decides:
            return f"{self._outcome(primary.iloc[0])}{lost} {gate}"
        smallest = self.tickets[np.isclose(self.tickets.density, self.tickets.density.min())]
        if self.study != "paper":
            why = "These runs are smaller than those of the analysis plan: they describe, and decide nothing."
        else:
            pairs = int(primary.n.max()) if len(primary) else 0
            why = (
                f"The plan asks for {SEEDS} pairs of {ARMS[PRIMARY]} and dense at {100 * LEVEL:.2f} %: {pairs} are recorded, "
                f"and {self.missing} planned runs are not."
            )
        parts = ["**Nothing is concluded yet.**", why, *map(difference, smallest.itertuples())]
        if (smallest.n < 2).any():
            parts.append("One seed does not tell what another would give: nothing is tested on it.")
        return " ".join(parts) + f"{lost} {gate}"

    def _outcome(self, row):
        test = f"{difference(row)} p = {row.p:.2g} against the margin of {stats.MARGIN:.3f} m."
        controls = self.tickets[self.tickets.arm.isin(CONTROLS) & np.isclose(self.tickets.density, LEVEL)]
        if row.p >= stats.ALPHA:
            if row.low > stats.MARGIN:
                return f"**The ticket is worse than the dense network by more than the margin.** {test}"
            return f"**Not shown either way; the interval is the result.** {test}"
        if also := [ARMS[c.arm] for c in controls.itertuples() if c.holm < stats.ALPHA]:
            return f"**{100 * LEVEL:.2f} % of the weights suffice, but no ticket is needed: so does {' and '.join(also)}.** {test}"
        worse = self.controls[self.controls.holm < stats.ALPHA]
        if len(worse) == len(CONTROLS):
            return f"**The ticket carries what depth needs, and which weights are kept matters.** {test}"
        return f"**The ticket suffices; that it is better than every control is not shown.** {test}"


def analyse(study, records, arrays=None, scene=None):
    """Apply the plan.

    Args:
        study: name of the study.
        records: its records, None for a missing one; one that failed has the status "failed".
        arrays: function from a run's key to its arrays (`Store.arrays`); None: no interval over scenes.
        scene: names of the scenes of all frames of the data set, by frame index.

    Returns:
        An `Analysis`.
    """
    done = [r for r in records if r]
    table = scored(done)
    pairs = _pairs(table)
    sums = _sums(done, arrays) if arrays and scene is not None else {}
    return Analysis(
        study,
        len(records) - len(done),
        sum(r.get("status") == "failed" for r in done),
        gate(done),
        _tickets(table, pairs, sums, scene),
        _controls(table),
        _break_even(pairs),
        _protocols(done, pairs, sums, scene),
    )


def gate(records):
    """Whether the dense network is good enough for a claim about pruning: `(passed, sentence)`; None without both rows."""
    table = plots.tidy(records)
    if table.empty or not {"floor", "dense"} <= set(table.arm):
        return None
    dense, floor = (table[table.arm == arm].rms.mean() for arm in ("dense", "floor"))
    passed = bool(dense < (1 - GATE) * floor)
    text = f"dense rms {dense:.3f} m against {floor:.3f} m of the mean depth map, {100 * (1 - dense / floor):.0f} % below it"
    if passed:
        return True, f"Gate passed: {text}."
    return False, (
        f'<span style="color:#c00">**Gate not passed: {text}; at least {100 * GATE:.0f} % is asked for. '
        "No conclusion about pruning is drawn from these runs.**</span>"
    )


def scored(records, protocol="full", average="pooled"):
    """`plots.tidy`, with a row of the floor, its key too, in place of that of a ticket's run that diverged."""
    table = plots.tidy(records, protocol, average)
    failed = [r for r in records if r.get("status") == "failed" and r["arm"] not in ("floor", "dense")]
    if table.empty or not failed or "floor" not in set(table.arm):
        return table
    floor = table[table.arm == "floor"].iloc[0].to_dict()
    return pd.concat(
        [table, pd.DataFrame([floor | {k: r[k] for k in ("arm", "density", "seed")} for r in failed])]
    )


def difference(row):
    """A row of `Analysis.tickets` as a sentence: the difference and its interval, over seeds or, with one, over scenes."""
    name = label(row._asdict() if hasattr(row, "_asdict") else row)
    said = f"{name[0].upper()}{name[1:]}: {row.difference:+.3f} m from dense"
    if row.n >= 2:
        return f"{said} over {row.n} pairs, 95 % interval {row.low:+.3f} to {row.high:+.3f} m."
    return said + (
        f" (95 % over test scenes: {row.scene_low:+.3f} to {row.scene_high:+.3f} m)."
        if np.isfinite(row.scene_low)
        else "."
    )


def _pairs(table):
    """Differences from dense, `{(arm, density): Series over seeds}`, in the order of the records."""
    if table.empty:
        return {}
    keys = (
        table[~table.arm.isin(["floor", "dense"])][["arm", "density"]]
        .drop_duplicates()
        .itertuples(index=False)
    )
    found = {(arm, density): stats.pair(table, arm, density) for arm, density in keys}
    return {k: d for k, d in found.items() if len(d)}


def _tickets(table, pairs, sums, scene):
    rows = []
    for (arm, density), d in pairs.items():
        own = table[(table.arm == arm) & (table.density == density)]
        dense = table[table.arm == "dense"]
        test = stats.non_inferiority(d) if len(d) > 1 else None
        low, high = stats.interval(d)
        bca_low, bca_high = stats.bca(d)
        scene_low, scene_high = _over_scenes(arm, density, d.index, table, sums, scene)
        rows.append(
            {
                "arm": arm,
                "density": density,
                "n": len(d),
                "seeds": tuple(d),
                "difference": d.mean(),
                "sd": d.std(),
                "low": low,
                "high": high,
                "bca_low": bca_low,
                "bca_high": bca_high,
                "scene_low": scene_low,
                "scene_high": scene_high,
                "p": test.p if test else np.nan,
                "equivalence": stats.equivalence(d) if test else np.nan,
                "sign_flip": stats.sign_flip(d) if test else np.nan,
                "chen": stats.chen(own.rms, dense.rms) if len(dense) > 1 else None,
            }
        )
    found = pd.DataFrame(rows)
    if rows:  # Holm over the arms of a density; the primary endpoint stands alone
        found["holm"] = found.p
        primary = (found.arm == PRIMARY) & np.isclose(found.density, LEVEL)
        for _, family in found[~primary & found.p.notna()].groupby("density"):
            found.loc[family.index, "holm"] = stats.holm(family.p)
    return found


def _over_scenes(arm, density, seeds, table, sums, scene):
    def of(arm, density):
        keys = [
            table[(table.arm == arm) & (table.density == density) & (table.seed == s)].key.item()
            for s in seeds
        ]
        return [sums[k] for k in keys if k in sums]

    one, two = of(arm, density), of("dense", 1)
    if not sums or len(one) < len(seeds) or len(two) < len(seeds):
        return np.nan, np.nan
    return stats.over_scenes(*(np.stack([s for _, s in runs]) for runs in (one, two)), scene[one[0][0]])


def _sums(records, arrays):
    """Frame indices and error sums over the full frame of every scored run, by key."""
    found = {r["key"]: arrays(r["key"]) for r in records if r.get("test")}
    return {k: (a["test/frames"], a["test/full"]) for k, a in found.items() if "test/full" in a}


def _controls(table):
    rows = []
    for arm in CONTROLS if len(table) else ():
        d = stats.pair(table, arm, LEVEL, against=PRIMARY)
        if len(d) > 1:
            low, high = stats.interval(d)
            p = 0.0 if np.ptp(d) == 0 and d.mean() > 0 else ttest_1samp(d, 0, alternative="greater").pvalue
            rows.append(
                {
                    "arm": arm,
                    "density": LEVEL,
                    "n": len(d),
                    "difference": d.mean(),
                    "low": low,
                    "high": high,
                    "p": p,
                }
            )
    found = pd.DataFrame(rows, columns=["arm", "density", "n", "difference", "low", "high", "p"])
    return found.assign(holm=stats.holm(found.p))


def _break_even(pairs):
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in pairs):
        levels = sorted((density for a, density in pairs if a == arm and density < 1), reverse=True)
        if len(levels) > 1:
            value, low, high = stats.break_even(levels, [pairs[arm, k] for k in levels])
            shown = np.nan
            for k in levels:  # from dense to sparse, and no further than the first level that does not pass
                if len(pairs[arm, k]) < 2 or not stats.non_inferiority(pairs[arm, k]).passed:
                    break
                shown = k
            seeds = min(len(pairs[arm, k]) for k in levels)
            rows.append(
                {
                    "arm": arm,
                    "levels": len(levels),
                    "smallest": levels[-1],
                    "seeds": seeds,
                    "density": value,
                    "low": low,
                    "high": high,
                    "shown": shown,
                }
            )
    return pd.DataFrame(rows)


def _protocols(records, pairs, sums, scene):
    tables = {name: scored(records, *how) for name, how in PROTOCOLS.items()}
    if sums and SHOP in scene:
        table = tables["full frame, pooled"].copy()
        for key, (frames, full) in sums.items():
            rms = metrics.summarise(full[scene[frames] != SHOP])["pooled"]["rms"]
            table.loc[table.key == key, "rms"] = rms
        tables[f"pooled, without {SHOP}"] = table
    rows = [
        {"arm": arm, "density": density, "n": len(d)}
        | {k: stats.pair(t, arm, density).mean() for k, t in tables.items()}
        for (arm, density), d in pairs.items()
    ]
    return pd.DataFrame(rows)
