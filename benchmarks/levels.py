"""What the 19 levels of Chen et al. (2021) leave of real weights: `python benchmarks/levels.py WEIGHTS`.

Draws one-shot, layer-shuffled and random tickets at 0.8^k, k = 0 ... 18, checks them, and writes
`results/levels.json`: a row each with what is left in four senses, and what the whole has (`counts`).
"""

import sys

from lthdepth import mask, tickets
from lthdepth.analysis import levels
from lthdepth.config import level
from lthdepth.data import weights
from lthdepth.files import write_atomic
from lthdepth.model import FCRN


def measure(initial, seed=0):
    """The content of the file, for `weights.Initial` and a seed of the random tickets."""
    prunable, model, rows, before = mask.prunable(initial.state), FCRN(initial.backbone), [], {}
    for k in range(19):
        one, other = tickets.magnitude(prunable, level(k)), tickets.random(prunable, level(k), seed)
        for arm, ticket in ("omp", one), ("shuffled", tickets.shuffled(one, seed)), ("random", other):
            outer = before.get(arm, ticket) if arm != "shuffled" else ticket
            assert ticket.kept == round(level(k) * ticket.size), (arm, k)
            assert not any((m & ~outer.masks[name]).any() for name, m in ticket.masks.items()), (arm, k)
            densities = mask.densities(ticket, model, *levels.SIZE)
            counts = densities.pop("counts")
            row = {"arm": arm, "k": k, "kept": counts.pop("kept"), **densities}
            empty = sum(not kept for _, kept, _ in ticket.layers())
            rows.append(row | {"empty": empty, "fingerprint": ticket.fingerprint})
            before[arm] = ticket
    head = {"weights": initial.summary(), "backbone": initial.backbone, "size": list(levels.SIZE)}
    return head | {"seed": seed, "counts": counts, "tickets": rows}


if __name__ == "__main__":
    write_atomic(levels.RECORD, measure(weights.load(sys.argv[1])))
