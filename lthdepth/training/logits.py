"""Iterative magnitude pruning on the pre-training function, without its data: tickets of the arm logits.

Chen et al. (2021) train on ImageNet in every round. Here the masked ImageNet network, classifier included, learns to give
the logits of the dense one on unlabelled photos (Ba and Caruana 2014), both seeing the same crop (Beyer et al. 2022). The rest is
as theirs: 10 epochs a round, SGD with momentum 0.9, a constant learning rate and weight decay 1e-4; then 20 % of what is
left goes by global magnitude, and everything is rewound to the pre-trained weights.
"""

import hashlib
import time
from types import SimpleNamespace

import torch
import torch.nn.functional as F
import torchvision
from tqdm.auto import tqdm

from .. import ticketfile, tickets
from ..config import level, rounds
from ..data import augment, weights
from ..errors import UserError
from ..mask import Masking, prunable
from .fit import Diverged, Stopped
from .step import autocast, place

EPOCHS = 10  # passes over the photos a round, where the configuration names none
BATCH = 64  # photos a step
LR = 0.01
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
CROP = 7 / 8  # side of the network's input, of the photo's side: 224 of 256
VIEW = SimpleNamespace(
    scale=2.0, rotation=0.0, flip=True, colour=0.0
)  # of every photo: a window of its whole to half its side


def fingerprint(initial, photos):
    """What a ticket depends on beside the configuration: 16 hex digits over classifier, photos and the constants above.

    Raises:
        UserError: the weights have no classifier.
    """
    if initial.classifier is None:
        raise UserError(
            f"the weights {initial.name} have no classifier (fc): the arm logits matches its outputs, so give an ImageNet "
            "checkpoint that still has it."
        )
    recipe = [EPOCHS, BATCH, LR, MOMENTUM, WEIGHT_DECAY, CROP, *vars(VIEW).values()]
    parts = [*map(str, recipe), weights.fingerprint(initial.classifier), photos.fingerprint]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def chain(config, initial, photos):
    """Name of the folder that holds the rounds of a configuration's ticket; the same for all its densities."""
    own = [config.backbone, config.seed, config.round_epochs or EPOCHS, config.precision, initial.fingerprint]
    parts = [*map(str, own), fingerprint(initial, photos)]
    return "logits-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def draw(config, initial, photos, folder, device="cpu", deadline=None, progress=True):
    """The ticket of the arm logits; rounds that are in the folder are not made again.

    Args:
        config: `Config`; of it count `density` (0.8^k), `seed` (crops and order), `round_epochs`, `precision`, `backbone`.
        initial: `weights.Initial` with its classifier; photos: `photos.Photos`.
        folder: for `mask-<k>.npz`, the ticket of every round.
        device: torch device.
        deadline: `time.monotonic()` after which no further round is begun; None: never.
        progress: show a bar.

    Returns:
        `mask.Ticket`, nested in those of the rounds before; its history tells every round's relative error (`match`).

    Raises:
        Stopped: at the deadline.
        Diverged: a loss that is not finite.
        UserError: a density that is no 0.8^k, weights without a classifier or of another backbone.
    """
    fingerprint(initial, photos)  # refuses weights without a classifier
    if initial.backbone != config.backbone:
        raise UserError(
            f"the weights {initial.name} are of a {initial.backbone}, the backbone is {config.backbone}."
        )
    ticket = tickets.dense(prunable(initial.state))
    teacher = _network(initial, device).eval().requires_grad_(False)
    rgb = torch.from_numpy(photos.rgb).to(device)
    for k in range(1, rounds(config.density) + 1):
        path = folder / f"mask-{k}.npz"
        if path.exists():
            ticket, _ = ticketfile.load(path)
            continue
        if deadline is not None and time.monotonic() > deadline:
            raise Stopped(f"stopped after round {k - 1}; run it again to continue")
        student = _network(initial, device)  # rewound
        error = match(student, teacher, Masking(ticket, student), rgb, config, k, progress)
        trained = {name: student.get_parameter(name) for name in ticket.masks}
        ticket = tickets.iterate(ticket, trained, level(k), "matching logits")
        ticket.history[-1] |= {"error": error, "photos": photos.name}
        ticketfile.save(ticket, path, config.backbone, initial.fingerprint)
    return ticket


def match(student, teacher, masking, rgb, config, k, progress=True):
    """One round: the masked student learns the teacher's logits on augmented photos, in place.

    Args:
        student, teacher: classifiers; masking: `mask.Masking` of the student.
        rgb: uint8 (N, 3, S, S), on their device.
        config: as `draw`; k: number of the round, from 1: every round sees other crops.
        progress: show a bar.

    Returns:
        The squared error of the last epoch over the square of the teacher's logits: 0 is a perfect match, 1 as good as zeros.

    Raises:
        Diverged: the loss is not finite.
    """
    device, batch, epochs = rgb.device, min(BATCH, len(rgb)), config.round_epochs or EPOCHS
    size = round(CROP * rgb.shape[2])
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (augment.MEAN, augment.STD))
    opt = torch.optim.SGD(student.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    student.train()
    bar = tqdm(
        total=epochs * (len(rgb) // batch),
        unit="step",
        desc=f"logits, round {k}",
        disable=progress is not True,
        leave=False,
    )
    for epoch in range(epochs):
        u = torch.from_numpy(augment.draws(config.seed, (k - 1) * epochs + epoch, len(rgb)))
        total, steps = torch.zeros((), device=device), 0
        for part in u[:, 0].argsort(stable=True).split(batch):
            if len(part) < batch:
                break
            theta = augment.transforms(u[part].numpy(), VIEW, 1.0)[0].to(device)
            grid = F.affine_grid(theta, (batch, 1, size, size), align_corners=False)
            x = F.grid_sample(rgb[part.to(device)].float(), grid, padding_mode="border", align_corners=False)
            x = (x / 255 - mean) / std
            with autocast(config, device):
                with torch.no_grad():
                    wanted = teacher(x).float()
                found = student(x).float()
            loss = F.mse_loss(found, wanted) / wanted.square().mean()
            opt.zero_grad(set_to_none=True)
            loss.backward()
            masking.gradients()
            opt.step()
            total, steps = total + loss.detach(), steps + 1
            bar.update()
        error = total.item() / steps
        bar.set_postfix_str(f"error {error:.3f}")
        if not error < float("inf"):
            raise Diverged(
                f"round {k} on the logits diverged: its error is {error}; the weights do not train on these photos."
            )
    bar.close()
    masking.check(opt)
    return error


def _network(initial, device):
    """The classifier that the weights are of."""
    net = torchvision.models.get_model(
        initial.backbone, weights=None, num_classes=len(initial.classifier["fc.bias"])
    )
    net.load_state_dict(initial.state | initial.classifier)
    return place(net, torch.device(device))
