"""The pictures of the paper.

Every function takes records, arrays or an analysis and returns a matplotlib figure, or None for nothing.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..analysis import budget as plan
from ..analysis import stats
from ..analysis.postmortem import measured, order, relative
from ..analysis.verdict import CURVE
from ..config import ARMS, WHOLE
from ..runs.record import label
from ..runs.studies import SOUND
from .tables import others_found, published_curves, published_scores

COLOURS = dict(
    pair.split("=")
    for pair in (
        "floor=0.45 dense=black omp=#0072B2 lrr=#66A61E gradual=#E6AB02 fisher=#7570B3 lamp=#A6761D "
        "distilled=#882255 random=#D55E00 imp=#009E73 shuffled=#CC79A7 uniform=#56B4E9 "
        "reinit=#E69F00 file=#B2182B finetuned=#B15928"
    ).split()
)
BUDGETS = {2: "#9ECAE1", 6: "#3182BD", 18: "#08306B", 24: "#756BB1", 100: "#54278F"}  # the longer, the darker
SPLITS = {"train": "black", "validation": "#009E73", "test": "#0072B2"}
DEPTH = "viridis"
OTHERS = {  # line styles of the published tasks: classification grey
    "CIFAR-10": {"color": "0.35", "ls": ":"},
    "CIFAR-100": {"color": "0.35", "ls": "--"},
    "SVHN": {"color": "0.6", "ls": "-."},
    "Fashion-MNIST": {"color": "0.6", "ls": (0, (4, 1, 1, 1, 1, 1))},
    "VOC 2007 detection": {"color": "#8C510A", "ls": "--"},
    "VOC 2012 segmentation": {"color": "#C51B7D", "ls": "--"},
}
# Of the post-mortem: metrics relative to the mean depth map's on the same pixels.
PANELS = {"rms": "rms", "rel": "rel", "delta1": "1 − δ1"}


def frames(summary, columns=4):
    """RGB above depth for some frames of the gallery, evenly spaced, one depth scale for all."""
    n = min(columns, len(summary.index))
    chosen = np.linspace(0, len(summary.index) - 1, n).round().astype(int)
    figure, axes = plt.subplots(2, n, figsize=(2.6 * n, 4.3), squeeze=False)
    top = float(np.percentile(summary.depth, 99.5))
    for (above, below), i in zip(axes.T, chosen, strict=True):
        above.imshow(summary.rgb[i])
        above.set_title(f"{summary.scene[i]}, frame {summary.index[i]}", fontsize=8, parse_math=False)
        image = below.imshow(summary.depth[i], cmap=DEPTH, vmin=0, vmax=top)
    for ax in axes.flat:
        ax.set_axis_off()
    figure.colorbar(image, ax=axes[1], label="depth (m)", shrink=0.9)
    return figure


def histograms(description):
    """Distribution of depth in each split, as shares of its pixels in 0.2 m bins."""
    figure, ax = plt.subplots(figsize=(5.6, 3.1))  # in 0.1 m bins, depth of 8 bits, of 4 cm, would show steps
    for split, colour in SPLITS.items():
        counts = np.array(description["splits"][split]["histogram"], float).reshape(50, 2).sum(1)
        ax.stairs(counts / max(counts.sum(), 1), np.linspace(0, 10, 51), label=split, color=colour, lw=1.4)
    ax.set(xlabel="depth (m)", ylabel="share of pixels", xlim=(0, 10))
    ax.legend(frameon=False)
    return figure


def mean_map(summary):
    """The mean depth map of the training frames: the floor."""
    figure, ax = plt.subplots(figsize=(4.6, 3))
    image = ax.imshow(summary.mean, cmap=DEPTH)
    ax.set_axis_off()
    figure.colorbar(image, ax=ax, label="mean depth (m)")
    return figure


def learning_curves(records):
    """Training loss epoch by epoch, a line a run, dashed by its density."""
    records = [r for r in records if r and r.get("curves")]
    if not records:
        return None
    columns = math.ceil(len({label(r) for r in records}) / 14)  # of names beside the curves
    figure, ax = plt.subplots(figsize=(4.8 + 2.1 * columns, 3.2))
    densities = sorted({r["density"] for r in records}, reverse=True)
    styles = dict(
        zip(densities, ("-", "--", ":", "-.", *((0, (k, 1, 1, 1)) for k in range(2, 30))), strict=False)
    )
    for r in records:
        y = r["curves"]["train_loss"]
        how = {"marker": "o" if len(y) < 12 else None, "ms": 3, "color": COLOURS[r["arm"]]}
        ax.plot(range(1, len(y) + 1), y, ls=styles[r["density"]], label=label(r), **how)
    ax.set(xlabel="epoch", ylabel="training loss (m)")
    ax.xaxis.get_major_locator().set_params(integer=True)
    _legend_beside(figure, ax, ncols=columns)
    return figure


def layers(records):
    """Kept fraction of every prunable layer, one line an arm: its smallest density, its lowest seed."""
    chosen = {}
    for r in records:
        if r and r["density"] < 1 and r["density"] < chosen.get(r["arm"], {"density": 1})["density"]:
            chosen[r["arm"]] = r
    if not chosen:
        return None
    figure, ax = plt.subplots(figsize=(9, 3.8))
    for arm, r in chosen.items():
        kept, style = [100 * max(k, 0.1) / n for _, k, n in r["ticket"]["layers"]], {"lw": 1.4, "marker": "."}
        ax.plot(kept, "--" if arm == "shuffled" else "-", color=COLOURS[arm], label=label(r), **style)
    names = [n.removesuffix(".weight") for n, _, _ in r["ticket"]["layers"]]
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6 if len(names) > 30 else 8)
    ax.set(yscale="log", ylabel="weights kept (%)")
    ax.legend(frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))  # above the lines
    return figure


def half_and_smallest(records):
    """Floor, dense, the one-shot ticket nearest to half the weights, and the sparsest ones, a run each."""
    first = {(r["arm"], r["density"]): r for r in reversed(records)}
    low = min((d for _, d in first), default=1)
    half = min((d for arm, d in first if arm == "omp"), key=lambda d: abs(d - 0.5), default=1)
    names = [("floor", 1.0), ("dense", 1.0), ("omp", half)]
    names += [(arm, low) for arm in ("lrr", "gradual", "omp", "imp")]
    return [first[n] for n in dict.fromkeys(names) if n in first]


def across(records):
    """Dense, then the one-shot tickets from dense to sparse; nothing for fewer than two of these."""
    chosen = sorted((r for r in records if r["arm"] in ("dense", "omp")), key=lambda r: -r["density"])
    return chosen if len({r["density"] for r in chosen}) > 2 else []


def clearest(summary, predictions):
    """Indices of the gallery's frames, first those on which the dense network, where there is one, errs
    least; summary, predictions: as `depth_maps`.
    """
    maps = predictions.get(ARMS["dense"], summary.depth)
    sizes = zip(summary.depth.shape[1:], maps.shape[1:], strict=True)
    rows, columns = (np.linspace(0, k - 1, m).round().astype(int) for k, m in sizes)
    truth = summary.depth[:, rows][:, :, columns]  # at the size of the maps
    squares = np.ma.masked_where(truth == 0, (maps.astype(np.float32) - truth) ** 2)
    return np.argsort(squares.mean((1, 2)).filled(0), kind="stable")


def depth_maps(summary, predictions, rows=4):
    """RGB, truth and predictions `{column title: (8, h, w) metres}` side by side on one depth scale, of the
    `clearest` frames of a `frames.Summary`; None without a network's prediction.
    """
    if not predictions.keys() - {ARMS["floor"]}:
        return None
    rows, columns = min(rows, len(summary.index)), 2 + len(predictions)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.3 * columns + 0.8, 0.94 * rows + 0.45), squeeze=False
    )
    chosen = clearest(summary, predictions)[:rows]
    scale = {"cmap": DEPTH, "vmin": 0, "vmax": float(np.percentile(summary.depth[chosen], 99.5))}
    extent = (0, 1, 0, summary.depth.shape[1] / summary.depth.shape[2])
    for row, i in zip(axes, chosen, strict=True):
        row[0].imshow(summary.rgb[i])
        image = row[1].imshow(summary.depth[i], **scale)
        for ax, maps in zip(row[2:], predictions.values(), strict=True):
            ax.imshow(maps[min(i, len(maps) - 1)].astype(np.float32), extent=extent, **scale)
    for ax, title in zip(axes[0], ["photo", "truth", *predictions], strict=True):
        ax.set_title(title.replace(" magnitude ", "\nmagnitude ").replace(", rate", ",\nrate"), fontsize=8)
    for ax in axes.flat:
        ax.set_axis_off()
    # A prediction may exceed the truth.
    figure.colorbar(image, ax=axes, label="depth (m)", shrink=0.6, extend="max")
    return figure


def budgets(verdict):
    """The headline: what a one-shot ticket loses at every budget of a `verdict.Verdict`, and, for two budgets
    or more, the break-even density against the budget.
    """
    rows = verdict.movement
    if rows.empty:
        return None
    panels = min(len(rows), 2)
    figure, axes = plt.subplots(1, panels, figsize=(1.8 + 3.6 * panels, 3.6), squeeze=False)
    ax, levels, lowest = axes[0, 0], {1.0}, -0.008
    for r in rows.itertuples():
        table = verdict.budgets[r.epochs].tickets
        table = table[table.arm == CURVE].sort_values("density", ascending=False)
        levels, lowest = levels | set(table.density), min(lowest, *(1.2 * min(d) for d in table.seeds))
        colour = BUDGETS.get(r.epochs, "black")
        read = table[table.density >= 0.99 * r.smallest]  # no line where a level is missing
        x, y = np.log(np.r_[1, read.density]), np.r_[0, read.difference]
        fine = np.linspace(x[-1], 0, 200)  # straight in log density and metres, as break-even is read
        line = np.interp(fine, x[::-1], y[::-1])
        ax.plot(100 * np.exp(fine), line, "-", color=colour, lw=1.8, label=f"{r.epochs} epochs")
        for density, d in zip(table.density, table.seeds, strict=True):
            ax.plot([100 * density] * len(d), d, "o", ms=4, color=colour)
        if 0 < r.density <= r.largest:  # above, nothing was tried
            ax.plot(100 * r.density, stats.MARGIN, "D", ms=8, mfc="white", mew=1.6, color=colour, zorder=5)
    ax.axhline(stats.MARGIN, color="crimson", lw=1.2, ls="--")
    ax.axhline(0, color="black", lw=0.8)
    ax.set_yscale("asinh", linear_width=stats.MARGIN)
    ax.set_ylim(bottom=lowest)
    _ticks(ax.yaxis, (-0.1, -0.03, 0, 0.015, 0.03, 0.1, 0.3, 1))
    _weights_axis(ax, list(levels))
    ax.set(ylabel="rms above dense (m)")
    ax.legend(frameon=False, loc="upper left", title="trained for")
    if len(rows) > 1:
        _against_budget(axes[0, 1], rows)
    return figure


def _against_budget(ax, rows):
    """Break-even density against the budget: grey lines join a seed; the mean with its interval as far as
    levels were tried; triangles stand for what lies beyond them.
    """
    for seed in sorted(set().union(*rows.by_seed)):
        same = [r for r in rows.itertuples() if seed in r.by_seed]
        y = [100 * np.clip(r.by_seed[seed].density, *r.by_seed[seed][:0:-1]) for r in same]
        ax.plot([r.epochs for r in same], y, "-", color="0.6", lw=0.8)
        for r, at in zip(same, y, strict=True):
            place = r.by_seed[seed]
            ax.plot(r.epochs, at, _beyond(place, place.density, "o"), color="0.6", ms=4)
    for r in rows.itertuples():
        colour = BUDGETS.get(r.epochs, "black")
        low, mean, high = (100 * np.clip(v, r.smallest, r.largest) for v in (r.low, r.density, r.high))
        if plan.density_interval(r) != "–":
            ax.plot([r.epochs] * 2, [low, high], color=colour, lw=2)
        ax.plot(r.epochs, mean, _beyond(r, r.density, "D"), ms=9, mfc="white", mew=1.8, color=colour)
        words = {"xytext": (9, 4), "textcoords": "offset points", "fontsize": 9}
        words["bbox"] = {"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.85}  # above the grey lines
        ax.annotate(plan.density(r, r.density), (r.epochs, mean), **words)
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(rows.epochs, [str(e) for e in rows.epochs])
    ax.set_ylim(min(20, ax.get_ylim()[0]) / 1.2, 110)  # no narrower, so that a small step looks small
    _ticks(ax.yaxis, (2, 5, 10, 20, 30, 50, 70, 100))
    ax.minorticks_off()
    ax.set(xlabel="training budget (epochs)", ylabel="break-even density (%)")
    ax.margins(x=0.4)


def _beyond(row, density, marker):
    """The marker of a break-even density; a triangle where it lies beyond the levels of the row."""
    return "v" if not density else marker if density <= row.largest else "^"


def transfer(records, analysis=None):
    """Test rms against the remaining weights: a line an arm (mean over seeds, band of one sd, a dot a run);
    diamonds mark the break-even densities of a `budget.Analysis` of the same records.
    """
    table = plan.scores(records)
    if table.empty or not set(table.arm) - {"floor", "dense"}:
        return None
    dense = table[table.arm == "dense"].rms.mean()
    figure, ax = plt.subplots(figsize=(7.6, 3.8))
    for arm, rows in table.groupby("arm", sort=False):
        by, colour = rows.groupby("density").rms, COLOURS[arm]
        mean, sd = by.mean(), by.std().fillna(0)
        if arm in WHOLE:  # by which the others are measured
            line, name = ":" if arm == "floor" else "-", f"{ARMS[arm]}: {mean[1]:.3f}"
            ax.axhline(mean[1], color=colour, lw=1.4, ls=line, label=name)
            ax.axhspan(mean[1] - sd[1], mean[1] + sd[1], color=colour, alpha=0.15, lw=0)
        else:  # it starts at dense
            if len(mean) > 1:  # from one density to dense nothing is known between
                line = 100 * np.r_[mean.index, 1], np.r_[mean, dense]
                ax.plot(*line, "-", color=colour, label=ARMS[arm])
            ax.plot(100 * rows.density, rows.rms, "o", ms=3.5, color=colour, label=ARMS[arm])
            ax.fill_between(100 * mean.index, mean - sd, mean + sd, color=colour, alpha=0.2, lw=0)
    if analysis is not None and len(analysis.break_even):
        for r in analysis.break_even.query("density > 0").itertuples():
            mark = {"ms": 8, "mfc": "none", "mew": 1.6, "color": COLOURS[r.arm], "zorder": 5}
            x, name = 100 * r.density, "mean loss reaches the margin"
            ax.plot(x, dense + stats.MARGIN, "D", label=name, **mark)
    _weights_axis(ax, table.density)
    ax.set(ylabel="test rms (m), pooled")
    _legend_beside(figure, ax)
    return figure


def differences(analysis):
    """Every ticket's difference from dense with its intervals and the margin (`budget.Analysis`)."""
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
    _ticks(ax.xaxis, (-0.3, -0.1, -0.03, -0.015, 0, 0.015, 0.03, 0.1, 0.3, 1, 3))
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [label(r._asdict()) for r in rows.itertuples()], fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="test rms minus that of dense (m); right is worse")
    return figure


