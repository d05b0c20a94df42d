"""What the paper says of its analysis: sentences and tables, rendered from a `verdict.Verdict`."""

import pandas as pd

from ..analysis import budget as plan
from ..analysis import stats
from ..analysis.verdict import broke
from ..config import ARMS, PUBLISHED_FLOOR
from ..runs.record import label
from ..runs.store import ROOT
from . import curves, tables

TICKETS = (
    "Mean ± sample standard deviation of the paired differences; 95 % intervals over seeds by Student's t "
    "and "
    "by the BCa bootstrap, and over test scenes, drawn whole. p non-inferior: loss below the margin of "
    f"{stats.MARGIN:.3f} m, Holm-corrected over the arms of a density except for the primary endpoint. Not "
    "corrected: p equivalent (within the margin), p sign flip (no difference). Last: whether the mean is "
    "within one standard deviation of dense (Chen et al. 2021)."
)
BREAK_EVEN = (
    f"The density at which the mean loss first exceeds {stats.MARGIN:.3f} m on the way down, interpolated on "
    "log density; the interval holds the densities at which the 95 % t interval of the mean loss holds the "
    "margin."
)
SIMULATED = (
    "Loss and spread as in the study: differences with a standard deviation of 0.010 m, a margin of 0.015 m."
)


def abstract(paper):
    """The abstract: the finding, its numbers, what was done; rendered from records (Markdown)."""
    if paper.profile == "quick":
        data = tables.DATA.get(paper.frames.name, paper.frames.name)
        return (
            f"This is a quick build on {data}, trained just now: a demonstration, which says nothing about "
            f"the question. "
            f"What it would say of these few runs: {paper.verdict.break_even()}"
        )
    keys = " ".join(r["key"] for r in paper.shown if r)
    answer = f'<span data-runs="{keys}">{paper.verdict.break_even()}</span> {_smallest(paper)}{_early(paper)}'
    return (
        f"{answer} "
        "Networks that estimate depth from one photo start from an encoder trained to classify ImageNet. We "
        "prune that encoder, "
        "train what is left on NYU Depth V2 and compare it with the dense network of the same seed and the "
        "same training, "
        "against a margin fixed beforehand. A study before us asked the question at 1.8 % and called its "
        "result inconclusive: "
        "neither of its networks was clearly better than predicting the mean depth map, and at that floor "
        "nothing can be "
        "seen of pruning (chapter 5)."
    )


def _early(paper):
    """That the runs shown are not the plan's, where they are not."""
    if paper.front == "paper":
        return ""
    records = paper.records("paper")
    done = sum(r is not None for r in records)
    return (
        f" These are small runs from before the analysis plan; of the plan's {len(records)} runs {done} are "
        "recorded, and they take this place as soon as they show a curve."
    )


def _smallest(paper):
    """What the best ticket of 1.80 % loses, in a sentence."""
    analysis = paper.verdict.main
    row = analysis.row(plan.PRIMARY, plan.LEVEL) or analysis.best(plan.LEVEL)
    if row is None or not analysis.passed:
        return ""
    said = plan.difference(row).replace(": ", " loses ", 1).replace("+", "", 1).replace(" from dense", "", 1)
    rms = analysis.dense
    below = f"{100 * (1 - rms / analysis.floor):.0f} % below the mean depth map"
    return f"{said} The dense network is at {rms:.3f} m, {below}."


def verdict(paper):
    """Both answers, a paragraph each, and what they rest on."""
    records = paper.shown
    lost = len(paper.lost(paper.front))
    basis = f"{tables.progress(paper.front, records, lost)} {tables.basis(paper, paper.front, records)}"
    return (
        f"{paper.verdict.sentence()}\n\n{basis}"
        if paper.profile == "paper"
        else f"{abstract(paper)}\n\n{basis}"
    )


def front(paper, floor):
    """The front page's table, at most eight rows: what was published, the floor, dense and two tickets."""
    smallest = min((r["density"] for r in paper.main), default=1)
    arms = [a for a in (plan.PRIMARY, "omp", "random") if any(r["arm"] == a for r in paper.main)][:2]
    shown = [
        r
        for r in paper.main
        if r["arm"] in ("floor", "dense") or r["arm"] in arms and r["density"] == smallest
    ]
    return tables.comparison(shown, floor)[["group", "model", "rel", "rms (m)", "δ1", "n"]]


