"""Command line of lthdepth: each task a function, its options in one table; heavy imports wait inside."""

import argparse
import inspect
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from . import __doc__ as about
from . import __version__
from .config import ARMS, FIELDS, TUNED, Config, level
from .errors import UserError
from .runs.studies import STUDIES

DRAWN = ("omp", "random", "shuffled", "uniform", "lamp")  # tickets that need no run


def data(args):
    """Describe a data set. The official .mat, which --download fetches, is first converted to a cache."""
    from .data import nyu
    from .data.frames import describe

    shown = describe(nyu.load(nyu.download() if args.download else args.source))
    for part in shown["splits"].values():
        del part["histogram"]  # for figures, not for a terminal
    print(json.dumps(shown, indent=1))


def train(args):
    """Train one configuration, or continue it; print its scores. Settings come last."""
    from . import mask
    from .data import foreign, nyu, weights
    from .model import FCRN
    from .runs.record import line
    from .runs.run import Inputs, Options, Store, run
    from .training.fit import pick_device

    config, device = Config.parse(args.settings, TUNED), pick_device(args.device)
    named = {text.partition("=")[0] for text in args.settings}
    initial = weights.load(args.weights, config.backbone if "backbone" in named else None)
    config, ticket = config.replace(backbone=initial.backbone or config.backbone), None
    if args.ticket:
        ticket = foreign.masks(args.ticket, mask.prunable(FCRN(config.backbone).encoder.state_dict()))
        if "arm" not in named:
            config = config.replace(arm="file", density=ticket.density)
    frames = nyu.load(args.data)
    if args.frames:
        if frames.name == "rooms":
            raise UserError("--frames takes a part of a file; of the rooms ask for rooms:N.")
        frames = frames.subset(*args.frames)
    store, options = Store(), Options(device, weights=args.keep)
    record = run(config, Inputs(frames, initial, ticket), store, options, "own")
    print(f"{line(record)}\nrecord: {store.local / record.key / 'record.json'}")


def settings():
    """The settings as text: their values where nothing is said, meaning and range; then the arms."""
    rows = ["settings:"]
    for name, field in FIELDS.items():
        wanted = "see below" if name == "arm" else field.metadata["wanted"]
        rows.append(f"  {f'{name}={getattr(TUNED, name)}':22} {field.metadata['help']} ({wanted})")
    return "\n".join([*rows, "", "arms:", *(f"  {name:22} {words}" for name, words in ARMS.items())])


def ticket(args):
    """Draw a ticket, or show what a ticket or mask file keeps; with --weights, whether it fits them."""
    from . import mask, tickets
    from .data import foreign, weights
    from .model import FCRN
    from .training import arms

    initial, path, about = weights.load(args.weights), args.file, {"backbone": "", "init": ""}
    if args.action == "draw":
        if path.suffix != ".npz":
            raise UserError(f"{path}: a ticket file is named .npz.")
        if path.exists():
            tickets.load(path)  # it takes the place of nothing but a ticket
        backbone = initial.backbone or "resnet50"
        config = Config(args.arm, args.density, seed=args.seed, backbone=backbone)
        tickets.save(arms.start(config, initial).ticket, path, backbone, initial.fingerprint)
    with suppress(UserError):  # the mask file of another program says nothing about weights
        _, about = tickets.load(path)
    backbone = initial.backbone or about["backbone"] or "resnet50"
    network = FCRN(backbone)
    drawn = foreign.masks(path, mask.prunable(network.encoder.state_dict()))
    origin = "these weights" if about["init"] == initial.fingerprint else about["init"] or "unknown weights"
    print(f"{path}: {backbone}, fingerprint {drawn.fingerprint}, drawn from {origin}")
    for step in drawn.history:
        print("  " + ", ".join(f"{k} {v}" for k, v in step.items()))
    left, of = mask.densities(drawn, network, 228, 304), {"prunable": "the prunable weights"}
    of |= {"encoder": "the encoder's", "network": "the network's", "mac": "its multiply-adds"}
    shares = ", ".join(f"{100 * left[k]:.2f} % of {text}" for k, text in of.items())
    print(f"keeps {drawn.kept:,} of {drawn.size:,}: {shares}")
    for name, kept, size in drawn.layers():
        print(f"  {name:34} {kept:9,} of {size:9,}  {100 * kept / size:7.3f} %{'' if kept else '  (empty)'}")


