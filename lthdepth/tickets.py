"""Tickets: which weights to keep, drawn from weights or from a ticket before; and tickets on disk.

Counts are exact: a density d of n weights keeps round(d n). Among equal magnitudes at a threshold the first
in network order are kept.

A ticket file is a compressed `.npz` of two arrays: `meta`, JSON that says what the ticket is of (backbone,
layers, how it was drawn, from which weights, its fingerprint), and `bits`, all masks in a row, eight to
a byte; at most 3 MB for a ResNet-50. The fingerprint tells damage. Mask files of others: `data/foreign.py`.
"""

import json
import math

import numpy as np
import torch

from .errors import UserError
from .files import AGAIN, existing, read_arrays, write_atomic
from .mask import Ticket, count

FORMAT = "lthdepth ticket 1"


def dense(weights):
    """The ticket that keeps every one of `weights` (`{name: tensor}`)."""
    masks = {k: torch.ones(v.shape, dtype=torch.bool) for k, v in weights.items()}
    return Ticket(masks, [{"drawn": "dense"}])


def magnitude(weights, density):
    """One-shot global magnitude ticket: the largest |w| over all layers at once (Han et al. 2015).

    weights: `{name: tensor}`; density: kept fraction of all of them, in (0, 1].
    """
    return _best([_magnitudes(v) for v in weights.values()], weights, density, "one-shot magnitude")


def random(weights, density, seed):
    """Random ticket: an exact number of weights, uniform over all layers at once; a function of `seed`."""
    size = sum(v.numel() for v in weights.values())
    keep = np.zeros(size, bool)
    keep[_generator(seed).permutation(size)[: count(density, size)]] = True
    return _split(keep, weights, [{"drawn": "random", "density": density, "seed": seed}])


def iterate(ticket, weights, density, after="training"):
    """One round of iterative magnitude pruning (Frankle & Carbin 2019): a ticket nested in that of the round
    before, its survivors with the largest trained |w|.

    weights: `{name: tensor}` after training under `ticket`; density: what to keep of all prunable weights, at
    most that of `ticket`; after: what the weights learned, for the history.
    """
    pairs = [(m.numpy().ravel(), _magnitudes(weights[k])) for k, m in ticket.masks.items()]
    scores = np.concatenate([np.where(m, magnitudes, -1) for m, magnitudes in pairs])
    kept = min(count(density, scores.size), ticket.kept)
    step = {"drawn": f"magnitude after {after}", "density": density, "parent": ticket.fingerprint}
    return _split(_largest(scores, kept), weights, [*ticket.history, step])


def shuffled(ticket, seed):
    """Layer-shuffled ticket: as many weights in every layer, at random places in it (Frankle et al. 2021)."""
    draw, masks = _generator(seed).permutation, ticket.masks
    masks = {k: torch.from_numpy(draw(m.numpy().ravel()).reshape(m.shape)) for k, m in masks.items()}
    step = {"drawn": "layer-shuffled", "seed": seed, "parent": ticket.fingerprint}
    return Ticket(masks, [*ticket.history, step])


def uniform(weights, density):
    """The same density in every layer, the largest magnitudes of each.

    This is also the layer-wise profile of the ResNet-50s that Gale et al. (2019) pruned on ImageNet: their
    published masks keep the same share of each of the 52 layers, to a weight or two in a thousand.
    """
    sizes = np.array([v.numel() for v in weights.values()])
    total = count(density, sizes.sum())
    exact = total / sizes.sum() * sizes
    counts = np.floor(exact).astype(int)
    remainders = np.argsort(counts - exact, kind="stable")
    counts[remainders[: total - counts.sum()]] += 1  # the largest remainders first
    keep = [_largest(_magnitudes(v), n) for v, n in zip(weights.values(), counts.tolist(), strict=True)]
    return _split(np.concatenate(keep), weights, [{"drawn": "uniform", "density": density}])


def lamp(weights, density):
    """Layer-adaptive magnitude ticket (Lee et al. 2021, eq. 1): the largest of a global score.

    The score of a weight is its square over the sum of the squares of its layer that are at least as large,
    so that the largest of every layer scores 1 and no layer is lost.
    """
    scores = []
    for v in weights.values():
        squares = _magnitudes(v).astype(np.float64) ** 2
        order = np.argsort(-squares, kind="stable")
        scores.append(np.empty_like(squares))
        scores[-1][order] = squares[order] / np.maximum(np.cumsum(squares[order]), np.finfo(float).tiny)
    return _best(scores, weights, density, "LAMP")


