"""How far each defect of the published code carries a sound network to the floor, in numbers."""

import re

import numpy as np
import pandas as pd

from ..data import nyu
from ..runs import studies

METRICS = ("rms", "rel", "delta1")


def order(rows):
    """The names of a grid's rows as the text counts them: the sound network, each defect, all together."""
    names = dict.fromkeys(row for row, *_ in rows)
    return sorted(names, key=lambda row: (row != studies.SOUND, row.startswith(studies.TOGETHER)))


def used(rows):
    """The records of a grid that there are, each once."""
    return list({r["key"]: r for _, *pair in rows for r in pair if all(pair)}.values())


def relative(scores, floor):
    """rms, rel and 1 − δ1 as multiples of the mean depth map's on the same pixels: 1 is the floor."""
    multiples = {metric: scores[metric] / floor[metric] for metric in ("rms", "rel")}
    return multiples | {"delta1": (1 - scores["delta1"]) / (1 - floor["delta1"])}


def measured(rows):
    """A DataFrame with a line a finished run.

    Columns: row (of the grid), seed, pooled rms, rel and delta1, the floor's rms as "floor", and "rms/floor",
    "rel/floor", "delta1/floor" as `relative`.
    """
    lines = []
    for row, record, floor in rows:
        if record and floor:
            split = "test" if record["test"] else "validation"
            scores, level = (r[split]["full"]["pooled"] for r in (record, floor))
            line = {"row": row, "seed": record["seed"]} | {m: scores[m] for m in METRICS}
            line["floor"] = level["rms"]
            lines.append(line | {f"{m}/floor": v for m, v in relative(scores, level).items()})
    return pd.DataFrame(lines)


def index_split():
    """What a split by index does to NYU Depth V2, counted from the committed list of frames, in words."""
    split, scene = nyu.nyu_table()
    kind = np.array([re.sub(r"_\d+[a-z]?$", "", name).replace("_", " ") for name in scene])
    first, rest, last = kind[:1200], kind[1200:], kind[-50:]
    few = [f"{np.sum(first == name)} frames of a {name}" for name in dict.fromkeys(rest)]
    return (
        f"Frames are numbered by kind of room. The first 1200 show {len(set(first))} kinds, with "
        f"{' and '.join(few)} among them, and {np.sum(split[:1200] == 'test')} are frames of the official "
        f"test set. The other {len(rest)} are all of a {' or a '.join(dict.fromkeys(rest))}; the last 50, "
        f"which were scored, are of a {' or a '.join(dict.fromkeys(last))}, {len(set(scene[-50:]))} scenes "
        "in all."
    )
