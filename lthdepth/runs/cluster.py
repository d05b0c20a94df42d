"""A sweep on a Ray cluster, whose machines need not share a disk: the files of runs go there and come back.

Every run is a task of one CPU and a share of a GPU. Ray hands a task the files of the runs that it follows
from, decides where it is made, and begins it anew where a worker dies: there from its checkpoint, elsewhere
anew.
"""

import json
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..files import write_atomic
from ..training import arms
from ..training.fit import Diverged
from . import run as runs
from .record import line, revision, sealed, title
from .store import Store
from .sweep import missing

SCRATCH = Path(tempfile.gettempdir()) / f"lthdepth-ray-{os.getuid()}"  # on its machines: unfinished runs
RETRIES = 2  # how often a run is begun anew whose worker dies


def on_cluster(configs, inputs, store, options, study, gpus=0.0):
    """As `sweep.sweep`, on the cluster that Ray finds; gpus: share of one for every run, 0 for none."""
    ray = connect()
    how = replace(options, device="cuda" if gpus else "cpu", progress=False, deadline=None)
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(made)
    given, tasks, todo = ray.put(inputs), {}, missing(configs, inputs, store, how)
    for config, how in todo.items():
        needed = [inputs.key(c) for c in (config, *arms.parents(config).values())]  # what is here of it too
        files = [tasks.get(name) or contents(store.local.glob(f"{name}/[!.]*")) for name in needed]
        tasks[inputs.key(config)] = make.remote(config, given, how, study, *files)
    waiting, failed = {tasks[inputs.key(config)]: config for config in todo}, {}
    try:
        while waiting:
            left = None if options.deadline is None else max(0, options.deadline - time.monotonic())
            done, _ = ray.wait(list(waiting), timeout=left)
            if not done:  # the time is up
                break
            config = waiting.pop(done[0])
            name = inputs.key(config)
            try:
                why = collect(ray.get(done[0]), store)
            except ray.exceptions.RayError as error:
                why = str(error).strip().splitlines()[-1]
            if why:
                failed[name] = why
            print(f"{name}  {title(config)}  failed: {why}" if why else line(store.get(name)), flush=True)
    finally:
        for task in waiting:
            ray.cancel(task, force=True)
    return list(waiting.values()), failed


def connect():
    """Join the cluster; returns the module `ray`. Raises UserError where Ray or a cluster is absent."""
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


def collect(files, store):
    """Write what `made` returned into the store; returns why the run failed, "" where it is finished."""
    why, (commit, dirty) = "", revision()  # a worker has no repository to ask
    for path, content in files.items():
        if path.endswith(".json"):
            record = json.loads(content)
            why, content = record.get("reason", ""), sealed(record | {"commit": commit, "dirty": dirty})
        write_atomic(store.local / path, content)
    return why


def contents(paths):
    """`{path in the store: bytes}` of the files of runs, the records last."""
    paths = sorted(paths, key=lambda path: path.suffix == ".json")
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


def made(config, inputs, options, study, *given):
    """The `contents` of a run, made on a worker in a folder of its own; of a failed one its failed record.

    given: what this returned of the runs that it follows from.
    """
    name = inputs.key(config)
    store, wanted = Store(SCRATCH / name, SCRATCH / "nothing"), f"{name}/[!.]*"
    for path, content in (item for files in given for item in files.items()):
        write_atomic(store.local / path, content)
    try:
        runs.run(config, inputs, store, options, study)
    except Diverged:
        wanted = "*/failed.json"
    files = contents(store.local.glob(wanted))
    shutil.rmtree(store.local)
    return files
