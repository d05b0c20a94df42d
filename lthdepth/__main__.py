"""Command line of lthdepth: each task a function, its options in one table; heavy imports wait inside."""

import argparse
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from . import __doc__ as about
from . import __version__
from .config import ARMS, FIELDS, SETTINGS, Config, level
from .errors import UserError, reason

LEVELS = (18, 15, 12, 9, 6, 3)
DENSITIES = {
    "prunable": "of the prunable weights",
    "encoder": "of the encoder",
    "network": "of the network",
    "mac": "of its multiply-adds at 228x304",
}
DRAWN = ("omp", "random", "shuffled", "uniform", "erk", "lamp", "logits")  # tickets that need no run


def data(args):
    """Describe a data set, convert the official .mat, or download it."""
    from .data import nyu
    from .data.download import download
    from .data.frames import describe

    source = args.source
    if args.download:
        if source:
            raise UserError(f"--download takes no source, and {source} was given: leave one of the two out.")
        source = str(download())
    if source is None:
        raise UserError("give a data source (rooms, a .h5 or a .mat) or --download.")
    if args.out and args.out.suffix.lower() not in (".h5", ".hdf5"):
        raise UserError(f"--out {args.out}: a cache is named .h5.")
    if args.out or args.splits:
        if Path(source).suffix.lower() != ".mat":
            raise UserError(f"--out and --splits go with a .mat to convert, and {source} is none.")
        out = args.out or nyu.cache_of(source)
        nyu.convert(Path(source), out, splits=args.splits)
        source = str(out)
    frames = nyu.load(source)
    if args.record:
        from .data import summary
        from .runs.store import ROOT

        if frames.name != "nyu":
            raise UserError(
                f"--record is for NYU Depth V2, which the paper shows; {source} is {frames.name}."
            )
        summary.save(summary.summarise(frames), ROOT / "results" / "nyu_summary.h5")
    shown = describe(frames)
    for part in shown["splits"].values():  # long lists are for figures, not for a terminal
        del part["histogram"], part["scene_sizes"]
    print(json.dumps(shown, indent=1))


def train(args):
    """Train one configuration, or continue it; print its scores."""
    from . import mask, ticketfile
    from .data import nyu, photos, weights
    from .model import FCRN
    from .runs import record as records
    from .runs.run import Inputs, Options, Store, run
    from .training.fit import pick_device

    device = pick_device(args.device)
    config = Config.parse(args.settings, SETTINGS[args.setting or "tuned"])
    named = {text.partition("=")[0] for text in args.settings}
    initial = weights.load(args.weights, config.backbone if "backbone" in named else None)
    config = config.replace(backbone=initial.backbone or config.backbone)
    ticket = None
    if args.ticket:
        ticket = ticketfile.read(args.ticket, mask.prunable(FCRN(config.backbone).encoder.state_dict()))
        if "arm" not in named:
            config = config.replace(arm="file", density=ticket.density)
    if args.photos and config.arm != "logits":
        raise UserError("--photos are for the arm logits alone; leave them out.")
    unlabelled = photos.load(args.photos) if args.photos else None
    frames = nyu.load(args.data)
    if args.frames:
        if frames.name == "rooms":
            raise UserError("--frames takes a part of a file; of the rooms ask for rooms:N.")
        frames = frames.subset(*args.frames)
    store, options = Store(), Options(device, keep=args.keep)
    record = run(config, Inputs(frames, initial, unlabelled, ticket), store, options, "own")
    print(records.line(record))
    print(f"record: {store.local / record.key / 'record.json'}")


def settings():
    """The settings as text: library default and meaning; the named ones; then the arms."""
    rows = [f"  {f'{name}={f.default}':22} {about_setting(f)}" for name, f in FIELDS.items()]
    named = []
    for name, config in SETTINGS.items():
        named.append(f"  --setting {name}: " + ", ".join(f"{k}={v}" for k, v in config.changes().items()))
    arms = [f"  {name:22} {words}" for name, words in ARMS.items()]
    return "\n".join(["settings (library defaults):", *rows, "", *named, "", "arms:", *arms])


