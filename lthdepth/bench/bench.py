"""What training and evaluation cost here, beside the same network as the paper defines it and beside what is possible."""

import copy
import functools
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import mask
from ..config import PUBLISHED
from ..data import augment, weights
from ..errors import reason
from ..model import FCRN, initialise
from ..runs import effort
from ..training import arms
from ..training import fit as train
from ..training.step import place, prepare
from . import plain, timing
from .timing import TRAIN, Taken, noise, times, turn

TEST = 654  # frames of the official split


@dataclass
class Row:
    """One measured number, or NaN with the reason in the note.

    arithmetic, memory: what the products at the measured matrix rate, or the bytes that cannot be avoided at the measured
    bandwidth, would allow at best, in the same unit.
    """

    measure: str
    value: float
    unit: str
    arithmetic: float | None = None
    memory: float | None = None
    target: str = ""
    note: str = ""


class Bench:
    """Measures on one device.

    Args:
        device: torch device; precision: of our steps; sizes: `[(height, width, frames a step of the comparison)]`, the
            last also for evaluation and memory.
        turns: pairs of turns, ours and the other's, of which the median counts; seconds: of a turn at least (one step
            where that takes longer), and, twice as many, of runs that share the device.
    """

    def __init__(self, device, precision, sizes, turns, seconds):
        self.device, self.sizes, self.turns, self.seconds = device, sizes, turns, seconds
        self.config = PUBLISHED.replace(precision=precision, arm="dense")
        self.gpu = device.type == "cuda"
        self.frames = noise(TEST if self.gpu else 16)
        height, width, _ = sizes[-1]
        self.large = self.config.replace(height=height, width=width, batch=16)

    def run(self):
        """Yields a `Row` after the other; a part that fails becomes one, and the others are still measured."""
        yield from self.limits()
        prepare(self.device)
        parts = [functools.partial(self.compared, *size) for size in self.sizes]
        parts += [functools.partial(self.masked, *self.sizes[0]), self.evaluation]
        parts += [self.recorded, self.launched, self.whole] if self.gpu else []
        parts += [self.peak, self.shared]
        parts += [self.compiled] if self.gpu else []  # last, as compiling takes minutes
        for part in parts:
            try:
                yield from part()
            except Exception as error:  # one number that fails must not cost the others
                name = getattr(part, "func", part).__name__
                yield Row(name, math.nan, "", note=f"not measured: {type(error).__name__}: {reason(error)}")
            if self.gpu:
                torch.cuda.empty_cache()

    def limits(self):
        """Rate of a large matrix product in the precision of our steps, and of copying memory."""
        n, kind = (8192, torch.bfloat16) if self.config.precision == "bfloat16" else (2048, torch.float32)
        a, b = (
            torch.rand(n, n, device=self.device, dtype=kind),
            torch.rand(n, n, device=self.device, dtype=kind),
        )
        self.flops = 2 * n**3 / min(times(lambda: a @ b, self.device, 8))
        source = torch.rand(1 << 26, device=self.device)
        target = torch.empty_like(source)
        self.bytes = 2 * source.nbytes / min(times(lambda: target.copy_(source), self.device, 8))
        yield Row(
            "matrix product",
            self.flops / 1e9,
            "GFLOP/s",
            note=f"{self.config.precision}, {n} a side, best of 8",
        )
        yield Row("copy of 256 MiB", self.bytes / 1e9, "GB/s", note="read and written, best of 8")

    def bounds(self, config):
        """Images/s of training at best: three passes of products; weights, gradients and momentum through memory once a use."""
        passes = (
            8 * 4 * parameters()
        )  # weights read twice and written, gradients written and read, momentum both
        return self.flops / (6 * macs(config)), self.bytes / passes * config.batch

    def in_turn(self, one, other):
        """Seconds of two ways to take a step, each turn of one beside one of the other: two lists."""
        pairs = [(one(self.seconds), other(self.seconds)) for _ in range(self.turns)]
        return tuple(zip(*pairs, strict=True))

    def compared(self, height, width, batch):
        """Our steps and those of public code, and what our input takes of a step."""
        config = self.config.replace(height=height, width=width, batch=batch)
        with timing.public(config, self.device) as public:
            taken = Taken(config, self.frames, self.device)
            ours, theirs = self.in_turn(lambda least: turn(taken, self.device, least), public)
        seconds, arithmetic, memory = statistics.median(ours), *self.bounds(config)
        ratios, slow = [t / o for o, t in zip(ours, theirs, strict=True)], plain_macs(config) / macs(config)
        rate, public_rate, size = (
            batch / seconds,
            batch / statistics.median(theirs),
            f"{height}x{width}, batch {batch}",
        )
        note = "unpool + 5x5, frames read from HDF5 and transformed one by one"
        label = f"training as public code does, {size}"
        yield Row(label, public_rate, "images/s", arithmetic / slow, memory, "", note)
        yield Row(f"training, {size}", rate, "images/s", arithmetic, memory, "", config.precision)
        target, label = "≥ 8" if self.gpu else "≥ 2.4", f"ours / public, {height}x{width}"
        yield Row(label, statistics.median(ratios), "times", slow, None, target, spread(ratios, 2))
        target = "≥ 30" if self.gpu and (height, width) == self.sizes[-1][:2] else ""
        yield Row(f"of the matrix rate, {height}x{width}", 100 * rate / arithmetic, "%", 100.0, None, target)
        pipeline = statistics.median(times(taken.cut, self.device, 9, 10))
        floor = (
            batch
            * (self.frames.rgb[0].nbytes + self.frames.depth[0].nbytes + 4 * 3 * height * width)
            / self.bytes
        )
        label = f"input pipeline, {height}x{width}"
        yield Row(
            label, 100 * pipeline / seconds, "% of the step", memory=100 * floor / seconds, target="≤ 5"
        )

    def masked(self, height, width, batch):
        """Steps with a mask and without; of one network where steps are not recorded."""
        config = self.config.replace(height=height, width=width, batch=batch)
        sparse = Taken(config.replace(arm="omp", density=0.018), self.frames, self.device)
        if self.gpu:
            dense = Taken(config, self.frames, self.device)
        else:
            dense, step = copy.copy(sparse), copy.copy(sparse.step)
            dense.step, step.masking = (
                step,
                mask.Masking(arms.start(config, weights.NONE)[0], step.model.encoder),
            )
        pair = self.in_turn(*(lambda least, t=t: turn(t, self.device, least) for t in (sparse, dense)))
        longer = [100 * (s / d - 1) for s, d in zip(*pair, strict=True)]
        floor = (
            3 * sum(m.nbytes for m in sparse.step.masking.masks) / self.bytes
        )  # mask and gradient read, gradient written
        memory, label = 100 * floor / statistics.median(pair[1]), f"masked over dense, {height}x{width}"
        yield Row(label, statistics.median(longer), "% longer", None, memory, "≤ 2", spread(longer, 1))

    def evaluation(self):
        """Scoring of the test set."""
        n, config = len(self.frames.depth), self.large
        views = augment.Views(self.frames, config.height, config.width, self.device)
        model = place(initialise(FCRN(), 0), self.device)
        found = times(
            lambda: train.evaluate(model, views, np.arange(n), config), self.device, 3 if self.gpu else 1
        )
        floor = 2 * macs(config) * TEST / self.flops
        memory = TEST * self.frames.depth[0].nbytes * 2 / self.bytes
        note = "" if n == TEST else f"measured on {n} frames and scaled"
        label = f"evaluation of {TEST} frames, {config.height}x{config.width}"
        yield Row(label, statistics.median(found) * TEST / n, "s", floor, memory, "≤ 1" * self.gpu, note)

    def recorded(self):
        """The step recorded as a CUDA graph."""
        yield self._form("recorded", recorded=True)

    def launched(self):
        """The step launched anew each time."""
        yield self._form("launched", recorded=False)

    def compiled(self):
        """The step compiled, then recorded: takes a C compiler and minutes."""
        yield self._form("compiled", compiled=True)

    def _form(self, name, **options):
        config = self.large
        taken = Taken(config, self.frames, self.device, **options)
        found = [turn(taken, self.device, self.seconds) for _ in range(self.turns)]
        limits = (config.batch / bound for bound in self.bounds(config))
        note = "a CUDA graph" if taken.step.graph else "no CUDA graph"
        label = f"{name} step, {config.height}x{config.width}, batch 16"
        return Row(label, statistics.median(found), "s", *limits, "", note)

    def whole(self, epochs=100, frames=TRAIN, tested=TEST):
        """A run from its first step to its scores, as `train.fit` makes it."""
        config = self.large.replace(epochs=epochs, holdout=False)
        start = arms.start(config, weights.NONE)
        data = noise(frames + tested, frames)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            options = train.Options(self.device, every=math.inf, progress=False)
            results, *_ = train.fit(config, data, start, Path(folder), options)
            seconds = time.perf_counter() - began
        steps = frames // config.batch * epochs
        floor = (6 * steps * config.batch + 2 * tested) * macs(config) / self.flops
        memory = steps * config.batch / self.bounds(config)[1]
        note = f"{results['seconds']:.3g} s of it training"
        label = f"run of {epochs} epochs, {frames} frames, {config.height}x{config.width}"
        yield Row(label, seconds, "s", floor, memory, "≤ 40", note)

    def peak(self):
        """Peak memory of dense training, in a process of its own."""
        used = timing.peak(self.large, self.device)
        label = f"peak memory of training, {self.large.height}x{self.large.width}, batch {self.large.batch}"
        note = (
            f"{'on the GPU' if self.gpu else 'of the whole process'}; at least: weights, gradients, momentum"
        )
        yield Row(label, used / 1e9, "GB", None, 3 * 4 * parameters() / 1e9, "", note)

    def shared(self):
        """Total speed of several small runs at a time, as `sweep --jobs`."""
        config, alone = self.config.replace(height=60, width=80, batch=8), None
        for jobs in (1, 2, 4) if self.gpu else (1, 2):
            total = sum(timing.together(config, self.device, jobs, 2 * self.seconds))
            alone = alone or total
            note = "" if jobs == 1 else f"{total / alone:.2f} times one run"
            yield Row(
                f"{jobs} runs at a time, 60x80, batch 8", total, "images/s", *self.bounds(config), "", note
            )


def spread(values, digits):
    """What a note says of values whose median is the number."""
    return f"median of {len(values)} turns, {min(values):.{digits}f} to {max(values):.{digits}f}"


def macs(config):
    """Multiply-accumulates of one frame."""
    return effort.macs("resnet50", config.height, config.width)


@functools.cache
def plain_macs(config):
    """The same of the network as its paper defines it, zeros between unpooled pixels included."""
    with torch.device("meta"):
        model = plain.plain(FCRN())
    convolutions, uses = mask.positions(model, config.height, config.width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


@functools.cache
def parameters():
    """Number of the network's parameters."""
    with torch.device("meta"):
        return sum(p.numel() for p in FCRN().parameters())
