"""Runs of a sweep on a Ray cluster: files go there and come back, so that its machines need not share a disk."""

import os
import shutil
import tempfile
from pathlib import Path

from ..errors import UserError
from ..files import locked, write_atomic
from .record import environment, sealed
from .store import Store
from .sweep import attempt

try:
    import ray
    from ray.util.queue import Queue
except ImportError:
    ray = None

SCRATCH = (
    Path(tempfile.gettempdir()) / f"lthdepth-ray-{os.getuid()}"
)  # on the cluster's machines: unfinished runs


class Ray:
    """Workers of a Ray cluster, each with one CPU and a share of a GPU; methods as `engines.Local`.

    A worker gets the files of the runs that its run needs, and returns those of its own. One that dies is replaced, on
    any machine; its run continues from its checkpoint where that machine has it.

    Args:
        slots: the most runs at a time; gpus: share of a GPU for every run, 0 for none.
        inputs: `inputs.Inputs`; store, study, every: as `engines.Here`.
        address: of the cluster; None: what Ray finds, such as RAY_ADDRESS.

    Raises:
        UserError: Ray is not installed, or no cluster is there.
    """

    def __init__(self, slots, gpus, inputs, store, study, every, address=None):
        if ray is None:
            raise UserError("--engine ray needs Ray: pip install 'lthdepth[ray]'.")
        package = {"py_modules": [str(Path(__file__).parents[1])]}
        try:
            ray.init(address or "auto", runtime_env=package, log_to_driver=False, ignore_reinit_error=True)
        except (ConnectionError, ValueError):  # the latter where RAY_ADDRESS is none
            raise UserError(
                "no Ray cluster answers: start one with `ray start --head`, or name one in RAY_ADDRESS."
            ) from None
        self.slots, self.store, self.refs = slots, store, {}
        self.news = Queue(actor_options={"num_cpus": 0})
        made = {k: environment("cpu")[k] for k in ("commit", "dirty")}  # a worker has no repository to ask
        self.rest = ray.put(inputs), "cuda" if gpus else "cpu", study, every, made
        self.make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_make)

    def start(self, slot, job, seconds, wait):
        """Send a run, with the files it needs."""

        def progress(*state, news=self.news):
            news.put_nowait((slot, "progress", state))

        self.refs[self.make.remote(job, _needed(job, self.store), *self.rest, seconds, progress)] = slot

    def wait(self, seconds):
        """As `engines.Local.wait`."""
        ready, _ = ray.wait(list(self.refs), num_returns=1, timeout=seconds)
        found = [
            news for news in self.news.get_nowait_batch(self.news.qsize()) if news[0] in self.refs.values()
        ]
        for ref in ready:
            slot = self.refs.pop(ref)
            try:
                outcome, value, files = ray.get(ref)
            except (
                ray.exceptions.WorkerCrashedError,
                ray.exceptions.NodeDiedError,
                ray.exceptions.OutOfMemoryError,
            ) as error:
                found.append((slot, "died", type(error).__name__))
                continue
            for name, content in files.items():
                with locked((self.store.local / name).parent):
                    write_atomic(self.store.local / name, content)
            found.append((slot, outcome, value))
        return found

    def close(self):
        """End what is at work."""
        for ref in self.refs:
            ray.cancel(ref, force=True)
        self.refs = {}


def _needed(job, store):
    """`{path in the store: bytes}` of the finished runs and rounds that a run starts from."""
    kinds = ("record.json", "ticket.npz", "weights.pt", "epoch-*.pt")
    paths = [path for name in job.needs for kind in kinds for path in (store.local / name).glob(kind)]
    paths += sorted((store.local / job.chain).glob("mask-*.npz")) if job.chain else []
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


def _make(job, files, inputs, device, study, every, made, seconds=None, progress=False):
    """Make a run on a worker, in a folder of its own that is removed when the run is done.

    Args:
        files: of `_needed`; made: what the record says of the code.

    Returns:
        `(outcome, value, files)`, the first two as `sweep.attempt`; the record is the last of the files, since it says
        that a run is finished.
    """
    store = Store(SCRATCH / job.key, SCRATCH / "nothing")
    for name, content in files.items():
        if not (store.local / name).exists():
            write_atomic(store.local / name, content)
    outcome, value = attempt(job, inputs, store, device, study, seconds, every, progress, True)
    folder = store.local / job.key
    if outcome == "finished":
        value = sealed(value | made)
        write_atomic(folder / "record.json", value)
    paths = [
        folder / name for name in ("arrays.npz", "ticket.npz", "failed.json", f"epoch-{job.snapshot}.pt")
    ]
    paths += [folder / "weights.pt"] * job.keep + [folder / "record.json"]
    paths = sorted((store.local / job.chain).glob("mask-*.npz")) * bool(job.chain) + paths
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths if path.exists()}
    if outcome in ("finished", "failed"):
        shutil.rmtree(store.local)
    return outcome, value, found