def about_setting(field):
    """What a setting means, and what it may be."""
    wanted = field.metadata["wanted"]
    wanted = f" ({wanted})" if wanted and field.name != "arm" else ""
    return f"{field.metadata['help']}{wanted}"


def ticket(args):
    """Draw a ticket, show or verify a ticket file, convert a mask file, or record levels of tickets."""
    from . import ticketfile
    from .data import weights
    from .model import FCRN

    initial = weights.load(args.weights)
    backbone, path = initial.backbone or "resnet50", args.file
    if args.action == "levels":
        return levels(initial, args)
    if args.action == "draw":
        ticketfile.save(draw(initial, backbone, args), path, backbone, initial.fingerprint)
    elif args.action == "convert":
        if not args.out:
            raise UserError("convert needs --out FILE.npz, the ticket file to write.")
        found = ticketfile.read(path, prunable(initial.state, backbone))
        is_free(args.out)
        ticketfile.save(found, args.out, backbone, ticketfile.origin(path))
        path = args.out
    found, meta = ticketfile.load(path)
    backbone = meta["backbone"] or backbone
    if args.action == "verify":
        ticketfile.read(path, prunable(None, backbone))
        if args.weights and meta["init"] not in ("", initial.fingerprint):
            raise UserError(
                f"{path} was drawn from the weights {meta['init']}, not from {initial.fingerprint}."
            )
        return print(f"{path}: whole, fits {backbone}, keeps {found.kept:,} of {found.size:,} weights")
    describe_ticket(path, found, meta, FCRN(backbone))
    if args.picture:
        picture(found, args.picture)


def prunable(state, backbone):
    """The prunable weights of a state dict, or of a new network."""
    from . import mask
    from .model import FCRN

    return mask.prunable(state or FCRN(backbone).encoder.state_dict())


def draw(initial, backbone, args):
    """A new ticket; rounds of the arm logits are kept among the runs, and a stopped one continues."""
    from .data import photos
    from .runs.store import Store
    from .training import arms, logits
    from .training.fit import Options, pick_device

    config = Config(args.arm, args.density, seed=args.seed, backbone=backbone, precision=args.precision)
    if config.arm not in DRAWN:
        raise UserError(
            f"a ticket of the arm {config.arm} is not drawn from weights alone; `sweep` or `train` makes it."
        )
    is_free(args.file)
    if config.arm != "logits":
        return arms.start(config, initial).ticket
    if not args.photos:
        raise UserError("the arm logits needs --photos: a folder or an .h5 of unlabelled photos.")
    config = config.replace(round_epochs=args.round_epochs)
    device, unlabelled = pick_device(args.device), photos.load(args.photos)
    folder = Store().local / logits.chain(config, initial, unlabelled)
    print(f"{len(unlabelled.rgb):,} photos; the ticket of every round is kept in {folder}", flush=True)
    return logits.draw(config, initial, unlabelled, folder, Options(device))


def describe_ticket(path, found, meta, model):
    """Print what a ticket keeps, by layer."""
    from . import mask

    densities = mask.densities(found, model, 228, 304)
    weights = meta["init"] or "unknown"
    print(f"{path}: {meta['backbone']}, fingerprint {found.fingerprint}, from weights {weights}")
    steps = (", ".join(f"{k} {v}" for k, v in step.items()) for step in found.history)
    print("drawn: " + "\n       ".join(steps))
    shares = ", ".join(f"{100 * densities[k]:.2f} % {text}" for k, text in DENSITIES.items())
    print(f"keeps {found.kept:,} of {found.size:,}: {shares}")
    for name, kept, size in found.layers():
        empty = "" if kept else "  (empty)"
        print(f"  {name:34} {kept:9,} of {size:9,}  {100 * kept / size:7.3f} %{empty}")


def picture(found, path):
    """Draw a ticket's layer-wise densities into a file."""
    from .files import replacing
    from .paper import plots

    figure = plots.layers([{"arm": "file", "density": found.density, "ticket": {"layers": found.layers()}}])
    kinds = figure.canvas.get_supported_filetypes()
    if (kind := path.suffix[1:].lower()) not in kinds:
        raise UserError(f"--picture {path}: name it as one of {', '.join(sorted(kinds))}.")
    with replacing(path) as part:
        figure.savefig(part, format=kind, dpi=160, bbox_inches="tight")


