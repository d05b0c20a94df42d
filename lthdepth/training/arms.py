"""What the arms of the study start from: a ticket, and the encoder weights under it."""

import torch

from .. import ticketfile, tickets
from ..config import level, rounds
from ..files import read_tensors
from ..mask import prunable
from ..model import FCRN, initialise


def start(config, initial, given=None, parent=None, origin=None):
    """Ticket and initial encoder of a run.

    Args:
        config: `Config` of any arm but the floor.
        initial: `weights.Initial`.
        given: ticket of the arms "file" and "logits".
        parent, origin: folders of the finished runs that `parent_of` and `origin_of` name, where they name one.

    Returns:
        `(ticket, state)`: a `mask.Ticket`, and a torchvision state dict without `fc` or (arm "finetuned") one of a whole
        FCRN. Pruned weights in it are not zeroed.

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
            trained = {k: v for k, v in _trained(parent).items() if k in weights}
            if origin is not None:
                state = read_tensors(origin / f"epoch-{config.rewind}.pt")
            return tickets.iterate(
                ticket, trained, config.density
            ), state  # rewound: only the ticket comes from training
        case "finetuned":
            ticket = tickets.magnitude(prunable(_trained(parent)), config.density)
            ticket.history[-1]["of"] = "the dense run's trained encoder"
            return ticket, read_tensors(parent / "weights.pt")
        case "file" | "logits":
            return given, state
        case _:
            return tickets.dense(weights), state


def parent_of(config):
    """The configuration whose trained weights a run's ticket is drawn from; None for the arms that need none.

    A run of iterative magnitude pruning at 0.8^k follows from the one at 0.8^(k-1), and the first from the dense run;
    pruning after fine-tuning follows from the dense run. Raises UserError for a density that is no 0.8^k.
    """
    if config.arm == "finetuned":
        return _dense(config)
    if config.arm != "imp" or config.density == 1:
        return None
    k = rounds(config.density)
    return (
        config.replace(density=level(k - 1), epochs=config.round_epochs or config.epochs)
        if k > 1
        else _dense(config)
    )


def lineage(config):
    """A configuration and, one behind another, those that its ticket follows from (`parent_of`)."""
    while config:
        yield config
        config = parent_of(config)


def origin_of(config):
    """The dense run to whose epoch `config.rewind` the arm imp rewinds; None where it rewinds to the pre-trained weights.

    Its encoder is taken, batch-norm statistics included, and nothing else: the decoder starts from the seed and the
    learning-rate schedule from its beginning, so that every arm trains the same decoder for as many epochs.
    """
    return _dense(config) if config.rewind and config.density < 1 else None


def _dense(config):
    """The dense run from which the tickets of a run follow."""
    return config.replace(
        arm="dense", density=1.0, epochs=config.round_epochs or config.epochs, round_epochs=0, rewind=0
    )


def _trained(folder):
    """The encoder of a finished run: torchvision's names."""
    saved = read_tensors(folder / "weights.pt")
    return {k.removeprefix("encoder."): v for k, v in saved.items() if k.startswith("encoder.")}


def permuted(state, ticket, seed):
    """The same ticket with the surviving values of every layer in another order (Frankle et al. 2021)."""
    generator, state = torch.Generator().manual_seed(seed), dict(state)
    for name, mask in ticket.masks.items():
        value = state[name].clone()
        value[mask] = value[mask][torch.randperm(int(mask.sum()), generator=generator)]
        state[name] = value
    return state