def cost_of_training(records):
    """Test rms at 1.80 % against all training images that a run costs, earlier rounds included."""
    rows = [r for r in records if r and (r["density"] == 1 or r["density"] < 0.02)]
    if len({r["arm"] for r in rows}) < 3:
        return None
    figure, ax = plt.subplots(figsize=(6.6, 3.6))
    for r in rows:
        arm, rms = r["arm"], r["test"]["full"]["pooled"]["rms"]
        if arm == "floor":
            ax.axhline(rms, color=COLOURS[arm], ls=":", label=ARMS[arm])
        else:
            x, marker = plan.images(r.config, r["fit_frames"]) / 1000, "s" if arm == "dense" else "o"
            ax.plot(x, rms, marker, color=COLOURS[arm], ms=6, label=ARMS[arm], alpha=0.85)
    ax.set_xscale("log")
    _ticks(ax.xaxis, (1, 2, 5, 10, 20, 50, 100))
    ax.minorticks_off()
    ax.set(xlabel="training images, earlier rounds included (thousands)", ylabel="test rms (m), pooled")
    _legend_beside(figure, ax)
    return figure


def beside_published(records):
    """What pruning costs here and in other tasks, as change relative to each task's dense network, positive
    is worse; left, tickets that come from the pre-training, right, tickets found on the task itself.
    """
    table = plan.scores(records)
    if table.empty or not set(table.arm) & {"omp", "imp"}:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4), sharex=True, sharey=True)
    dense = table[table.arm == "dense"].rms.mean()
    left = ("m_Img", "omp", "ticket from the pre-training")
    right = ("m_task", "imp", "ticket found on the task")
    for ax, (source, arm, title) in zip(axes, (left, right), strict=True):
        for task, rows in published_curves().query("source == @source").groupby("task", sort=False):
            worse = 100 * (1 - rows.value / rows.value.iloc[0])  # of accuracy, AP and mIoU a fall is worse
            ax.plot(rows.remaining_percent, worse, **OTHERS[task], lw=1.3, label=task)
        mean = table[table.arm == arm].groupby("density").rms.mean()
        if len(mean):
            change = 100 * (np.r_[mean, dense] / dense - 1)  # like the others it starts at dense
            style = {"color": COLOURS[arm], "lw": 2.2, "ms": 4, "label": f"depth, {ARMS[arm]}"}
            line = (
                slice(None) if len(mean) > 1 else slice(1)
            )  # between one density and dense nothing is known
            ax.plot(100 * np.r_[mean.index, 1][line], change[line], "o-", **style)
        for r in others_found().query("plotted == 'yes'").itertuples() if source == "m_task" else ():
            worse = 100 * (1 - r.sparse / r.dense) * (1 if r.better == "higher" else -1)
            mark = {"IMP": "^", "LTH": "v", "LTH-T": "s", "random": "x"}[r.how]
            colour = "0.55" if "classification" in r.task else "#7570B3"
            ax.plot(r.kept, worse, mark, ms=6, mew=1.4, color=colour, mfc="none")
        ax.axhline(0, color="black", lw=0.8)
        ax.set_title(title, fontsize=10)
        ax.legend(frameon=False, fontsize=8)
        _weights_axis(ax, published_curves().remaining_percent[[0, 3, 6, 9, 12, 15, 18]] / 100)
    axes[0].set(ylabel="worse than dense (% of its score)")
    return figure


