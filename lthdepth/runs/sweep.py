"""A study's runs: what is missing, made one after the other. Several such sweeps at a time share the work.

Runs are named and locked, so that another worker is this very loop once more: what one is making, the others
leave, and come back to. One that is killed gives its run up, and the next continues it.

On a Ray cluster files go there and come back, so that its machines need not share a disk. Every run is a task
of one CPU and a share of a GPU; Ray hands a run the files of those that it follows from, decides where it is
made, and begins it anew where a worker dies: there from its checkpoint, elsewhere anew.
"""

import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from ..data import nyu, weights
from ..errors import UserError, warn
from ..files import Busy, locked, write_atomic
from ..mask import positions
from ..model import FCRN
from ..training import arms
from ..training.evaluate import rows_of
from ..training.fit import Diverged, Options, Stopped, clear
from . import run as runs
from . import studies
from .record import line, parse, revision, sealed, title
from .store import FILES, Store

PAUSE = 1.0  # seconds between two looks at runs that others are making
SCRATCH = Path(tempfile.gettempdir()) / f"lthdepth-ray-{os.getuid()}"  # on its machines: unfinished runs
RETRIES = 2  # how often a run is begun anew whose worker dies


def gathered(name, data, source):
    """`(Inputs, Study)` of a study by name, on frames as `nyu.load` and weights as `weights.load`.

    The weights decide on the backbone of the study "quick". Raises UserError for what cannot be read.
    """
    initial, frames = weights.load(source), nyu.load(data)  # the quicker first: a mistake costs less
    if name == "quick" and frames.name != "rooms":
        frames = frames.subset(*studies.QUICK_FRAMES)
    return runs.Inputs(frames, initial), studies.study(name, initial.backbone or "resnet18")


def missing(configs, inputs, store, options=Options()):
    """What is missing of a study, in its order, but each run after those that it follows from.

    Returns `{Config: Options}`, with `weights` where a later run needs the weights.
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


def on_cluster(configs, inputs, store, options, study, gpus=0.0):
    """As `sweep`, with as many runs at a time as the cluster has room for.

    gpus: share of a GPU for every run, 0 for none. The cluster is what Ray finds, such as RAY_ADDRESS.

    Raises:
        UserError: Ray is not installed, or no cluster is there.
    """
    ray = connect()
    todo, tasks = missing(configs, inputs, store, options), {}
    end = None if options.deadline is None else time.time() + options.deadline - time.monotonic()
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(made)
    given = ray.put(inputs)
    options = replace(options, device="cuda" if gpus else "cpu", progress=False, deadline=None)
    for config, needed in todo.items():
        folders = [inputs.key(parent) for parent in arms.parents(config).values()]
        here = contents(store.local / name for name in folders if name not in tasks)
        there = [tasks[name] for name in folders if name in tasks]
        how = replace(options, weights=needed.weights)
        tasks[inputs.key(config)] = make.remote(config, given, how, (study, end), (here, ""), *there)
    return collect(ray, {tasks[inputs.key(config)]: config for config in todo}, inputs, store)


def connect():
    """Join the cluster; returns the module `ray`. Raises UserError as `on_cluster`."""
    try:
        import ray  # no part of the environment unless it is asked for
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'lthdepth[ray]'.") from None
    package = {"py_modules": [str(Path(__file__).parents[1])]}
    try:
        ray.init("auto", runtime_env=package, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError):  # the latter where RAY_ADDRESS is none
        raise UserError(
            "no Ray cluster answers: start one with `ray start --head`, or name one in RAY_ADDRESS."
        ) from None
    return ray


def collect(ray, tasks, inputs, store):
    """Write the files of `{task: Config}` as they end; returns `(left, failed)` as `sweep`."""
    left, failed = [], {}
    commit, dirty = revision()  # a worker has no repository to ask
    try:
        while tasks:
            (task, *_), _ = ray.wait(list(tasks), num_returns=1)
            config = tasks.pop(task)
            name, files, why = inputs.key(config), {}, ""
            try:
                files, why = ray.get(task)
            except ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[-1]
            with locked(store.local / name):
                for path in sorted(files, key=lambda path: path.endswith("/record.json")):  # the record last
                    content = files[path]
                    for status, (_, file) in FILES.items():
                        if path == f"{name}/{file}":
                            record = parse(content, path, status)
                            content = sealed(record | {"commit": commit, "dirty": dirty})
                    write_atomic(store.local / path, content)
            if why is None:
                left.append(config)
            elif why:
                failed[name] = why
                print(f"{name}  {title(config)}  failed: {why}", flush=True)
            else:
                print(line(store.get(name)), flush=True)
    finally:
        for task in tasks:
            ray.cancel(task, force=True)
    return left, failed


def contents(folders):
    """`{path in the store: bytes}` of the files of runs, but for their checkpoints."""
    paths = [path for folder in folders for path in folder.glob("[!.]*") if path.name != "checkpoint.pt"]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


def made(config, inputs, options, filed, *given):
    """Make a run on a worker, in a folder of its own that is removed when the run is done.

    Args:
        filed: study, and `time.time()` at which to stop or None.
        given: what this returned of the runs that it follows from.

    Returns:
        `(files, why)`: the run's `contents`; why it failed, "" where it is finished, None where the time was
        up.
    """
    (study, end), name, why = filed, inputs.key(config), ""
    if end is not None:
        if time.time() > end:
            return {}, None
        options = replace(options, deadline=time.monotonic() + end - time.time())
    store = Store(SCRATCH / name, SCRATCH / "nothing")
    before = {path: content for files, _ in given for path, content in files.items()}
    for path, content in before.items():
        write_atomic(store.local / path, content)
    try:
        runs.run(config, inputs, store, options, study)
    except Stopped:
        return {}, None
    except Diverged as error:
        why = str(error)
    files = contents(store.local.glob("[!.]*"))
    unneeded = before.keys() if options.weights else before.keys() | {f"{name}/weights.pt"}
    shutil.rmtree(store.local)
    return {path: content for path, content in files.items() if path not in unneeded}, why


def start_workers(words, jobs, device):
    """Run a command line of this package in `jobs` processes, with a share of the cores each, until all end.

    device: "auto" and "cuda" spread them over the GPUs.
    """
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
        model = FCRN(backbone)
    convolutions, uses = positions(model, height, width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


def flops(config, frames):
    """Floating-point operations of a run: two a multiply-accumulate; a backward pass costs two forward ones.

    Masked weights are multiplied like all others.
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


def publish(configs, inputs, store, study):
    """Copy a study's runs into `results/`, with the rounds behind its tickets.

    A run that studies share stays filed under the first.
    """
    known = store.failed() | store.records()
    names = dict.fromkeys(inputs.key(c) for config in configs for c in arms.lineage(config))
    store.publish([n for n in names if store.has(n) and known[n]["study"] in (study, "own")], study)