def made(paper):
    """How it was made, in three sentences."""
    done = sum(r is not None for r in paper.shown)
    plan = "belong to a plan that was fixed before them (`PLAN.md`)"
    if paper.front != "paper":
        plan = "came before the plan (`PLAN.md`), so that they describe and decide nothing"
    return (
        f"The {done} runs shown {plan}; settings were chosen on validation scenes, nothing on test frames. "
        "Runs of one seed share the decoder's start, the order of the frames and the "
        "augmentation, so that tickets and dense networks are compared in pairs. Every number and figure "
        "here is rendered from "
        "recorded runs: each says which below it, and `./build.sh` makes all of it again."
    )


def readme(paper):
    """The README's texts by their marks: the finding with its figure, and the front page's table."""
    text = f"{paper.verdict.break_even()} {_smallest(paper)}{_early(paper)}"
    table = front(paper, paper.find(PUBLISHED_FLOOR))
    progress = tables.progress(paper.front, paper.shown)
    return {"finding": text, "results": f"{progress}\n\n{tables.markdown(table)}"}


def averages(paper):
    """How much lower the rms is per image than pooled, in the networks shown."""
    both = [r["test"]["full"] for r in paper.shown if r and r["arm"] != "floor" and r.get("test")]
    lower = sorted(100 * (1 - b["per_image"]["rms"] / b["pooled"]["rms"]) for b in both)
    if not lower:
        return ""
    span = f"{lower[0]:.1f} to {lower[-1]:.1f} % lower than pooled"
    return f"Averaged per image, the rms of the {len(lower)} networks shown is {span}."


def left(paper):
    """What of the plan is not recorded, in one sentence; nothing where all is."""
    if paper.profile == "quick":
        return "The runs of this build are too few and too small for any conclusion."
    records = paper.records("paper")
    missing = sum(r is None for r in records)
    text = f"Of the plan's {len(records)} runs {missing} are not recorded yet. " if missing else ""
    if not any(r and r["arm"] == "dense" for r in paper.records("full")):
        text += "The same grid at the published size (228×304, 100 epochs) needs a GPU and has not been run."
    return text


def headline(paper):
    """The caption of the headline figure."""
    if len(paper.verdict.movement) > 1:
        return f"Left: {curves.LOSSES} {curves.MOVES} {sizes(paper)}"
    return f"{curves.LOSSES} {sizes(paper)}"


def sizes(paper):
    """Input size and test frames behind a figure, as the end of its caption."""
    r = next((r for r in paper.main if r["arm"] != "floor"), None)
    return (
        f"Input {r['config']['height']}×{r['config']['width']}; {tables.protocol(paper.main)}." if r else ""
    )


def budget(paper):
    """The main budget in words."""
    return f"main budget of {paper.verdict.main.epochs} epochs"


def tickets(found):
    """Every ticket against the dense network, as the plan asks; without tests where the gate is not passed.

    Args:
        found: `verdict.Analysis`; `TICKETS` explains the columns.
    """
    rows = []
    for r in found.tickets.itertuples():
        row = {
            "ticket": label(r._asdict()),
            "pairs": r.n,
            "difference (m)": _signed(r.difference) + (f" ± {r.sd:.3f}" if r.n > 1 else ""),
            "95 % over seeds": _range(r.low, r.high),
            "BCa": _range(r.bca_low, r.bca_high),
            "95 % over scenes": _range(r.scene_low, r.scene_high),
        }
        if tested(found):
            row |= {
                "p non-inferior": _p(r.holm),
                "p equivalent": _p(r.equivalence),
                "p sign flip": _p(r.sign_flip),
                "within 1 sd": {None: "–", True: "yes", False: "no"}[r.chen],
                "outcome": outcome(r),
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "–").any()]  # with one seed most columns are empty


def tested(found):
    """Whether the tests of an `Analysis` may be shown: without the gate passed the plan shows none."""
    return bool(found.gate and found.gate[0])


def outcome(row):
    """What the tests say of a row of `Analysis.tickets`, in two words."""
    if row.n < 2:
        return "one seed"
    if row.holm < stats.ALPHA:
        return "non-inferior"
    return "worse" if row.low > stats.MARGIN else "not shown"


def controls(found):
    """How much worse each control is than the primary arm: `Analysis.controls` as text."""
    table = pd.DataFrame(
        {
            "control": label(r._asdict()),
            "pairs": r.n,
            "difference (m)": _signed(r.difference),
            "95 % over seeds": _range(r.low, r.high),
            "p worse": _p(r.holm),
        }
        for r in found.controls.itertuples()
    )
    return table if tested(found) else table.drop(columns="p worse", errors="ignore")


