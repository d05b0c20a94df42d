"""The pictures of the results: error against remaining weights, beside other tasks, differences from dense.

Every function takes records or an analysis and returns a matplotlib figure, or None for nothing.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..analysis import stats
from ..analysis.scores import images, scores
from ..analysis.verdict import CURVE
from ..config import ARMS, WHOLE
from ..runs.record import Record, label
from .plots import COLOURS

NAMES = {"rms": "rms (m)", "rel": "rel", "delta1": "δ1"}
OTHERS = {  # line styles of the published tasks: classification grey
    "CIFAR-10": {"color": "0.35", "ls": ":"},
    "CIFAR-100": {"color": "0.35", "ls": "--"},
    "SVHN": {"color": "0.6", "ls": "-."},
    "Fashion-MNIST": {"color": "0.6", "ls": (0, (4, 1, 1, 1, 1, 1))},
    "VOC 2007 detection": {"color": "#8C510A", "ls": "--"},
    "VOC 2012 segmentation": {"color": "#C51B7D", "ls": "--"},
}
TRANSFER = (
    "Dots are runs, lines their mean over seeds, bands one standard deviation where there are two or more; "
    "diamonds mark the "
    "break-even density, squares other networks that are not pruned."
)
BESIDE = (
    "Change relative to each task's dense network; dashed: published, read off the figures of Chen et al. "
    "(2021), means of three "
    "runs of accuracy, AP and mIoU. Left: tickets that follow from the pre-training; right: tickets found on "
    "the task itself, and "
    "single results of other studies (violet: depth, grey: classification; triangles IMP and LTH, squares "
    "LTH-T, cross random)."
)
DIFFERENCES = (
    "Dots: single seeds; bars: 95 % t interval of the mean over seeds, where there are two or more; pale "
    "bars: 95 % interval over "
    "test scenes; dashed: the margin. The axis is linear around zero and logarithmic outside the grey band."
)


BUDGETS = {2: "#9ECAE1", 6: "#3182BD", 18: "#08306B", 24: "#756BB1", 100: "#54278F"}  # the longer, the darker
LOSSES = (
    "Test rms of the one-shot magnitude ticket minus that of the dense network of the same seed and budget, "
    "in metres, against the weights kept: dots are seeds, lines their mean, the dashed line is the margin; "
    "diamonds mark where the mean first exceeds it."
)
MOVES = "Right: that break-even density against the training budget; grey lines are single seeds."


def budgets(verdict):
    """The headline: what a ticket loses at every budget, and the break-even density against the budget.

    Args:
        verdict: `verdict.Verdict`. Left, the loss of `verdict.CURVE` against the weights kept, a line a
            budget; right,
        where at least two budgets are known, the break-even density of each with its interval and every seed.
    """
    rows = verdict.movement
    if rows.empty:
        return None
    figure, axes = plt.subplots(
        1, 1 + (len(rows) > 1), figsize=(5.4 + 3.6 * (len(rows) > 1), 3.6), squeeze=False
    )
    ax = axes[0, 0]
    for r in rows.itertuples():
        table = verdict.budgets[r.epochs].tickets
        table = table[table.arm == CURVE].sort_values("density", ascending=False)
        colour = BUDGETS.get(r.epochs, "black")
        x, y = np.log(np.r_[1, table.density]), np.r_[0, table.difference]
        fine = np.linspace(
            x[-1], 0, 200
        )  # straight in log density and metres, as the break-even density is read
        line = np.interp(fine, x[::-1], y[::-1])
        ax.plot(100 * np.exp(fine), line, "-", color=colour, lw=1.8, label=f"{r.epochs} epochs")
        for density, d in zip(table.density, table.seeds, strict=True):
            ax.plot([100 * density] * len(d), d, "o", ms=4, color=colour)
        if r.density:
            ax.plot(100 * r.density, stats.MARGIN, "D", ms=8, mfc="white", mew=1.6, color=colour, zorder=5)
    ax.axhline(stats.MARGIN, color="crimson", lw=1.2, ls="--")
    ax.axhline(0, color="black", lw=0.8)
    ax.set_yscale("asinh", linear_width=stats.MARGIN)
    ax.set_ylim(
        bottom=min(-0.008, 1.2 * min(min(d) for b in verdict.budgets.values() for d in b.tickets.seeds))
    )
    low, high = ax.get_ylim()
    ticks = [t for t in (-0.1, -0.03, 0, 0.015, 0.03, 0.1, 0.3, 1) if low <= t <= high]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    _percent(
        ax, np.r_[1, sorted({d for b in verdict.budgets.values() for d in b.tickets.get("density", ())})]
    )
    ax.set(ylabel="rms above dense (m)")
    ax.legend(frameon=False, loc="upper left", title="trained for")
    if len(rows) > 1:
        _against_budget(axes[0, 1], rows)
    return figure


def _against_budget(ax, rows):
    """Break-even density against the budget: seeds as dots that lines join, the mean as a diamond with its
    interval.
    """
    for seed in sorted(set().union(*rows.by_seed)):
        points = [
            (r.epochs, 100 * (r.by_seed[seed] or r.smallest)) for r in rows.itertuples() if seed in r.by_seed
        ]
        ax.plot(*zip(*points, strict=True), "o-", color="0.6", ms=4, lw=0.8)
    for r in rows.itertuples():
        colour, value = BUDGETS.get(r.epochs, "black"), 100 * (r.density or r.smallest)
        if r.seeds > 1:
            ax.plot([r.epochs] * 2, [100 * (r.low or r.smallest), 100 * r.high], color=colour, lw=2)
        ax.plot(r.epochs, value, "D" if r.density else "v", ms=9, mfc="white", mew=1.8, color=colour)
        ax.annotate(f"{value:.2g} %", (r.epochs, value), (9, 4), textcoords="offset points", fontsize=9)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(rows.epochs, [str(e) for e in rows.epochs])
    ticks = [t for t in (2, 5, 10, 20, 50, 100) if t >= 50 * rows.smallest.min()]
    ax.set_yticks(ticks, [f"{t}" for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel="training budget (epochs)", ylabel="break-even density (%)")
    ax.margins(x=0.25, y=0.15)


def cost(records, frames=795):
    """Test rms against all training images that a run costs, earlier rounds included: a marker an arm, at
    1.80 %.
    """
    rows = [r for r in records if r and r.get("test") and (r["density"] == 1 or r["density"] < 0.02)]
    if len({r["arm"] for r in rows}) < 3:
        return None
    figure, ax = plt.subplots(figsize=(6.6, 3.6))
    floor = next((r for r in rows if r["arm"] == "floor"), None)
    if floor:
        ax.axhline(
            floor["test"]["full"]["pooled"]["rms"], color=COLOURS["floor"], ls=":", label=ARMS["floor"]
        )
    done = set()
    for r in rows:
        if r["arm"] == "floor":
            continue
        name = ARMS[r["arm"]] if r["arm"] not in done else None
        done.add(r["arm"])
        x, y = images(Record(r).config, frames) / 1000, r["test"]["full"]["pooled"]["rms"]
        ax.plot(
            x, y, "s" if r["density"] == 1 else "o", color=COLOURS[r["arm"]], ms=6, label=name, alpha=0.85
        )
    ax.set_xscale("log")
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100) if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{t}" for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel="training images, earlier rounds included (thousands)", ylabel="test rms (m), pooled")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def transfer(records, metric="rms", average="pooled", analysis=None):
    """A test metric against the remaining weights: a line an arm (mean over seeds, band of one sd, a dot a
    run).

    Args:
        records: of one budget; metric, average: as in `metrics`.
        analysis: `budget.Analysis` of the same records: marks every arm's break-even density by a diamond.
    """
    table = scores(records, average=average)
    if table.empty or not set(table.arm) - {"floor", "dense"}:
        return None
    dense = table[table.arm == "dense"][metric].mean()
    figure, ax = plt.subplots(figsize=(7.6, 3.8))
    for arm, rows in table.groupby("arm", sort=False):
        by = rows.groupby("density")[metric].agg(["mean", "std"]).sort_index()
        mean, sd, colour = by["mean"], by["std"].fillna(0), COLOURS[arm]
        if arm in WHOLE[2:]:  # another whole network
            name = f"{ARMS[arm]}: {mean[1]:.3f}"
            ax.plot(
                100 * rows.density, rows[metric], "s", ms=5, mfc="none", mew=1.4, color=colour, label=name
            )
        elif arm in WHOLE:  # what the others are measured by: a level
            line, name = ":" if arm == "floor" else "-", f"{ARMS[arm]}: {mean[1]:.3f}"
            ax.axhline(mean[1], color=colour, lw=1.4, ls=line, label=name)
            ax.axhspan(mean[1] - sd[1], mean[1] + sd[1], color=colour, alpha=0.15, lw=0)
        else:  # it starts at dense
            ax.plot(100 * np.r_[mean.index, 1], np.r_[mean, dense], color=colour, label=ARMS[arm])
            ax.fill_between(100 * mean.index, mean - sd, mean + sd, color=colour, alpha=0.2, lw=0)
            ax.plot(100 * rows.density, rows[metric], "o", ms=3.5, color=colour)
    if analysis is not None and len(analysis.break_even) and (metric, average) == ("rms", "pooled"):
        crossings = analysis.break_even[analysis.break_even.density > 0]
        for k, r in enumerate(crossings.itertuples()):
            mark = {"ms": 8, "mfc": "none", "mew": 1.6, "color": COLOURS[r.arm], "zorder": 5}
            name = None if k else "mean loss reaches the margin"
            ax.plot(100 * r.density, dense + stats.MARGIN, "D", label=name, **mark)
    _percent(ax, table.density)
    ax.set(ylabel=f"test {NAMES.get(metric, metric)}, {average}")
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)  # inside, lines would run behind it
    return figure


def published():
    """The transfer curves of Chen et al. (2021), read off their figures (how exactly: head of the file)."""
    return pd.read_csv(Path(__file__).with_name("chen2021.csv"), comment="#")


def others():
    """What other studies of pruning found, a row each with its caveat and source (`others.csv`)."""
    return pd.read_csv(Path(__file__).with_name("others.csv"))


def beside_published(records, metric="rms"):
    """What pruning costs here and in other tasks, as change relative to each task's dense network, positive
    is worse.

    Left: tickets that come from the pre-training, right: tickets found on the task itself. Of `metric` a rise
    is worse, of the published ones (accuracy, AP, mIoU) a fall. None without a ticket of ours.
    """
    table = scores(records)
    if table.empty or not set(table.arm) & {"omp", "logits", "imp"}:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4), sharex=True, sharey=True)
    dense = table[table.arm == "dense"][metric].mean()
    sides = (
        ("m_Img", ("omp", "logits"), "ticket from the pre-training"),
        ("m_task", ("imp",), "ticket found on the task"),
    )
    for ax, (source, arms, title) in zip(axes, sides, strict=True):
        for task, rows in published().query("source == @source").groupby("task", sort=False):
            worse = 100 * (1 - rows.value / rows.value.iloc[0])
            ax.plot(rows.remaining_percent, worse, **OTHERS[task], lw=1.3, label=task)
        for arm in arms:
            mean = table[table.arm == arm].groupby("density")[metric].mean()
            if len(mean):
                change = 100 * (np.r_[mean, dense] / dense - 1)  # like the others it starts at dense
                ax.plot(
                    100 * np.r_[mean.index, 1],
                    change,
                    "o-" if len(mean) > 1 else "o:",
                    color=COLOURS[arm],
                    lw=2.2,
                    ms=4,
                    label=f"depth, {ARMS[arm]}",
                )
        for r in others()[lambda t: t.plotted == "yes"].itertuples() if source == "m_task" else ():
            worse = 100 * (1 - r.sparse / r.dense) * (1 if r.better == "higher" else -1)
            mark = {"IMP": "^", "LTH": "v", "LTH-T": "s", "random": "x"}[r.how]
            grey = "0.55" if "classification" in r.task else "#C51B7D"
            ax.plot(r.kept, worse, mark, ms=6, mew=1.4, color=grey, mfc="none")
        ax.axhline(0, color="black", lw=0.8)
        ax.set_title(title, fontsize=10)
        ax.legend(frameon=False, fontsize=8)
        _percent(ax, published().remaining_percent[[0, 3, 6, 9, 12, 15, 18]] / 100)
    axes[0].set(ylabel="worse than dense (% of its score)")
    return figure


def differences(analysis):
    """Every ticket's difference from dense with its intervals and the margin, as `DIFFERENCES` says."""
    rows = analysis.tickets
    if rows.empty:
        return None
    figure, ax = plt.subplots(figsize=(6.2, 1.1 + 0.3 * len(rows)))
    for y, r in enumerate(rows.itertuples()):
        colour = COLOURS[r.arm]
        ax.plot([r.scene_low, r.scene_high], [y, y], color=colour, lw=7, alpha=0.25, solid_capstyle="butt")
        ax.plot([r.low, r.high], [y, y], color=colour, lw=2)
        ax.plot(r.seeds, [y] * len(r.seeds), "o", ms=3, color=colour, alpha=0.7)
        ax.plot(r.difference, y, "|", ms=11, mew=2, color=colour)
    ax.axvline(0, color="black", lw=0.8)
    ax.axvline(stats.MARGIN, color="crimson", lw=1.2, ls="--")
    ax.axvspan(-2 * stats.MARGIN, 2 * stats.MARGIN, color="0.94", zorder=0, lw=0)
    ax.set_xscale("symlog", linthresh=2 * stats.MARGIN, linscale=1.5)
    low, high = ax.get_xlim()
    ticks = [t for t in (-0.3, -0.1, -0.03, -0.015, 0, 0.015, 0.03, 0.1, 0.3, 1, 3) if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [label(r._asdict()) for r in rows.itertuples()], fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="test rms minus that of dense (m); right is worse")
    return figure


def _percent(ax, densities):
    """The logarithmic axis of remaining weights, dense on the left, with a tick at each of `densities`."""
    ax.set_xscale("log")
    ticks = 100 * np.sort(np.unique(densities))
    ax.set_xticks(
        ticks, [f"{t:#.3g}".rstrip(".") for t in ticks], fontsize=8, rotation=45 if len(ticks) > 8 else 0
    )
    ax.minorticks_off()
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    ax.set(xlabel="remaining prunable encoder weights (%)")
