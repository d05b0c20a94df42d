"""A study's runs: what is missing, made one after the other. Several such sweeps at a time share the work.

Runs are named and locked, so that another worker is this very loop once more: what one is making, the others
leave, and come back to. One that is killed gives its run up, and the next continues it.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace

import torch

from ..errors import warn
from ..files import Busy
from ..training import arms
from ..training.fit import Diverged, Options, Stopped
from . import run as runs
from .operations import clock, flops, speed
from .record import line, title
from .store import Store

PAUSE = 1.0  # seconds between two looks at runs that others are making


def missing(configs, inputs, store, options=Options()):  # noqa: B008
    """What is missing of a study, each run after those that it follows from, otherwise in the order of the
    study.

    Returns:
        `{Config: Options}`: with `keep` and `snapshot` where a later run needs the weights.
    """
    done, found = store.records(), {}

    def add(config, keep=False, snapshot=0):
        folder = store.local / inputs.key(config)
        files = ["weights.pt"] * keep + [f"epoch-{snapshot}.pt"] * bool(snapshot)
        if folder.name in done and all((folder / file).exists() for file in files):
            return
        for role, parent in arms.parents(config).items():
            add(parent, True, config.rewind if role == "origin" else 0)
        before = found.get(config, options)
        found[config] = replace(before, keep=keep or before.keep, snapshot=snapshot or before.snapshot)

    for config in configs:
        add(config)
    return found


def sweep(configs, inputs, store, options, study):
    """Make what is missing, telling every run that ends.

    A run that diverges is recorded as failed and left, with those that follow from it. What another process
    is making is left until the rest is done.

    Returns:
        `(left, failed)`: configurations that the deadline left over; `{key: why}` of those that failed.

    Raises:
        UserError: of a run, such as a full disk.
    """
    todo = list(missing(configs, inputs, store, replace(options, wait=False)).items())
    total, announced, failed, waiting = len(todo), set(), {}, False
    while todo:
        busy = []
        for i, (config, how) in enumerate(todo):
            if options.deadline is not None and time.monotonic() > options.deadline:
                return [c for c, _ in busy + todo[i:]], failed
            if options.progress is True and config not in announced:
                print(f"run {i + 1} of {total}: {title(config)}", file=sys.stderr, flush=True)
                announced.add(config)
            try:
                print(line(runs.run(config, inputs, store, how, study)), flush=True)
            except Diverged as error:
                failed[inputs.key(config)] = str(error)
                print(f"{inputs.key(config)}  {title(config)}  failed: {error}", flush=True)
            except Busy as error:
                busy.append((config, how))
                if not waiting:
                    warn(f"{str(error).partition(';')[0]}; it is left until the rest is done.")
                    waiting = True
            except Stopped as error:
                print(f"{inputs.key(config)}  {title(config)}  {error}", flush=True)
                return [c for c, _ in busy + todo[i:]], failed
        if len(busy) == len(todo):
            time.sleep(PAUSE)
        todo = busy
    return [], failed


def together(words, jobs, device):
    """Run a command of this package several times at once, with a share of the cores each, until all have
    ended.

    Args:
        words: of the command line, as `["sweep", ...]`; jobs: how many; device: "auto" and "cuda" spread over
            the GPUs.
    """
    threads, gpus = max(1, torch.get_num_threads() // jobs), torch.cuda.device_count()
    spread = gpus and device in ("auto", "cuda")
    workers = []
    try:
        for n in range(jobs):
            own = [*words, "--device", f"cuda:{n % gpus}" if spread else device, "--worker", str(n + 1)]
            command = [sys.executable, "-m", "lthdepth", *own]
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
    """A worker's progress, as `Options` take it: a line on stderr after an epoch, at most every so many
    seconds.
    """
    first, last = 0.0, 0.0  # ends of the run's first epoch, and of the last of which something was said

    def report(epoch, epochs, loss):
        nonlocal first, last
        now = time.monotonic()
        if epoch == 1 or not first:
            first, last = now, 0.0
        if now - last > every:
            left = clock(
                (now - first) / (epoch - 1) * (epochs - epoch) if epoch > 1 and now > first else None
            )
            print(
                f"worker {worker}: epoch {epoch}/{epochs}, loss {loss:.3f}, time left: {left}",
                file=sys.stderr,
            )
            last = now

    return report


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
        time_needed = clock(work / rate if rate else None)
        print(
            f"{inputs.key(config)}  {title(config)}  missing: {work / 1e12:8.1f} TFLOP, {time_needed}{needed}"
        )
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
