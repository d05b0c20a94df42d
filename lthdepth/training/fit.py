"""Fit one configuration, from its initial weights to its scores; a run that is stopped continues exactly."""

import copy
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from tqdm.auto import tqdm

from .. import metrics, tickets
from ..data import augment
from ..data.frames import gallery_frames
from ..errors import UserError, warn
from ..files import read_tensors, write_atomic
from ..mask import Masking, Ticket
from ..model import FCRN, initialise
from .evaluate import evaluate, floor, predict, recalibrate, rows_of, summaries
from .step import Step, optimiser, place, prepare, rate, restore

ABSURD = 1e3  # metres; no mean loss of a network that learns depth comes near it


class Stopped(Exception):
    """The time was up; the run has left a checkpoint and continues from it."""


class Diverged(UserError):
    """The loss of an epoch is not finite or absurd, or a weight is not finite: there is no result."""


@dataclass(frozen=True)
class Options:
    """How a run is made; nothing here changes its result."""

    device: torch.device | str = "cpu"
    deadline: float | None = None  # of `time.monotonic()`: stop after the epoch before; at least one is done
    every: float = 0.0  # least seconds between checkpoints, which are written after epochs
    progress: bool | str = True  # show a bar, or with "lines" a line an epoch on stderr
    weights: bool = False  # make a run again where only its record is here, and not its trained weights
    wait: bool = True  # where another process is making the run

    def satisfied(self, folder):
        """Whether a run's folder has the trained weights, where they are asked for."""
        return not self.weights or all((folder / name).exists() for name in ("weights.pt", "ticket.npz"))


