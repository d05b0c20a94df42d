"""Drawing tickets: which weights to keep. Every function goes from weights, or a ticket, to a ticket.

Counts are exact: a density d of n weights keeps round(d n). Among equal magnitudes at a threshold the first
in network order are kept.
"""

import numpy as np
import torch

from .errors import UserError
from .mask import Ticket, count


def dense(weights):
    """The ticket that keeps every one of `weights` (`{name: tensor}`)."""
    return Ticket(
        {k: torch.ones(v.shape, dtype=torch.bool) for k, v in weights.items()}, [{"drawn": "dense"}]
    )


def magnitude(weights, density):
    """One-shot global magnitude ticket: the largest |w| over all layers at once (Han et al. 2015).

    Args:
        weights: `{name: tensor}`.
        density: kept fraction of all of them, in (0, 1].
    """
    scores = np.concatenate([_magnitudes(v) for v in weights.values()])
    return _split(
        _largest(scores, count(density, scores.size)),
        weights,
        [{"drawn": "one-shot magnitude", "density": density}],
    )


def random(weights, density, seed):
    """Random ticket: an exact number of weights, uniform over all layers at once; a function of `seed`."""
    size = _size(weights)
    keep = np.zeros(size, bool)
    keep[_generator(seed).permutation(size)[: count(density, size)]] = True
    return _split(keep, weights, [{"drawn": "random", "density": density, "seed": seed}])


def iterate(ticket, weights, density, after="training"):
    """One round of iterative magnitude pruning: the survivors of `ticket` with the largest trained |w|
    (Frankle & Carbin 2019).

    Args:
        ticket: of the round before.
        weights: `{name: tensor}` after training under it.
        density: what to keep of all prunable weights, at most the density of `ticket`.
        after: what the weights learned, for the history.

    Returns:
        A ticket nested in `ticket`.
    """
    scores = np.concatenate(
        [np.where(m.numpy().ravel(), _magnitudes(weights[k]), -1) for k, m in ticket.masks.items()]
    )
    kept = min(count(density, scores.size), ticket.kept)
    history = [
        *ticket.history,
        {"drawn": f"magnitude after {after}", "density": density, "parent": ticket.fingerprint},
    ]
    return _split(_largest(scores, kept), weights, history)


def shuffled(ticket, seed):
    """Layer-shuffled ticket: as many weights in every layer, at random places in it (Frankle et al. 2021)."""
    generator = _generator(seed)
    masks = {
        k: torch.from_numpy(generator.permutation(m.numpy().ravel()).reshape(m.shape))
        for k, m in ticket.masks.items()
    }
    return Ticket(
        masks, [*ticket.history, {"drawn": "layer-shuffled", "seed": seed, "parent": ticket.fingerprint}]
    )


def uniform(weights, density):
    """The same density in every layer, the largest magnitudes of each.

    This is also the layer-wise profile of the ResNet-50s that Gale et al. (2019) pruned while they trained on
    ImageNet: the published masks keep the same share of each of the 52 layers, to a weight or two in a
    thousand.
    """
    shares = {k: 1.0 for k in weights}
    return _layerwise(
        weights, _allocate(weights, shares, density), [{"drawn": "uniform", "density": density}]
    )


def erk(weights, density):
    """Erdős–Rényi-kernel densities (Evci et al. 2020): proportional to (inputs + outputs + kernel sides) /
    (their product).

    Small layers stay denser; a layer whose share would exceed 1 is kept whole. The largest magnitudes of each
    layer.
    """
    shares = {k: sum(v.shape) / v.numel() for k, v in weights.items()}
    return _layerwise(weights, _allocate(weights, shares, density), [{"drawn": "ERK", "density": density}])


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
    scores = np.concatenate(scores)
    kept = _largest(scores, count(density, scores.size))
    return _split(kept, weights, [{"drawn": "LAMP", "density": density}])


def fisher(weights, squares, density):
    """The largest w² E[g²]: what the loss would rise by without each weight, to second order (Theis et al.
    2018, eq. 5).

    Args:
        weights: `{name: tensor}` of a trained network; squares: `{name: tensor}` of mean squared gradients
            there.
        density: kept fraction of all of them, in (0, 1].
    """
    scores = np.concatenate([_magnitudes(v) ** 2 * _magnitudes(squares[k]) for k, v in weights.items()])
    history = [{"drawn": "Fisher in the trained dense network", "density": density}]
    return _split(_largest(scores, count(density, scores.size)), weights, history)


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


def _allocate(weights, shares, density):
    """Counts of weights a layer, in proportion to `shares`, none above its size, with the exact total of
    `density`.
    """
    sizes = np.array([v.numel() for v in weights.values()])
    wanted = np.array([shares[k] for k in weights])
    total = count(density, sizes.sum())
    full = np.zeros(len(sizes), bool)
    while True:  # a layer that would get more than it has is full; the others share what is left
        rest = (wanted * sizes)[~full].sum()
        if not rest and total > sizes[full].sum():
            raise UserError(
                f"density {density} is more than there is in the layers that the layer-wise profile keeps."
            )
        scale = (total - sizes[full].sum()) / rest if rest else 0
        exact = np.where(full, sizes, scale * wanted * sizes)
        over = ~full & (exact > sizes)
        if not over.any():
            break
        full |= over
    counts = np.floor(exact).astype(int)
    rest = np.argsort(
        np.where(counts < sizes, counts - exact, np.inf), kind="stable"
    )  # largest remainders first
    counts[rest[: total - counts.sum()]] += 1
    return dict(zip(weights, counts.tolist(), strict=True))


def _layerwise(weights, counts, history):
    keep = [_largest(_magnitudes(v), counts[k]) for k, v in weights.items()]
    return _split(np.concatenate(keep), weights, history)


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
    parts = np.split(keep, np.cumsum([v.numel() for v in weights.values()])[:-1])
    masks = {
        k: torch.from_numpy(p.reshape(v.shape).copy())
        for (k, v), p in zip(weights.items(), parts, strict=True)
    }
    return Ticket(masks, history)


def _magnitudes(weight):
    return weight.detach().abs().flatten().cpu().numpy()


def _size(weights):
    return sum(v.numel() for v in weights.values())


def _generator(seed):
    return np.random.Generator(np.random.Philox(key=[seed, 0x71C4E7]))
