"""A study's runs on a Ray cluster: files go there and come back, so that its machines need not share a disk.

Every run is a task of one CPU and a share of a GPU; Ray hands a run the files of those that it follows from,
decides where it is made, and begins it anew where a worker dies: there from its checkpoint, elsewhere anew.
"""

import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..files import locked, write_atomic
from ..training import arms, logits
from ..training.fit import Diverged, Stopped
from . import run as runs
from .record import line, parse, revision, sealed, title
from .store import FILES, Store
from .sweep import missing

try:
    import ray
except ImportError:
    ray = None

SCRATCH = Path(tempfile.gettempdir()) / f"lthdepth-ray-{os.getuid()}"  # on its machines: unfinished runs
RETRIES = 2  # how often a run is begun anew whose worker dies


def sweep(configs, inputs, store, options, study, gpus=0.0):
    """As `sweep.sweep`, with as many runs at a time as the cluster has room for.

    gpus: share of a GPU for every run, 0 for none. The cluster is what Ray finds, such as RAY_ADDRESS.

    Raises:
        UserError: Ray is not installed, or no cluster is there.
    """
    connect()
    todo, tasks = missing(configs, inputs, store, options), {}
    end = None if options.deadline is None else time.time() + options.deadline - time.monotonic()
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(made)
    given = ray.put(inputs)
    options = replace(options, device="cuda" if gpus else "cpu", progress=False, deadline=None)
    for config, needed in todo.items():
        folders = [inputs.key(parent) for parent in arms.parents(config).values()]
        if config.arm == "logits":  # the first of a chain draws its rounds for the others
            folders.append(logits.chain(config, inputs.weights(config), inputs.unlabelled(config)))
        here = contents(store.local / name for name in folders if name not in tasks)
        there = [tasks[name] for name in folders if name in tasks]
        how = replace(options, keep=needed.keep, snapshot=needed.snapshot)
        task = make.remote(config, given, how, (study, end), (here, ""), *there)
        tasks[inputs.key(config)] = task
        if config.arm == "logits":
            tasks.setdefault(folders[-1], task)
    return collect({tasks[inputs.key(config)]: config for config in todo}, inputs, store)


def connect():
    """Join the cluster. Raises UserError as `sweep`."""
    if ray is None:
        raise UserError("--engine ray needs Ray: pip install 'lthdepth[ray]'.")
    package = {"py_modules": [str(Path(__file__).parents[1])]}
    try:
        ray.init("auto", runtime_env=package, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError):  # the latter where RAY_ADDRESS is none
        raise UserError(
            "no Ray cluster answers: start one with `ray start --head`, or name one in RAY_ADDRESS."
        ) from None


def collect(tasks, inputs, store):
    """Write the files of `{task: Config}` as they end; returns `(left, failed)` as `sweep.sweep`."""
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
    unneeded = before.keys() if options.keep else before.keys() | {f"{name}/weights.pt"}
    shutil.rmtree(store.local)
    return {path: content for path, content in files.items() if path not in unneeded}, why
