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
KINDS = ("ticket.npz", "weights.pt", "epoch-*.pt", "mask-*.npz", "record.json")  # what later runs start from


def sweep(configs, inputs, store, options, study, gpus=0.0):
    """As `sweep.sweep`, with as many runs at a time as the cluster has room for.

    gpus: share of a GPU for every run, 0 for none. The cluster is what Ray finds, such as RAY_ADDRESS.

    Raises:
        UserError: Ray is not installed, or no cluster is there.
    """
    connect()
    todo, refs, chains = missing(configs, inputs, store, options), {}, {}
    end = None if options.deadline is None else time.time() + options.deadline - time.monotonic()
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(made)
    given, how = (
        ray.put(inputs),
        replace(options, device="cuda" if gpus else "cpu", progress=False, deadline=None),
    )
    for config, needed in todo.items():
        before = [refs[c] for c in arms.parents(config).values() if c in refs]
        here = [store.local / inputs.key(c) for c in arms.parents(config).values() if c not in refs]
        if config.arm == "logits":  # the first of a chain draws its rounds for the others
            chain = logits.chain(config, inputs.weights(config), inputs.unlabelled(config))
            before += [chains[chain]] if chain in chains else []
            here.append(store.local / chain)
        wanted = replace(how, keep=needed.keep, snapshot=needed.snapshot)
        refs[config] = make.remote(config, given, wanted, (study, end), packed(here), *before)
        if config.arm == "logits":
            chains.setdefault(chain, refs[config])
    return _collect(refs, inputs, store)


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


def _collect(refs, inputs, store):
    """Write what the tasks return as they end; `(left, failed)` as `sweep.sweep`."""
    configs, left, failed = {ref: config for config, ref in refs.items()}, [], {}
    commit, dirty = revision()  # a worker has no repository to ask
    try:
        while configs:
            (ref, *_), _ = ray.wait(list(configs), num_returns=1)
            config, name = configs[ref], inputs.key(configs.pop(ref))
            try:
                files = dict(ray.get(ref))
            except ray.exceptions.RayError as error:
                failed[name] = str(error).strip().splitlines()[-1]
                print(f"{name}  {title(config)}  failed: {failed[name]}", flush=True)
                continue
            for status, (_, file) in FILES.items():
                if content := files.pop(f"{name}/{file}", None):
                    record = sealed(parse(content, name, status) | {"commit": commit, "dirty": dirty})
                    files[f"{name}/{file}"] = record  # last: it says that the run is finished
                    print(
                        line(record) if status == "finished" else f"{name}  failed: {record['reason']}",
                        flush=True,
                    )
                    if status == "failed":
                        failed[name] = record["reason"]
            for path, content in files.items():
                with locked((store.local / path).parent):
                    write_atomic(store.local / path, content)
            if any(inputs.key(parent) in failed for parent in arms.parents(config).values()):
                failed[name] = "it follows from a run that failed"
            elif not any(f"{name}/{file}" in files for _, file in FILES.values()):
                left.append(config)
    finally:
        for ref in configs:
            ray.cancel(ref, force=True)
    return left, failed


def packed(folders):
    """`{path in the store: bytes}` of what later runs start from."""
    paths = [path for folder in folders for kind in KINDS for path in sorted(folder.glob(kind))]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


def made(config, inputs, options, filed, *given):
    """Make a run on a worker, in a folder of its own that is removed when the run is done.

    Args:
        filed: study, and `time.time()` at which to stop or None; given: `packed` files of those it follows
            from.

    Returns:
        The files of the run, as `packed`: without a record where the time was up, or a run that it follows
        from failed.
    """
    (study, end), name = filed, inputs.key(config)
    store = Store(SCRATCH / name, SCRATCH / "nothing")
    before = {path: content for files in given for path, content in files.items()}
    if end is not None and time.time() > end:
        return {}
    for path, content in before.items():
        write_atomic(store.local / path, content)
    if end is not None:
        options = replace(options, deadline=time.monotonic() + end - time.time())
    try:
        runs.run(config, inputs, store, options, study)
    except Stopped:
        return {}
    except Diverged:
        pass  # it is recorded as failed, or a run that it follows from is
    folders = [p for p in store.local.iterdir() if p.is_dir() and not p.name.startswith(".")]
    unneeded = () if options.keep else (f"{name}/weights.pt",)
    files = {k: v for k, v in packed(folders).items() if k not in before and k not in unneeded}
    for kind in ("arrays.npz", "failed.json"):
        if (path := store.local / name / kind).exists():
            files[f"{name}/{kind}"] = path.read_bytes()
    shutil.rmtree(store.local)
    return files
