"""Fit one configuration, from its initial weights to its scores."""

import math
import time

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from .. import metrics
from ..data import augment
from ..data.frames import gallery_frames
from ..errors import UserError
from ..files import write_atomic
from ..mask import Masking
from ..model import FCRN, initialise
from . import checkpoint
from .step import Step, autocast, optimiser, place, prepare, rate

ABSURD = 1e3  # metres; no mean loss of a network that learns depth comes near it


class Stopped(Exception):
    """The time was up; the run has left a checkpoint and continues from it."""


class Diverged(UserError):
    """The loss of an epoch is not finite or absurd, or a weight is not finite: there is no result."""


def pick_device(name="auto"):
    """The torch device for "auto", "cpu", "cuda" or "cuda:N". Raises UserError where it is absent or unknown."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; say auto, cpu or cuda.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here; say --device cpu."
        )
    return device


def rows_of(frames, config):
    """Frame indices by use: `{"fit", "validation", "test"}`. Raises UserError where one that is needed is empty."""
    fit = ("train",) if config.holdout else ("train", "validation")
    n, split = len(frames.split), frames.split
    if config.split == "index":
        split = np.where(np.arange(n) < round(n * 1200 / 1449), "train", "test")
    rows = {
        "fit": np.flatnonzero(np.isin(split, fit)),
        "validation": np.flatnonzero(split == "validation") if config.holdout else np.array([], int),
        "test": np.flatnonzero(split == "test") if config.test else np.array([], int),
    }
    if config.last_batch:  # the published code selects on what it reports
        rows["test"] = rows["validation"] = rows["test"][-config.last_batch :]
    if config.arm != "floor" and len(rows["fit"]) < config.batch:
        raise UserError(
            f"{len(rows['fit'])} training frames do not fill a batch of {config.batch}; set a smaller batch."
        )
    for name, wanted in (("validation", config.holdout), ("test", config.test)):
        if wanted and not len(rows[name]):
            raise UserError(
                f"the data set {frames.name} has no {name} frames under split={config.split}, and the configuration "
                "asks for them."
            )
    return rows


def predict(model, views, index, config, size, batch=16):
    """Depth maps in metres at `size` (height, width) pixels, batch by batch: yields `(indices, (B, h, w) float32)`."""
    model.eval()
    for part in np.array_split(index, math.ceil(len(index) / batch)):
        with torch.no_grad(), autocast(config, views.rgb.device):
            y = model(views.test(part))
        yield part, views.enlarge(y.float(), size)


def evaluate(model, views, index, config):
    """Error sums of frames under every protocol, at the frames' own size: `{"full": (N, 7), "eigen": (N, 7)}`."""
    found = [
        metrics.score(y, views.depth[torch.as_tensor(part, device=y.device)])
        for part, y in predict(model, views, index, config, views.depth.shape[1:])
    ]
    return {p: torch.cat([f[p] for f in found]).cpu().numpy() for p in metrics.PROTOCOLS}