def levels(initial, args):
    """Draw, check and record one-shot, layer-shuffled and random tickets at 0.8^0 ... 0.8^18."""
    from .analysis import levels as drawn
    from .files import write_atomic

    if initial.state is None or args.file.suffix != ".json":
        raise UserError("levels needs --weights SOURCE and the name of a .json to write.")
    record = drawn.measure(initial, args.seed)
    write_atomic(args.file, record)
    print(drawn.table(record).to_string(index=False))
    print(drawn.asked(record))


def is_free(path):
    """Refuse to write a ticket over anything but a ticket."""
    from . import ticketfile

    if path.suffix != ".npz":
        raise UserError(f"{path}: a ticket file is named .npz.")
    if path.exists():
        ticketfile.load(path)


def sweep(args):
    """Train every missing run of a study; finished ones are kept, stopped ones continued.

    All arms of one seed and level come before the next, so that a sweep that is cut off is useful. Whatever
    ends it, the same command continues it; started several times it shares the work.
    """
    from .runs import sweep as sweeps
    from .runs.run import Options, Store
    from .runs.studies import study as study_named
    from .training.fit import pick_device

    for name, least in (("budget", 0), ("every", 0), ("gpus", 0), ("jobs", 1)):
        value = getattr(args, name)
        if value is not None and not value >= least:
            raise UserError(f"--{name} {value}: give {least} or more.")
    deadline = None if args.budget is None else time.monotonic() + args.budget
    device = pick_device(args.device)
    study_named(args.study)  # refuses a name before anything is loaded
    inputs, study = study_inputs(args)
    store = Store(args.out or Store().local, Store().recorded)
    wished = [c for c in study.configs if c.arm == "floor" or c.seed in (args.seeds or [c.seed])]
    lacks = {c: inputs.lacks(c) for c in wished}
    configs = [c for c in wished if not lacks[c]]
    options = Options(device, deadline, args.every)
    if args.worker:  # one of several, which the first has started
        options = Options(device, deadline, args.every, sweeps.reporter(args.worker))
        return sweeps.sweep(configs, inputs, store, options, study.name)
    for config in wished:
        if lacks[config]:
            text = f"needs {lacks[config]}: give --weights once more"
            print(f"{'left out':16}  {config.arm:9} seed {config.seed}  {text}")
    known = store.records()
    done = sum(inputs.key(c) in known for c in configs)
    print(
        f"{study.title}: {len(wished)} runs, {done} finished; missing, with those that these need:", end=" "
    )
    print(len(sweeps.missing(configs, inputs, store)), flush=True)
    if args.dry_run:
        return sweeps.describe(configs, inputs, store, device, args.jobs)
    try:
        if args.engine == "ray":
            from .runs import cluster

            left, failed = cluster.sweep(configs, inputs, store, options, study.name, args.gpus)
        else:
            if args.jobs > 1:
                sweeps.together(args.words, args.jobs, args.device)
            left, failed = sweeps.sweep(configs, inputs, store, options, study.name)
    finally:
        sweeps.publish(configs, inputs, store, study.name, args.publish, args.out)
    if left:
        print(f"{len(left)} runs are left; the same command continues")
    if failed:
        names = ", ".join(failed)
        raise UserError(f"{len(failed)} runs failed and are no results: {names}; `show KEY` says more.")


def study_inputs(args):
    """`(Inputs, Study)` of the sweep that was asked for. Raises UserError for what cannot be read."""
    from .data import nyu, photos, weights
    from .runs import studies
    from .runs.run import Inputs

    sources = args.weights or [None]
    frames, main = nyu.load(args.data), weights.load(sources[0])
    if args.study == "quick" and frames.name != "rooms":
        frames = frames.subset(*studies.QUICK_FRAMES)
    study = studies.study(args.study, main.backbone or "resnet18")
    others = {c.backbone for c in study.configs if c.arm != "floor"} - {main.backbone}
    if main.backbone is None and len(sources) == 1:
        others = ()
    more = [found for backbone in sorted(others) if (found := weights.fitting(sources, backbone))]
    unlabelled = photos.load(args.photos) if args.photos else None
    return Inputs(frames, (main, *more), unlabelled), study


