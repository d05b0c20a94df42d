"""Lottery tickets: which encoder weights are kept, what that leaves, and how it is kept so.

A ticket covers every convolution of the encoder except the first (`conv1`), as in Chen et al. 2021. Names are
torchvision's (`layer1.0.conv1.weight`).
"""

import hashlib

import numpy as np
import torch
from torch import nn

from .errors import UserError


class Ticket:
    """A mapping from parameter names to bool tensors: True is kept.

    Attributes:
        masks: `{name: bool tensor}` on the CPU, in the order of the network.
        history: list of dicts, oldest first: how it was drawn.

    Raises:
        ValueError: a mask is not bool.
    """

    def __init__(self, masks, history=()):
        for name, mask in masks.items():
            if mask.dtype != torch.bool:
                raise ValueError(f"mask {name} is {mask.dtype}, not bool")
        self.masks = dict(masks)
        self.history = list(history)

    @property
    def kept(self):
        """Number of kept weights."""
        return sum(int(m.sum()) for m in self.masks.values())

    @property
    def size(self):
        """Number of prunable weights."""
        return sum(m.numel() for m in self.masks.values())

    @property
    def density(self):
        """Kept fraction of the prunable weights."""
        return self.kept / self.size

    def layers(self):
        """Layer-wise counts: list of `(name, kept, size)` in the order of the network."""
        return [(name, int(m.sum()), m.numel()) for name, m in self.masks.items()]

    @property
    def fingerprint(self):
        """First 16 hex digits of the SHA-256 over names, shapes and bits."""
        digest = hashlib.sha256()
        for name, mask in self.masks.items():
            digest.update(f"{name}{tuple(mask.shape)}".encode())
            digest.update(np.packbits(mask.numpy()).tobytes())
        return digest.hexdigest()[:16]


def prunable(state):
    """The weights a ticket covers, out of a ResNet's state dict: `{name: tensor}`, convolutions except `conv1`."""
    return {k: v for k, v in state.items() if v.ndim == 4 and k != "conv1.weight"}


def count(density, size):
    """Number of weights a density keeps: the nearest integer to `density * size`.

    Raises:
        UserError: density outside (0, 1], or so small that nothing is left.
    """
    if not 0 < density <= 1:
        raise UserError(f"density must be in (0, 1]: the fraction of weights that is kept; got {density}.")
    kept = round(density * size)
    if not kept:
        raise UserError(f"density {density} keeps none of {size} weights; ask for at least {1 / size:.1e}.")
    return kept


class Masking:
    """Holds a ticket's weights at exactly zero while the others train: weights, gradients and optimiser state.

    What is pruned is zeroed once, when the ticket is put in force. From then on a zero gradient keeps a weight and its
    optimiser state at zero, for momentum, moments and decay of a zero are zero. So a step masks gradients alone, and
    only of layers that lost weights; `check` proves it.
    """

    def __init__(self, ticket, encoder):
        """Put `ticket` in force on the parameters of `encoder`, a network with torchvision's names."""
        self.named = dict(encoder.named_parameters())
        self.replace(ticket)

    @torch.no_grad()
    def replace(self, ticket, optimiser=None):
        """Put another ticket in force; give the optimiser where it has taken steps, for its state is zeroed too.

        Weights that come back with the new ticket start from zero.
        """
        pruned = {name: m for name, m in ticket.masks.items() if not m.all()}
        self.parameters = [self.named[name] for name in pruned]
        self.masks = [
            torch.empty_like(p).copy_(m) for p, m in zip(self.parameters, pruned.values(), strict=True)
        ]
        for p, m in zip(self.parameters, self.masks, strict=True):
            for tensor in _held(p, optimiser):
                tensor.mul_(m)

    @torch.no_grad()
    def gradients(self):
        """Zero the gradients of pruned weights; call before the optimiser's step."""
        if self.masks:
            torch._foreach_mul_([p.grad for p in self.parameters], self.masks)

    @torch.no_grad()
    def check(self, optimiser=None):
        """Prove that every pruned weight, and its optimiser state where given, is exactly 0.

        Raises:
            RuntimeError: one is not.
        """
        for p, m in zip(self.parameters, self.masks, strict=True):
            if any(torch.count_nonzero(v[m == 0]) for v in _held(p, optimiser)):
                raise RuntimeError("a pruned weight is not zero: the mask was not applied")


def _held(parameter, optimiser):
    """A parameter and what an optimiser remembers of each of its weights."""
    state = optimiser.state.get(parameter, {}) if optimiser else {}
    return [parameter, *(v for v in state.values() if torch.is_tensor(v) and v.shape == parameter.shape)]


def positions(model, height, width):
    """How often each convolution's weights are used in one forward pass: the number of places of its kernel.

    Args:
        model: a network with convolutions (its values do not matter); height, width: of its input, pixels.

    Returns:
        `({name: convolution}, {name: places})`. Weights times places, summed, are the multiply-accumulates of a frame.
    """
    convolutions = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)}
    uses = {}

    def counting(name):
        def hook(module, inputs, output):
            uses[name] = (inputs[0] if isinstance(module, nn.ConvTranspose2d) else output)[0, 0].numel()

        return hook

    handles = [m.register_forward_hook(counting(n)) for n, m in convolutions.items()]
    parameters = {k: torch.empty_like(v, device="meta") for k, v in model.state_dict().items()}
    training = model.training
    torch.func.functional_call(model.eval(), parameters, torch.empty(1, 3, height, width, device="meta"))
    model.train(training)
    for handle in handles:
        handle.remove()
    return convolutions, uses


def densities(ticket, model, height, width):
    """What a ticket leaves, in the four senses that are confused in print.

    Args:
        ticket: a `Ticket` for `model.encoder`.
        model: an `FCRN` (its values do not matter).
        height, width: input size in pixels, for the multiplications.

    Returns:
        `{"prunable", "encoder", "network", "mac"}`: kept fractions of the prunable weights, of all convolution weights
        of the encoder, of all convolution weights of the network, and of its multiply-accumulates; and under "counts"
        the numbers behind them.
    """
    convolutions, uses = positions(model, height, width)
    kept = {f"encoder.{n.removesuffix('.weight')}": k for n, k, _ in ticket.layers()}
    rows = [(n, m.weight.numel(), kept.get(n, m.weight.numel()), uses[n]) for n, m in convolutions.items()]
    encoder = [row for row in rows if row[0].startswith("encoder.")]

    def share(rows, cost):
        return sum(cost(row[2], row) for row in rows) / sum(cost(row[1], row) for row in rows)

    def weights(n, row):
        return n

    return {
        "prunable": ticket.density,
        "encoder": share(encoder, weights),
        "network": share(rows, weights),
        "mac": share(rows, lambda n, row: n * row[3]),
        "counts": {
            "kept": ticket.kept,
            "prunable": ticket.size,
            "encoder": sum(row[1] for row in encoder),
            "network": sum(row[1] for row in rows),
            "mac": sum(row[1] * row[3] for row in rows),
        },
    }
