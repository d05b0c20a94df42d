"""The 19 levels of Chen et al. (2021) drawn from real weights: every ticket checked, its four densities recorded."""

import json
import math
import tempfile
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from .. import mask, ticketfile, tickets
from ..config import level
from ..errors import UserError
from ..model import FCRN
from ..runs.run import ROOT

RECORD = ROOT / "results" / "levels.json"
SIZE = (228, 304)  # of the input, for the multiply-adds


def measure(initial, seed=0, progress=True):
    """Draw one-shot, layer-shuffled and random tickets at 0.8^k, k = 0 ... 18, and check each of them.

    Args:
        initial: `weights.Initial` with weights; seed: of the random ones.

    Returns:
        dict for JSON: `weights`, `backbone`, `size`, `seed`, `counts` (prunable, encoder, network, multiply-adds), and
        `tickets`, a row each: `arm`, `k`, `kept`, the four densities, `empty` layers, `fingerprint`.

    Raises:
        RuntimeError: a count is not exact, a ticket is not nested in the one before, or a file does not give it back.
    """
    weights = mask.prunable(initial.state)
    with torch.device("meta"):
        model = FCRN(initial.backbone)
    rows, before = [], {}
    for k in tqdm(range(19), unit="level", disable=not progress):
        one = tickets.magnitude(weights, level(k))
        drawn = {
            "omp": one,
            "shuffled": tickets.shuffled(one, seed),
            "random": tickets.random(weights, level(k), seed),
        }
        for arm, ticket in drawn.items():
            _check(
                ticket,
                weights,
                k,
                before.get(arm) if arm != "shuffled" else None,
                one if arm == "shuffled" else None,
            )
            d = mask.densities(ticket, model, *SIZE)
            counts = d.pop("counts")
            empty = sum(not kept for _, kept, _ in ticket.layers())
            rows.append(
                {
                    "arm": arm,
                    "k": k,
                    "kept": ticket.kept,
                    **d,
                    "empty": empty,
                    "fingerprint": ticket.fingerprint,
                }
            )
        before = drawn
    del counts["kept"]
    head = {
        "weights": initial.summary(),
        "backbone": initial.backbone,
        "size": list(SIZE),
        "seed": seed,
        "counts": counts,
    }
    return head | {"tickets": rows}


def load(path=RECORD):
    """The recorded levels, as `measure` returned them. Raises UserError where they are absent or damaged."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        found["weights"], found["counts"], found["tickets"][0]["k"]
        return found
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise UserError(
            f"{path} holds no levels; `python -m lthdepth ticket levels {path} --weights SOURCE` writes it."
        ) from None


def table(record):
    """A row a level: what is left in the four senses; a DataFrame of texts.

    One-shot and layer-shuffled tickets leave the same multiply-adds, for both keep as many weights of every layer.
    """
    arms = {arm: [t for t in record["tickets"] if t["arm"] == arm] for arm in ("omp", "shuffled", "random")}
    rows = [
        {
            "k": one["k"],
            "weights kept": f"{one['kept']:,}",
            "of the prunable": f"{100 * one['prunable']:.2f} %",
            "of the encoder": f"{100 * one['encoder']:.2f} %",
            "of the network": f"{100 * one['network']:.2f} %",
            "multiply-adds, one-shot": f"{100 * one['mac']:.2f} %",
            "layer-shuffled": f"{100 * shuffled['mac']:.2f} %",
            "random": f"{100 * random['mac']:.2f} %",
        }
        for one, shuffled, random in zip(*arms.values(), strict=True)
    ]
    return pd.DataFrame(rows)


def asked(record, fraction=0.0188):
    """Where a printed fraction would lie: which of the counted densities comes nearest to it, as a sentence."""
    senses = {
        "prunable": "of the prunable weights",
        "encoder": "of the encoder's",
        "network": "of the network's",
    }
    found = [
        (abs(math.log(t[s] / fraction)), t["k"], t[s], s)
        for t in record["tickets"]
        if t["arm"] == "omp"
        for s in senses
    ]
    _, k, density, sense = min(found)
    counts = record["counts"]
    return (
        f"{100 * fraction:.2f} % would be {fraction * counts['prunable']:,.0f} of the prunable weights or "
        f"{fraction * counts['encoder']:,.0f} of the encoder's, that is {math.log(fraction) / math.log(0.8):.1f} rounds; no whole "
        f"number of rounds leaves it in any sense: the nearest is k = {k} with {100 * density:.2f} % {senses[sense]}."
    )


def _check(ticket, weights, k, outer, same):
    size = sum(w.numel() for w in weights.values())
    with tempfile.TemporaryDirectory() as folder:
        ticketfile.save(ticket, Path(folder) / "ticket.npz")
        again = ticketfile.read(Path(folder) / "ticket.npz", weights)
    nested = outer is None or not any((m & ~outer.masks[n]).any() for n, m in ticket.masks.items())
    alike = same is None or same.layers() == ticket.layers()
    if not (
        ticket.kept == round(level(k) * size) and again.fingerprint == ticket.fingerprint and nested and alike
    ):
        raise RuntimeError(f"the ticket at 0.8^{k} is not what it should be: {ticket.history}")