@torch.no_grad()
def recalibrate(model, views, index, config):
    """Take batch-norm statistics anew: their mean over batches of `config.recalibrate` plain training frames, evenly spaced.

    Running averages lag behind the weights, most of all after pruning. Nothing is done where the setting is 0, nor to
    the encoder of the arm frozen.
    """
    if not config.recalibrate:
        return
    model.train()
    model.encoder.train(config.arm != "frozen")
    norms = {m: m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training}
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean over all batches
    chosen = index[np.linspace(0, len(index) - 1, min(config.recalibrate, len(index))).round().astype(int)]
    for part in np.array_split(chosen, max(1, len(chosen) // config.batch)):
        with autocast(config, views.rgb.device):
            model(views.test(part))
    for m, momentum in norms.items():
        m.momentum = momentum


def fit(
    config, frames, start, ticket, folder, device="cpu", deadline=None, every=0.0, progress=True, snapshot=0
):
    """Train a configuration, continuing from the checkpoint in `folder` where there is one.

    Args:
        config: `Config` of any arm but the floor.
        frames: `frames.Frames`; start: initial state dict, as `model.initialise`; ticket: `mask.Ticket`.
        folder: existing folder for `checkpoint.pt` and, at the end, `weights.pt`.
        device: torch device.
        deadline: `time.monotonic()` before which to stop, after a checkpoint (the first epoch is always done); None: never.
        every: seconds between checkpoints; 0 writes one after every epoch.
        progress: show a bar; or a function, called after every epoch with `(epochs done, epochs, mean loss)`.
        snapshot: epoch after which the encoder is also written to `epoch-<snapshot>.pt`; 0: none.

    Returns:
        `(results, arrays)`: the measured part of a record, and `{"test/full": (N, 7), ..., "gallery": (8, h, w)}`.

    Raises:
        Stopped: at the deadline.
        Diverged: training left the finite numbers.
        UserError: the data do not suffice, or a file cannot be written.
    """
    device = torch.device(device)
    prepare(device)
    rows = rows_of(frames, config)
    views = augment.Views(frames, config.height, config.width, device, config.normalise, config.crop)
    model = place(initialise(FCRN(config.backbone), config.seed, start, config.bias), device)
    model.encoder.requires_grad_(config.arm != "frozen")
    masking, opt = Masking(ticket, model.encoder), optimiser(config, model)
    step = Step(config, model, masking, opt, views)
    per_epoch = len(rows["fit"]) // config.batch
    steps = per_epoch * config.epochs
    state = {"epoch": 0, "seconds": 0.0, "curves": {"train_loss": [], "validation_rms": []}, "best": None}

    snapped = folder / f"epoch-{snapshot}.pt"
    latest = snapshot - 1 if snapshot and not snapped.exists() else config.epochs
    if saved := checkpoint.load(folder, model, opt, device, latest):
        state = saved
        masking.check(opt)

    label = f"{config.arm} {100 * config.density:.3g} % seed {config.seed}"
    at = state["epoch"] * per_epoch
    with tqdm(
        total=steps, initial=at, desc=label, unit="step", disable=progress is not True, dynamic_ncols=True
    ) as bar:
        written = shown = started = time.monotonic()
        while state["epoch"] < config.epochs and not _patience_is_out(
            config, state["curves"]["validation_rms"]
        ):
            began = time.monotonic()
            model.train()
            model.encoder.train(config.arm != "frozen")  # in evaluation mode batch norm keeps its statistics
            u = augment.draws(config.seed, state["epoch"], len(frames.split))
            order = (
                rows["fit"][np.argsort(u[rows["fit"], 0], kind="stable")] if config.shuffle else rows["fit"]
            )
            order = order[: per_epoch * config.batch]
            batches = zip(*(t.split(config.batch) for t in views.plan(order, u[order], config)), strict=True)
            step.total.zero_()
            for i, batch in enumerate(batches):
                step(batch, rate(config, state["epoch"] * per_epoch + i, steps))
                bar.update()
                if (
                    device.type == "cpu" and time.monotonic() - shown > 1
                ):  # reading the loss would make a GPU wait
                    shown = time.monotonic()
                    bar.set_postfix_str(_status(state, config, step.total.item() / (i + 1)), refresh=False)

            mean_loss = step.total.item() / per_epoch
            if _diverged(mean_loss, model):
                where = f"the loss is {mean_loss:.4g} m in epoch {state['epoch'] + 1} of {config.epochs}"
                raise Diverged(
                    f"{label} diverged: {where}, or a weight is not finite; lower the learning rate."
                )
            state["curves"]["train_loss"].append(mean_loss)
            if len(rows["validation"]):
                recalibrate(model, views, rows["fit"], config)
                rms = metrics.summarise(evaluate(model, views, rows["validation"], config)["full"])["pooled"][
                    "rms"
                ]
                state["curves"]["validation_rms"].append(rms)
                if (config.patience or config.last_batch) and rms == min(state["curves"]["validation_rms"]):
                    state["best"] = {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()}
            state["epoch"] += 1
            if state["epoch"] == snapshot:
                write_atomic(snapped, {k: v.cpu() for k, v in model.encoder.state_dict().items()})
            bar.set_postfix_str(_status(state, config, mean_loss))
            if callable(progress):
                progress(state["epoch"], config.epochs, mean_loss)

            now = time.monotonic()  # one more epoch would take as long as this one
            late = deadline is not None and 2 * now - began > deadline and state["epoch"] < config.epochs
            if late or now - written >= every:
                masking.check(opt)
                saved = {**state, "seconds": state["seconds"] + now - started}
                checkpoint.save(folder, model, opt, saved)
                written = time.monotonic()
            if late:
                raise Stopped(
                    f"stopped after epoch {state['epoch']} of {config.epochs}; run it again to continue"
                )
    seconds = state["seconds"] + time.monotonic() - started

    if state["best"] is not None:
        model.load_state_dict(state["best"])
    masking.check()
    recalibrate(model, views, rows["fit"], config)
    results = {
        "curves": state["curves"],
        "epochs_run": state["epoch"],
        "seconds": seconds,
        "images_per_second": state["epoch"] * per_epoch * config.batch / seconds,
        "fit_frames": len(rows["fit"]),
    }
    arrays = {}
    for split in ("validation", "test"):
        results[split] = None
        if len(rows[split]):
            sums = evaluate(model, views, rows[split], config)
            if not all(np.isfinite(s).all() for s in sums.values()):
                raise Diverged(f"{label} diverged: a prediction is not finite; lower the learning rate.")
            results[split] = {p: metrics.summarise(s) for p, s in sums.items()} | {"frames": len(rows[split])}
            arrays |= {f"{split}/{p}": s for p, s in sums.items()}
    if len(rows["test"]):
        shown = gallery_frames(rows["test"])
        arrays["gallery"] = np.concatenate(
            [y.cpu().numpy() for _, y in predict(model, views, shown, config, views.target_size)]
        ).astype(np.float16)
    write_atomic(folder / "weights.pt", {k: v.cpu().contiguous() for k, v in model.state_dict().items()})
    return results, arrays


def floor(config, frames):
    """Score the mean depth map of the training frames, the prediction that never looks at the picture.

    Returns `(results, arrays)` as `fit`.
    """
    rows = rows_of(frames, config)
    truth = augment.cropped(frames.depth) if config.crop else frames.depth
    depth = torch.from_numpy(truth[rows["fit"]])
    valid = (depth > 0).sum(0)
    mean = depth.sum(0, dtype=torch.float64) / valid.clamp(min=1)
    mean = torch.where(valid > 0, mean, depth.sum(dtype=torch.float64) / (depth > 0).sum()).float()
    results, arrays = {"fit_frames": len(rows["fit"]), "seconds": 0.0, "validation": None, "test": None}, {}
    for split in ("validation", "test"):
        if len(rows[split]):
            targets = torch.from_numpy(truth[rows[split]]).split(32)
            found = [metrics.score(mean.expand_as(target), target) for target in targets]
            sums = {p: torch.cat([f[p] for f in found]).numpy() for p in metrics.PROTOCOLS}
            results[split] = {p: metrics.summarise(s) for p, s in sums.items()} | {"frames": len(rows[split])}
            arrays |= {f"{split}/{p}": s for p, s in sums.items()}
    arrays["gallery"] = mean[None].numpy().astype(np.float16)
    return results, arrays


def _diverged(mean_loss, model):
    norms = torch._foreach_norm([v for v in model.state_dict().values() if v.is_floating_point()])
    return not (mean_loss < ABSURD and torch.stack(norms).isfinite().all())


def _patience_is_out(config, rms):
    return bool(config.patience) and len(rms) - 1 - (int(np.argmin(rms)) if rms else 0) >= config.patience


def _status(state, config, loss):
    rms = state["curves"]["validation_rms"]
    shown = f", validation rms {rms[-1]:.3f} m" if rms else ""
    return f"epoch {min(state['epoch'] + 1, config.epochs)}/{config.epochs}, loss {loss:.3f}{shown}"
