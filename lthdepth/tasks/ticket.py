"""Draw a ticket, show or verify a ticket file, convert a mask file into one, or record the 19 levels of Chen et al."""

from pathlib import Path

from ..errors import UserError

DENSITIES = {
    "prunable": "of the prunable weights",
    "encoder": "of the encoder",
    "network": "of the network",
    "mac": "of its multiply-adds at 228x304",
}


def arguments(p):
    p.add_argument("action", choices=("draw", "show", "verify", "convert", "levels"))
    p.add_argument(
        "file",
        type=Path,
        help="the ticket file (draw: to write; convert: the mask file to read; levels: the .json to write)",
    )
    p.add_argument("--out", type=Path, metavar="FILE.npz", help="convert: the ticket file to write")
    p.add_argument(
        "--weights",
        metavar="SOURCE",
        help="draw, verify, levels: encoder weights; convert: of the network the mask is for (default: random resnet50)",
    )
    p.add_argument(
        "--arm", default="omp", help="draw: omp (default), random, shuffled, uniform, erk or logits"
    )
    p.add_argument(
        "--density",
        type=float,
        default=0.8**18,
        help="draw: kept fraction of the prunable weights (default 0.8^18)",
    )
    p.add_argument("--seed", type=int, default=0, help="draw: of the random arms, and of the crops of logits")
    p.add_argument(
        "--photos", metavar="SOURCE", help="draw, arm logits: a folder or .h5 of unlabelled photos"
    )
    p.add_argument(
        "--round-epochs",
        type=int,
        default=0,
        help="draw, arm logits: passes over the photos a round (default 10)",
    )
    p.add_argument("--precision", default="float32", help="draw, arm logits: float32 (default) or bfloat16")
    p.add_argument("--device", default="auto", help="draw, arm logits: auto (default), cpu, cuda, cuda:N")
    p.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="show: also draw the layer-wise densities"
    )


def run(args):
    from .. import mask, ticketfile
    from ..config import Config
    from ..data import weights
    from ..model import FCRN
    from ..training import arms

    initial = weights.load(args.weights)
    backbone = initial.backbone or "resnet50"
    if args.action == "levels":
        return _levels(initial, args)
    if args.action == "draw":
        config = Config(
            arm=args.arm, density=args.density, seed=args.seed, backbone=backbone, precision=args.precision
        )
        if config.arm not in ("omp", "random", "shuffled", "uniform", "erk", "logits"):
            raise UserError(
                f"a ticket of the arm {config.arm} is not drawn from weights alone; `sweep` or `train` makes it."
            )
        _is_free(args.file)
        found = (
            _on_logits(config.replace(round_epochs=args.round_epochs), initial, args)
            if config.arm == "logits"
            else None
        )
        found = arms.start(config, initial, given=found).ticket
        ticketfile.save(found, args.file, backbone, initial.fingerprint)
    elif args.action == "convert":
        if not args.out:
            raise UserError("convert needs --out FILE.npz, the ticket file to write.")
        found = ticketfile.read(
            args.file, mask.prunable(initial.state or FCRN(backbone).encoder.state_dict())
        )
        _is_free(args.out)
        ticketfile.save(found, args.out, backbone, ticketfile.origin(args.file))
        args.file = args.out
    found, meta = ticketfile.load(args.file)
    if args.action == "verify":
        model = FCRN(meta["backbone"] or backbone)
        ticketfile.read(args.file, mask.prunable(model.encoder.state_dict()))
        if args.weights and meta["init"] not in ("", initial.fingerprint):
            raise UserError(
                f"{args.file} was drawn from the weights {meta['init']}, not from {initial.fingerprint}."
            )
        return print(
            f"{args.file}: whole, fits {meta['backbone'] or backbone}, keeps {found.kept:,} of {found.size:,} weights"
        )
    d = mask.densities(found, FCRN(meta["backbone"] or backbone), 228, 304)
    print(
        f"{args.file}: {meta['backbone'] or backbone}, fingerprint {found.fingerprint}, from weights {meta['init'] or 'unknown'}"
    )
    print(
        "drawn: " + "\n       ".join(", ".join(f"{k} {v}" for k, v in step.items()) for step in found.history)
    )
    print(
        f"keeps {found.kept:,} of {found.size:,}: "
        + ", ".join(f"{100 * d[k]:.2f} % {t}" for k, t in DENSITIES.items())
    )
    for name, kept, size in found.layers():
        print(
            f"  {name:34} {kept:9,} of {size:9,}  {100 * kept / size:7.3f} %{'  (empty)' if not kept else ''}"
        )
    if args.picture:
        from ..files import replacing
        from ..paper import plots

        record = {"arm": "file", "density": found.density, "ticket": {"layers": found.layers()}}
        figure = plots.layers([record])
        kinds = figure.canvas.get_supported_filetypes()
        if (kind := args.picture.suffix[1:].lower()) not in kinds:
            raise UserError(f"--picture {args.picture}: name it as one of {', '.join(sorted(kinds))}.")
        with replacing(args.picture) as part:
            figure.savefig(part, format=kind, dpi=160, bbox_inches="tight")


def _levels(initial, args):
    """Draw, check and record one-shot, layer-shuffled and random tickets at 0.8^0 ... 0.8^18."""
    from ..analysis import levels
    from ..files import write_atomic

    if initial.state is None or args.file.suffix != ".json":
        raise UserError("levels needs --weights SOURCE and the name of a .json to write.")
    record = levels.measure(initial, args.seed)
    write_atomic(args.file, record)
    print(levels.table(record).to_string(index=False))
    print(levels.asked(record))


def _on_logits(config, initial, args):
    """The ticket of the arm logits; its rounds are kept among the runs, and a stopped one continues."""
    from ..data import photos
    from ..runs import run as runs
    from ..training import logits as pretraining
    from ..training.fit import pick_device

    if not args.photos:
        raise UserError("the arm logits needs --photos: a folder or an .h5 of unlabelled photos.")
    device, unlabelled = pick_device(args.device), photos.load(args.photos)
    folder = runs.Store().local / pretraining.chain(config, initial, unlabelled)
    print(f"{len(unlabelled.rgb):,} photos; the ticket of every round is kept in {folder}", flush=True)
    return pretraining.draw(config, initial, unlabelled, folder, device)


def _is_free(path):
    """Refuse to write a ticket over anything but a ticket."""
    from .. import ticketfile

    if path.suffix != ".npz":
        raise UserError(f"{path}: a ticket file is named .npz.")
    if path.exists():
        ticketfile.load(path)