def merge(args):
    """Bring finished runs of other machines together: folders that `sweep --out` wrote, or what it packed."""
    from .runs.store import Store

    store = Store(args.out or Store().local, Store().recorded)
    found = [store.merge(folder) for folder in args.folders]
    print(f"{sum(n for n, *_ in found)} runs added, {sum(n for _, n, _ in found)} were there already")
    for key in (key for *_, others in found for key in others):
        print(f"{key}: made twice with different scores; the one that was there first is kept")


def show(args):
    """List recorded runs, show one, or explain a figure."""
    from .runs import record as records
    from .runs.store import Store, order
    from .runs.studies import STUDIES

    if args.what and (Path(args.what).suffix or "/" in args.what):
        from .paper.provenance import explain

        return print(explain(Path(args.what)))
    store = Store()
    if args.what:
        record = store.get(args.what) or store.failed().get(args.what)
        if not record:
            raise UserError(f"no run {args.what}; `python -m lthdepth show` lists them.")
        return print(json.dumps(record, indent=1))
    finished, failed = store.records().values(), store.failed().values()
    studies = {*STUDIES, "own", *(r["study"] for r in finished)}
    if args.study not in (None, *studies):
        raise UserError(f"no study {args.study}; the studies are {', '.join(sorted(studies))}.")
    finished = [r for r in sorted(finished, key=order) if args.study in (None, r["study"])]
    failed = [r for r in sorted(failed, key=order) if args.study in (None, r["study"])]
    for record in finished:
        print(records.line(record))
    for record in failed:
        print(f"{record.key}  {record['study']:7} failed: {record['reason']}")
    print(f"{len(finished)} runs" + (f", {len(failed)} failed" if failed else ""))


def verdict(args):
    """Apply the analysis plan to recorded runs: one sentence and the tables; no GPU, data or weights."""
    from .paper import sentences, tables
    from .paper.study import Paper
    from .runs import studies

    if args.study not in ("paper", "pilot", "full"):
        studies.study(args.study)  # refuses a name that is none
        text = "compares no tickets of many seeds; a verdict is on paper, pilot or full"
        raise UserError(f"the study {args.study} {text}.")
    paper = Paper("paper")
    records = paper.records(args.study)
    found = paper.analyse(args.study, records)
    print(sentences.unmarked(sentences.progress(args.study, records, found.failed)))
    print(sentences.unmarked(found.sentence()))
    for make in (tables.tickets, tables.controls, tables.break_even, tables.protocols):
        if len(table := make(found.main)):
            print(f"\n{table.to_string(index=False)}")


def predict(args):
    """Depth of a photo of your own: a 16-bit PNG in millimetres, and a picture of photo and depth."""
    import numpy as np

    from .inference import predict as predicting
    from .training.fit import pick_device

    device = pick_device(args.device)
    rgb = predicting.photo(args.photo)
    record, model = predicting.network(args.name, device=device)
    metres = predicting.depth(rgb, record, model, device)
    words = predicting.about(record, rgb)
    files = predicting.save(args.photo, rgb, metres, record, args.out or args.photo.parent, words)
    low, middle, high = np.percentile(metres, [1, 50, 99])
    size = f"{rgb.shape[1]}×{rgb.shape[0]} pixels"
    print(f"{args.photo}: {size}, depth {low:.2f} to {high:.2f} m, median {middle:.2f} m\n{words}")
    print(f"depth, 16 bits, millimetres: {files[0]}\nphoto and depth: {files[1]}")


