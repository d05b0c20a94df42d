"""Lottery tickets: which encoder weights are kept, what that leaves, and how it is kept so.

A ticket covers every convolution of the encoder except the first (`conv1`), as in Chen et al. 2021. Names are
torchvision's (`layer1.0.conv1.weight`).
"""

import copy
import functools
import hashlib

import numpy as np
import torch
from torch import nn

from .errors import UserError


class Ticket:
    """Bool masks by parameter name, on the CPU, in the order of the network: True is kept.

    `history` is a list of dicts, oldest first: how it was drawn.
    """

    def __init__(self, masks, history=()):
        self.masks, self.history = dict(masks), list(history)

    def layers(self):
        """Layer-wise counts: list of `(name, kept, size)` in the order of the network."""
        return [(name, int(m.sum()), m.numel()) for name, m in self.masks.items()]

    @property
    def kept(self):
        """Number of kept weights."""
        return sum(kept for _, kept, _ in self.layers())

    @property
    def size(self):
        """Number of prunable weights."""
        return sum(m.numel() for m in self.masks.values())

    @property
    def density(self):
        """Kept fraction of the prunable weights."""
        return self.kept / self.size

    @property
    def fingerprint(self):
        """First 16 hex digits of the SHA-256 over names, shapes and bits."""
        digest = hashlib.sha256()
        for name, mask in self.masks.items():
            digest.update(f"{name}{tuple(mask.shape)}".encode())
            digest.update(np.packbits(mask.numpy()).tobytes())
        return digest.hexdigest()[:16]


def prunable(state):
    """What a ticket covers of a ResNet's state dict: `{name: tensor}`, all convolutions but `conv1`."""
    return {k: v for k, v in state.items() if v.ndim == 4 and k != "conv1.weight"}


def count(density, size):
    """Number of weights that a density in (0, 1] keeps, the nearest integer; UserError where that is none."""
    if not 0 < density <= 1:
        raise UserError(f"density must be in (0, 1]: the fraction of weights that is kept; got {density}.")
    if kept := round(density * size):
        return kept
    raise UserError(f"density {density} keeps none of {size} weights; ask for at least {1 / size:.1e}.")


class Masking:
    """Holds pruned weights at exactly zero while the others train: weights, gradients and optimiser state.

    What is pruned is zeroed once, when a ticket is put in force. From then on a zero gradient keeps a weight
    and its optimiser state at zero, for momentum, moments and decay of a zero are zero. So a step masks
    gradients alone, and only of layers that lost weights; `check` proves it.
    """

    def __init__(self, ticket, encoder):
        self.named = dict(encoder.named_parameters())
        self.replace(ticket)

    @torch.no_grad()
    def replace(self, ticket, optimiser=None):
        """Put another ticket in force, with the optimiser if it has taken steps, for its state is zeroed too.

        Weights that come back with the new ticket start from zero.
        """
        pruned = {name: m for name, m in ticket.masks.items() if not m.all()}
        self.parameters = [self.named[name] for name in pruned]
        self.masks = [torch.empty_like(p).copy_(m) for p, m in zip(self.parameters, pruned.values())]
        for p, m in zip(self.parameters, self.masks):
            for tensor in _held(p, optimiser):
                tensor.mul_(m)

    @torch.no_grad()
    def gradients(self):
        """Zero the gradients of pruned weights; call before the optimiser's step."""
        if self.masks:
            torch._foreach_mul_([p.grad for p in self.parameters], self.masks)

    @torch.no_grad()
    def check(self, optimiser=None):
        """Raise RuntimeError unless every pruned weight, and its state in the optimiser, is exactly 0."""
        for p, m in zip(self.parameters, self.masks):
            if any(torch.count_nonzero(v[m == 0]) for v in _held(p, optimiser)):
                raise RuntimeError("a pruned weight is not zero: the mask was not applied")


def _held(parameter, optimiser):
    """A parameter and what an optimiser remembers of each of its weights."""
    state = optimiser.state.get(parameter, {}) if optimiser else {}
    return [parameter, *(v for v in state.values() if torch.is_tensor(v) and v.shape == parameter.shape)]


def positions(model, height, width):
    """How often each convolution's weights are used in one forward pass: the number of places of its kernel.

    Returns `({name: convolution}, {name: places})` for an input of `height` by `width` pixels. Weights times
    places, summed, are a frame's multiply-accumulates.
    """

    def note(name, m, inputs, output):
        uses[name] = (inputs[0] if isinstance(m, nn.ConvTranspose2d) else output)[0, 0].numel()

    uses, twin = {}, copy.deepcopy(model).to("meta").eval()  # shapes without values
    for name, m in twin.named_modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            m.register_forward_hook(functools.partial(note, name))
    twin(torch.empty(1, 3, height, width, device="meta"))
    return {name: model.get_submodule(name) for name in uses}, uses


def densities(ticket, model, height, width):
    """What a ticket for `model.encoder` leaves, in the four senses that are confused in print.

    Returns `{"prunable", "encoder", "network", "mac"}`: kept fractions of the prunable weights, of all
    convolution weights of the encoder, of those of the network, and of its multiply-accumulates for an input
    of `height` by `width` pixels; and under "counts" the numbers behind them.
    """
    convolutions, uses = positions(model, height, width)
    size = {name: m.weight.numel() for name, m in convolutions.items()}
    kept = size | {f"encoder.{name.removesuffix('.weight')}": n for name, n, _ in ticket.layers()}

    def totals(counts):
        encoder = sum(n for name, n in counts.items() if name.startswith("encoder."))
        macs = sum(n * uses[name] for name, n in counts.items())
        return {"encoder": encoder, "network": sum(counts.values()), "mac": macs}

    dense, left = totals(size), totals(kept)
    fractions = {"prunable": ticket.density} | {name: left[name] / dense[name] for name in dense}
    return fractions | {"counts": {"kept": ticket.kept, "prunable": ticket.size} | dense}