def sweep(args):
    """Train every missing run of a study, in the order in which they are worth having.

    Whatever ends a sweep, the same command continues it; started several times it shares the work.
    """
    from .runs import cluster
    from .runs import sweep as sweeps
    from .runs.run import Options, Store
    from .training.fit import pick_device

    deadline = None if args.budget is None else time.monotonic() + args.budget
    progress = "lines" if args.worker else True
    options = Options(pick_device(args.device), deadline, args.every, progress)
    (inputs, study), store = sweeps.gathered(args.study, args.data, args.weights), Store()
    configs = [c for c in study.configs if c.arm == "floor" or c.seed in (args.seeds or [c.seed])]
    if args.worker:  # one of several, which the first has started
        return sweeps.sweep(configs, inputs, store, options, study.name)
    missing = len(sweeps.missing(configs, inputs, store))
    print(f"{study.title}: {len(configs)} runs; with what they need {missing} are missing", flush=True)
    if args.dry_run:
        return sweeps.describe(configs, inputs, store, options.device, args.jobs)
    try:
        if args.engine == "ray":
            left, failed = cluster.on_cluster(configs, inputs, store, options, study.name, args.gpus)
        else:
            if args.jobs > 1:
                sweeps.start_workers(sys.argv[1:], args.jobs, args.device)
            left, failed = sweeps.sweep(configs, inputs, store, options, study.name)
    finally:
        if args.publish:
            sweeps.publish(configs, inputs, store, study.name)
    if left:
        print(f"{len(left)} runs are left; the same command continues")
    if failed:
        raise UserError(f"runs that failed are no results: {', '.join(failed)}; `show KEY` says more.")


def show(args):
    """List recorded runs, show one, or explain a figure."""
    from .runs.record import line
    from .runs.store import Store, order

    store, what = Store(), args.what
    if what and (Path(what).suffix or "/" in what):
        from .paper.figures import explain

        return print(explain(Path(what)))
    if what:
        record = store.get(what) or store.failed().get(what)
        if not record:
            raise UserError(f"no run {what}; `python -m lthdepth show` lists them.")
        return print(json.dumps(record, indent=1))
    finished, failed = (sorted(part.values(), key=order) for part in (store.records(), store.failed()))
    failures = (f"{r.key}  {r['study']:16}  failed: {r['reason']}" for r in failed)
    print(*map(line, finished), *failures, f"{len(finished)} runs, {len(failed)} failed", sep="\n")


def verdict(args):
    """Apply the analysis plan to recorded runs: one sentence and the tables; no GPU, data or weights."""
    from .paper import sentences, tables
    from .paper.study import Paper

    paper = Paper("paper")
    records = paper.records(args.study)
    result = paper.analyse(args.study, records)
    said = f"{sentences.progress(args.study, records, result.failed)}\n{result.sentence()}"
    shown = (make(result.main) for make in (tables.tickets, tables.controls, tables.break_even))
    print(sentences.unmarked(said), *(t.to_string(index=False) for t in shown if len(t)), sep="\n\n")


def predict(args):
    """Depth of a photo of your own: a 16-bit PNG in millimetres, and a picture of photo and depth."""
    from .data import photos
    from .inference import predict as predicting
    from .training.fit import pick_device

    device = pick_device(args.device)
    rgb = photos.read(args.photo)
    record, model = predicting.network(args.run, device=device)
    metres = predicting.depth(rgb, record, model, device)
    files = predicting.save(args.photo, rgb, metres, record, args.out or args.photo.parent)
    print(f"{args.photo}: {predicting.about(record)}")
    print(f"depth, 16 bits, millimetres: {files[0]}\nphoto and depth: {files[1]}")