def break_even(found):
    """Down to which density each arm keeps up with the dense network: `Analysis.break_even` as text."""
    rows = []
    for r in found.break_even.itertuples():
        value, low, high = (_density(r, d) for d in (r.density, r.low, r.high))
        row = {"ticket": ARMS[r.arm], "levels": r.levels, "seeds a level": f"{r.seeds} or more"}
        row["break-even density"] = value
        row["95 % interval"] = "–" if r.seeds < 2 else low if low == high else f"{low} to {high}"
        row["non-inferior down to"] = "–" if pd.isna(r.shown) else f"{100 * r.shown:.2f} %"
        rows.append(row)
    table = pd.DataFrame(rows)
    return table if tested(found) else table.drop(columns="non-inferior down to", errors="ignore")


def movement(verdict):
    """The break-even density at every budget: `Verdict.movement` as text."""
    rows = []
    for r in verdict.movement.itertuples():
        interval = "–" if r.seeds < 2 else f"{_density(r, r.low)} to {_density(r, r.high)}"
        seeds = ", ".join(_density(r, d) for d in r.by_seed.values())
        rows.append(
            {"epochs": r.epochs, "seeds": r.seeds, "break-even density": broke(r), "95 % interval": interval}
        )
        rows[-1] |= {"each seed": seeds}
    return pd.DataFrame(rows)


def closing(verdict):
    """Whether a ticket's loss shrinks as both train for longer: `Verdict.closing` as text."""
    if verdict.closing.empty:
        return pd.DataFrame()
    first, *_, last = verdict.budgets
    rows = []
    for r in verdict.closing.sort_values("density", ascending=False).itertuples():
        row = {"ticket": label({"arm": r.arm, "density": r.density}), "pairs": r.n}
        row |= {f"loss after {first} epochs (m)": _signed(r.first), f"after {last}": _signed(r.last)}
        rows.append(row | {"change (m)": _signed(r.change), "95 % over seeds": _range(r.low, r.high)})
    return pd.DataFrame(rows)


def others():
    """What other studies of pruning found, ready to print."""
    rows = []
    for r in curves.others().fillna("").itertuples():
        numbers = f"{r.metric} {r.dense:g} → {r.sparse:g} ({r.how})" if r.dense else r.how
        kept = f"{r.kept:g} %"
        rows.append(
            {
                "work": r.work,
                "task, network": r.task,
                "kept": kept,
                "found": numbers,
                "caveat": r.caveat,
                "source": r.source,
            }
        )
    return pd.DataFrame(rows)


def _density(row, density):
    """A break-even density as text; between dense and the densest level it is not known."""
    if not density:
        return f"below {100 * row.smallest:.3g} %"
    return f"above {100 * row.largest:.3g} %" if row.largest < density < 1 else f"{100 * density:.3g} %"


def protocols(found):
    """Whether the protocol matters: mean difference in rms (m) from dense under each, a row a ticket."""
    rows = found.protocols.to_dict("records")
    kept = ("arm", "density", "n")
    return pd.DataFrame(
        {"ticket": label(r), "pairs": r["n"]} | {k: _signed(v) for k, v in r.items() if k not in kept}
        for r in rows
    )


def simulated(path=ROOT / "benchmarks" / "statistics.csv"):
    """The simulated coverage, size and power of the statistics: what `benchmarks/simulate.py` wrote, ready to
    print.

    Of the seeds, those of the primary endpoint; the file has more, and the power of equivalence.
    """
    table = pd.read_csv(path)
    table = table[table.seeds.isin((1, 6)) & ~table.quantity.str.startswith("power of equivalence")]
    table["should be"] = table.nominal.map("{:.2f}".format, na_action="ignore").fillna("–")
    table["is"] = [f"{v:.3f} ± {e:.3f}" for v, e in zip(table.found, table["standard error"], strict=True)]
    wide = (
        table.pivot_table("is", ["quantity", "seeds", "should be"], "differences", "first", sort=False)
        .fillna("–")
        .reset_index()
    )
    return wide.rename(columns={"normal": "normal differences", "skewed": "skewed differences"}).rename_axis(
        columns=None
    )


def _range(low, high):
    return f"{_signed(low)} to {_signed(high)}" if pd.notna(low) else "–"


def _signed(value):
    return f"{round(value, 3) + 0.0:+.3f}"  # no -0.000


def _p(value):
    return "–" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
