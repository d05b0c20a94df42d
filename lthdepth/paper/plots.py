"""The pictures of the paper. Every function takes records or arrays and returns a matplotlib figure, or None
for nothing.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

from ..analysis.scores import scores as tidy
from ..config import ARMS
from ..runs.record import label

COLOURS = {
    "floor": "0.45",
    "dense": "black",
    "omp": "#0072B2",
    "lrr": "#66A61E",
    "gradual": "#E6AB02",
    "fisher": "#7570B3",
    "lamp": "#A6761D",
    "distilled": "#1F78B4",
    "random": "#D55E00",
    "imp": "#009E73",
    "shuffled": "#CC79A7",
    "uniform": "#56B4E9",
    "erk": "#8C6BB1",
    "reinit": "#E69F00",
    "permuted": "#7F5B2E",
    "file": "#B2182B",
    "logits": "#17BECF",
    "finetuned": "#B15928",
    "frozen": "#666699",
    "resnet18": "#F781BF",
    "resnet34": "#984EA3",
}
DEPTH = "viridis"


def frames(summary, columns=4):
    """RGB above depth for the frames of the gallery, one depth scale for all."""
    n = min(columns, len(summary.index))
    figure, axes = plt.subplots(2, n, figsize=(2.6 * n, 4.3), squeeze=False)
    top = float(np.percentile(summary.depth, 99.5))
    for i in range(n):
        axes[0, i].imshow(summary.rgb[i])
        axes[0, i].set_title(f"{summary.scene[i]}, frame {summary.index[i]}", fontsize=8, parse_math=False)
        image = axes[1, i].imshow(summary.depth[i], cmap=DEPTH, vmin=0, vmax=top)
    for ax in axes.flat:
        ax.set_axis_off()
    figure.colorbar(image, ax=axes[1], label="depth (m)", shrink=0.9)
    return figure


def histograms(description):
    """Distribution of depth in each split, as shares of its pixels in 0.2 m bins.

    Not in the 0.1 m of the description: depth of 8 bits comes in steps of 4 cm, two or three of which fall
    into such a bin.
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.1))
    for split, colour in zip(("train", "validation", "test"), ("black", "#009E73", "#0072B2"), strict=True):
        counts = np.array(description["splits"][split]["histogram"], float).reshape(50, 2).sum(1)
        ax.stairs(counts / max(counts.sum(), 1), np.linspace(0, 10, 51), label=split, color=colour, lw=1.4)
    ax.set(xlabel="depth (m)", ylabel="share of pixels", xlim=(0, 10))
    ax.legend(frameon=False)
    return figure


def scene_counts(description):
    """How many scenes have how many frames, by split."""
    figure, ax = plt.subplots(figsize=(5.6, 3.1))
    counts = {split: part["scene_sizes"] for split, part in description["splits"].items()}
    names = [split for split, sizes in counts.items() if sizes]
    bins = np.arange(0.5, max(max(counts[s]) for s in names) + 1.5)
    ax.hist(
        [counts[s] for s in names],
        bins,
        label=[f"{s}: {len(counts[s])} scenes" for s in names],
        color=["black", "#009E73", "#0072B2"][: len(names)],
    )
    ax.set(xlabel="frames in a scene", ylabel="scenes")
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
    """Training loss and, where validation scenes were held out, their pooled rms, epoch by epoch."""
    records = [r for r in records if r and r.get("curves")]
    if not records:
        return None
    validated = any(r["curves"]["validation_rms"] for r in records)
    figure, axes = plt.subplots(1, 1 + validated, figsize=(4.8 * (1 + validated), 3.2), squeeze=False)
    styles = dict(
        zip(sorted({r["density"] for r in records}, reverse=True), ("-", "--", ":", "-.") * 9, strict=False)
    )
    for name, ax in zip(("train_loss", "validation_rms"), axes[0], strict=False):
        done = set()
        for r in records:
            values = r["curves"][name]
            text = label(r) if label(r) not in done else None
            done.add(label(r))
            marker = "o" if len(values) < 12 else None
            ax.plot(
                range(1, len(values) + 1),
                values,
                styles[r["density"]],
                marker=marker,
                ms=3,
                label=text,
                color=COLOURS[r["arm"]],
            )
        ax.set(
            xlabel="epoch",
            ylabel={"train_loss": "training loss (m)", "validation_rms": "validation rms (m)"}[name],
        )
        ax.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = math.ceil(len(labels) / 14)  # beside the curves, which fill the frame
    figure.set_figwidth(figure.get_figwidth() + 2.1 * columns)
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8, ncols=columns)
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
        kept = [100 * max(k, 0.1) / n for _, k, n in r["ticket"]["layers"]]
        ax.plot(
            kept, "--" if arm == "shuffled" else "-", color=COLOURS[arm], label=label(r), lw=1.4, marker="."
        )
    names = [n.removesuffix(".weight") for n, _, _ in r["ticket"]["layers"]]
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6 if len(names) > 30 else 8)
    ax.set(yscale="log", ylabel="weights kept (%)")
    ax.legend(
        frameon=False, fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1)
    )  # above, clear of the lines
    return figure