def build(args):
    """Run the notebooks of a profile and render the paper to HTML."""
    from .files import write_atomic
    from .paper import figures, sentences, tables
    from .paper.build import build as build_paper
    from .paper.build import to_pdf
    from .paper.study import Paper
    from .runs.store import ROOT

    started = time.time()
    index = build_paper(args.profile, args.data, args.weights, args.device, quiet=args.quiet)
    if args.pdf:
        print(to_pdf(index).as_uri())
    if args.profile == "paper":
        paper = Paper("paper")
        figures.drop_older(paper, started - 2)  # some file systems keep whole seconds only
        refreshed = [("README.md", mark, text) for mark, text in sentences.readme(paper).items()]
        refreshed.append(("docs/speed.md", "speed", tables.speed(ROOT / "benchmarks")))
        for name, mark, part in refreshed:
            text = (ROOT / name).read_text(encoding="utf-8")
            if (fresh := sentences.refresh(text, part, mark)) != text:
                write_atomic(ROOT / name, fresh)
                if not args.quiet:
                    print(f"  {name} was brought up to date")


def pairs(args):
    """Check that every notebook's .py and .ipynb say the same."""
    from .paper import pairs as paired
    from .runs.store import ROOT

    if args.write:
        paired.write(ROOT / "notebooks")
    if problems := paired.check(ROOT / "notebooks"):
        advice = "`python -m lthdepth pairs --write` makes the .ipynb anew from the .py"
        raise UserError(f"{'; '.join(problems)}; {advice}.")
    print("every notebook's .py and .ipynb say the same")


def cost(args):
    """Measure what a ticket buys here: milliseconds of the dense and the sparse network, and bytes."""
    from .inference import measure, predict
    from .paper import cost as costs
    from .training.fit import pick_device

    if args.name and (args.ticket or args.weights):
        raise UserError("--run has weights and a ticket of its own: give it without --weights and --ticket.")
    if args.size and not all(32 <= side <= 4096 for side in args.size):
        raise UserError("--size: height and width must be between 32 and 4096 pixels.")
    if not all(0 <= k <= 60 for k in args.levels) or args.repeats < 1:
        raise UserError("--levels must be between 0 and 60, --repeats 1 or more.")
    if args.out:
        if args.out.suffix != ".json":
            raise UserError(f"--out {args.out}: name it .json.")
        measure.load(args.out)  # a mistake must cost nothing
    device, size = pick_device(args.device), args.size or (228, 304)
    if args.name:
        record, model = predict.network(args.name, device=device)
        size = args.size or (record["config"]["height"], record["config"]["width"])
        network = {"backbone": record["config"]["backbone"], "weights": f"run {args.name}"}
        drawn = [(record["arm"], model.eval(), measure.ticket_of(model))]
    else:
        network, drawn = tickets_to_measure(args, device)
    found = measure.study(drawn, network, size, device, args.repeats, args.out)
    print(costs.table(found).to_string(index=False))
    print(costs.reading(found))
    if args.out:
        print(f"written: {args.out}")


def tickets_to_measure(args, device):
    """The network in words and `(arm, model, ticket)` of each, made one at a time."""
    from . import mask, ticketfile
    from .data import weights
    from .inference import measure

    initial = weights.load(args.weights)
    network = {"backbone": initial.backbone or "resnet50", "weights": initial.name}
    if not args.ticket:
        wanted = [(arm, k) for arm in args.arms for k in dict.fromkeys(args.levels)]
        return network, ((arm, *measure.pruned(initial, arm, level(k), device)) for arm, k in wanted)
    model, _ = measure.pruned(initial, "omp", 1.0, device)
    found = ticketfile.read(args.ticket, mask.prunable(model.encoder.state_dict()))
    mask.Masking(found, model.encoder)
    return network, [("file", model, found)]


def _option(name, help, **more):
    """An argument of a task; help with "FILE: text" names its value."""
    return name, {"help": help} | more


