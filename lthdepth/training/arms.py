"""What the arms start from: a ticket, the encoder weights under it, and the runs that these follow from."""

from typing import NamedTuple

import numpy as np
import torch

from .. import tickets
from ..config import ROUNDS, level, rounds
from ..data.augment import Views
from ..data.foreign import misfits
from ..errors import UserError
from ..files import ANEW, read_tensors
from ..loss import LOSSES
from ..mask import Ticket, prunable
from ..model import FCRN, initialise
from .evaluate import evenly, rows_of

FISHER_FRAMES = 400  # training frames over which squared gradients are averaged


class Start(NamedTuple):
    """Where a run starts.

    ticket: `mask.Ticket`; state: a torchvision state dict without `fc`, or one of a whole FCRN (lrr,
    finetuned), in which pruned weights are not zeroed; teacher: of the trained FCRN that is distilled.
    """

    ticket: Ticket
    state: dict
    teacher: dict | None = None


def parents(config):
    """The runs that a run follows from: `{role: Config}`.

    "trained" gives the weights a ticket is drawn from (the round before, or the dense run); "teacher" the
    network that is distilled. Raises UserError for a density that rounds of `config.stride` levels miss.
    """
    needed = {}
    if config.arm in ROUNDS and config.density < 1:
        k = rounds(config.density)
        if k % config.stride:
            raise UserError(f"rounds of {config.stride} levels do not reach 0.8^{k}: choose a multiple.")
        before = config.replace(density=level(k - config.stride), epochs=config.round_epochs or config.epochs)
        needed["trained"] = before if k > config.stride else dense(config)
    elif config.arm in ("finetuned", "fisher"):
        needed["trained"] = dense(config)
    elif config.arm == "distilled":
        needed["teacher"] = dense(config)
    return needed


def dense(config):
    """The dense run from which the tickets of a run follow."""
    epochs = config.round_epochs or config.epochs
    return config.replace(arm="dense", density=1.0, epochs=epochs, round_epochs=0, stride=1)


def lineage(config):
    """A configuration and, one behind another, those that its ticket follows from."""
    while config:
        yield config
        config = parents(config).get("trained")


def start(config, initial, frames=None, folders=None, given=None, device="cpu"):
    """`Start` of a run of any arm but the floor. Raises UserError: the density keeps nothing.

    initial: `weights.Initial`; folders: `{role: folder}` of the finished runs that `parents` names; given:
    ticket of the arm "file"; frames, device: for the gradients of the arm fisher.
    """
    folders = folders or {}
    scratch = initialise(FCRN(config.backbone), config.seed).encoder.state_dict()
    state, teacher = initial.state or scratch, None
    ticket = given or draw(config, prunable(state))
    if "teacher" in folders:
        teacher = trained_weights(folders["teacher"], config.backbone)
    if "trained" in folders:
        trained = trained_weights(folders["trained"], config.backbone)
        encoder = {k: trained[f"encoder.{k}"] for k in prunable(state)}
        if config.arm in ROUNDS:
            before, _ = tickets.load(folders["trained"] / "ticket.npz", ANEW)
            ticket = tickets.iterate(before, encoder, config.density)
        elif config.arm == "fisher":
            squares = squared_gradients(trained, frames, config, device)
            ticket = tickets.fisher(encoder, squares, config.density)
        else:
            ticket = tickets.magnitude(encoder, config.density)
            ticket.history[-1]["of"] = "the dense run's trained encoder"
        if config.arm in ("lrr", "finetuned"):  # others rewind: only the ticket comes from training
            state = trained
    if config.arm == "reinit":
        state = scratch
    return Start(ticket, state, teacher)


def trained_weights(folder, backbone):
    """The state dict of the FCRN that a finished run left. Raises UserError where the file is another."""
    state = read_tensors(folder / "weights.pt")
    with torch.device("meta"):
        wanted = FCRN(backbone).state_dict()
    if not isinstance(state, dict) or misfits(state, wanted):
        raise UserError(f"{folder / 'weights.pt'} holds no FCRN with {backbone}: {ANEW}.")
    return state


def draw(config, weights):
    """The ticket of an arm that needs no training; all weights where the arm has none, or draws it later."""
    match config.arm:
        case "omp" | "reinit" | "distilled":
            return tickets.magnitude(weights, config.density)
        case "random":
            return tickets.random(weights, config.density, config.seed)
        case "shuffled":
            return tickets.shuffled(tickets.magnitude(weights, config.density), config.seed)
        case "uniform":
            return tickets.uniform(weights, config.density)
        case "lamp":
            return tickets.lamp(weights, config.density)
    return tickets.dense(weights)


def squared_gradients(state, frames, config, device):
    """Squared gradients of the loss in a trained FCRN, averaged over batches of plain training frames.

    The frames are evenly spaced, batch norm uses its running statistics. Returns `{name: tensor}` of the
    prunable weights.
    """
    model = initialise(FCRN(config.backbone), config.seed, state).to(device).eval()
    views = Views(frames, config.height, config.width, torch.device(device), config.normalise, config.crop)
    chosen = evenly(rows_of(frames, config)["fit"], FISHER_FRAMES)
    parameters = prunable(dict(model.encoder.named_parameters()))
    squares = {k: torch.zeros_like(p) for k, p in parameters.items()}
    parts = np.array_split(chosen, -(-len(chosen) // config.batch))
    plain = config.replace(scale=1.0, rotation=0.0, flip=False, colour=0.0)
    for part in parts:
        x, y = views.train(*views.plan(part, np.full((len(part), 9), 0.5), plain))
        loss = LOSSES[config.loss](model(x)[:, 0], y)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for square, g in zip(squares.values(), gradients):
            square.addcmul_(g, g, value=1 / len(parts))
    return squares
