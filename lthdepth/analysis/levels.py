"""Tickets compared: what the 19 levels of Chen et al. (2021) leave of real weights, and what tickets share.

The bits at `record.PLACES` fixed places, recorded with every run, give the intersection over union of any two
tickets of one architecture with a standard error of 1.3 points at worst for tickets of 1.8 %.
"""

import json
import math
from itertools import combinations

import numpy as np
import pandas as pd

from ..config import ARMS
from ..runs.run import ROOT

RECORD = ROOT / "results" / "levels.json"
SIZE = (228, 304)  # of the input, for the multiply-adds
SENSES = {"prunable": "of the prunable weights", "encoder": "of the encoder's", "network": "of the network's"}


def load():
    """What `benchmarks/levels.py` recorded: `counts`, and `tickets`, a row each."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def table(record):
    """A row a level: what is left in the four senses; a DataFrame of texts.

    One-shot and layer-shuffled tickets, with as many weights in every layer, leave the same multiply-adds.
    """
    columns = {"omp": "multiply-adds, one-shot", "shuffled": "layer-shuffled", "random": "random"}
    rows = {}
    for t in record["tickets"]:
        row = rows.setdefault(t["k"], {"k": t["k"], "weights kept": f"{t['kept']:,}"})
        row |= {f"of the {sense}": f"{100 * t[sense]:.2f} %" for sense in SENSES}
        row[columns[t["arm"]]] = f"{100 * t['mac']:.2f} %"
    return pd.DataFrame(rows.values())


def asked(record, fraction=0.0188):
    """Which of the counted densities comes nearest to a printed fraction, as a sentence."""
    drawn = [(t[sense], t["k"], sense) for t in record["tickets"] if t["arm"] == "omp" for sense in SENSES]
    density, k, sense = min(drawn, key=lambda row: abs(math.log(row[0] / fraction)))
    of = {name: f"{fraction * record['counts'][name]:,.0f}" for name in SENSES}
    return (
        f"{100 * fraction:.2f} % would be {of['prunable']} of the prunable weights or {of['encoder']} of the "
        f"encoder's, that is {math.log(fraction) / math.log(0.8):.1f} rounds; no whole number of rounds "
        f"leaves it in any sense: the nearest is k = {k} with {100 * density:.2f} % {SENSES[sense]}."
    )


def iou(one, two):
    """Intersection over union of two tickets, from their samples; nan where both kept none of the places."""
    union = np.unpackbits(one | two).sum()
    return float(np.unpackbits(one & two).sum() / union) if union else float("nan")


def by_chance(one, two):
    """Expected intersection over union of random tickets with the layers of two given ones (`Ticket.layers`).

    Independent masks that keep a and b of n places share ab/n of them. This is the ratio of the expectations,
    summed over the layers; for one layer of density d it is d / (2 - d).
    """
    shared = sum(a * b / n for (_, a, n), (_, b, _) in zip(one, two, strict=True))
    return shared / (sum(a for _, a, _ in one) + sum(b for _, b, _ in two) - shared)


def chosen(records, arrays):
    """`{label: (sample, layers)}` at the smallest density: two seeds of every arm, equal tickets once."""
    pruned = [r for r in records if r and r.get("ticket") and r["density"] < 1]
    smallest = [r for r in pruned if r["density"] == min(p["density"] for p in pruned)]
    drawn, seen = {}, []
    for r in smallest:
        bits, fingerprint = arrays(r["key"]).get("ticket"), r["ticket"]["fingerprint"]
        if bits is not None and fingerprint not in seen and seen.count(r["arm"]) < 2:
            drawn[f"{ARMS[r['arm']]}, seed {r['seed']}"] = bits, r["ticket"]["layers"]
            seen += [fingerprint, r["arm"]]
    return drawn


def matrix(records, arrays):
    """Overlaps of the tickets that `chosen` gives; None for fewer than two.

    Args:
        records: of one study; arrays: function from a run's key to its arrays (`Store.arrays`).

    Returns:
        Two DataFrames of equal shape, tickets but the first by tickets but the last, nan above the diagonal:
        intersection over union, and what random tickets with as many weights in every layer would have.
    """
    drawn = chosen(records, arrays)
    if len(drawn) < 2:
        return None
    frames = [pd.DataFrame(np.nan, [*drawn][1:], [*drawn][:-1]) for _ in range(2)]
    for (a, (one, of_one)), (b, (two, of_two)) in combinations(drawn.items(), 2):
        frames[0].loc[b, a], frames[1].loc[b, a] = iou(one, two), by_chance(of_one, of_two)
    return frames