def fisher(weights, squares, density):
    """The largest w² E[g²]: what the loss would rise by without each weight, to second order (Theis et al.
    2018, eq. 5). weights, squares: `{name: tensor}` of a trained network, and mean squared gradients there.
    """
    scores = [_magnitudes(v) ** 2 * _magnitudes(squares[k]) for k, v in weights.items()]
    return _best(scores, weights, density, "Fisher in the trained dense network")


def gradual(density, step, steps):
    """Density at which gradual pruning prunes before a step, or None where it does not.

    It falls from 1 to `density` along the cubic of Zhu & Gupta (2017, eq. 1), d + (1 - d) (1 - t)³, in at
    most 40 stages over the first two thirds of the steps; in the last third the ticket stays.
    """
    last = min(max(1, 2 * steps // 3), steps - 1)
    if step == last:
        return density
    stages = min(40, last)
    if step > last or step * stages // last == (step - 1) * stages // last or not step:
        return None
    return density + (1 - density) * (1 - step / last) ** 3


def _best(scores, weights, density, name):
    """The ticket of the largest scores, given as an array a layer, over all layers at once."""
    scores = np.concatenate(scores)
    keep = _largest(scores, count(density, scores.size))
    return _split(keep, weights, [{"drawn": name, "density": density}])


def _largest(scores, n):
    """Bool array with exactly `n` True: the largest scores; ties go to the first."""
    if not n:
        return np.zeros(scores.size, bool)
    threshold = np.partition(scores, scores.size - n)[scores.size - n]
    keep = scores > threshold
    ties = np.flatnonzero(scores == threshold)
    keep[ties[: n - int(keep.sum())]] = True
    return keep


def _split(keep, weights, history):
    """A flat bool array as a ticket of `weights`."""
    parts = zip(np.split(keep, np.cumsum([v.numel() for v in weights.values()])[:-1]), weights.items())
    return Ticket({k: torch.from_numpy(part.reshape(v.shape).copy()) for part, (k, v) in parts}, history)


def _magnitudes(weight):
    return weight.detach().abs().flatten().cpu().numpy()


def _generator(seed):
    return np.random.Generator(np.random.Philox(key=[seed, 0x71C4E7]))


def save(ticket, path, backbone="", init=""):
    """Write a `mask.Ticket` into a `.npz`, replaced atomically.

    backbone: architecture it is of; init: fingerprint of the weights it was drawn from.
    """
    bits = np.packbits(np.concatenate([m.numpy().ravel() for m in ticket.masks.values()]))
    meta = {"format": FORMAT, "backbone": backbone, "init": init, "density": ticket.density}
    meta |= {"history": ticket.history, "fingerprint": ticket.fingerprint}
    meta |= {"layers": {k: list(m.shape) for k, m in ticket.masks.items()}}
    write_atomic(path, {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), "bits": bits})


def load(path, then=AGAIN):
    """Read what `save` wrote: `(ticket, meta)`. Raises UserError where it is absent, none, or damaged; then:
    what a person should do about it.
    """
    path = existing(path, "ticket file")
    arrays = read_arrays(path, then) if path.suffix.lower() == ".npz" else {}
    if set(arrays) != {"meta", "bits"}:
        raise UserError(f"{path} is no ticket file of this project.")
    try:
        meta, bits = json.loads(arrays["meta"].tobytes()), arrays["bits"]
        shapes = {k: tuple(shape) for k, shape in meta["layers"].items()}
        sizes = [math.prod(shape) for shape in shapes.values()]
        if bits.size != -(-sum(sizes) // 8):
            raise ValueError
        flat = np.split(np.unpackbits(bits, count=sum(sizes)).astype(bool), np.cumsum(sizes)[:-1])
        masks = {k: torch.from_numpy(f.reshape(s).copy()) for (k, s), f in zip(shapes.items(), flat)}
        ticket = Ticket(masks, meta["history"])
        if (meta["format"], meta["fingerprint"]) != (FORMAT, ticket.fingerprint):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{path} is damaged or of a later version than {FORMAT!r}: {then}.") from None
    return ticket, meta
