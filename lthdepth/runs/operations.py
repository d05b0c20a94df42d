"""What a run costs: floating-point operations, and the time they took in the runs that are recorded."""

import functools
import statistics

import torch

from ..mask import positions
from ..model import FCRN
from ..training.evaluate import rows_of


@functools.cache
def macs(backbone, height, width):
    """Multiply-accumulates of one frame in one forward pass, all weights kept."""
    with torch.device("meta"):
        model = FCRN(backbone)
    convolutions, uses = positions(model, height, width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


def flops(config, frames):
    """Floating-point operations of a run: two a multiply-accumulate; a step's backward pass costs two forward
    passes.

    Masked weights are multiplied like all others. The rounds of the arm logits are not counted.
    """
    if config.arm == "floor":
        return 0
    rows = rows_of(frames, config)
    trained = config.epochs * (len(rows["fit"]) // config.batch) * config.batch
    scored = len(rows["test"]) + len(rows["validation"]) * (config.epochs + 1)
    return 2 * macs(config.backbone, config.height, config.width) * (3 * trained + scored)


def speed(records, device):
    """Operations a second of the recorded trainings on a device, by its name in records: their median, or
    None.
    """
    found = []
    for r in records:
        if r["device"] == device and r.get("images_per_second"):
            c = r["config"]
            found.append(6 * macs(c["backbone"], c["height"], c["width"]) * r["images_per_second"])
    return statistics.median(found) if found else None


def clock(seconds):
    """A duration in words; "unknown" for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