DATA = _option("--data", "rooms, rooms:N, a cache .h5 or the official .mat", metavar="SOURCE")
NEEDED = ("--data", DATA[1] | {"required": True})
WEIGHTS = _option(
    "--weights", "none, IMAGENET1K_V1 ..., or a file .pth/.pth.xz/.safetensors", metavar="SOURCE"
)
DEVICE = _option("--device", "auto (default), cpu, cuda, cuda:N", default="auto")
PHOTOS = _option(
    "--photos",
    "unlabelled photos for the arm logits: a folder or .h5 (default: training frames)",
    metavar="SOURCE",
)
STUDY = "quick, recipe, pilot, paper, postmortem or postmortem-small"
FILE, SIDES = {"type": Path, "metavar": "FILE"}, {"nargs": 2, "type": int, "metavar": ("HEIGHT", "WIDTH")}
FOLDER, FLAG, NUMBER = (
    {"type": Path, "metavar": "DIR"},
    {"action": "store_true"},
    {"type": int, "metavar": "N"},
)
TRAIN_EXAMPLE = """\
example, 20 minutes on two cores:
  python -m lthdepth train --data nyu_half.h5 --weights resnet50.pth --setting tuned arm=omp density=0.018 \
height=114 width=152 epochs=4
"""
COST_EXAMPLE = """\
examples (ResNet-50 at 228x304: 3 minutes on two cores):
  python -m lthdepth cost --weights resnet50.pth --out results/cost.json
  python -m lthdepth cost --run KEY          # a trained network, as `train --keep` leaves it
"""
TASKS = {
    data: [
        _option("source", DATA[1]["help"], nargs="?"),
        _option("--out", "where the half-resolution cache of a .mat goes", **FILE),
        _option("--splits", "splits .mat or .json, for a .mat of other than 1449 frames", **FILE),
        _option("--record", "write what the paper shows of it to results/nyu_summary.h5", **FLAG),
        _option("--download", "fetch nyu_depth_v2_labeled.mat (2.8 GB) into data/", **FLAG),
    ],
    train: [
        NEEDED,
        WEIGHTS,
        DEVICE,
        _option("--ticket", "train under this ticket or mask file (arm=file)", **FILE),
        _option(
            "--frames",
            "only so many frames of a file, evenly spaced",
            nargs=2,
            type=int,
            metavar=("TRAIN", "TEST"),
        ),
        PHOTOS,
        _option("--setting", "start from a named configuration (default: tuned)", choices=tuple(SETTINGS)),
        _option("--keep", "train again where only the record is here, not the trained weights", **FLAG),
        _option("settings", "settings changed from there; listed below", nargs="*", metavar="name=value"),
    ],
    ticket: [
        _option("action", "what to do", choices=("draw", "show", "verify", "convert", "levels")),
        _option(
            "file", "the ticket file (convert: the mask file to read; levels: the .json to write)", type=Path
        ),
        _option("--out", "convert: the ticket file to write", **FILE),
        _option("--weights", "encoder weights; convert: of the mask's network (default: random resnet50)"),
        _option("--arm", f"draw: {', '.join(DRAWN)} (default: omp)", default="omp"),
        _option("--density", "draw: kept fraction (default 0.8^18)", type=float, default=0.8**18),
        _option("--seed", "draw: of the random arms, and of the crops of logits", type=int, default=0),
        _option("--photos", "draw, arm logits: a folder or .h5 of unlabelled photos", metavar="SOURCE"),
        _option("--round-epochs", "draw, arm logits: passes a round (default 10)", type=int, default=0),
        _option("--precision", "draw, arm logits: float32 (default) or bfloat16", default="float32"),
        DEVICE,
        _option("--picture", "show: also draw the layer-wise densities", **FILE),
    ],
    sweep: [
        _option("study", STUDY),
        NEEDED,
        ("--weights", WEIGHTS[1] | {"action": "append"}),
        DEVICE,
        PHOTOS,
        _option("--jobs", "workers that share the machine's cores or GPUs (default 1)", **NUMBER, default=1),
        _option(
            "--seeds", "only these, a share for one machine of several", type=int, nargs="+", metavar="N"
        ),
        _option("--budget", "stop cleanly before this time is up", type=float, metavar="SECONDS"),
        _option("--time-budget", argparse.SUPPRESS, dest="budget", type=float),
        _option("--every", "least time between two checkpoints (default 60)", type=float, default=60.0),
        _option("--out", "where runs go (default: runs/); finished ones also packed there", **FOLDER),
        _option("--engine", "ray: on the cluster that RAY_ADDRESS names", choices=("local", "ray")),
        _option("--gpus", "ray: of a GPU for every run; 0: none (default 1)", type=float, default=1.0),
        _option("--publish", "copy the study's finished runs into results/ at the end", **FLAG),
        _option("--dry-run", "only say what would run, at what cost, and how long it would take", **FLAG),
        _option("--worker", argparse.SUPPRESS, type=int),
    ],
    merge: [
        _option("folders", "of runs, or with runs.jsonl and arrays/", nargs="+", type=Path, metavar="DIR"),
        _option("--out", "where they go (default: runs/)", **FOLDER),
    ],
    show: [
        _option("what", "key of a run (its beginning is enough) or a file in figures/", nargs="?"),
        _option("--study", "list only this study"),
    ],
    verdict: [_option("study", "paper (default), pilot or full", nargs="?", default="paper")],
    predict: [
        _option("photo", "a .jpg or .png; it is turned as its EXIF orientation says", type=Path),
        _option(
            "--run",
            "the run whose network predicts (`show` lists them)",
            required=True,
            dest="name",
            metavar="KEY",
        ),
        _option("--out", "where to write the two files (default: beside the photo)", **FOLDER),
        DEVICE,
    ],
    build: [
        _option("--profile", "quick (default) or paper", choices=("quick", "paper"), default="quick"),
        DATA,
        WEIGHTS,
        DEVICE,
        _option("--pdf", "also print all pages into a PDF, with Chromium or Chrome", **FLAG),
        _option("--quiet", "print only where the paper is", **FLAG),
    ],
    pairs: [_option("--write", "write the .ipynb anew from the .py", **FLAG)],
    cost: [
        _option(
            "--weights", "encoder weights to draw tickets from (default: random resnet50)", metavar="SOURCE"
        ),
        _option(
            "--arms", "tickets to draw (default: omp)", nargs="+", default=["omp"], choices=("omp", "random")
        ),
        _option(
            "--levels", "densities 0.8^K (default: 18 15 12 9 6 3)", **NUMBER | {"nargs": "+"}, default=LEVELS
        ),
        _option("--ticket", "instead: this ticket or mask file", **FILE),
        _option("--run", "instead: the trained network of a run", dest="name", metavar="KEY"),
        _option("--size", "of the input (default: 228 304, or the run's)", **SIDES),
        _option("--repeats", "rounds of measurement (default: 7)", **NUMBER, default=7),
        DEVICE,
        _option("--out", "also write the measurements to this .json, beside those of other machines", **FILE),
    ],
}
EPILOGS = {train: lambda: f"{TRAIN_EXAMPLE}\n{settings()}", cost: lambda: COST_EXAMPLE}


