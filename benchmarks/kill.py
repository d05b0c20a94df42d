"""The kill test: real trainings killed with SIGKILL at random moments and started again must end as if nothing had happened.

    python benchmarks/kill.py --trials 100 --write      # 100 trials, 10 to 20 minutes on one core; writes kill.csv

A trial makes its runs in an empty folder, is killed one to three times, and is started again until it ends. Every other
kill is aimed at a kind of moment (in a step, while a checkpoint, record, ticket or cache is written), the rest fall
anywhere. The clean-up is what follows when a record or cache is in its place. After every kill each file that is there must be whole. At the end the weights, the per-image errors, the ticket
and the record (but for times) must be those of a reference that was never killed, bit by bit, and nothing must be left over.
Three kinds of work: one run (`train`), three runs of a sweep by one or two workers (`sweep`), and a notebook that papermill
runs (`build`; the build or its kernel is killed).
"""

import argparse
import csv
import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from lthdepth import files
from lthdepth.__main__ import main as lthdepth
from lthdepth.config import Config, level
from lthdepth.data import augment, rooms
from lthdepth.data import nyu as data
from lthdepth.data.hdf5 import open_h5
from lthdepth.paper.study import Desk
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments

HERE = Path(__file__).parent
MOMENTS = ("elsewhere", "cache", "ticket", "step", "checkpoint", "weights", "arrays", "record", "clean-up")
SHARE = {"train": 0.65, "sweep": 0.25, "build": 0.10}
TINY = Config(backbone="resnet18", height=32, width=32, batch=4, epochs=2, arm="omp", density=0.1)
SOURCE = "rooms:24"
DELAY = {
    "checkpoint": 0.3,
    "cache": 0.5,
    "step": 0.1,
    "weights": 0.15,
    "record": 0.001,
}  # seconds; others: 4 ms
NOTEBOOK = """\
# %% tags=["parameters"]
profile, data, weights, device = "quick", None, None, "cpu"

# %%
import sys
sys.path.insert(0, {here!r})
import kill
kill.Moments({folder!r}, 0).watch()
kill.settle({folder!r})
print(kill.notebook())
"""


class Moments:
    """What a worker, or its kernel, is doing just now, in a file that outlives it: the moment and how often each kind came."""

    def __init__(self, folder, worker):
        path, size = Path(folder) / f"moments-{worker}", 4 * (1 + len(MOMENTS))
        if not path.exists():
            path.write_bytes(bytes(size))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), size)

    def note(self, moment):
        i = MOMENTS.index(moment)
        (n,) = struct.unpack_from("I", self.memory, 4 * (1 + i))
        struct.pack_into("I", self.memory, 4 * (1 + i), n + 1)
        struct.pack_into("I", self.memory, 0, i)

    def now(self):
        return MOMENTS[struct.unpack_from("I", self.memory, 0)[0]]

    def times(self, moment):
        return struct.unpack_from("I", self.memory, 4 * (1 + MOMENTS.index(moment)))[0]

    def watch(self):
        """In a worker: note every moment from now on."""
        make, replace, train, render = tempfile.mkstemp, os.replace, augment.Views.train, rooms.render

        def writing(*args, prefix="", **options):
            name = prefix.strip(".").split(".")[0].split("_")[0]
            self.note({"rooms": "cache"}.get(name, name) if name in (*MOMENTS, "rooms") else "elsewhere")
            return make(*args, prefix=prefix, **options)

        def written(source, target):
            replace(source, target)
            if str(source).endswith(".part"):
                self.note("clean-up" if Path(target).name.startswith(("record", "rooms")) else "elsewhere")

        def step(*args):
            self.note("step")
            return train(*args)

        def rendering(*args, **options):
            self.note("cache")
            return render(*args, **options)

        tempfile.mkstemp, os.replace, augment.Views.train, rooms.render = writing, written, step, rendering


def settle(folder):
    """Everything this process keeps goes into a folder of its own."""
    folder = Path(folder)
    torch.set_num_threads(1)
    data.DATA_DIR = folder / "data"
    runs.Store.__init__.__defaults__ = (folder / "runs", folder / "results")
    dense = TINY.replace(arm="dense", density=1.0)
    configs = (Config(arm="floor"), dense, TINY.replace(arm="imp", density=level(1)))
    study = experiments.Study("quick", "Kill test", configs)
    experiments.study = lambda *_: study


