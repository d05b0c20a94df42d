"""Scores in records as one table, and the tests and intervals of the analysis plan (PLAN.md) on those of one
training budget.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from .. import metrics
from ..config import WHOLE, level
from ..runs.record import label
from ..training import arms
from . import stats

GATE = 0.2  # a dense network must beat the mean depth map's rms by at least this fraction
LEVELS = [level(k) for k in (1, 3, 6, 12, 18)]  # of every break-even density, so that no grid moves it
PRIMARY, LEVEL, SEEDS = "imp", level(18), 3  # arm and density that decide question 2; fewest pairs of a test
CONTROLS = ("random", "shuffled")
SHOP = "bookstore_0001"  # test scene whose shop is probably in two training scenes
SCORINGS = {
    "full frame, pooled": ("full", "pooled"),
    "full frame, per image": ("full", "per_image"),
    "Eigen crop, pooled": ("eigen", "pooled"),
}


def scores(records, protocol="full", average="pooled"):
    """A row a scored run: key, arm, density, seed, epochs (its budget; 0 of the floor) and its metrics."""
    rows, names = [r for r in records if r and r.get("test")], ("key", "arm", "density", "seed")
    about = ({name: r[name] for name in names} | {"epochs": budget(r)} for r in rows)
    return pd.DataFrame([one | r["test"][protocol][average] for one, r in zip(about, rows)])


def budget(record):
    """Epochs a run was asked to train; 0 of the mean depth map, which belongs to every budget."""
    return 0 if record["arm"] == "floor" else record["config"].get("epochs", 0)


def of_budget(records, epochs):
    """The records of one budget, and the floor."""
    return [r for r in records if r and budget(r) in (0, epochs)]


def images(config, frames):
    """Training images that a run on `frames` costs, with those of the runs that its ticket follows from."""
    if config.arm == "floor":
        return 0
    own = config.epochs * (frames // config.batch) * config.batch
    return own + sum(images(parent, frames) for parent in arms.parents(config).values())


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the records of one budget, `epochs`, say.

    Attributes:
        gate: `(passed, sentence)`, or None where dense or floor is not recorded.
        dense, floor: mean test rms of the dense runs and of the mean depth map, metres, or nan.
        tickets: a row an arm and density: its difference from dense (metres of rms, positive is worse), that
            of every seed, intervals over seeds and scenes, p values; nan where the seeds are too few.
        controls: a row a control: how much worse it is than the primary arm, at the primary density.
        break_even: a row an arm: break-even density and its interval; `shown`: the smallest density down to
            which every level passes the test (nan: not even the first).
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

    def at(self, density):
        """The rows of `tickets` at a density, the smallest loss first."""
        if self.tickets.empty:
            return self.tickets
        return self.tickets[np.isclose(self.tickets.density, density)].sort_values("difference")

    def row(self, arm, density):
        """A row of `tickets`, or None."""
        return next((r for r in self.at(density).itertuples() if r.arm == arm), None)

    def outcome(self, row, margin=stats.MARGIN):
        """What the tests say of a row of `tickets`, in two words; a dash where the gate is not passed."""
        if row.n < SEEDS:
            return "too few"
        if not self.passed:
            return "–"
        if row.holm < stats.ALPHA:
            return "non-inferior"
        return "worse" if row.low > margin else "not shown"

    def best(self, density):
        """The row of `tickets` that loses least at a density, or None."""
        return next(self.at(density).itertuples(), None)


def analyse(epochs, records, sums, scene):
    """The `Analysis` of the records of one budget and the floor's.

    sums: `{key: (frame indices, error sums)}` over the full frame; scene: of every frame, by index.
    """
    table = scored(records)
    pairs, means = _pairs(table), table.groupby("arm").rms.mean() if len(table) else {}
    dense, floor = (means.get(arm, np.nan) for arm in ("dense", "floor"))
    tickets = _tickets(table, pairs, sums, scene)
    others = _controls(table), _break_even(pairs), _protocols(records, pairs, sums, scene)
    return Analysis(epochs, gate(dense, floor), dense, floor, tickets, *others)


def gate(dense, floor):
    """Whether an rms of the dense network is good enough for a claim: `(passed, sentence)`; None where that
    or the mean depth map's is nan."""
    if np.isnan(dense) or np.isnan(floor):
        return None
    below = f"{100 * (1 - dense / floor):.0f} % below it"
    text = f"passed: dense rms {dense:.3f} m against {floor:.3f} m of the mean depth map, {below}"
    if dense < (1 - GATE) * floor:
        return True, f"Gate {text}."
    text = f"Gate not {text}; at least {100 * GATE:.0f} % is asked for. No conclusion about pruning is drawn"
    return False, f'<span style="color:#c00">**{text} from these runs.**</span>'


def tail(sums):
    """Share of all squared error that the worst 1 % of the frames carry, from error sums `(N, 7)`."""
    squares = np.sort(sums[:, 2].astype(float))
    return squares[-math.ceil(len(squares) / 100) :].sum() / squares.sum()


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
    """A row of `Analysis.tickets` as a sentence: the difference and its interval over seeds, else scenes."""
    name = label(row._asdict())
    text = f"{name[0].upper()}{name[1:]}: {row.difference:+.3f} m from dense"
    if row.n >= 2:
        each = ", ".join(f"{d:+.3f}" for d in row.seeds)
        return f"{text} over {row.n} pairs ({each}), 95 % interval {row.low:+.3f} to {row.high:+.3f} m."
    if np.isfinite(row.scene_low):
        return f"{text} (one pair; 95 % over test scenes: {row.scene_low:+.3f} to {row.scene_high:+.3f} m)."
    return f"{text} (one pair)."


