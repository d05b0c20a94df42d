"""Train every missing run of a study, on several workers if wanted; finished ones are kept, stopped ones continued.

All arms of one seed and level come before the next, so that a sweep that is cut off is useful. Whatever ends it, the
same command continues it.
"""

import sys
import time
from pathlib import Path

from ..errors import UserError
from . import line, sources


def arguments(p):
    p.add_argument("study", help="quick, recipe, pilot, paper, postmortem or postmortem-small")
    sources(p, True, "append")
    p.add_argument(
        "--photos",
        metavar="SOURCE",
        help="unlabelled photos for the arm logits: a folder or .h5 (default: training frames)",
    )
    p.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="workers that share the machine's cores or GPUs (default 1)",
    )
    p.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="only these seeds of the study, a share for one machine of several",
    )
    p.add_argument(
        "--budget", "--time-budget", type=float, metavar="SECONDS", help="stop cleanly before this time is up"
    )
    p.add_argument(
        "--every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="least time between two checkpoints (default 60)",
    )
    p.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where runs go (default: runs/); finished ones also packed there in two files",
    )
    p.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: on the Ray cluster that RAY_ADDRESS names",
    )
    p.add_argument(
        "--gpus",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="ray: of a GPU for every run; 0: none (default 1)",
    )
    p.add_argument(
        "--publish", action="store_true", help="copy the study's finished runs into results/ at the end"
    )
    p.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would run, at what cost, and how long it would take",
    )


def run(args):
    import torch

    from ..runs import effort
    from ..runs import run as runs
    from ..runs import studies as experiments
    from ..runs.inputs import Sources
    from ..runs.record import environment
    from ..runs.sweep import Drive, plan, remaining, title
    from ..training import arms
    from ..training.fit import pick_device

    for name, least in (("budget", 0), ("every", 0), ("gpus", 0), ("jobs", 1)):
        value = getattr(args, name)
        if value is not None and not value >= least:
            raise UserError(f"--{name} {value}: give {least} or more.")
    started, device = time.monotonic(), pick_device(args.device)
    wanted = Sources(args.study, args.data, tuple(args.weights or [None]), args.photos)
    if args.study not in experiments.STUDIES:
        experiments.study(args.study)  # refuses it before anything is loaded
    inputs = wanted.load()
    study = experiments.study(args.study, inputs.main.backbone or "resnet18")
    store = runs.Store()
    store = runs.Store(args.out or store.local, store.recorded)
    wished = [c for c in study.configs if c.arm == "floor" or c.seed in (args.seeds or [c.seed])]
    for config in wished:
        if lacking := inputs.lacks(config):
            print(f"{'left out':16}  {title(config)}  needs {lacking}: give --weights once more")
    configs = [c for c in wished if not inputs.lacks(c)]
    jobs, known = plan(configs, inputs, store), store.records()
    names = [inputs.key(c) for c in configs]
    threads = 1 if args.engine == "ray" else max(1, torch.get_num_threads() // args.jobs)
    where = f"CPU, {threads} threads" if device.type == "cpu" else environment(device)["device"]
    estimates = effort.Estimates(known.values(), where)
    guess = effort.clock(remaining([job for job in jobs if not job.failed], [], estimates, args.jobs))
    found = sum(name in known for name in names)
    more = len(jobs) - (len(set(names)) - found)
    extra = f" and {more} more that these need" if more else ""
    print(
        f"{study.title}: {len(wished)} runs, {found} finished; missing{extra}: {len(jobs)}, on {args.jobs} workers: {guess}"
    )
    if args.dry_run:
        return _describe(names, known, jobs, estimates)
    for name in known:
        runs.tidy(store.local / name)

    board = _Board(sys.stderr, args.jobs > 1 or args.engine == "ray")
    engine = _engine(args, wanted, inputs, store, device)
    budget = None if args.budget is None else args.budget - (time.monotonic() - started)
    drive = Drive(jobs, engine, estimates, budget, board.say, board.show)
    try:
        drive.run()
    finally:
        _file(args, study.name, [inputs.key(c) for config in configs for c in arms.lineage(config)], store)
    if drive.left:
        print(f"{len(drive.left)} runs are left; the same command continues")
    if drive.failed:
        raise UserError(
            f"{len(drive.failed)} runs failed and are no results: {', '.join(drive.failed)}; `show KEY` says more."
        )


def _engine(args, wanted, inputs, store, device):
    from ..runs.engines import Here, Local

    if args.engine == "ray":
        from ..runs.cluster import Ray

        return Ray(args.jobs, args.gpus, inputs, store, args.study, args.every)
    if args.jobs == 1:
        return Here(inputs, store, device, args.study, args.every)
    return Local(args.jobs, wanted, store, device, args.study, args.every)


def _file(args, study, names, store):
    """Copy the study's runs to where it was asked for. A run that studies share stays filed under the first."""
    from ..runs import run as runs

    known = store.failed() | store.records()
    made = [
        n
        for n in dict.fromkeys(names)
        if any((store.local / n / file).exists() for _, file in runs.FILES.values())
    ]
    made = [n for n in made if known[n]["study"] in (study, "own")]
    if args.publish:
        store.publish(made, study)
    if args.out and made:
        runs.Store(args.out, args.out).publish(made, study)


def _describe(names, known, jobs, estimates):
    from ..runs import effort
    from ..runs.sweep import title

    missing = {job.key: job for job in jobs}
    for name in names:
        if name not in missing:
            print(line(known[name]))
    for job in jobs:
        needed = "" if job.key in names else ", needed by others"
        seconds = effort.clock(estimates.seconds(job.config, job.flops))
        state = (
            f"failed: {job.failed}"
            if job.failed
            else f"missing: {job.flops / 1e12:8.1f} TFLOP, {seconds}{needed}"
        )
        print(f"{job.key}  {title(job.config)}  {state}")
    print(f"missing in all: {sum(job.flops for job in jobs if not job.failed) / 1e12:.1f} TFLOP")


class _Board:
    """Sentences that stay, and under them lines that show the state: redrawn on a terminal, once a minute in a file."""

    def __init__(self, stream, several):
        self.stream, self.several, self.drawn, self.last = stream, several, 0, time.monotonic()

    def say(self, what):
        self._clear()
        print(line(what) if isinstance(what, dict) else what, flush=True)

    def show(self, lines):
        live, now = self.stream.isatty(), time.monotonic()
        if not self.several or not live and now - self.last < 60:
            return
        self._clear()
        self.last = now
        self.stream.write("".join(f"{text}\n" for text in lines))
        self.stream.flush()
        self.drawn = len(lines) if live else 0

    def _clear(self):
        if self.drawn:
            self.stream.write(f"\x1b[{self.drawn}A\x1b[J")
            self.stream.flush()
            self.drawn = 0