def pick_device(name="auto"):
    """The torch device of "auto", "cpu", "cuda" or "cuda:N". Raises UserError where there is none."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    names = ["cpu", "cuda", *gpus] if gpus else ["cpu"]
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name not in names:
        raise UserError(f"there is no device {name}; say auto or {' or '.join(names)}.")
    return torch.device(name)


def fit(config, frames, start, folder, options=Options()):
    """Train a configuration, continuing from the checkpoint in `folder` where there is one.

    start: `arms.Start`, None for the arm floor, which is only scored; folder: an existing one, for
    `checkpoint.pt` and, at the end, `weights.pt`.

    Returns `(results, arrays, ticket)`: the measured part of a record; `{"test/full": (N, 7), ..., "gallery":
    (8, h, w)}`; the `mask.Ticket` at the end (None of the floor).

    Raises Stopped at the deadline, Diverged, and UserError where the data do not suffice or a file cannot be
    written.
    """
    if config.arm == "floor":
        return *floor(config, frames), None
    run = Training(config, frames, start, folder, options)
    how = {"initial": run.epoch * run.per_epoch, "disable": options.progress is not True}
    with tqdm(total=run.steps, desc=run.label, unit="step", dynamic_ncols=True, **how) as bar:
        while run.epoch < config.epochs:
            began = time.monotonic()
            for at, batch in run.batches():
                if config.arm == "gradual" and (density := tickets.gradual(config.density, at, run.steps)):
                    run.prune(density)
                early = at < config.progressive * run.steps
                run.step(batch, rate(config, at, run.steps), run.small if early else None)
                if config.average and at >= min((1 - config.average) * run.steps, run.steps - 1):
                    run.average()
                bar.update()
            loss = run.end_epoch()
            bar.set_postfix_str(run.status(loss))
            if options.progress == "lines":
                left = (time.monotonic() - began) * (config.epochs - run.epoch) / 60
                print(f"{run.label}: {run.status(loss)}, {left:.0f} min left", file=sys.stderr, flush=True)
            run.save(began)
    return run.finish()


class Training:
    """A run in the making: the network, its ticket and optimiser, and how far they have come."""

    def __init__(self, config, frames, start, folder, options):
        device = torch.device(options.device)
        prepare(device)
        self.config, self.folder, self.options = config, folder, options
        self.frames, self.rows = len(frames.split), rows_of(frames, config)
        self.per_epoch = len(self.rows["fit"]) // config.batch
        self.steps = self.per_epoch * config.epochs
        self.label = f"{config.arm} {100 * config.density:.3g} % seed {config.seed}"
        crop = config.normalise, config.crop
        self.views = augment.Views(frames, config.height, config.width, device, *crop)
        self.model = place(initialise(FCRN(config.backbone), config.seed, start.state, config.bias), device)
        self.ticket = start.ticket
        self.masking, self.optimiser = Masking(self.ticket, self.model.encoder), optimiser(config, self.model)
        self.small = augment.smaller(self.views.size)
        self.mean, self.averaged = copy.deepcopy(self.model) if config.average else None, 0
        self.step = Step(config, self.model, self.masking, self.optimiser, self.views)
        if start.teacher is not None:
            teacher = place(initialise(FCRN(config.backbone), config.seed, start.teacher), device)
            self.step.teacher = teacher.eval().requires_grad_(False)
        self.epoch, self.before, self.best = 0, 0.0, None
        self.curves = {"train_loss": [], "validation_rms": []}
        if saved := load(folder, self.model, self.optimiser, self.mean):
            self.averaged = saved.get("averaged", 0)
            self.epoch, self.before = saved["epoch"], saved["seconds"]
            self.curves, self.best = saved["curves"], saved["best"]
            if saved.get("masks"):
                self.replace(Ticket(saved["masks"]))
            self.masking.check(self.optimiser)
        self.started = self.written = time.monotonic()

    def batches(self):
        """Start an epoch: yields `(number of the step in the run, batch)`, as `Step` takes it."""
        config, rows = self.config, self.rows["fit"]
        self.model.train()
        self.step.total.zero_()
        draws = augment.draws(config.seed, self.epoch, self.frames)
        order = rows[np.argsort(draws[rows, 0], kind="stable")] if config.shuffle else rows
        order = order[: self.per_epoch * config.batch]
        plan = self.views.plan(order, draws[order], config)
        batches = zip(*(t.split(config.batch) for t in plan), strict=True)
        return enumerate(batches, self.epoch * self.per_epoch)

    def prune(self, density):
        """Go on with the largest weights of those that are left."""
        weights = {k: self.masking.named[k].detach() for k in self.ticket.masks}
        self.replace(tickets.iterate(self.ticket, weights, density))

    def replace(self, ticket):
        """Go on under a ticket that is pruned further; its history says only how it ends."""
        ticket.history = [{"drawn": "magnitude while training", "density": self.config.density}]
        self.ticket = ticket
        self.masking.replace(ticket, self.optimiser)

    def average(self):
        """Take the weights, and the statistics of batch norm, into their mean since the first that counts."""
        self.averaged += 1
        for mean, value in zip(self.mean.state_dict().values(), self.model.state_dict().values()):
            mean.lerp_(value, 1 / self.averaged) if mean.is_floating_point() else mean.copy_(value)

    def scored(self):
        """The network that is scored: the mean of the last weights where there is one (`Config.average`)."""
        return self.mean if self.averaged else self.model

    def end_epoch(self):
        """Check and note what an epoch came to, validation included; returns its mean loss."""
        config, loss = self.config, self.step.total.item() / self.per_epoch
        norms = torch._foreach_norm([v for v in self.model.state_dict().values() if v.is_floating_point()])
        if not (loss < ABSURD and torch.stack(norms).isfinite().all()):
            where = f"the loss is {loss:.4g} m in epoch {self.epoch + 1} of {config.epochs}"
            why = f"{where}, or a weight is not finite; lower the learning rate"
            raise Diverged(f"{self.label} diverged: {why}.")
        self.curves["train_loss"].append(loss)
        self.epoch += 1
        if len(self.rows["validation"]):
            model = self.scored()
            recalibrate(model, self.views, self.rows["fit"], config)
            sums = evaluate(model, self.views, self.rows["validation"], config)
            rms = self.curves["validation_rms"]
            rms.append(metrics.summarise(sums["full"])["pooled"]["rms"])
            if config.last_batch and rms[-1] == min(rms):
                self.best = {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()}
        return loss

    def status(self, loss):
        """How far it has come, in words."""
        rms = self.curves["validation_rms"]
        validation = f", validation rms {rms[-1]:.3f} m" if rms else ""
        return f"epoch {self.epoch}/{self.config.epochs}, loss {loss:.3f}{validation}"

    def save(self, began):
        """Write what is due after an epoch begun then. Raises Stopped where one more would be too long."""
        now, options = time.monotonic(), self.options
        late = options.deadline is not None and 2 * now - began > options.deadline
        late = late and self.epoch < self.config.epochs
        if late or now - self.written >= options.every:
            self.masking.check(self.optimiser)
            state = {"epoch": self.epoch, "seconds": self.seconds(), "curves": self.curves, "best": self.best}
            state["masks"] = self.ticket.masks if self.config.arm == "gradual" else None
            saved = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
            if self.mean:
                saved["mean"], state["averaged"] = self.mean.state_dict(), self.averaged
            write_atomic(self.folder / "checkpoint.pt", saved | {"state": state})
            self.written = time.monotonic()
        if late:
            done = f"stopped after epoch {self.epoch} of {self.config.epochs}"
            raise Stopped(f"{done}; run it again to continue")

    def seconds(self):
        """Spent on the run so far, in all its sittings."""
        return self.before + time.monotonic() - self.started

    def finish(self):
        """Score the trained network and write its weights; returns what `fit` does."""
        config, model, seconds = self.config, self.model, self.seconds()
        if self.averaged:
            model.load_state_dict(self.mean.state_dict())
        if self.best is not None:
            model.load_state_dict(self.best)
        self.masking.check()
        recalibrate(model, self.views, self.rows["fit"], config)
        scores, arrays = summaries(lambda index: evaluate(model, self.views, index, config), self.rows)
        if not all(np.isfinite(s).all() for s in arrays.values()):
            raise Diverged(f"{self.label} diverged: a prediction is not finite; lower the learning rate.")
        if len(self.rows["test"]):
            shown = gallery_frames(self.rows["test"])
            maps = predict(model, self.views, shown, config, self.views.target_size)
            arrays["gallery"] = np.concatenate([y.cpu().numpy() for _, y in maps]).astype(np.float16)
        weights = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
        write_atomic(self.folder / "weights.pt", weights)
        results = {
            "curves": self.curves,
            "epochs_run": self.epoch,
            "seconds": seconds,
            "images_per_second": self.epoch * self.per_epoch * config.batch / seconds,
            "fit_frames": len(self.rows["fit"]),
        }
        return results | scores, arrays, self.ticket


def load(folder, model, optimiser, mean=None):
    """Put the checkpoint of a run into its model and optimiser; a damaged one is left with a warning.

    Returns the "state" that was saved, or None where there is no whole checkpoint.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        saved = read_tensors(path, next(model.parameters()).device, then="the run starts anew")
        if not isinstance(saved, dict) or not {"model", "optimiser", "state"} <= saved.keys():
            raise UserError(f"{path} is no checkpoint: the run starts anew.")
    except UserError as error:
        warn(error)
        return None
    restore(optimiser, saved["optimiser"])
    model.load_state_dict(saved["model"])
    if mean:
        mean.load_state_dict(saved["mean"])
    return saved["state"]