def _weights_axis(ax, densities):
    """The logarithmic axis of remaining weights, dense on the left, with a tick at each of `densities`."""
    ax.set_xscale("log")
    ticks = 100 * np.sort(np.unique(densities))
    steps = np.r_[ticks[1:] / ticks[:-1], np.inf]  # to the next, whose name would run into its own
    names = ["" if step < 1.2 else f"{t:#.3g}".rstrip(".") for t, step in zip(ticks, steps, strict=True)]
    ax.set_xticks(ticks, names, fontsize=8, rotation=45 if len(ticks) > 8 or steps.min() < 1.3 else 0)
    ax.minorticks_off()
    if not ax.xaxis_inverted():
        ax.invert_xaxis()
    ax.set(xlabel="remaining prunable encoder weights (%)")


def _ticks(axis, values):
    """Ticks at those of `values` that are in view, in plain decimals."""
    low, high = sorted(axis.get_view_interval())
    kept = [v for v in values if low <= v <= high]
    axis.set_ticks(kept, [f"{v:g}" for v in kept])


def _legend_beside(figure, ax, ncols=1):
    """A legend beside the axes, each name once; inside, lines would run behind it."""
    handles, names = ax.get_legend_handles_labels()
    once = dict(zip(reversed(names), reversed(handles), strict=True))
    names = dict.fromkeys(names)
    how = {"loc": "outside right upper", "frameon": False, "fontsize": 9, "ncols": ncols}
    figure.legend([once[name] for name in names], names, **how)