def parser():
    """The command line: one subcommand a task."""
    top = argparse.ArgumentParser(prog="python -m lthdepth", description=about)
    top.add_argument("--version", action="version", version=f"lthdepth {__version__}")
    subparsers = top.add_subparsers(dest="task", required=True, metavar="TASK")
    for task, options in TASKS.items():
        first = task.__doc__.partition("\n")[0]
        raw = argparse.RawDescriptionHelpFormatter
        epilog = EPILOGS.get(task, str)()
        p = subparsers.add_parser(
            task.__name__, help=first, description=task.__doc__, epilog=epilog, formatter_class=raw
        )
        p.set_defaults(run=task)
        for name, how in options:
            p.add_argument(name, **how)
    return top


def check_environment():
    """Refuses environment variables that a library cannot read when it is imported. Raises UserError."""
    for library, start in {"tqdm": "TQDM_", "matplotlib": "MPLBACKEND"}.items():
        if names := sorted(name for name in os.environ if name.startswith(start)):
            try:
                importlib.import_module(library)
            except ValueError as error:
                why = f"{library} cannot read {', '.join(names)} in the environment ({reason(error)})"
                raise UserError(f"{why}: unset it.") from None


def main(words=None):
    """Run one task. Returns the exit status: 0, 2 for a person's mistake, 130 when interrupted."""
    words = sys.argv[1:] if words is None else words
    top = parser()
    args, rest = top.parse_known_args(words)
    if rest:  # settings may stand on both sides of an option
        if not hasattr(args, "settings") or any(word.startswith("-") for word in rest):
            top.error(f"unrecognized arguments: {' '.join(rest)}")
        args.settings += rest
    args.words = words
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        check_environment()
        args.run(args)
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
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to stop
    sys.exit(main())
