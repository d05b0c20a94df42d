"""What training and evaluation cost on this machine, beside the same network as the paper defines it and beside what is possible."""

import copy
import itertools
import math
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import arms, augment, effort, plain, train, weights
from .config import PUBLISHED
from .frames import Frames
from .mask import Masking
from .model import FCRN, initialise
from .step import Step, optimiser, place, prepare

TRAIN, TEST = 795, 654  # frames of the official split


@dataclass
class Row:
    """One measured number.

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
        repeats: of a timed step; seconds: for each number of runs that share the device.
    """

    def __init__(self, device, precision, sizes, repeats, seconds):
        self.device, self.sizes, self.repeats, self.seconds = device, sizes, repeats, seconds
        self.config = PUBLISHED.replace(precision=precision, arm="dense")
        self.gpu = device.type == "cuda"
        self.frames = noise(TEST if self.gpu else 16)
        height, width, _ = sizes[-1]
        self.large = self.config.replace(height=height, width=width, batch=16)

    def run(self):
        """Yields a `Row` after the other."""
        yield from self.limits()
        prepare(self.device)
        for size in self.sizes:
            yield from self.step(*size)
        yield self.masked(*self.sizes[0])
        yield (scored := self.evaluation())
        if self.gpu:
            yield from self.graph(*self.sizes[-1], scored.value)
        yield self.peak()
        yield from self.shared()

    def limits(self):
        """Rate of a large matrix product in the precision of our steps, and of copying memory."""
        n, kind = (8192, torch.bfloat16) if self.config.precision == "bfloat16" else (2048, torch.float32)
        a, b = torch.rand(n, n, device=self.device, dtype=kind), torch.rand(n, n, device=self.device, dtype=kind)
        self.flops = 2 * n**3 / min(self._times(lambda: a @ b, 8))
        source = torch.rand(1 << 26, device=self.device)
        target = torch.empty_like(source)
        self.bytes = 2 * source.nbytes / min(self._times(lambda: target.copy_(source), 8))
        yield Row("matrix product", self.flops / 1e9, "GFLOP/s", note=f"{self.config.precision}, {n} a side, best of 8")
        yield Row("copy of 256 MiB", self.bytes / 1e9, "GB/s", note="read and written, best of 8")

    def _times(self, work, repeats, each=1, warm=1):
        return times(work, self.device, repeats, each, warm)

    def bounds(self, config):
        """Images/s of training at best: three passes of products; weights, gradients and momentum through memory once a use."""
        passes = 8 * 4 * parameters()  # weights read twice and written, gradients written and read, momentum both
        return self.flops / (6 * macs(config)), self.bytes / passes * config.batch

    def step(self, height, width, batch):
        """Our steps and those of public code in turn, the quickest of each: what else the machine does only adds."""
        config = self.config.replace(height=height, width=width, batch=batch)
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_public, args=(there, config, str(self.device)))
        process.start()  # one of its own, as `prepare` changes the whole of one
        there.close()
        taken, each = Taken(config, self.frames, self.device), 10 if self.gpu else 1
        here.recv()
        ours, theirs = [], []
        for _ in range(self.repeats):
            ours += self._times(taken, 1, each, 0)
            here.send(each)
            theirs.append(here.recv())
        here.send(0)
        process.join()
        seconds, rate = min(ours), batch / min(ours)
        note = "unpool + 5x5, frames read from HDF5 and transformed one by one"
        yield Row(f"training as public code does, {height}x{width}, batch {batch}", batch / min(theirs), "images/s", note=note)
        yield Row(f"training, {height}x{width}, batch {batch}", rate, "images/s", *self.bounds(config), note=config.precision)
        target = "≥ 8" if self.gpu else "≥ 2.4"
        yield Row(f"ours / public, {height}x{width}", min(theirs) / seconds, "times", target=target)
        target = "≥ 30" if self.gpu and (height, width) == self.sizes[-1][:2] else ""
        share = 100 * rate * 6 * macs(config) / self.flops
        yield Row(f"of the matrix rate, {height}x{width}", share, "%", target=target)
        pipeline = statistics.median(self._times(taken.cut, 3 * self.repeats, each=10))
        floor = batch * (self.frames.rgb[0].nbytes + self.frames.depth[0].nbytes + 4 * 3 * height * width) / self.bytes
        label = f"input pipeline, {height}x{width}"
        yield Row(label, 100 * pipeline / seconds, "% of the step", memory=100 * floor / seconds, target="≤ 5")

    def masked(self, height, width, batch):
        """Steps with a mask and without, in turn, the quickest of each; of one network where steps are not recorded."""
        config = self.config.replace(height=height, width=width, batch=batch)
        sparse = Taken(config.replace(arm="omp", density=0.018), self.frames, self.device)
        if self.gpu:
            dense = Taken(config, self.frames, self.device)
        else:
            dense, step = copy.copy(sparse), copy.copy(sparse.step)
            dense.step, step.masking = step, Masking(arms.start(config, weights.NONE)[0], step.model.encoder)
        each, masked, plainly = 10 if self.gpu else 1, [], []
        for _ in range(2 * self.repeats):
            masked += self._times(sparse, 1, each, 0)
            plainly += self._times(dense, 1, each, 0)
        ratio = min(masked) / min(plainly)
        return Row(f"masked over dense, {height}x{width}", 100 * (ratio - 1), "% longer", target="≤ 2")

    def evaluation(self):
        n, config = len(self.frames.depth), self.large
        views = augment.Views(self.frames, config.height, config.width, self.device)
        model = place(initialise(FCRN(), 0), self.device)
        seconds = min(self._times(lambda: train.evaluate(model, views, np.arange(n), config), 1)) * TEST / n
        floor = 2 * macs(config) * TEST / self.flops
        memory = TEST * self.frames.depth[0].nbytes * 2 / self.bytes
        note = "" if n == TEST else f"measured on {n} frames and scaled"
        label = f"evaluation of {TEST} frames, {config.height}x{config.width}"
        return Row(label, seconds, "s", floor, memory, "≤ 1" * self.gpu, note)

    def graph(self, height, width, _, evaluated):
        """GPU: the recorded step, beside one launched anew each time and one compiled first; and what a whole run takes."""
        config = self.config.replace(height=height, width=width, batch=16)
        seconds = {}
        for kind, options in {"recorded": {}, "launched": {"recorded": False}, "compiled": {"compiled": True}}.items():
            try:
                taken = Taken(config, self.frames, self.device, **options)
                seconds[kind] = statistics.median(self._times(taken, self.repeats, each=10))
            except RuntimeError as error:  # torch.compile needs a compiler
                yield Row(f"{kind} step", math.nan, "s", note=str(error).splitlines()[0])
                continue
            yield Row(f"{kind} step, {height}x{width}, batch 16", seconds[kind], "s", note="CUDA graph" * (kind != "launched"))
        whole = 100 * (TRAIN // 16) * seconds["recorded"] + evaluated
        floor = 100 * (TRAIN // 16 * 16) * 6 * macs(config) / self.flops
        yield Row(f"run of 100 epochs, {height}x{width}", whole, "s", floor, target="≤ 40", note="steps and one evaluation, computed")

    def peak(self):
        """Peak memory of dense training, in a process of its own."""
        used = apart(_peak, self.large, str(self.device))
        state = 3 * 4 * parameters() / 1e9
        label = f"peak memory of training, {self.large.height}x{self.large.width}, batch {self.large.batch}"
        note = "on the GPU" if self.gpu else "of the whole process"
        return Row(label, used / 1e9, "GB", memory=state, note=f"{note}; at least: weights, gradients, momentum")

    def shared(self):
        """Total speed of several small runs at a time, as `sweep --jobs`."""
        config = self.config.replace(height=60, width=80, batch=8)
        context, alone = multiprocessing.get_context("spawn"), None
        for jobs in (1, 2, 4) if self.gpu else (1, 2):
            threads, barrier = max(1, torch.get_num_threads() // jobs), context.Barrier(jobs)
            with context.Pool(jobs, _share_barrier, (barrier,)) as pool:
                rates = pool.starmap(_rate, [(config, str(self.device), threads, self.seconds)] * jobs, 1)
            alone = alone or sum(rates)
            note = "" if jobs == 1 else f"{sum(rates) / alone:.2f} times one run"
            yield Row(f"{jobs} runs at a time, 60x80, batch 8", sum(rates), "images/s", *self.bounds(config), note=note)


class Taken:
    """A network in training, a step a call."""

    def __init__(self, config, frames, device, **options):
        ticket, start = arms.start(config, weights.NONE)
        model = place(initialise(FCRN(), 0, start), device).train()
        self.views = augment.Views(frames, config.height, config.width, device)
        self.step = Step(config, model, Masking(ticket, model.encoder), optimiser(config, model), self.views, **options)
        rows = augment.draws(0, 0, len(frames.depth))
        index = np.arange(len(rows) // config.batch * config.batch)
        batches = zip(*(t.split(config.batch) for t in self.views.plan(index, rows[index], config)), strict=True)
        self.batches = itertools.cycle(list(batches))
        for _ in range(5 if self.step.recorded else 1):
            self()

    def __call__(self):
        self.step(next(self.batches), 1.0)

    def cut(self):
        """Only the input of a step."""
        self.views.train(*next(self.batches))


def times(work, device, repeats, each=1, warm=1):
    """Seconds of a call, `repeats` times after some to warm up; each: calls that are timed together."""
    found = []
    for _ in range(repeats + warm):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(each):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append((time.perf_counter() - start) / each)
    return found[warm:]


def apart(work, *arguments):
    """The result of a function in a fresh process, which may start others."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def macs(config):
    """Multiply-accumulates of one frame."""
    return effort.macs("resnet50", config.height, config.width)


def parameters():
    """Number of the network's parameters."""
    with torch.device("meta"):
        return sum(p.numel() for p in FCRN().parameters())


def noise(n):
    """`Frames` of smooth noise, at the size of the half-resolution cache."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (n, 3, 30, 40), np.uint8).repeat(8, 2).repeat(8, 3)
    depth = rng.uniform(0.7, 10, (n, 30, 40)).astype(np.float32).repeat(8, 1).repeat(8, 2)
    return Frames(rgb, depth, np.full(n, "train"), np.full(n, "noise"), "noise")


def _public(pipe, config, device):
    """Take as many steps as the pipe says, and say how long each took."""
    frames, device = noise(max(16, 4 * config.batch)), torch.device(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.h5"
        n = plain.write(path, frames)
        steps = plain.steps(plain.plain(initialise(FCRN(), 0)), path, n, config, device)
        next(steps)
        pipe.send(None)
        while each := pipe.recv():
            pipe.send(times(lambda: next(steps), device, 1, each, 0)[0])
        steps.close()


def _peak(config, device):
    device = torch.device(device)
    prepare(device)
    taken = Taken(config, noise(2 * config.batch), device)
    taken()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def _share_barrier(barrier):
    global _barrier
    _barrier = barrier


def _rate(config, device, threads, seconds):
    """Images/s of one of several runs that begin together."""
    device = torch.device(device)
    torch.set_num_threads(threads)
    prepare(device)
    taken, n = Taken(config, noise(32), device), 0
    _barrier.wait()
    start = time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        taken()
        n += 1
        if device.type == "cuda" and n % 50 == 0:
            torch.cuda.synchronize(device)
    return n * config.batch / spent
