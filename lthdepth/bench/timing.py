"""Steps under a stopwatch: ours, those of public code in a process of its own, and those of several runs at a time."""

import itertools
import multiprocessing
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ..data import augment, weights
from ..data.frames import Frames
from ..mask import Masking
from ..model import FCRN, initialise
from ..training import arms
from ..training.step import Step, optimiser, place, prepare
from . import plain

SPAWN = multiprocessing.get_context("spawn")  # a fork would share the GPU's state
TRAIN = 795  # frames of an epoch, of the official split
MEETING = 300  # seconds within which runs that are to begin together must be ready


class Taken:
    """A network in training, a step a call."""

    def __init__(self, config, frames, device, **options):
        ticket, start, _ = arms.start(config, weights.NONE)
        model = place(initialise(FCRN(), 0, start), device).train()
        self.views = augment.Views(frames, config.height, config.width, device)
        self.step = Step(
            config, model, Masking(ticket, model.encoder), optimiser(config, model), self.views, **options
        )
        rows = augment.draws(0, 0, len(frames.depth))
        index = np.arange(len(rows) // config.batch * config.batch)
        batches = zip(
            *(t.split(config.batch) for t in self.views.plan(index, rows[index], config)), strict=True
        )
        self.batches = itertools.cycle(list(batches))
        for _ in range(5 if self.step.recorded else 1):
            self()

    def __call__(self):
        self.step(next(self.batches), 1.0)

    def cut(self):
        """Only the input of a step."""
        self.views.train(*next(self.batches))


def wait(device):
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times(work, device, repeats, each=1, warm=1):
    """Seconds of a call, `repeats` times after some to warm up; each: calls that are timed together."""
    found = []
    for _ in range(repeats + warm):
        wait(device)
        start = time.perf_counter()
        for _ in range(each):
            work()
        wait(device)
        found.append((time.perf_counter() - start) / each)
    return found[warm:]


def turn(work, device, least):
    """Seconds of a call, over as many calls as fill `least` seconds: at least one, on a GPU ten."""
    each, n, spent = 10 if device.type == "cuda" else 1, 0, 0.0
    wait(device)
    start = time.perf_counter()
    while not n or spent < least:
        for _ in range(each):
            work()
        wait(device)
        n, spent = n + each, time.perf_counter() - start
    return spent / n


@contextmanager
def public(config, device):
    """Training as public code does it, in a process of its own, as `prepare` changes the whole of one.

    Yields a function of `least` that takes steps and says how long each took, as `turn`.

    Raises:
        RuntimeError: the process died.
    """
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_public, args=(there, config, str(device)))
    process.start()
    there.close()

    def take(least):
        try:
            if least is not None:
                here.send(least)
            return here.recv()
        except (EOFError, OSError):
            raise RuntimeError("the process that trains as public code does has died") from None

    try:
        take(None)  # until it is ready
        yield take
    finally:
        here.close()  # which ends it
        process.join(30)
        process.kill()


def _public(pipe, config, device):
    frames, device = noise(max(16, 4 * config.batch)), torch.device(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.h5"
        plain.write(path, frames)
        steps = plain.steps(plain.plain(initialise(FCRN(), 0)), path, TRAIN, config, device)
        next(steps)
        try:
            pipe.send(None)
            while True:
                pipe.send(turn(lambda: next(steps), device, pipe.recv()))
        except (EOFError, OSError):  # nobody listens any more
            steps.close()


def peak(config, device):
    """Bytes that training takes at most, in a fresh process: of the GPU's memory, or of the whole process."""
    with ProcessPoolExecutor(1, SPAWN) as pool:
        return pool.submit(_peak, config, str(device)).result()


def _peak(config, device):
    device = torch.device(device)
    prepare(device)
    Taken(config, noise(2 * config.batch), device)()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def together(config, device, jobs, seconds):
    """Images/s of each of several runs that begin together, in processes of their own."""
    threads, barrier = max(1, torch.get_num_threads() // jobs), SPAWN.Barrier(jobs)
    with ProcessPoolExecutor(jobs, SPAWN, _share_barrier, (barrier,)) as pool:
        runs = [pool.submit(_rate, config, str(device), threads, seconds) for _ in range(jobs)]
        return [run.result() for run in runs]


def _share_barrier(barrier):
    global _barrier
    _barrier = barrier


def _rate(config, device, threads, seconds):
    device = torch.device(device)
    torch.set_num_threads(threads)
    prepare(device)
    taken = Taken(config, noise(32), device)
    _barrier.wait(MEETING)
    return config.batch / turn(taken, device, seconds)


def noise(n, train=None):
    """`Frames` of smooth noise, at the size of the half-resolution cache, the first `train` (None: all) for training."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (n, 3, 30, 40), np.uint8).repeat(8, 2).repeat(8, 3)
    depth = rng.uniform(0.7, 10, (n, 30, 40)).astype(np.float32).repeat(8, 1).repeat(8, 2)
    split = np.where(np.arange(n) < (n if train is None else train), "train", "test")
    return Frames(rgb, depth, split, np.full(n, "noise"), "noise")