def notebook():
    """What the notebook of the kind `build` does: ask a desk for the records of its study."""
    desk = Desk("quick", SOURCE, "none", "cpu")
    return [f"{r['test']['full']['pooled']['rms']:.6f}" for r in desk.records(arms=("floor", "dense"))]


def work(kind, folder):
    """Do, or go on with, the work of a trial. Returns the exit status."""
    settle(folder)
    if kind == "train":
        settings = [
            f"{k}={getattr(TINY, k)}"
            for k in ("backbone", "height", "width", "batch", "epochs", "arm", "density")
        ]
        return lthdepth(["train", "--data", SOURCE, "--device", "cpu", "--setting", "published", *settings])
    if kind == "sweep":
        return lthdepth(["sweep", "quick", "--data", SOURCE, "--device", "cpu", "--every", "0"])
    from lthdepth.paper import build

    page = build.build("quick", SOURCE, device="cpu", notebooks=folder / "notebooks", out=folder / "build")
    return 0 if page.exists() else 1


def prepare(kind, folder):
    """A new folder for a trial, with its notebook where it builds one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if kind == "build":
        from lthdepth.paper import pairs

        (folder / "notebooks").mkdir()
        (folder / "notebooks" / "01_small.py").write_text(NOTEBOOK.format(here=str(HERE), folder=str(folder)))
        pairs.write(folder / "notebooks")


def start(kind, folder, worker=0):
    """A worker: a fork of this process, which has everything imported. Returns its process id and its moments."""
    (folder / f"moments-{worker}").unlink(missing_ok=True)
    moments = Moments(folder, worker)
    if pid := os.fork():
        return pid, moments
    try:
        with open(folder / "log", "a", encoding="utf-8") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            if kind != "build":  # there its kernel does the work
                moments.watch()
            try:
                status = work(kind, folder)
            except BaseException:
                traceback.print_exc()
                status = 70
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(status)


def end(pid, limit=300):
    """Wait for a worker: its exit status, or None where it was killed; after `limit` seconds it is killed and that is an error."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 124


