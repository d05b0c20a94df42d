"""The published result against its own floor, and how far each defect of its code carries a sound network there."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..data import convert
from ..paper import plots, tables
from ..runs import defects
from ..runs import studies as experiments

# Errors relative to the mean depth map's, scored on the same pixels: 1 is the floor, whatever the protocol.
PANELS = {"rms": "rms", "rel": "rel", "delta1": "1 − δ1"}
PUBLISHED = ("published, dense", "published, sparse")


def grid(desk, name="postmortem"):
    """`[(row, record, record of its floor)]`, None for what is not run.

    A quick profile trains one run of its own beside its dense one, all defects together; the others look up a study.
    """
    if desk.profile == "quick" and name == "postmortem":
        dense = next(c for c in desk.study.configs if c.arm == "dense")
        short = defects.together(dense).replace(
            batch=16, epochs=3
        )  # as many steps there as 10 epochs of 50, in a third of the time
        rows, get = [(defects.SOUND, dense), (defects.TOGETHER, short)], desk.record
    else:
        rows, get = experiments.postmortem(name), desk.find
    return [(row, get(config), get(config.floor())) for row, config in rows]


def order(found):
    """The rows of a grid as the text counts them: the sound network, each defect, all together."""
    rows = dict.fromkeys(row for row, *_ in found)
    return sorted(rows, key=lambda row: (row != defects.SOUND, row.startswith(defects.TOGETHER)))


def used(found):
    """The records of a grid that there are, each once."""
    return list({r["key"]: r for _, *pair in found for r in pair if r and all(pair)}.values())


def relative(scores, floor):
    """rms, rel and 1 − δ1 as multiples of the mean depth map's."""
    return {
        "rms": scores["rms"] / floor["rms"],
        "rel": scores["rel"] / floor["rel"],
        "delta1": (1 - scores["delta1"]) / (1 - floor["delta1"]),
    }


def measured(found):
    """A row a finished run: its row of the grid, seed, pooled rms, rel, δ1, the floor's rms, and all relative to the floor."""
    rows = []
    for row, record, floor in found:
        if record and floor:
            part = "test" if record["test"] else "validation"
            scores, level = (r[part]["full"]["pooled"] for r in (record, floor))
            multiples = {f"{k}/floor": v for k, v in relative(scores, level).items()}
            plain = {k: scores[k] for k in PANELS}
            rows.append({"row": row, "seed": record["seed"], **plain, "floor": level["rms"], **multiples})
    return pd.DataFrame(rows)


def against_floor(floor):
    """The published rows beside the mean depth map on the frames they were scored on, both averages; a DataFrame of texts."""
    lines = [(name, p._asdict()) for name, p in zip(PUBLISHED, _published(), strict=True)]
    averages = {"pooled": "over all pixels", "per_image": "averaged over images"}
    if floor:
        lines += [(f"mean depth map, {words}", floor["test"]["full"][k]) for k, words in averages.items()]
    return pd.DataFrame(
        [{"model": name, **{h: f"{s[m]:.3f}" for m, h in tables.HEADINGS.items()}} for name, s in lines]
    )


def reading(floor):
    """What the published rows say against their floor, in words; None without the floor."""
    if not floor:
        return None
    texts = []
    for name, p in zip(("dense", "sparse"), _published(), strict=True):
        changes = relative(p._asdict(), floor["test"]["full"]["pooled"])
        texts.append(
            f"the {name} network has "
            + ", ".join(f"{PANELS[k]} {100 * (v - 1):+.1f} %" for k, v in changes.items())
        )
    return (
        "Against the mean depth map, pooled over the same pixels, "
        + "; ".join(texts).replace("-", "−")
        + ". Negative is better than a prediction that never looks at the picture."
    )