def postmortem(rows, published_floor=None):
    """Errors relative to the floor, of `Paper.postmortem`'s rows and, given the record of their floor, of the
    published ones: a dot a run, a bar from the sound network's mean to the row's.
    """
    runs = measured(rows)
    if runs.empty or set(runs.row) <= {SOUND}:
        return None
    points = {row: runs[runs.row == row] for row in order(rows) if row in set(runs.row)}
    for name, values in published_scores().items() if published_floor else ():
        multiples = relative(values, published_floor["test"]["full"]["pooled"])
        points[name] = pd.DataFrame([{f"{k}/floor": v for k, v in multiples.items()}])
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9.6, 0.9 + 0.3 * len(points)), sharey=True)
    for ax, (metric, name) in zip(axes, PANELS.items(), strict=True):
        start = points[SOUND][f"{metric}/floor"].mean()
        ax.axvline(1, color=COLOURS["floor"], ls=":", lw=1.4)
        ax.axvline(start, color=COLOURS["dense"], lw=1)
        for y, (row, part) in enumerate(points.items()):
            marker, colour = ("D", "#D55E00") if row in published_scores() else ("o", "#0072B2")
            multiples = part[f"{metric}/floor"]
            ends = [start, multiples.mean()]
            ax.plot(ends, [y, y], color=colour, lw=5, alpha=0.25, solid_capstyle="butt")
            ax.plot(multiples, np.full(len(multiples), y), marker, color=colour, ms=4.5)
        ax.set(xlabel=f"{name}, relative to the floor's")
    axes[0].set_yticks(range(len(points)), points, fontsize=9)
    axes[0].set_ylim(len(points) - 0.5, -0.5)
    return figure
