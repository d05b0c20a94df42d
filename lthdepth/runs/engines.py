"""Who makes the runs of a sweep: this process, or several on this machine. `cluster.Ray` has the same methods."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

import torch
from tqdm.auto import tqdm

from ..training.fit import pick_device
from .sweep import attempt


class Here:
    """One worker, this process, with a progress bar.

    Args:
        inputs: `inputs.Inputs`; store, device, study, every: as `runs.run`.
    """

    slots = 1

    def __init__(self, inputs, store, device, study, every):
        self.made = []
        self.options = (inputs, store, device, study)
        self.every = every

    def start(self, slot, job, seconds, wait):
        """Make the run now. seconds: until it must have stopped; wait: where another process is making it."""
        self.made.append((slot, *attempt(job, *self.options, seconds, self.every, True, wait)))

    def wait(self, seconds):
        """What happened within so many seconds: `[(slot, outcome, value)]`, see `sweep.attempt`."""
        made, self.made = self.made, []
        return made

    def close(self):
        """End what is at work."""


class Local:
    """Several processes on this machine, which share its cores, or its GPUs in turn.

    A process starts with its first run and keeps data and weights for the next. One that is killed is replaced; all end with
    this process, however it ends.

    Args:
        slots: number of workers; sources: `inputs.Sources`; the others as `Here`.
    """

    def __init__(self, slots, sources, store, device, study, every):
        self.slots, self.context, self.workers = slots, multiprocessing.get_context("forkserver"), {}
        self.context.set_forkserver_preload(
            [__name__]
        )  # torch is loaded once, for all workers and those that replace them
        threads = max(1, torch.get_num_threads() // slots)
        self.options = sources, store, study, every, threads
        gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
        self.devices = [f"cuda:{i % gpus}" if gpus else str(device) for i in range(slots)]

    def start(self, slot, job, seconds, wait):
        """Send a run to a worker."""
        if slot not in self.workers:
            here, there = self.context.Pipe()
            process = self.context.Process(
                target=_work, args=(there, self.devices[slot], *self.options), daemon=True
            )
            process.start()
            there.close()
            self.workers[slot] = (process, here)
        with contextlib.suppress(OSError):  # that it died is seen in `wait`
            self.workers[slot][1].send((job, seconds, wait))

    def wait(self, seconds):
        """As `Here.wait`; also "progress" with `(epochs done, epochs, loss)`, and "died" with how."""
        pipes = {pipe: slot for slot, (_, pipe) in self.workers.items()}
        found = []
        for pipe in multiprocessing.connection.wait(list(pipes), seconds):
            slot = pipes[pipe]
            try:
                found.append((slot, *pipe.recv()))
            except (EOFError, OSError):
                process, _ = self.workers.pop(slot)
                process.join()
                pipe.close()
                found.append((slot, "died", f"exit status {process.exitcode}"))
        return found

    def close(self):
        """End all workers: idle ones at once, those at work as if they were killed."""
        for process, pipe in self.workers.values():
            process.kill()
            process.join()
            pipe.close()
        self.workers = {}


def _work(pipe, device, sources, store, study, every, threads):
    """A worker: takes `(job, seconds, wait)` from the pipe until it closes, and sends what happened."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep decides
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    torch.set_num_threads(threads)
    tqdm.set_lock(
        threading.RLock()
    )  # its default, shared between processes, is left behind by one that is killed
    inputs, device = sources.load(), pick_device(device)
    while True:
        try:
            job, seconds, wait = pipe.recv()
        except EOFError:
            return

        def progress(*state):
            pipe.send(("progress", state))

        pipe.send(attempt(job, inputs, store, device, study, seconds, every, progress, wait))
