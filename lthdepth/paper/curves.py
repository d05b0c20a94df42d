"""The pictures of the results: error against remaining weights, beside other tasks, differences from dense.

Every function takes records or an analysis and returns a matplotlib figure, or None for nothing.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..analysis import stats
from ..config import ARMS, WHOLE
from ..runs.run import label
from .plots import COLOURS, tidy

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
    "Dots are runs, lines their mean over seeds, bands one standard deviation where there are two or more; diamonds mark the "
    "break-even density, squares other networks that are not pruned."
)
BESIDE = (
    "Change relative to each task's dense network; dashed: published, read off the figures of Chen et al. (2021), means of three "
    "runs of accuracy, AP and mIoU. Left: tickets that follow from the pre-training; right: tickets found on the task itself."
)
DIFFERENCES = (
    "Dots: single seeds; bars: 95 % t interval of the mean over seeds, where there are two or more; pale bars: 95 % interval over "
    "test scenes; dashed: the margin. The axis is linear around zero and logarithmic outside the grey band."
)


def transfer(records, metric="rms", average="pooled", analysis=None):
    """A test metric against the remaining weights: a line an arm (mean over seeds, band of one sd, a dot a run).

    Args:
        records: of one study; metric, average: as in `metrics`.
        analysis: `verdict.Analysis` of the same records: marks every arm's break-even density by a diamond.
    """
    table = tidy(records, average=average)
    if table.empty or not set(table.arm) - {"floor", "dense"}:
        return None
    dense = table[table.arm == "dense"][metric].mean()
    figure, ax = plt.subplots(figsize=(7.6, 3.8))
    for arm, rows in table.groupby("arm", sort=False):
        by = rows.groupby("density")[metric].agg(["mean", "std"]).sort_index()
        mean, sd = by["mean"], by["std"].fillna(0)
        if arm in WHOLE[2:]:  # another whole network
            ax.plot(
                100 * rows.density,
                rows[metric],
                "s",
                ms=5,
                mfc="none",
                color=COLOURS[arm],
                label=f"{ARMS[arm]}: {mean[1]:.3f}",
            )
            continue
        if arm in WHOLE:  # what the others are measured by: a level
            ax.axhline(
                mean[1],
                color=COLOURS[arm],
                lw=1.4,
                ls=":" if arm == "floor" else "-",
                label=f"{ARMS[arm]}: {mean[1]:.3f}",
            )
            ax.axhspan(mean[1] - sd[1], mean[1] + sd[1], color=COLOURS[arm], alpha=0.15, lw=0)
            continue
        ax.plot(
            100 * np.r_[mean.index, 1], np.r_[mean, dense], color=COLOURS[arm], label=ARMS[arm]
        )  # it starts at dense
        ax.fill_between(100 * mean.index, mean - sd, mean + sd, color=COLOURS[arm], alpha=0.2, lw=0)
        ax.plot(100 * rows.density, rows[metric], "o", ms=3.5, color=COLOURS[arm])
    if analysis is not None and len(analysis.break_even) and (metric, average) == ("rms", "pooled"):
        name = "mean loss reaches the margin"
        for r in analysis.break_even[analysis.break_even.density > 0].itertuples():
            ax.plot(
                100 * r.density,
                dense + stats.MARGIN,
                "D",
                ms=8,
                mfc="none",
                mew=1.6,
                color=COLOURS[r.arm],
                zorder=5,
                label=name,
            )
            name = None
    _percent(ax, table.density)
    ax.set(ylabel=f"test {NAMES.get(metric, metric)}, {average}")
    figure.legend(
        loc="outside right upper", frameon=False, fontsize=9
    )  # inside, levels and curves would run behind it
    return figure


def published():
    """The transfer curves of Chen et al. (2021), read off their figures (how exactly: head of the file)."""
    return pd.read_csv(Path(__file__).with_name("chen2021.csv"), comment="#")


def beside_published(records, metric="rms"):
    """What pruning costs here and in other tasks, as change relative to each task's dense network, positive is worse.

    Left: tickets that come from the pre-training, right: tickets found on the task itself. Of `metric` a rise is worse, of
    the published ones (accuracy, AP, mIoU) a fall. None without a ticket of ours.
    """
    table = tidy(records)
    if table.empty or not set(table.arm) & {"omp", "logits", "imp"}:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4), sharex=True, sharey=True)
    dense = table[table.arm == "dense"][metric].mean()
    sides = (
        ("m_Img", ("omp", "logits"), "ticket from the pre-training"),
        ("m_task", ("imp",), "ticket found on the task"),
    )
    for ax, (source, arms, title) in zip(axes, sides, strict=True):
        for task, rows in published()[lambda t: t.source == source].groupby("task", sort=False):
            worse = 100 * (1 - rows.value / rows.value.iloc[0])
            ax.plot(rows.remaining_percent, worse, **OTHERS[task], lw=1.3, label=task)
        for arm in arms:
            mean = table[table.arm == arm].groupby("density")[metric].mean()
            if len(mean):
                change = 100 * (np.r_[mean, dense] / dense - 1)  # like the others it starts at dense
                ax.plot(
                    100 * np.r_[mean.index, 1],
                    change,
                    "o-",
                    color=COLOURS[arm],
                    lw=2.2,
                    ms=4,
                    label=f"depth, {ARMS[arm]}",
                )
        ax.axhline(0, color="black", lw=0.8)
        ax.set_title(title, fontsize=10)
        ax.legend(frameon=False, fontsize=8)
        _percent(ax, published().remaining_percent[[0, 3, 6, 9, 12, 15, 18]] / 100)
    axes[0].set(ylabel="worse than dense (% of its score)")
    return figure


def differences(analysis):
    """Every ticket's difference from dense with its intervals, the margin beside them; as `DIFFERENCES` says."""
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
