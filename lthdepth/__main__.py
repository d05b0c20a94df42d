"""Command line of lthdepth."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from . import __version__
from .errors import UserError


def parser():
    """The command line: one subcommand a task. Heavy imports wait until a task is chosen, so that help is quick."""
    top = argparse.ArgumentParser(prog="python -m lthdepth", description=__import__("lthdepth").__doc__)
    top.add_argument("--version", action="version", version=f"lthdepth {__version__}")
    tasks = top.add_subparsers(dest="task", required=True, metavar="TASK")

    def task(function, help_text, epilog=None):
        raw = argparse.RawDescriptionHelpFormatter
        name = function.__name__.rstrip("_")
        p = tasks.add_parser(name, help=help_text, description=help_text, epilog=epilog, formatter_class=raw)
        p.set_defaults(function=function)
        return p

    def sources(p, needed):
        p.add_argument("--data", required=needed, metavar="SOURCE", help="rooms, rooms:N, a cache .h5 or the official .mat")
        p.add_argument("--weights", metavar="SOURCE", help="none, IMAGENET1K_V1 ..., or a file .pth/.pth.xz/.safetensors")
        p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N")

    p = task(data, "Describe a data set, convert the official .mat, or download it.")
    p.add_argument("source", nargs="?", help="rooms, rooms:N, a cache .h5 or the official .mat")
    p.add_argument("--out", type=Path, metavar="FILE.h5", help="where the half-resolution cache of a .mat goes")
    p.add_argument("--splits", type=Path, metavar="FILE", help="splits .mat or .json, for a .mat of other than 1449 frames")
    p.add_argument("--record", action="store_true", help="write what the paper shows of it to results/nyu_summary.h5")
    p.add_argument("--download", action="store_true", help="fetch nyu_depth_v2_labeled.mat (2.8 GB) into data/")

    p = task(
        train,
        "Train one configuration, or continue it; print its scores.",
        "example, 20 minutes on two cores:\n  python -m lthdepth train --data nyu_half.h5 --weights resnet50.pth "
        "--setting tuned arm=omp density=0.018 height=114 width=152 epochs=4\n\n" + _settings(),
    )
    sources(p, True)
    p.add_argument("--ticket", type=Path, metavar="FILE", help="train under this ticket or mask file (arm=file)")
    p.add_argument("--setting", choices=("published", "tuned"), help="start from a named configuration (default: tuned)")
    p.add_argument("settings", nargs="*", metavar="name=value", help="settings changed from there; listed below")

    p = task(ticket, "Draw a ticket, show or verify a ticket file, or convert a mask file into one.")
    p.add_argument("action", choices=("draw", "show", "verify", "convert"))
    p.add_argument("file", type=Path, help="the ticket file (draw: to write; convert: the mask file to read)")
    p.add_argument("--out", type=Path, metavar="FILE.npz", help="convert: the ticket file to write")
    p.add_argument("--weights", metavar="SOURCE", help="draw, verify, convert: encoder weights (default: random resnet50)")
    p.add_argument("--arm", default="omp", help="draw: omp (default), random, shuffled, uniform or erk")
    p.add_argument("--density", type=float, default=0.8**18, help="draw: kept fraction of the prunable weights (default 0.8^18)")
    p.add_argument("--seed", type=int, default=0, help="draw: of the random arms")
    p.add_argument("--picture", type=Path, metavar="FILE.png", help="show: also draw the layer-wise densities")

    p = task(sweep, "Train every missing run of a study; finished ones are kept, stopped ones continued.")
    p.add_argument("study", help="quick, recipe, pilot or paper")
    sources(p, True)
    p.add_argument("--budget", type=float, metavar="SECONDS", help="stop cleanly after this time")
    p.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="least time between two checkpoints")
    p.add_argument("--publish", action="store_true", help="copy the study's finished runs into results/ at the end")
    p.add_argument("--dry-run", action="store_true", help="only say what is finished and what is missing")

    p = task(show, "List recorded runs, show one, or explain a figure.")
    p.add_argument("what", nargs="?", help="key of a run (its beginning is enough) or a file in figures/")
    p.add_argument("--study", help="list only this study")

    p = task(build, "Run the notebooks of a profile and render the paper to HTML.")
    p.add_argument("--profile", choices=("quick", "paper"), default="quick")
    sources(p, False)

    p = task(pairs, "Check that every notebook's .py and .ipynb say the same.")
    p.add_argument("--write", action="store_true", help="write the .ipynb anew from the .py")

    p = task(bench, "Measure training and inference speed of FCRN here, fast and plain up-projection.")
    p.add_argument("--device", default="auto")
    p.add_argument("--size", nargs=2, type=int, default=(114, 152), metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--batch", type=int, default=8)
    return top


def _settings():
    import re

    source = (Path(__file__).parent / "config.py").read_text()
    rows = re.findall(r"^    (\w+): \w+ = (\S+)  # (.*)$", source, re.MULTILINE)
    return "settings (library defaults):\n" + "\n".join(f"  {n + '=' + v.strip(chr(34)):22} {c}" for n, v, c in rows)


def data(args):
    from . import convert, runs, summary
    from . import data as frames_of
    from .download import download

    source = args.source
    if args.download:
        source = str(download())
    if source is None:
        raise UserError("give a data source (rooms, a .h5 or a .mat) or --download.")
    if args.out and args.out.suffix not in (".h5", ".hdf5"):
        raise UserError(f"--out {args.out}: a cache is named .h5.")
    if (args.out or args.splits) and Path(source).suffix != ".mat":
        raise UserError(f"--out and --splits go with a .mat to convert, and {source} is none.")
    if Path(source).suffix == ".mat" and (args.out or args.splits):
        out = args.out or frames_of.DATA_DIR / f"{Path(source).stem}_half.h5"
        convert.convert(Path(source), out, splits=args.splits)
        source = str(out)
    frames = frames_of.load(source)
    if args.record:
        if frames.name != "nyu":
            raise UserError(f"--record is for NYU Depth V2, which the paper shows; {source} is {frames.name}.")
        summary.save(summary.summarise(frames), runs.ROOT / "results" / "nyu_summary.h5")
    shown = frames_of.describe(frames)
    for part in shown["splits"].values():  # long lists are for figures, not for a terminal
        del part["histogram"], part["scene_sizes"]
    print(json.dumps(shown, indent=1))


def train(args):
    from . import data as frames_of
    from . import experiments, mask, runs, ticketfile, weights
    from .config import Config
    from .model import FCRN
    from .train import pick_device

    device = pick_device(args.device)
    config = Config.parse(args.settings, experiments.SETTINGS[args.setting or "tuned"])
    named = any(text.startswith("backbone=") for text in args.settings)
    initial = weights.load(args.weights, config.backbone if named else None)
    config = config.replace(backbone=initial.backbone or config.backbone)
    ticket = None
    if args.ticket:
        ticket = ticketfile.read(args.ticket, mask.prunable(FCRN(config.backbone).encoder.state_dict()))
        if not any(text.startswith("arm=") for text in args.settings):
            config = config.replace(arm="file", density=ticket.density)
    frames = frames_of.load(args.data)
    record = runs.run(config, frames, initial, runs.Store(), device, "own", ticket)
    print(_line(record))
    print(f"record: {runs.Store().local / record['key'] / 'record.json'}")


def ticket(args):
    from . import arms, mask, ticketfile, weights
    from .config import Config
    from .model import FCRN

    initial = weights.load(args.weights)
    backbone = initial.backbone or "resnet50"
    if args.action == "draw":
        config = Config(arm=args.arm, density=args.density, seed=args.seed, backbone=backbone)
        if config.arm not in ("omp", "random", "shuffled", "uniform", "erk"):
            raise UserError(f"a ticket of the arm {config.arm} is not drawn from weights alone; `sweep` or `train` makes it.")
        found, _ = arms.start(config, initial)
        _save_ticket(ticketfile, found, args.file, backbone, initial.fingerprint)
    elif args.action == "convert":
        if not args.out:
            raise UserError("convert needs --out FILE.npz, the ticket file to write.")
        found = ticketfile.read(args.file, mask.prunable(initial.state or FCRN(backbone).encoder.state_dict()))
        _save_ticket(ticketfile, found, args.out, backbone, initial.fingerprint if args.weights else "")
        args.file = args.out
    found, meta = ticketfile.load(args.file)
    if args.action == "verify":
        model = FCRN(meta["backbone"] or backbone)
        ticketfile.read(args.file, mask.prunable(model.encoder.state_dict()))
        if args.weights and meta["init"] not in ("", initial.fingerprint):
            raise UserError(f"{args.file} was drawn from the weights {meta['init']}, not from {initial.fingerprint}.")
        return print(f"{args.file}: whole, fits {meta['backbone'] or backbone}, keeps {found.kept:,} of {found.size:,} weights")
    d = mask.densities(found, FCRN(meta["backbone"] or backbone), 228, 304)
    print(f"{args.file}: {meta['backbone'] or backbone}, fingerprint {found.fingerprint}, from weights {meta['init'] or 'unknown'}")
    print("drawn: " + "; ".join(", ".join(f"{k} {v}" for k, v in step.items()) for step in found.history))
    print(f"keeps {found.kept:,} of {found.size:,}: " + ", ".join(f"{100 * d[k]:.2f} % {t}" for k, t in DENSITIES.items()))
    for name, kept, size in found.layers():
        print(f"  {name:34} {kept:9,} of {size:9,}  {100 * kept / size:7.3f} %{'  (empty)' if not kept else ''}")
    if args.picture:
        from . import plots

        record = {"arm": "file", "density": found.density, "ticket": {"layers": found.layers()}}
        plots.layers([record]).savefig(args.picture, dpi=160)


def _save_ticket(ticketfile, found, path, backbone, init):
    if path.suffix != ".npz":
        raise UserError(f"{path}: a ticket file is named .npz.")
    if path.exists():
        ticketfile.load(path)  # only a ticket is ever replaced by another
    ticketfile.save(found, path, backbone, init)


DENSITIES = {"prunable": "of the prunable weights", "encoder": "of the encoder", "network": "of the network", "mac": "of its multiply-adds at 228x304"}  # fmt: skip


def sweep(args):
    from . import data as frames_of
    from . import experiments, runs, weights
    from .train import Stopped, pick_device

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
            print(_line(known) if known else f"{name}  {config.arm:7} {100 * config.density:6.2f} %  seed {config.seed}  missing")
            continue
        if deadline and time.monotonic() > deadline:
            print("the time is up; run it again to continue")
            break
        try:
            record = runs.run(config, frames, initial, store, device, study.name, deadline=deadline, every=args.every)
        except Stopped as stop:
            print(stop)
            break
        print(_line(record), flush=True)
    if args.publish:
        names = [runs.key(c, frames.fingerprint, initial.fingerprint) for c in study.configs]
        store.publish([n for n in names if (store.local / n / "record.json").exists()], study.name)


def show(args):
    from . import runs

    if args.what and Path(args.what).suffix:
        from .figures import explain

        return print(explain(Path(args.what)))
    store = runs.Store()
    if args.what:
        record = store.get(args.what)
        if not record:
            raise UserError(f"no run {args.what}; `python -m lthdepth show` lists them.")
        return print(json.dumps(record, indent=1))
    found = [r for r in store.records().values() if args.study in (None, r["study"])]
    for record in sorted(found, key=runs.order):
        print(_line(record))
    print(f"{len(found)} runs")


def _line(r):
    split = "test" if r["test"] else "validation"
    s = r[split]["full"]["pooled"] if r[split] else None
    scores = f"{split}: rel {s['rel']:.3f}  rms {s['rms']:.3f} m  delta1 {s['delta1']:.3f}" if s else "not scored"
    size = f"{r['config']['height']}x{r['config']['width']}, {r.get('epochs_run', 0)} epochs"
    return f"{r['key']}  {r['study']:7} {r['arm']:7} {100 * r['density']:6.2f} %  seed {r['seed']}  {size:20} {scores}"


def build(args):
    from . import figures, runs, tables
    from .build import build as build_paper
    from .experiments import Desk
    from .files import write_atomic

    started = time.time()
    build_paper(args.profile, args.data, args.weights, args.device)
    if args.profile == "paper":
        readme, desk = runs.ROOT / "README.md", Desk("paper")
        figures.drop_older(desk, started - 2)  # some file systems keep whole seconds only
        text = readme.read_text()
        fresh = tables.refresh(text, tables.results(desk))
        if fresh != text:
            write_atomic(readme, fresh)
            print("the results in README.md were brought up to date")


def pairs(args):
    from . import pairs as paired
    from .runs import ROOT

    folder = ROOT / "notebooks"
    if args.write:
        paired.write(folder)
    problems = paired.check(folder)
    if problems:
        raise UserError("; ".join(problems) + "; `python -m lthdepth pairs --write` makes the .ipynb anew from the .py.")
    print("every notebook's .py and .ipynb say the same")


def bench(args):
    from .bench import bench as measure
    from .train import pick_device

    measure(pick_device(args.device), *args.size, args.batch)


def main(words=None):
    """Run one task. Returns the exit status: 0, 2 for a person's mistake, 130 when interrupted."""
    args = parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        args.function(args)
    except UserError as error:
        print(f"lthdepth: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nlthdepth: interrupted; the same command continues where this one stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
