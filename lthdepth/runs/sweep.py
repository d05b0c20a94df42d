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

from ..errors import warn
from ..files import Busy
from ..mask import positions
from ..model import FCRN
from ..training import arms
from ..training.evaluate import rows_of
from ..training.fit import Diverged, Options, Stopped, clear
from . import run as runs
from .record import line, title
from .store import Store

PAUSE = 1.0  # seconds between two looks at runs that others are making


def missing(configs, inputs, store, options=Options()):
    """What is missing of a study, in its order, but each run after those that it follows from.

    Returns `{Config: Options}`, with `keep` and `snapshot` where a later run needs the weights.
    """
    done, needed = store.records(), {}

    def add(config, keep=False, snapshot=0):
        before = needed.get(config, options)
        how = replace(before, keep=keep or before.keep, snapshot=snapshot or before.snapshot)
        name = inputs.key(config)
        if name in done and how.kept(store.local / name):
            return
        for role, parent in arms.parents(config).items():
            add(parent, True, config.rewind if role == "origin" else 0)
        needed[config] = how

    for config in configs:
        add(config)
    return needed


def sweep(configs, inputs, store, options, study):
    """Make what is missing, telling every run that ends.

    A run that diverges is recorded as failed and left, with those that follow from it. What another process
    is making is left until the rest is done.

    Returns:
        `(left, failed)`: configurations that the deadline left over; `{key: why}` of those that failed.

    Raises:
        UserError: of a run, such as a full disk.
    """
    for name in store.records():
        clear(store.local / name)  # what a process that was killed right after writing a record left
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
                print(line(runs.run(config, inputs, store, how, study)), flush=True)
            except Diverged as error:
                failed[name] = str(error)
                print(f"{name}  {title(config)}  failed: {error}", flush=True)
            except Busy as error:
                if first and not busy:
                    warn(f"{str(error).partition(';')[0]}; it is left until the rest is done.")
                busy.append((config, how))
            except Stopped as error:
                print(f"{name}  {title(config)}  {error}", flush=True)
                return left, failed
        if len(busy) == len(todo):
            time.sleep(PAUSE)
        todo, first = busy, False
    return [], failed


def together(words, jobs, device):
    """Run a command line of this package in `jobs` processes, with a share of the cores each, until all end.

    device: "auto" and "cuda" spread them over the GPUs.
    """
    threads, gpus = max(1, torch.get_num_threads() // jobs), torch.cuda.device_count()
    spread, workers = gpus and device in ("auto", "cuda"), []
    try:
        for n in range(jobs):
            where = ["--device", f"cuda:{n % gpus}" if spread else device, "--worker", str(n + 1)]
            command = [sys.executable, "-m", "lthdepth", *words, *where]
            workers.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}))
        for worker in workers:
            if worker.wait() < 0:
                warn(f"a worker was killed (signal {-worker.returncode}); its run continues on another.")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def reporter(worker, every=60.0):
    """A worker's progress, as `Options` take it: a line on stderr, at most one in so many seconds."""
    before = said = time.monotonic()

    def report(epoch, epochs, loss):
        nonlocal before, said
        now = time.monotonic()
        if now - said > every:
            left = clock((now - before) * (epochs - epoch))
            told = f"worker {worker}: epoch {epoch}/{epochs}, loss {loss:.3f}, time left: {left}"
            print(told, file=sys.stderr, flush=True)
            said = now
        before = now

    return report


@functools.cache
def macs(backbone, height, width):
    """Multiply-accumulates of one frame in one forward pass, all weights kept."""
    with torch.device("meta"):
        model = FCRN(backbone)
    convolutions, uses = positions(model, height, width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


def flops(config, frames):
    """Floating-point operations of a run: two a multiply-accumulate; a backward pass costs two forward ones.

    Masked weights are multiplied like all others. The rounds of the arm logits are not counted.
    """
    if config.arm == "floor":
        return 0
    rows = rows_of(frames, config)
    trained = config.epochs * (len(rows["fit"]) // config.batch) * config.batch
    scored = len(rows["test"]) + len(rows["validation"]) * (config.epochs + 1)
    return 2 * macs(config.backbone, config.height, config.width) * (3 * trained + scored)


def speed(records, device):
    """Median of the operations a second of recorded trainings on a device, by its name there; or None."""
    known = []
    for r in records:
        if r["device"] == device and r.get("images_per_second"):
            c = r["config"]
            known.append(6 * macs(c["backbone"], c["height"], c["width"]) * r["images_per_second"])
    return statistics.median(known) if known else None


def clock(seconds):
    """A duration in words; "unknown" for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def describe(configs, inputs, store, device, jobs):
    """Print what a sweep would do: what is recorded, and what is missing with its cost."""
    known, threads = store.records(), max(1, torch.get_num_threads() // jobs)
    name = f"CPU, {threads} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
    rate, total = speed(known.values(), name), 0
    todo = missing(configs, inputs, store)
    for config in configs:
        if config not in todo:
            print(line(known[inputs.key(config)]))
    for config in todo:
        work = flops(config, inputs.frames)
        total += work
        needed = "" if config in configs else ", needed by others"
        cost = f"{work / 1e12:8.1f} TFLOP, {clock(work / rate if rate else None)}"
        print(f"{inputs.key(config)}  {title(config)}  missing: {cost}{needed}")
    left = clock(total / rate / jobs if rate else None)
    print(f"missing in all: {total / 1e12:.1f} TFLOP, {left} by the times of recorded runs")


def publish(configs, inputs, store, study, into_results, out):
    """Copy a study's runs, with the rounds behind its tickets, to where it was asked for.

    A run that studies share stays filed under the first.
    """
    known = store.failed() | store.records()
    names = dict.fromkeys(inputs.key(c) for config in configs for c in arms.lineage(config))
    made = [n for n in names if store.has(n) and known[n]["study"] in (study, "own")]
    if into_results:
        store.publish(made, study)
    if out and made:
        Store(out, out).publish(made, study)