def table(found):
    """One line a row of the grid, mean ± sd over seeds, and the share of the way from the sound network to the floor."""
    runs, lines = measured(found), []
    for row in order(found):
        part = runs[runs.row == row] if len(runs) else runs
        line = {
            "defect": row,
            "rms (m)": "not run yet",
            "rel": "–",
            "δ1": "–",
            "floor's rms (m)": "–",
            "rms / floor's": "–",
        }
        line |= {"way to the floor": "–", "runs": len(part)}
        if len(part):
            sound = runs[runs.row == defects.SOUND]["rms/floor"].mean()
            way = (part["rms/floor"].mean() - sound) / (1 - sound)
            line |= {
                "rms (m)": tables.spread(part.rms),
                "rel": tables.spread(part.rel),
                "δ1": tables.spread(part.delta1),
            }
            line |= {
                "floor's rms (m)": f"{part.floor.mean():.3f}",
                "rms / floor's": f"{part['rms/floor'].mean():.3f}",
            }
            line |= {"way to the floor": "–" if np.isnan(way) else f"{100 * way:.0f} %"}
        lines.append(line)
    return pd.DataFrame(lines)


def figure(found, published_floor=None):
    """Errors relative to the floor: a dot a run, a bar from the sound network's mean to the row's; a panel a metric.

    Args:
        found: `grid`.
        published_floor: record of PUBLISHED_FLOOR, to add the published rows; None leaves them out.

    Returns:
        A figure, or None where no run but the sound one is finished.
    """
    runs = measured(found)
    if runs.empty or set(runs.row) <= {defects.SOUND}:
        return None
    points = {row: runs[runs.row == row] for row in order(found)}
    if published_floor:
        for name, p in zip(PUBLISHED, _published(), strict=True):
            multiples = relative(p._asdict(), published_floor["test"]["full"]["pooled"])
            points[name] = pd.DataFrame([{f"{k}/floor": v for k, v in multiples.items()}])
    drawn, axes = plt.subplots(1, len(PANELS), figsize=(9.6, 0.9 + 0.3 * len(points)), sharey=True)
    for ax, (metric, name) in zip(axes, PANELS.items(), strict=True):
        start = points[defects.SOUND][f"{metric}/floor"].mean() if len(points[defects.SOUND]) else np.nan
        ax.axvline(1, color=plots.COLOURS["floor"], ls=":", lw=1.4)
        ax.axvline(start, color=plots.COLOURS["dense"], lw=1)
        for y, (row, part) in enumerate(points.items()):
            if part.empty:
                ax.text(
                    0.4,
                    y,
                    "not run yet",
                    transform=ax.get_yaxis_transform(),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="0.5",
                )
                continue
            values, marker = part[f"{metric}/floor"], "D" if row in PUBLISHED else "o"
            colour = "#D55E00" if row in PUBLISHED else "#0072B2"
            ax.plot([start, values.mean()], [y, y], color=colour, lw=5, alpha=0.25, solid_capstyle="butt")
            ax.plot(values, np.full(len(values), y), marker, color=colour, ms=4.5)
        ax.set(xlabel=f"{name}, relative to the floor's")
    axes[0].set_yticks(range(len(points)), points, fontsize=9)
    axes[0].set_ylim(len(points) - 0.5, -0.5)
    return drawn


def index_split():
    """What a split by index does to NYU Depth V2, counted from the committed list of frames, in words."""
    split, scene = convert.nyu_table()
    kind = np.array([re.sub(r"_\d+[a-z]?$", "", name).replace("_", " ") for name in scene])
    first, rest, last = kind[:1200], kind[1200:], kind[-50:]
    few = [f"{np.sum(first == name)} frames of a {name}" for name in dict.fromkeys(rest)]
    return (
        f"Frames are numbered by kind of room. The first 1200 show {len(set(first))} kinds, with {' and '.join(few)} among "
        f"them, and {np.sum(split[:1200] == 'test')} are frames of the official test set. The other {len(rest)} are all of a "
        f"{' or a '.join(dict.fromkeys(rest))}; the last 50, which were scored, are of a {' or a '.join(dict.fromkeys(last))}, "
        f"{len(set(scene[-50:]))} scenes in all."
    )


def _published():
    return [p for p in tables.published().itertuples() if "paper under test" in p.model]
