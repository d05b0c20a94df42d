"""Train every missing run of a study; finished ones are kept, stopped ones continued."""

import time

from . import line, sources


def arguments(p):
    p.add_argument("study", help="quick, recipe, pilot or paper")
    sources(p, True)
    p.add_argument("--budget", type=float, metavar="SECONDS", help="stop cleanly after this time")
    p.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="least time between two checkpoints")
    p.add_argument("--publish", action="store_true", help="copy the study's finished runs into results/ at the end")
    p.add_argument("--dry-run", action="store_true", help="only say what is finished and what is missing")


def run(args):
    from .. import data as frames_of
    from .. import experiments, runs, weights
    from ..train import Stopped, pick_device

    deadline = time.monotonic() + args.budget if args.budget else None
    device, initial = pick_device(args.device), weights.load(args.weights)
    study = experiments.study(args.study, initial.backbone or "resnet18")
    frames, store = frames_of.load(args.data), runs.Store()
    if study.name == "quick" and frames.name != "rooms":
        frames = frames.subset(*experiments.QUICK_FRAMES)
    print(f"{study.title}: {len(study.configs)} runs")
    for config in study.configs:
        name = runs.key(config, frames.fingerprint, initial.fingerprint)
        if args.dry_run:
            known = store.get(name)
            print(line(known) if known else f"{name}  {config.arm:7} {100 * config.density:6.2f} %  seed {config.seed}  missing")
            continue
        if deadline and time.monotonic() > deadline:
            print("the time is up; run it again to continue")
            break
        try:
            record = runs.run(config, frames, initial, store, device, study.name, deadline=deadline, every=args.every)
        except Stopped as stop:
            print(stop)
            break
        print(line(record), flush=True)
    if args.publish:
        names = [runs.key(c, frames.fingerprint, initial.fingerprint) for c in study.configs]
        store.publish([n for n in names if (store.local / n / "record.json").exists()], study.name)
