"""Train every missing run of a study; finished ones are kept, stopped ones continued."""

import functools
import time
from itertools import chain

from ..errors import UserError
from . import line, sources


def arguments(p):
    p.add_argument("study", help="quick, recipe, pilot, paper, postmortem or postmortem-small")
    sources(p, True, "append")
    p.add_argument("--photos", metavar="SOURCE", help="unlabelled photos for the arm logits: a folder or .h5 (default: training frames)")
    p.add_argument("--budget", type=float, metavar="SECONDS", help="stop cleanly after this time")
    p.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="least time between two checkpoints")
    p.add_argument("--publish", action="store_true", help="copy the study's finished runs into results/ at the end")
    p.add_argument("--dry-run", action="store_true", help="only say what is finished and what is missing")


def run(args):
    from .. import data as frames_of
    from .. import experiments, photos, runs, weights
    from ..files import Busy
    from ..train import Diverged, Stopped, pick_device

    for name in ("budget", "every"):
        if not (getattr(args, name) or 0) >= 0:
            raise UserError(f"--{name} {getattr(args, name)}: give seconds, 0 or more.")
    deadline = time.monotonic() + args.budget if args.budget else None
    device, sources = pick_device(args.device), args.weights or [None]
    main = weights.load(sources[0])
    study = experiments.study(args.study, main.backbone or "resnet18")
    frames, store = frames_of.load(args.data), runs.Store()
    unlabelled = photos.load(args.photos) if args.photos else None
    if study.name == "quick" and frames.name != "rooms":
        frames = frames.subset(*experiments.QUICK_FRAMES)
    print(f"{study.title}: {len(study.configs)} runs")
    fitting, names, late = functools.cache(functools.partial(weights.fitting, sources)), [], False
    busy, failed = [], []  # what another process is making is left for the end
    for config, wait in chain(((c, False) for c in study.configs), ((c, True) for c in busy)):
        initial = main if config.arm == "floor" else fitting(config.backbone)
        title = f"{config.arm:7} {100 * config.density:6.2f} %  seed {config.seed}"
        if initial is None or (config.arm == "logits" and initial.classifier is None):
            wanted = "ImageNet weights with their classifier (fc)" if initial else f"weights of a {config.backbone}"
            print(f"{'left out':16}  {title}  needs {wanted}: give --weights once more")
            continue
        name = runs.key_of(config, frames, initial, None, unlabelled)
        names.append(name)
        if args.dry_run:
            known = store.get(name)
            print(line(known) if known else f"{name}  {title}  missing")
        elif not late:
            try:
                if deadline and time.monotonic() > deadline:
                    raise Stopped("the time is up; run it again to continue")
                record = runs.run(config, frames, initial, store, device, study.name, None, deadline, args.every,
                                  unlabelled=unlabelled, wait=wait)  # fmt: skip
                print(line(record), flush=True)
            except Busy as stop:
                if wait:
                    print(stop)
                    late = True
                else:
                    busy.append(config)
            except Diverged as error:
                failed.append(name)
                print(f"{name}  failed: {error}", flush=True)
            except Stopped as stop:
                print(stop)
                late = True
    if args.publish:
        known = store.records()  # a run that studies share stays filed under the first
        made = [n for n in names if (store.local / n / "record.json").exists()]
        store.publish([n for n in made if known[n]["study"] in (study.name, "own")], study.name)
    if failed:
        raise UserError(f"{len(failed)} runs diverged and are no results: {', '.join(failed)}; `show KEY` says more.")
