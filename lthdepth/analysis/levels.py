"""Tickets compared: what the 19 levels of Chen et al. (2021) leave of real weights, and what tickets share.

The bits at `mask.PLACES` fixed places, which are recorded with every run, give the intersection over union of
any two tickets of one architecture with a standard error of 1.3 points at worst for tickets of 1.8 %.
"""

import json
import math
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from .. import mask, tickets
from ..config import ARMS, level
from ..errors import UserError
from ..model import FCRN
from ..runs.run import ROOT

RECORD = ROOT / "results" / "levels.json"
SIZE = (228, 304)  # of the input, for the multiply-adds
SENSES = {"prunable": "of the prunable weights", "encoder": "of the encoder's", "network": "of the network's"}


def measure(initial, seed=0, progress=True):
    """Draw one-shot, layer-shuffled and random tickets at 0.8^k, k = 0 ... 18, and check each of them.

    Args:
        initial: `weights.Initial` with weights; seed: of the random ones.

    Returns:
        dict for JSON: `weights`, `backbone`, `size`, `seed`, `counts` (prunable, encoder, network,
            multiply-adds),
        and `tickets`, a row each: `arm`, `k`, `kept`, the four densities, `empty` layers, `fingerprint`.

    Raises:
        RuntimeError: a count is not exact, or a ticket is not nested in the one of its arm before.
    """
    weights = mask.prunable(initial.state)
    with torch.device("meta"):
        model = FCRN(initial.backbone)
    rows, before = [], {}
    for k in tqdm(range(19), unit="level", disable=not progress):
        one, other = tickets.magnitude(weights, level(k)), tickets.random(weights, level(k), seed)
        for arm, ticket in ("omp", one), ("shuffled", tickets.shuffled(one, seed)), ("random", other):
            outer = before.get(arm, ticket) if arm != "shuffled" else ticket
            nested = all(not (m & ~outer.masks[name]).any() for name, m in ticket.masks.items())
            if ticket.kept != round(level(k) * ticket.size) or not nested:
                raise RuntimeError(f"the ticket at 0.8^{k} is not what it should be: {ticket.history}")
            densities = mask.densities(ticket, model, *SIZE)
            counts = densities.pop("counts")
            row = {"arm": arm, "k": k, "kept": counts.pop("kept"), **densities}
            empty = sum(not kept for _, kept, _ in ticket.layers())
            rows.append(row | {"empty": empty, "fingerprint": ticket.fingerprint})
            before[arm] = ticket
    head = {"weights": initial.summary(), "backbone": initial.backbone, "size": list(SIZE), "seed": seed}
    return head | {"counts": counts, "tickets": rows}


def load(path=RECORD):
    """The levels recorded by `measure`. Raises UserError where they are absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path} holds no levels: `levels.measure` makes them.") from None


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
    drawn = [t for t in record["tickets"] if t["arm"] == "omp"]
    _, k, density, sense = min(
        (abs(math.log(t[s] / fraction)), t["k"], t[s], s) for t in drawn for s in SENSES
    )
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
