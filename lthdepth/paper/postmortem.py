"""The post-mortem's tables and figure: the published result and each defect of its code against the floor."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..analysis.postmortem import measured, order, relative
from ..runs.studies import SOUND
from . import plots, tables

PANELS = {
    "rms": "rms",
    "rel": "rel",
    "delta1": "1 − δ1",
}  # relative to the mean depth map's on the same pixels
PUBLISHED = ("published, dense", "published, sparse")
NOT_RUN = "not run yet"


def _published():
    """The published scores, dense and sparse: `{name: {metric: value}}`."""
    rows = [p._asdict() for p in tables.published().itertuples() if "paper under test" in p.model]
    return dict(zip(PUBLISHED, rows, strict=True))


def against_floor(floor):
    """The published rows beside the mean depth map on the frames they were scored on; a DataFrame of texts.

    floor: record of `config.PUBLISHED_FLOOR`, shown under both averages; None leaves it out.
    """
    scores = _published()
    if floor:
        scores["mean depth map, over all pixels"] = floor["test"]["full"]["pooled"]
        scores["mean depth map, averaged over images"] = floor["test"]["full"]["per_image"]
    headings = tables.HEADINGS.items()
    return pd.DataFrame([{"model": k, **{h: f"{s[m]:.3f}" for m, h in headings}} for k, s in scores.items()])


def reading(floor):
    """What the published rows say against their floor, in words; None without the floor."""
    if not floor:
        return None
    texts = []
    for name, scores in _published().items():
        changes = relative(scores, floor["test"]["full"]["pooled"])
        signed = ", ".join(f"{PANELS[k]} {100 * (v - 1):+.1f} %" for k, v in changes.items())
        texts.append(f"the {name.removeprefix('published, ')} network has {signed}".replace("-", "−"))
    return (
        f"Against the mean depth map, pooled over the same pixels, {'; '.join(texts)}. Negative is better "
        "than a prediction that never looks at the picture."
    )


def table(rows):
    """A line a row of the grid: mean ± sd over seeds, and how far it is from the sound network to the floor.

    rows: of `analysis.postmortem.grid`. Returns a DataFrame of texts.
    """
    runs, lines = measured(rows), []
    names = ("rms (m)", "rel", "δ1", "floor's rms (m)", "rms / floor's", "way to the floor")
    for row in order(rows):
        part = runs[runs.row == row] if len(runs) else runs
        texts = [NOT_RUN, *["–"] * 5]
        if len(part):
            sound = runs[runs.row == SOUND]["rms/floor"].mean()
            way = (part["rms/floor"].mean() - sound) / (1 - sound)
            texts = [tables.spread(part[m]) for m in ("rms", "rel", "delta1")]
            texts += [f"{part.floor.mean():.3f}", f"{part['rms/floor'].mean():.3f}"]
            texts += ["–" if np.isnan(way) else f"{100 * way:.0f} %"]
        lines.append({"defect": row, **dict(zip(names, texts, strict=True)), "runs": len(part)})
    return pd.DataFrame(lines)


def figure(rows, published_floor=None):
    """Errors relative to the floor: a dot a run, a bar from the sound network's mean to the row's.

    Args:
        rows: of `analysis.postmortem.grid`.
        published_floor: record of `config.PUBLISHED_FLOOR`, to add the published rows; None leaves them out.

    Returns:
        A figure, or None where no run but the sound one is finished.
    """
    runs = measured(rows)
    if runs.empty or set(runs.row) <= {SOUND}:
        return None
    points = {row: runs[runs.row == row] for row in order(rows)}
    if published_floor:
        for name, scores in _published().items():
            multiples = relative(scores, published_floor["test"]["full"]["pooled"])
            points[name] = pd.DataFrame([{f"{k}/floor": v for k, v in multiples.items()}])
    drawn, axes = plt.subplots(1, len(PANELS), figsize=(9.6, 0.9 + 0.3 * len(points)), sharey=True)
    for ax, (metric, name) in zip(axes, PANELS.items(), strict=True):
        values = {row: part[f"{metric}/floor"] if len(part) else None for row, part in points.items()}
        _panel(ax, values)
        ax.set(xlabel=f"{name}, relative to the floor's")
    axes[0].set_yticks(range(len(points)), points, fontsize=9)
    axes[0].set_ylim(len(points) - 0.5, -0.5)
    return drawn


def _panel(ax, values):
    """Draw one metric: `{row: multiples of the floor's, or None}`."""
    start = np.nan if values[SOUND] is None else values[SOUND].mean()
    ax.axvline(1, color=plots.COLOURS["floor"], ls=":", lw=1.4)
    ax.axvline(start, color=plots.COLOURS["dense"], lw=1)
    for y, (row, multiples) in enumerate(values.items()):
        if multiples is None:
            place = {"transform": ax.get_yaxis_transform(), "ha": "center", "va": "center"}
            ax.text(0.4, y, NOT_RUN, fontsize=7, color="0.5", **place)
            continue
        marker, colour = ("D", "#D55E00") if row in PUBLISHED else ("o", "#0072B2")
        ends = [start, multiples.mean()]
        ax.plot(ends, [y, y], color=colour, lw=5, alpha=0.25, solid_capstyle="butt")
        ax.plot(multiples, np.full(len(multiples), y), marker, color=colour, ms=4.5)