def running(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def kernels(pid):
    """Process ids of the children of a process: the kernel of a build."""
    try:
        return [
            int(child)
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        ]
    except OSError:
        return []


def kill(kind, folder, rng, length, aimed):
    """Start the work and kill it. Returns the moment it was in, or None where it had ended before."""
    workers = [start(kind, folder, n) for n in range(2 if kind == "sweep" and rng.random() < 0.5 else 1)]
    pid, moments = rng.choice(workers)
    if aimed:
        n = rng.choice((1, 2))
        until = time.monotonic() + length
        while moments.times(aimed) < n and running(pid) and time.monotonic() < until:
            time.sleep(0.0003)
        time.sleep(rng.random() * DELAY.get(aimed, 0.004))
    else:
        until = time.monotonic() + rng.random() * length
        while running(pid) and time.monotonic() < until:
            time.sleep(0.001)
    hit = None
    if running(pid):
        killed = rng.choice([pid, *(kernels(pid) if kind == "build" else [])])
        with suppress(ProcessLookupError):
            hit = moments.now()
            os.kill(killed, signal.SIGKILL)
    statuses = {worker: end(worker) for worker, _ in workers}  # the others go on to their end
    return hit if statuses[pid] != 0 else None


def damaged(folder):
    """Files under their final names that are not whole."""
    readers = {
        ".pt": files.read_tensors,
        ".npz": files.read_arrays,
        ".json": lambda p: json.loads(p.read_text()),
        ".h5": check_h5,
    }
    found = []
    for path in [*folder.glob("runs/*/*"), *folder.glob("data/*")]:
        if not path.name.startswith("."):
            try:
                readers[path.suffix](path)
            except Exception as error:
                if not path.exists():  # a kernel that outlived its build has put it away meanwhile
                    continue
                found.append(f"{path.name}: {error}")
    return found


def check_h5(path):
    with open_h5(path):
        pass


def outcome(folder):
    """What a trial made, by run: digests of weights, arrays and ticket, and the record without times."""
    made = {}
    for path in sorted(folder.glob("runs/*/record.json")):
        record = json.loads(path.read_text())
        for name in ("seconds", "images_per_second", "sha256", "date", "dirty", "commit"):
            record.pop(name, None)
        digest = hashlib.sha256()
        weights = path.with_name("weights.pt")
        tensors = files.read_tensors(weights) if weights.exists() else {}
        arrays = files.read_arrays(path.with_name("arrays.npz"))
        for name, value in [*sorted(tensors.items()), *sorted(arrays.items())]:
            digest.update(name.encode() + (value.numpy() if torch.is_tensor(value) else value).tobytes())
        made[path.parent.name] = record, digest.hexdigest()
    over = [p.name for p in folder.rglob("*") if p.suffix == ".part"]
    over += [p.name for p in folder.glob("runs/*/checkpoint*")]
    return made, over


def trial(kind, folder, seed, length, cache):
    """One trial. Returns the moments of its kills, half-written files found, and its outcome with the last exit status."""
    rng, hits, broken = random.Random(seed), [], []
    aimed = rng.choice(MOMENTS[1:]) if rng.random() < 0.5 else None
    if aimed != "cache" and rng.random() < 0.8:  # most find the rooms rendered
        shutil.copytree(cache, folder / "data")
    for _ in range(rng.choice((1, 1, 2, 3))):
        if hit := kill(kind, folder, rng, length, aimed):
            hits.append(hit)
        broken += damaged(folder)
    status = end(start(kind, folder)[0])
    return hits, broken, outcome(folder), status


def tally(kind, n, rows):
    """A row of the table: trials, and kills by moment."""
    inside = {m: rows[kind, m] for m in MOMENTS}
    return {"work": kind, "trials": n, "kills": sum(inside.values())} | inside


def write(made):
    """Keep rows in benchmarks/kill.csv, in place of those of the same work."""
    path, kept = HERE / "kill.csv", {}
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            kept = {row["work"]: row for row in csv.DictReader(file)}
    kept |= made
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(next(iter(made.values()))), lineterminator="\n")
        table.writeheader()
        table.writerows(kept[kind] for kind in SHARE if kind in kept)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--kind", choices=tuple(SHARE), help="only this kind of work")
    parser.add_argument(
        "--narrow", action="store_true", help="a network an eighth as wide, as the test suite does (no build)"
    )
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/kill.csv")
    args = parser.parse_args()
    torch.set_num_threads(1)
    counts = {k: round(s * args.trials) for k, s in SHARE.items()}
    counts = (
        {args.kind: args.trials}
        if args.kind
        else counts | {"train": args.trials - counts["sweep"] - counts["build"]}
    )
    if args.narrow:
        sys.path.append(str(HERE.parent / "tests"))
        from narrow import narrow

        narrow(setattr)
        DELAY.clear()
    if counts.get("build"):  # before the forks; elsewhere its three seconds are spared
        pass
    rows, survived, halves, lost = Counter(), Counter(), Counter(), []
    with tempfile.TemporaryDirectory(dir=args.folder) as top:
        cache = Path(top) / "rooms"
        for kind, n in counts.items():
            whole = Path(top) / f"{kind}-reference"
            prepare(kind, whole)
            if cache.exists():
                shutil.copytree(cache, whole / "data")
            began = time.monotonic()
            if n and (status := end(start(kind, whole)[0])):
                sys.exit(f"the reference of {kind} ended with {status}:\n{(whole / 'log').read_text()}")
            length, (reference, _) = time.monotonic() - began, outcome(whole)
            if n and not cache.exists():
                shutil.copytree(whole / "data", cache)
            for i in range(n):
                hits = []
                for attempt in range(
                    20
                ):  # a kill that comes after the end is none: such a trial is made anew
                    folder = Path(top) / f"{kind}-{i}"
                    prepare(kind, folder)
                    seed = f"{args.seed} {kind} {i} {attempt}"
                    hits, broken, (made, over), status = trial(kind, folder, seed, length, cache)
                    if hits or broken or made != reference:
                        break
                good = hits and status == 0 and made == reference and made and not broken and not over
                for moment in hits:
                    rows[kind, moment] += 1
                survived[kind] += bool(good)
                halves[kind] += len(broken)
                print(
                    f"{kind} {i + 1}/{n}: killed {', '.join(hits) or 'never'}: {'identical' if good else 'LOST'}",
                    flush=True,
                )
                if not good:
                    lost.append(
                        f"{kind} {i}: status {status}, half-written {broken}, left over {over}\n{(folder / 'log').read_text()}"
                    )
                shutil.rmtree(folder)
    if args.write:
        write(
            {
                kind: tally(kind, n, rows) | {"half-written": halves[kind], "identical": survived[kind]}
                for kind, n in counts.items()
            }
        )
    print(f"{sum(survived.values())} of {sum(counts.values())} trials ended as if nothing had happened")
    sys.exit("\n".join(lost)[-6000:] or 0)


if __name__ == "__main__":
    main()
