"""Scores of a network, or of the mean depth map, on the frames that a configuration keeps for it."""

import math

import numpy as np
import torch
from torch import nn

from .. import metrics
from ..data import augment
from ..data.frames import mean_map
from ..errors import UserError
from .step import autocast


def rows_of(frames, config):
    """Frame indices by use: `{"fit", "validation", "test"}`; UserError where one that is needed is empty."""
    n, split = len(frames.split), frames.split
    if config.split == "index":
        split = np.where(np.arange(n) < round(n * 1200 / 1449), "train", "test")
    uses = {
        "fit": ["train"] if config.holdout else ["train", "validation"],
        "validation": ["validation"] if config.holdout else [],
        "test": ["test"] if config.test else [],
    }
    rows = {use: np.flatnonzero(np.isin(split, splits)) for use, splits in uses.items()}
    if config.last_batch:  # the published code selects on what it reports
        rows["test"] = rows["validation"] = rows["test"][-config.last_batch :]
    if config.arm != "floor" and len(rows["fit"]) < config.batch:
        raise UserError(
            f"{len(rows['fit'])} training frames do not fill a batch of {config.batch}; set a smaller batch."
        )
    for name, wanted in (("validation", config.holdout), ("test", config.test)):
        if wanted and not len(rows[name]):
            asked = f"under split={config.split}, and the configuration asks for them"
            raise UserError(f"the data set {frames.name} has no {name} frames {asked}.")
    return rows


def evenly(index, n):
    """At most `n` of the frames `index`, evenly spaced, the first and the last among them."""
    return index[np.linspace(0, len(index) - 1, min(n, len(index))).round().astype(int)]


def predict(model, views, index, config, size, batch=16):
    """Depth maps in metres at `size` (height, width) by batches: yields `(indices, (B, h, w) float32)`."""
    model.eval()
    for part in np.array_split(index, math.ceil(len(index) / batch)):
        with torch.no_grad(), autocast(config, views.rgb.device):
            y = model(views.test(part))
        yield part, views.enlarge(y.float(), size)


def evaluate(model, views, index, config):
    """Error sums under every protocol, at the frames' own size: `{"full": (N, 7), "eigen": (N, 7)}`."""
    parts = [
        metrics.score(y, views.depth[torch.as_tensor(part, device=y.device)])
        for part, y in predict(model, views, index, config, views.depth.shape[1:])
    ]
    return {p: torch.cat([part[p] for part in parts]).cpu().numpy() for p in metrics.PROTOCOLS}


@torch.no_grad()
def recalibrate(model, views, index, config):
    """Take batch-norm statistics anew: their mean over batches of `config.recalibrate` plain training frames.

    Running averages lag behind the weights, most of all after pruning. Nothing is done where it is 0.
    """
    if not config.recalibrate:
        return
    model.train()
    norms = {m: m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # a plain mean over all batches
    chosen = evenly(index, config.recalibrate)
    for part in np.array_split(chosen, max(1, len(chosen) // config.batch)):
        with autocast(config, views.rgb.device):
            model(views.test(part))
    for m, momentum in norms.items():
        m.momentum = momentum


def summaries(sums_of, rows):
    """Scores by split, None for one without frames, and error sums `{"test/full": (N, 7), ...}`.

    sums_of: function from frame indices to error sums, as `evaluate` returns them; rows: as `rows_of`.
    """
    results, arrays = {"validation": None, "test": None}, {}
    for split in results:
        if len(rows[split]):
            sums = sums_of(rows[split])
            results[split] = {p: metrics.summarise(s) for p, s in sums.items()} | {"frames": len(rows[split])}
            arrays |= {f"{split}/{p}": s for p, s in sums.items()}
    return results, arrays


def floor(config, frames):
    """Score the mean depth map of the training frames (`frames.mean_map`).

    Returns the measured part of a record, and its arrays with the map as "gallery" `(1, h, w)`.
    """
    rows = rows_of(frames, config)
    truth = augment.cropped(frames.depth) if config.crop else frames.depth
    mean = torch.from_numpy(mean_map(truth[rows["fit"]]))

    def sums_of(index):
        parts = [metrics.score(mean.expand_as(t), t) for t in torch.from_numpy(truth[index]).split(32)]
        return {p: torch.cat([part[p] for part in parts]).numpy() for p in metrics.PROTOCOLS}

    results, arrays = summaries(sums_of, rows)
    arrays["gallery"] = mean[None].numpy().astype(np.float16)
    return {"fit_frames": len(rows["fit"]), "seconds": 0.0, **results}, arrays