class Place(NamedTuple):
    """A break-even density as far as levels from `largest` to `smallest` tell; 0: below the smallest."""

    density: float
    largest: float
    smallest: float

    def __str__(self):
        return density(self, self.density)

    @property
    def bounds(self):
        """The least and the greatest density that it may be."""
        if not self.density:
            return 0.0, self.smallest
        return (self.largest, 1.0) if self.largest < self.density < 1 else (self.density, self.density)


def density(row, value):
    """A break-even density in words; between dense and the densest level of `row`, or below its sparsest, it
    is not known.
    """
    if not value:
        return f"below {100 * row.smallest:.3g} %"
    return f"above {100 * row.largest:.3g} %" if row.largest < value < 1 else f"{100 * value:.3g} %"


def density_interval(row):
    """The interval of a break-even density in words; a dash where it says nothing."""
    if row.seeds < 2 or (row.low == 0 and row.high == 1):  # the whole axis is no interval
        return "–"
    low, high = density(row, row.low), density(row, row.high)
    return low if low == high else f"{low} to {high}"


def _pairs(table):
    """Differences from dense, `{(arm, density): Series over seeds}`, in the order of the records."""
    if table.empty:
        return {}
    tickets = table[~table.arm.isin(["floor", "dense"])][["arm", "density"]].drop_duplicates()
    pairs = {(arm, k): stats.pair(table, arm, k) for arm, k in tickets.itertuples(index=False)}
    return {k: d for k, d in pairs.items() if len(d)}


def _tickets(table, pairs, sums, scene):
    rows = []
    for (arm, density), d in pairs.items():
        runs = table[(table.arm == arm) & (table.density == density)].set_index("seed")
        dense = table[table.arm == "dense"].set_index("seed")
        row = {"arm": arm, "density": density, "n": len(d), "seeds": d}
        row |= {"difference": d.mean(), "sd": d.std()}
        row["low"], row["high"] = stats.interval(d)
        row["scene_low"], row["scene_high"] = _over_scenes(runs.key[d.index], dense.key[d.index], sums, scene)
        row |= dict.fromkeys(("p", "equivalence", "sign_flip"), np.nan)
        if len(d) >= SEEDS:
            row["p"] = stats.non_inferiority(d)
            row["equivalence"], row["sign_flip"] = stats.equivalence(d), stats.sign_flip(d)
        row["chen"] = stats.chen(runs.rms, dense.rms) if len(dense) > 1 else None
        rows.append(row)
    result = pd.DataFrame(rows)
    if rows:  # Holm over the arms of a density; the primary endpoint stands alone
        result["holm"] = result.p
        primary = (result.arm == PRIMARY) & np.isclose(result.density, LEVEL)
        for _, family in result[~primary & result.p.notna()].groupby("density"):
            result.loc[family.index, "holm"] = stats.holm(family.p)
    return result


def _over_scenes(ticket, dense, sums, scene):
    """`stats.over_scenes` of the runs of these keys; nan where not all of their sums are known."""
    if not {*ticket, *dense} <= sums.keys():
        return np.nan, np.nan
    one, two = (np.stack([sums[k][1] for k in keys]) for keys in (ticket, dense))
    return stats.over_scenes(one, two, scene[sums[ticket.iloc[0]][0]])


def _controls(table):
    rows = []
    for arm in CONTROLS if len(table) else ():
        d = stats.pair(table, arm, LEVEL, against=PRIMARY)
        if len(d) >= SEEDS:
            low, high = stats.interval(d)
            p = ttest_1samp(d, 0, alternative="greater").pvalue
            rows.append((arm, LEVEL, len(d), d.mean(), low, high, p))
    result = pd.DataFrame(rows, columns=["arm", "density", "n", "difference", "low", "high", "p"])
    return result.assign(holm=stats.holm(result.p))


def _break_even(pairs):
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in pairs if arm not in WHOLE):
        levels = sorted((density for a, density in pairs if a == arm), reverse=True)
        shared = [density for density in levels if np.isclose(density, LEVELS).any()]
        levels = shared if len(shared) > 1 else levels
        if len(levels) < 2:
            continue
        value, low, high = stats.break_even(levels, [pairs[arm, k] for k in levels])
        shown = np.nan
        for k in levels:  # from dense to sparse, and no further than the first level that does not pass
            if len(pairs[arm, k]) < SEEDS or stats.non_inferiority(pairs[arm, k]) >= stats.ALPHA:
                break
            shown = k
        row = {"arm": arm, "levels": len(levels), "largest": levels[0], "smallest": levels[-1]}
        row |= {"seeds": min(len(pairs[arm, k]) for k in levels), "density": value, "low": low, "high": high}
        rows.append(row | {"shown": shown})
    return pd.DataFrame(rows)


def _protocols(records, pairs, sums, scene):
    tables = protocols(records, sums, scene)
    rows = []
    for (arm, density), d in pairs.items():
        means = {name: stats.pair(table, arm, density).mean() for name, table in tables.items()}
        rows.append({"arm": arm, "density": density, "n": len(d)} | means)
    return pd.DataFrame(rows)


def protocols(records, sums, scene):
    """`scored` under every protocol, by name; where `sums` has some, also pooled without the scene `SHOP`."""
    tables = {name: scored(records, *how) for name, how in SCORINGS.items()}
    if sums and SHOP in scene:
        table = tables["full frame, pooled"].copy()
        for key in set(table.key) & sums.keys():
            frames, full = sums[key]
            pooled = metrics.summarise(full[scene[frames] != SHOP])["pooled"]
            table.loc[table.key == key, "rms"] = pooled["rms"]
        tables[f"pooled, without {SHOP}"] = table
    return tables
