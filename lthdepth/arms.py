"""What the arms of the study start from: a ticket, and the encoder weights under it."""

import math

import torch

from . import ticketfile, tickets
from .config import level
from .errors import UserError
from .mask import prunable
from .model import FCRN, initialise


def start(config, initial, given=None, parent=None):
    """Ticket and initial encoder of a run.

    Args:
        config: `Config` of any arm but the floor.
        initial: `weights.Initial`.
        given: ticket of the arm "file".
        parent: folder of the finished run that `parent_of` names, where it names one.

    Returns:
        `(ticket, state)`: a `mask.Ticket` and a torchvision state dict without `fc`. Pruned weights in it are not zeroed.

    Raises:
        UserError: the density keeps nothing.
    """
    scratch = initialise(FCRN(config.backbone), config.seed).encoder.state_dict()
    state = initial.state or scratch
    weights = prunable(state)
    match config.arm:
        case "omp":
            return tickets.magnitude(weights, config.density), state
        case "random":
            return tickets.random(weights, config.density, config.seed), state
        case "shuffled":
            return tickets.shuffled(tickets.magnitude(weights, config.density), config.seed), state
        case "uniform":
            return tickets.uniform(weights, config.density), state
        case "erk":
            return tickets.erk(weights, config.density), state
        case "reinit":
            return tickets.magnitude(weights, config.density), scratch
        case "permuted":
            ticket = tickets.magnitude(weights, config.density)
            return ticket, permuted(state, ticket, config.seed)
        case "imp" if parent is not None:
            ticket, _ = ticketfile.load(parent / "ticket.npz")
            trained = torch.load(parent / "weights.pt", map_location="cpu", weights_only=True)
            trained = {k: trained[f"encoder.{k}"] for k in weights}
            return tickets.iterate(ticket, trained, config.density), state  # rewound: only the ticket comes from training
        case "file":
            return given, state
        case _:
            return tickets.dense(weights), state


def parent_of(config):
    """The configuration whose trained weights a run's ticket is drawn from; None for the arms that need none.

    A run of iterative magnitude pruning at 0.8^k follows from the one at 0.8^(k-1), and the first from the dense run.
    """
    if config.arm != "imp" or config.density == 1:
        return None
    k = round(math.log(config.density) / math.log(0.8))
    if k < 1 or not math.isclose(config.density, level(k), rel_tol=1e-9):
        raise UserError(f"the arm imp prunes 20 % a round: its density must be 0.8^k, not {config.density}.")
    before = config.replace(density=level(k - 1))
    if config.round_epochs:
        before = before.replace(epochs=config.round_epochs)
    return before if k > 1 else before.replace(arm="dense", density=1.0, round_epochs=0)


def permuted(state, ticket, seed):
    """The same ticket with the surviving values of every layer in another order (Frankle et al. 2021)."""
    generator, state = torch.Generator().manual_seed(seed), dict(state)
    for name, mask in ticket.masks.items():
        value = state[name].clone()
        value[mask] = value[mask][torch.randperm(int(mask.sum()), generator=generator)]
        state[name] = value
    return state