def build(args):
    """Run the notebooks of a profile and render the paper to HTML."""
    from .files import write_atomic
    from .paper import build as building
    from .paper import figures, sentences, tables
    from .paper.study import Paper
    from .runs.store import ROOT

    started = time.time()
    index = building.build(args.profile, args.data, args.weights, args.device, quiet=args.quiet)
    if args.pdf:
        print(building.to_pdf(index).as_uri())
    if args.profile == "paper":
        paper = Paper("paper")
        figures.drop_older(paper, started - 2)  # some file systems keep whole seconds only
        parts = [("README.md", mark, text) for mark, text in sentences.readme(paper).items()]
        for name, mark, part in [*parts, ("docs/speed.md", "speed", tables.speed(ROOT / "benchmarks"))]:
            text = (ROOT / name).read_text(encoding="utf-8")
            if (fresh := sentences.refresh(text, part, mark)) != text:
                write_atomic(ROOT / name, fresh)


def pairs(args):
    """Check that every notebook's .py and .ipynb say the same."""
    from .paper.build import differences, write_pairs
    from .runs.store import ROOT

    if args.write:
        write_pairs(ROOT / "notebooks")
    if problems := differences(ROOT / "notebooks"):
        raise UserError(" ".join(problems))
    print("every notebook's .py and .ipynb say the same")


def cost(args):
    """Measure what a ticket buys here: milliseconds of the dense and the sparse network, and bytes."""
    from .data import weights
    from .files import write_atomic
    from .inference import measure
    from .paper import cost as costs
    from .training.fit import pick_device

    if args.out:
        measure.load(args.out)  # a mistake must cost nothing
    initial, device = weights.load(args.weights), pick_device(args.device)
    densities = [level(k) for k in range(18, 0, -3)]
    measured = measure.study(initial, initial.backbone or "resnet50", densities, args.size, device)
    print(f"{costs.table(measured).to_string(index=False)}\n{costs.reading(measured)}")
    if args.out:
        write_atomic(args.out, json.dumps(measured, ensure_ascii=False) + "\n")


def at_least(least, kind):
    """A type for argparse: a number that is no smaller."""

    def number(text):
        if not kind(text) >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return kind(text)

    return number


