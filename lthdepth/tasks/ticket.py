"""Draw a ticket, show or verify a ticket file, or convert a mask file into one."""

from pathlib import Path

from ..errors import UserError

DENSITIES = {"prunable": "of the prunable weights", "encoder": "of the encoder", "network": "of the network", "mac": "of its multiply-adds at 228x304"}  # fmt: skip


def arguments(p):
    p.add_argument("action", choices=("draw", "show", "verify", "convert"))
    p.add_argument("file", type=Path, help="the ticket file (draw: to write; convert: the mask file to read)")
    p.add_argument("--out", type=Path, metavar="FILE.npz", help="convert: the ticket file to write")
    p.add_argument("--weights", metavar="SOURCE", help="draw, verify, convert: encoder weights (default: random resnet50)")
    p.add_argument("--arm", default="omp", help="draw: omp (default), random, shuffled, uniform or erk")
    p.add_argument("--density", type=float, default=0.8**18, help="draw: kept fraction of the prunable weights (default 0.8^18)")
    p.add_argument("--seed", type=int, default=0, help="draw: of the random arms")
    p.add_argument("--picture", type=Path, metavar="FILE.png", help="show: also draw the layer-wise densities")


def run(args):
    from .. import arms, mask, ticketfile, weights
    from ..config import Config
    from ..model import FCRN

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
        from .. import plots

        record = {"arm": "file", "density": found.density, "ticket": {"layers": found.layers()}}
        plots.layers([record]).savefig(args.picture, dpi=160)


def _save_ticket(ticketfile, found, path, backbone, init):
    if path.suffix != ".npz":
        raise UserError(f"{path}: a ticket file is named .npz.")
    if path.exists():
        ticketfile.load(path)  # only a ticket is ever replaced by another
    ticketfile.save(found, path, backbone, init)