def smallest(records):
    """The records of every arm at its smallest density, in their order."""
    low = {}
    for r in records:
        if r:
            low[r["arm"]] = min(r["density"], low.get(r["arm"], 1.0))
    return [r for r in records if r and r["density"] == low[r["arm"]]]


def best_and_smallest(records):
    """Floor, dense, the densest ticket and up to three of the sparsest, one run each."""
    first = {}
    for r in records:
        first.setdefault((r["arm"], r["density"]), r)
    low, high = (f((d for a, d in first if d < 1), default=1) for f in (min, max))
    names = [("floor", 1.0), ("dense", 1.0), ("omp", high), ("imp", low), ("omp", low), ("random", low)]
    return [first[n] for n in dict.fromkeys(names) if n in first]


def across(records):
    """Dense, then the arm with the most densities from dense to sparse; nothing where no arm has two."""
    levels = {r["arm"]: set() for r in records if r}
    for r in records:
        if r and r["density"] < 1:
            levels[r["arm"]].add(r["density"])
    most = max(levels, key=lambda arm: len(levels[arm]), default=None)  # of equals the first
    if most is None or len(levels[most]) < 2:
        return []
    return sorted((r for r in records if r and r["arm"] in ("dense", most)), key=lambda r: -r["density"])


def depth_maps(summary, predictions, rows=4):
    """RGB, truth and predictions side by side on one depth scale; None without a network's prediction.

    Args:
        summary: `summary.Summary`.
        predictions: `{column title: (8, h, w) metres}`, in the order of the columns.
        rows: number of frames.
    """
    if not predictions.keys() - {ARMS["floor"]}:
        return None
    rows = min(rows, len(summary.index))
    figure, axes = plt.subplots(
        rows,
        2 + len(predictions),
        figsize=(1.3 * (2 + len(predictions)) + 0.8, 0.94 * rows + 0.45),
        squeeze=False,
    )
    top = float(np.percentile(summary.depth[:rows], 99.5))
    for i in range(rows):
        axes[i, 0].imshow(summary.rgb[i])
        image = axes[i, 1].imshow(summary.depth[i], cmap=DEPTH, vmin=0, vmax=top)
        for ax, maps in zip(axes[i, 2:], predictions.values(), strict=True):
            ax.imshow(
                maps[min(i, len(maps) - 1)].astype(np.float32),
                cmap=DEPTH,
                vmin=0,
                vmax=top,
                extent=(0, 1, 0, summary.depth.shape[1] / summary.depth.shape[2]),
            )
    for ax, title in zip(axes[0], ["photo", "truth", *predictions], strict=True):
        ax.set_title(title.replace(" magnitude ", "\nmagnitude "), fontsize=8)
    for ax in axes.flat:
        ax.set_axis_off()
    figure.colorbar(
        image, ax=axes, label="depth (m)", shrink=0.6, extend="max"
    )  # a prediction may exceed the truth
    return figure


def error_by_depth(summary, predictions):
    """Root mean square error against the true depth, in bins of 1 m, over the frames whose depth maps are
    kept.

    Args:
        summary: `summary.Summary`; predictions: `{label: (8, h, w) metres}`, drawn in their order, darkest
            first.
    """
    if ARMS["dense"] not in predictions:
        return None
    figure, ax = plt.subplots(figsize=(5.8, 3.4))
    edges = np.arange(0.5, 10.1, 1.0)
    for (name, maps), colour in zip(
        predictions.items(), plt.cm.viridis(np.linspace(0, 0.9, len(predictions)))
    ):
        n, height, width = maps.shape
        rows, columns = (
            np.linspace(0, k - 1, m).round().astype(int)
            for k, m in zip(summary.depth.shape[1:], (height, width), strict=True)
        )
        truth = summary.depth[:, rows][:, :, columns]
        error = np.broadcast_to(maps.astype(np.float32), truth.shape) - truth
        bins = np.digitize(truth, edges)
        inside = [(bins == k) & (truth > 0) for k in range(1, len(edges))]
        rms = [np.sqrt(np.mean(error[m] ** 2)) if m.sum() > 500 else np.nan for m in inside]
        ax.plot((edges[1:] + edges[:-1]) / 2, rms, "o-", ms=3.5, color=colour, label=name)
    ax.set(xlabel="true depth (m)", ylabel="rms error (m)", ylim=(0, None))
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def strip(records, metric="rms"):
    """Every scored run as a dot, by arm and density: what there is before any average is taken."""
    table = tidy(records)
    if table.empty or set(table.arm) == {"floor"}:
        return None
    table["run"] = [label({"arm": a, "density": d}) for a, d in zip(table.arm, table.density, strict=True)]
    figure, ax = plt.subplots(figsize=(5.8, 0.6 + 0.36 * table.run.nunique()))
    import seaborn as sns  # slow to import, and only this figure needs it

    sns.stripplot(
        table,
        x=metric,
        y="run",
        hue="arm",
        palette=COLOURS,
        ax=ax,
        legend=False,
        size=7,
        jitter=False,
        alpha=0.7,
    )
    ax.set(xlabel={"rms": "test rms (m), pooled"}.get(metric, metric), ylabel="")
    ax.grid(axis="x", alpha=0.4)
    return figure
