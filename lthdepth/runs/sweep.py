"""A study's runs: what is missing, made one after the other. Several such sweeps at a time share the work.

Runs are named and locked, so that another worker is this very loop once more: what one is making, the others
leave, and come back to. One that is killed gives its run up, and the next continues it.
"""

import functools
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import torch

from ..data import nyu, weights
from ..data.augment import smaller
from ..errors import warn
from ..files import Busy
from ..mask import positions
from ..model import FCRN
from ..training import arms
from ..training.evaluate import rows_of
from ..training.fit import Diverged, Options, Stopped
from . import run as runs
from . import studies
from .record import line, title

PAUSE = 1.0  # seconds between two looks at runs that others are making


def gathered(name, data, source):
    """`(Inputs, Study)` of a study; the weights decide on the backbone of the study "quick"."""
    initial, frames = weights.load(source), nyu.load(data)  # the quicker first: a mistake costs less
    if name == "quick" and frames.name != "rooms":
        frames = frames.subset(*studies.QUICK_FRAMES)
    return runs.Inputs(frames, initial), studies.study(name, initial.backbone or "resnet18")


def missing(configs, inputs, store, options=Options()):
    """What is missing of a study, each run after those that it follows from: `{Config: Options}`.

    The options ask for trained weights where a later run needs them.
    """
    done, needed = store.records(), {}

    def add(config, trained=False):
        how = needed.get(config, options)
        how = replace(how, weights=trained or how.weights)
        name = inputs.key(config)
        if name in done and how.satisfied(store.local / name):
            return
        for parent in arms.parents(config).values():
            add(parent, trained=True)
        needed[config] = how

    for config in configs:
        add(config)
    return needed


def sweep(configs, inputs, store, options, study):
    """Make what is missing, and print a line of every run that ends.

    A run that diverges is recorded as failed and left, with those that follow from it.

    Returns:
        `(left, failed)`: configurations that the deadline left over; `{key: why}` of those that failed.
    """
    todo = list(missing(configs, inputs, store, replace(options, wait=False)).items())
    failed, first = {}, True
    while todo:
        busy = []
        for i, (config, how) in enumerate(todo):
            left, name = [c for c, _ in busy + todo[i:]], inputs.key(config)
            if options.deadline is not None and time.monotonic() > options.deadline:
                return left, failed
            if first and options.progress is True:
                print(f"run {i + 1} of {len(todo)}: {title(config)}", file=sys.stderr, flush=True)
            try:
                if options.progress == "lines" and runs.finished(store, name, how):
                    continue  # another worker has made it, and said so
                print(line(runs.run(config, inputs, store, how, study)), flush=True)
            except Diverged as error:
                failed[name] = str(error)
                print(f"{name}  {title(config)}  failed: {error}", flush=True)
            except Busy as error:
                if first and not busy and options.progress != "lines":
                    warn(f"{str(error).partition(';')[0]}; it is left until the rest is done.")
                busy.append((config, how))
            except Stopped as error:
                print(f"{name}  {title(config)}  {error}", flush=True)
                return left, failed
        if len(busy) == len(todo):
            time.sleep(PAUSE)
        todo, first = busy, False
    return [], failed


def start_workers(words, jobs, device):
    """Run a command line of this package in some processes that share cores or GPUs, until all have ended."""
    threads, gpus = max(1, torch.get_num_threads() // jobs), torch.cuda.device_count()
    spread, workers = gpus and device in ("auto", "cuda"), []
    try:
        for n in range(jobs):
            where = ["--device", f"cuda:{n % gpus}" if spread else device]
            command = [sys.executable, "-m", "lthdepth", *words, *where, "--worker"]
            workers.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}))
        for worker in workers:
            if worker.wait() < 0:
                warn(f"a worker was killed (signal {-worker.returncode}); its run continues on another.")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


@functools.cache
def macs(backbone, height, width):
    """Multiply-accumulates of one frame in one forward pass, all weights kept."""
    with torch.device("meta"):
        convolutions, uses = positions(FCRN(backbone), height, width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


def flops(config, frames):
    """Floating-point operations of a run, masked weights included; a backward pass costs two forward ones."""
    if config.arm == "floor":
        return 0
    rows = rows_of(frames, config)
    trained = config.epochs * (len(rows["fit"]) // config.batch) * config.batch
    scored = len(rows["test"]) + len(rows["validation"]) * (config.epochs + 1)
    size, share = (config.height, config.width), config.progressive
    frame, early = macs(config.backbone, *size), macs(config.backbone, *smaller(size))
    return 2 * (3 * trained * ((1 - share) * frame + share * early) + scored * frame)


def speed(records, device):
    """Median of the operations a second of recorded trainings on a device, by its name there; or None."""
    timed = [r for r in records if r["device"] == device and r.get("images_per_second")]
    timed = [r for r in timed if not r["config"].get("progressive")]  # all at one size
    sizes = ([r["config"][name] for name in ("backbone", "height", "width")] for r in timed)
    known = [6 * macs(*size) * r["images_per_second"] for size, r in zip(sizes, timed)]
    return statistics.median(known) if known else None


def describe(configs, inputs, store, device, jobs):
    """Print what a sweep would do: what is recorded, and what is missing with its cost."""
    known, todo = store.records(), missing(configs, inputs, store)
    name = f"CPU, {max(1, torch.get_num_threads() // jobs)} threads"
    rate = speed(known.values(), torch.cuda.get_device_name(device) if device.type == "cuda" else name)

    def cost(work, workers=1):
        time = f"{work / rate / 3600 / workers:.2f} h" if rate else "of unknown time here"
        return f"{work / 1e12:8.1f} TFLOP, {time}"

    for config in configs:
        if config not in todo:
            print(line(known[inputs.key(config)]))
    for config in todo:
        needed = "" if config in configs else ", needed by others"
        print(f"{inputs.key(config)}  {title(config)}  missing: {cost(flops(config, inputs.frames))}{needed}")
    total = sum(flops(config, inputs.frames) for config in todo)
    print(f"missing in all: {cost(total, jobs)} by the times of recorded runs")


def publish(configs, inputs, store, study):
    """Copy a study's runs into `results/`, with the rounds behind its tickets.

    A run that studies share stays filed under the first.
    """
    known = store.failed() | store.records()
    names = dict.fromkeys(inputs.key(c) for config in configs for c in arms.lineage(config))
    here = [n for n in names if n in known and (store.local / n).exists()]
    store.publish([n for n in here if known[n]["study"] in (study, "own")], study)
