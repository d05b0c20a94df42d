"""What a run costs: floating-point operations, and the time they took in the runs that are recorded."""

import functools
import math

import numpy as np
import torch

from ..mask import positions
from ..model import FCRN
from ..training.fit import rows_of
from .record import config_of


@functools.cache
def macs(backbone, height, width):
    """Multiply-accumulates of one frame in one forward pass, all weights kept."""
    with torch.device("meta"):
        model = FCRN(backbone)
    convolutions, uses = positions(model, height, width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


def flops(config, frames):
    """Floating-point operations of a run: two a multiply-accumulate; a step's backward pass costs two forward passes.

    Masked weights are multiplied like all others. The rounds of the arm logits are not counted.
    """
    if config.arm == "floor":
        return 0
    rows = rows_of(frames, config)
    trained = config.epochs * (len(rows["fit"]) // config.batch) * config.batch
    scored = len(rows["test"]) + len(rows["validation"]) * (config.epochs + 1)
    return 2 * macs(config.backbone, config.height, config.width) * (3 * trained + scored)


class Estimates:
    """Seconds a run will take, from those of recorded runs on the same device at the nearest size.

    Args:
        records: of finished runs; device: its name, as records have it. A CPU's speed is taken to grow with its threads.
    """

    def __init__(self, records, device):
        self.device, self.seen = device, []
        for record in records:
            self.add(record)

    def add(self, record):
        """Learn from one more record."""
        (name, threads), (own, mine) = _threads(record["device"]), _threads(self.device)
        if name == own and record.get("images_per_second") and (config := config_of(record)):
            self.seen.append((config, 6 * self._macs(config) * record["images_per_second"] * mine / threads))

    def seconds(self, config, work):
        """Seconds for `work` operations of a run, or None where nothing comparable is recorded."""
        rates = [
            (self._distance(config, other), rate)
            for other, rate in self.seen
            if other.precision == config.precision
        ]
        if not work or not rates:
            return None if work else 0.0
        nearest = min(distance for distance, _ in rates)
        return work / float(np.median([rate for distance, rate in rates if distance == nearest][-5:]))

    def _distance(self, one, other):
        return abs(math.log(self._macs(one) * one.batch / self._macs(other) / other.batch))

    @staticmethod
    def _macs(config):
        return macs(config.backbone, config.height, config.width)


def _threads(device):
    name, _, rest = device.partition(", ")
    return name, int(rest.split()[0]) if rest.endswith(" threads") else 1


def clock(seconds):
    """A duration in words; "unknown" for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
