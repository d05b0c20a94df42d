"""Iterative magnitude pruning on the pre-training function, without its data: tickets of the arm logits.

Chen et al. (2021) train on ImageNet in every round. Here the masked ImageNet network, classifier included,
learns to give the logits of the dense one on unlabelled photos (Ba and Caruana 2014), both seeing the same
crop (Beyer et al. 2022). The rest is as theirs: 10 epochs a round, SGD with momentum 0.9, a constant learning
rate and weight decay 1e-4; then 20 % of what is left goes by global magnitude, and everything is rewound to
the pre-trained weights.
"""

import copy
import hashlib
import time
from types import SimpleNamespace

import torch
import torch.nn.functional as F
import torchvision
from tqdm.auto import tqdm

from .. import tickets
from ..config import level, rounds
from ..data import augment, weights
from ..errors import UserError
from ..mask import Masking, prunable
from .fit import Diverged, Options, Stopped
from .step import autocast, place

EPOCHS = 10  # passes over the photos a round, where the configuration names none
BATCH = 64  # photos a step
LR = 0.01
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
CROP = 7 / 8  # side of the network's input, of the photo's side: 224 of 256
VIEW = SimpleNamespace(scale=2.0, rotation=0.0, flip=True, colour=0.0)  # the whole to half its side


def fingerprint(initial, photos):
    """What a ticket depends on beside the configuration: 16 hex digits over classifier, photos and recipe.

    Raises UserError where the weights have no classifier.
    """
    if initial.classifier is None:
        raise UserError(
            f"the weights {initial.name} have no classifier (fc): give an ImageNet checkpoint that has it."
        )
    recipe = [EPOCHS, BATCH, LR, MOMENTUM, WEIGHT_DECAY, CROP, *vars(VIEW).values()]
    return _digest([*recipe, weights.fingerprint(initial.classifier), photos.fingerprint])


def chain(config, initial, photos):
    """Name of the folder that holds the rounds of a configuration; the same for all its densities."""
    epochs, network = config.round_epochs or EPOCHS, initial.fingerprint
    parts = [config.backbone, config.seed, epochs, config.precision, network, fingerprint(initial, photos)]
    return "logits-" + _digest(parts)


def _digest(parts):
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def draw(config, initial, photos, folder, options=Options()):
    """The ticket of the arm logits, nested in those of the rounds before, whose errors its history tells.

    Args:
        config: `Config`; its density (0.8^k), seed, round_epochs, precision and backbone count.
        initial: `weights.Initial` with its classifier; photos: `photos.Photos`.
        folder: for `mask-<k>.npz`, the ticket of every round; those that are there are not made again.
        options: `fit.Options`: the device, the deadline after which no round is begun, whether to show a bar.

    Raises:
        Stopped: at the deadline.
        Diverged: a loss that is not finite.
        UserError: a density that is no 0.8^k, weights without a classifier.
    """
    fingerprint(initial, photos)  # refuses weights without a classifier
    ticket = tickets.dense(prunable(initial.state))
    teacher = classifier(initial, options.device)
    rgb = torch.from_numpy(photos.rgb).to(options.device)
    for k in range(1, rounds(config.density) + 1):
        path = folder / f"mask-{k}.npz"
        if path.exists():
            ticket, _ = tickets.load(path)
            continue
        if options.deadline is not None and time.monotonic() > options.deadline:
            raise Stopped(f"stopped after round {k - 1}; run it again to continue")
        student, error = match(teacher, ticket, rgb, config, k, options.progress)
        trained = {name: student.get_parameter(name) for name in ticket.masks}
        ticket = tickets.iterate(ticket, trained, level(k), "matching logits")
        ticket.history[-1] |= {"error": error, "photos": photos.name}
        tickets.save(ticket, path, config.backbone, initial.fingerprint)
    return ticket


def classifier(initial, device):
    """The whole network that the weights are of, in evaluation mode."""
    classes = len(initial.classifier["fc.bias"])
    net = torchvision.models.get_model(initial.backbone, weights=None, num_classes=classes)
    net.load_state_dict(initial.state | initial.classifier)
    return place(net, torch.device(device)).eval()


def match(teacher, ticket, rgb, config, k, progress=True):
    """One round: a copy of the teacher, masked, learns its logits on augmented photos.

    Args:
        teacher: classifier in evaluation mode; ticket: `mask.Ticket` of it; rgb: uint8 (N, 3, S, S).
        config: as `draw`; k: number of the round, from 1: every round sees other crops; progress: show a bar.

    Returns:
        `(student, error)`: the squared error of the last epoch over the square of the teacher's logits; 0 is
        a perfect match, 1 as good as zeros.

    Raises:
        Diverged: the loss is not finite.
    """
    batch, epochs = min(BATCH, len(rgb)), config.round_epochs or EPOCHS
    student = copy.deepcopy(teacher).train()
    masking = Masking(ticket, student)
    opt = torch.optim.SGD(student.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    total = epochs * (len(rgb) // batch)
    how = {"disable": progress is not True, "leave": False}
    with tqdm(total=total, unit="step", desc=f"logits, round {k}", **how) as bar:
        for epoch in range(epochs):
            losses = []
            for x in views(rgb, batch, config.seed, (k - 1) * epochs + epoch):
                with autocast(config, rgb.device):
                    with torch.no_grad():
                        wanted = teacher(x).float()
                    given = student(x).float()
                loss = F.mse_loss(given, wanted) / wanted.square().mean()
                opt.zero_grad(set_to_none=True)
                loss.backward()
                masking.gradients()
                opt.step()
                losses.append(loss.detach())
                bar.update()
            error = sum(losses).item() / len(losses)
            bar.set_postfix_str(f"error {error:.3f}")
            if not error < float("inf"):
                raise Diverged(f"round {k} on the logits diverged: the weights do not train on these photos.")
    masking.check(opt)
    return student, error


def views(rgb, batch, seed, epoch):
    """The photos of an epoch, ordered, cut and mirrored anew: yields normalised `(batch, 3, s, s)`."""
    device, size = rgb.device, round(CROP * rgb.shape[2])
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (augment.MEAN, augment.STD))
    u = torch.from_numpy(augment.draws(seed, epoch, len(rgb)))
    for part in u[:, 0].argsort(stable=True).split(batch):
        if len(part) == batch:
            theta = augment.transforms(u[part].numpy(), VIEW, 1.0)[0].to(device)
            grid = F.affine_grid(theta, (batch, 1, size, size), align_corners=False)
            x = rgb[part.to(device)].float()
            x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
            yield (x / 255 - mean) / std