FLAG, FILE, SOURCE = {"action": "store_true"}, {"type": Path, "metavar": "FILE"}, {"metavar": "SOURCE"}
AMOUNT, COUNT = {"type": at_least(0, float), "metavar": "X"}, {"type": at_least(1, int), "metavar": "N"}
SIZE = {"type": at_least(32, int), "nargs": 2, "metavar": ("HEIGHT", "WIDTH"), "default": (228, 304)}
FRAMES = "rooms, rooms:N, a cache .h5 or the official .mat"
ENCODER = "none, IMAGENET1K_V1 ..., or a file .pth/.pth.xz/.safetensors"
DATA, WEIGHTS = ("--data", FRAMES, SOURCE | {"required": True}), ("--weights", ENCODER, SOURCE)
DEVICE = ("--device", "auto (default), cpu, cuda, cuda:N", {"default": "auto"})
# Of each task its options: name, help, and how argparse takes it.
TASKS = {
    data: [
        ("source", f"{FRAMES} (default: rooms)", {"nargs": "?", "default": "rooms"}),
        ("--download", "fetch nyu_depth_v2_labeled.mat (2.8 GB) into data/, and check its SHA-256", FLAG),
    ],
    train: [
        *(DATA, WEIGHTS, DEVICE),
        ("--ticket", "train under this ticket or mask file (arm=file)", FILE),
        ("--frames", "only so many, evenly spaced", COUNT | {"nargs": 2, "metavar": ("TRAIN", "TEST")}),
        ("--keep", "train again where only the record is here, not the trained weights", FLAG),
        ("settings", "settings that are to be others; listed below", {"nargs": "*", "metavar": "name=value"}),
    ],
    ticket: [
        ("action", "what to do", {"choices": ("draw", "show")}),
        ("file", "the ticket; show: also a mask file of another program", {"type": Path}),
        ("--weights", f"{ENCODER} (default: random resnet50)", SOURCE),
        ("--arm", "draw: how (default: omp)", {"choices": DRAWN, "default": "omp"}),
        ("--density", "draw: kept fraction (default 0.8^18)", {"type": float, "default": level(18)}),
        ("--seed", "draw: of the random arms", {"type": int, "default": 0}),
    ],
    sweep: [
        ("study", "", {"choices": tuple(STUDIES)}),
        *(DATA, WEIGHTS, DEVICE),
        ("--jobs", "workers that share the cores or GPUs (default 1)", COUNT | {"default": 1}),
        ("--seeds", "only these, a share for one machine of several", {"type": int, "nargs": "+"}),
        ("--budget", "seconds: stop cleanly before this time is up", AMOUNT),
        ("--every", "least seconds between two checkpoints (default 60)", AMOUNT | {"default": 60.0}),
        ("--engine", "ray: on the cluster that RAY_ADDRESS names", {"choices": ("local", "ray")}),
        ("--gpus", "ray: of a GPU for every run; 0: none (default 1)", AMOUNT | {"default": 1.0}),
        ("--publish", "copy the study's finished runs into results/ at the end", FLAG),
        ("--dry-run", "only say what would run, at what cost, and how long it would take", FLAG),
        ("--worker", argparse.SUPPRESS, FLAG),
    ],
    show: [("what", "key of a run (its beginning is enough) or a file in figures/", {"nargs": "?"})],
    verdict: [("study", "of which study", {"nargs": "?", "choices": ("paper", "full"), "default": "paper"})],
    predict: [
        ("photo", "a .jpg or .png; it is turned as its EXIF orientation says", {"type": Path}),
        ("--run", "whose network predicts (`show` lists them)", {"metavar": "KEY", "required": True}),
        ("--out", "where to write the two files (default: beside the photo)", {"type": Path}),
        DEVICE,
    ],
    build: [
        ("--profile", "what to build (default: quick)", {"choices": ("quick", "paper"), "default": "quick"}),
        ("--data", FRAMES, SOURCE),
        *(WEIGHTS, DEVICE),
        ("--pdf", "also print all pages into a PDF, with Chromium or Chrome", FLAG),
        ("--quiet", "print only where the paper is", FLAG),
    ],
    pairs: [("--write", "write the .ipynb anew from the .py", FLAG)],
    cost: [
        ("--weights", "encoder weights to draw tickets from (default: random resnet50)", SOURCE),
        ("--size", "(default: 228 304)", SIZE),
        DEVICE,
        ("--out", "also write the measurement to this .json", FILE),
    ],
}


def parser():
    """The command line: one subcommand a task."""
    top = argparse.ArgumentParser(prog="python -m lthdepth", description=about)
    top.add_argument("--version", action="version", version=f"lthdepth {__version__}")
    subparsers = top.add_subparsers(dest="task", required=True, metavar="TASK")
    for task, options in TASKS.items():
        first, text = task.__doc__.partition("\n")[0], inspect.cleandoc(task.__doc__)
        sub = subparsers.add_parser(
            task.__name__, help=first, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.set_defaults(function=task)
        for name, help, how in options:
            sub.add_argument(name, help=help, **how)
        if task is train:
            sub.epilog = settings()
    return top


def main(words=None):
    """Run one task. Returns the exit status: 0, 2 for a person's mistake, 130 when interrupted."""
    args = parser().parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        args.function(args)
        sys.stdout.flush()
    except (UserError, PermissionError) as error:
        print(f"lthdepth: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if not getattr(args, "worker", False):  # the first says it for all
            print(
                "\nlthdepth: interrupted; the same command continues where this one stopped.", file=sys.stderr
            )
        return 130
    except BrokenPipeError:  # as of `| head`; nor is there anything to say at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to stop
    sys.exit(main())
