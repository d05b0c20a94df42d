"""Measure what a ticket buys here: milliseconds of the dense and the sparse network, batch 1, and bytes on disk."""

from pathlib import Path

from ..errors import UserError

LEVELS = (18, 15, 12, 9, 6, 3)
EXAMPLE = """\
examples (ResNet-50 at 228x304: 3 minutes on two cores):
  python -m lthdepth cost --weights resnet50.pth --out results/cost.json
  python -m lthdepth cost --run KEY          # a trained network, as `train --keep` leaves it
"""


def arguments(p):
    p.add_argument(
        "--weights", metavar="SOURCE", help="encoder weights to draw tickets from (default: random resnet50)"
    )
    p.add_argument(
        "--arms", nargs="+", default=["omp"], choices=("omp", "random"), help="tickets to draw (default: omp)"
    )
    p.add_argument(
        "--levels",
        nargs="+",
        type=int,
        default=LEVELS,
        metavar="K",
        help=f"densities 0.8^K (default: {' '.join(map(str, LEVELS))})",
    )
    p.add_argument("--ticket", type=Path, metavar="FILE", help="instead: this ticket or mask file")
    p.add_argument(
        "--run", dest="name", metavar="KEY", help="instead: the trained network of a run (`show` lists them)"
    )
    p.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="of the input (default: 228 304, or the run's)",
    )
    p.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds of measurement (default: 7)")
    p.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N")
    p.add_argument(
        "--out",
        type=Path,
        metavar="FILE.json",
        help="also write the measurements there, beside those of other machines",
    )
    p.epilog = EXAMPLE


def run(args):
    from ..inference import measure
    from ..paper import cost
    from ..training.fit import pick_device

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
    device = pick_device(args.device)
    found = _of_run(args, device) if args.name else _of_tickets(args, device)
    print(cost.table(found).to_string(index=False))
    print(cost.reading(found))
    if args.out:
        print(f"written: {args.out}")


def _of_run(args, device):
    from ..inference import measure, predict

    record, model = predict.network(args.name, device=device)
    size = args.size or (record["config"]["height"], record["config"]["width"])
    network = {"backbone": record["config"]["backbone"], "weights": f"run {args.name}"}
    return measure.study(
        [(record["arm"], model.eval(), measure.ticket_of(model))],
        network,
        size,
        device,
        args.repeats,
        args.out,
    )


def _of_tickets(args, device):
    from .. import mask, ticketfile
    from ..config import level
    from ..data import weights
    from ..inference import measure

    initial = weights.load(args.weights)
    network = {"backbone": initial.backbone or "resnet50", "weights": initial.name}
    if args.ticket:
        model, _ = measure.pruned(initial, "omp", 1.0, device)
        ticket = ticketfile.read(args.ticket, mask.prunable(model.encoder.state_dict()))
        mask.Masking(ticket, model.encoder)
        drawn = [("file", model, ticket)]
    else:
        wanted = [(arm, k) for arm in args.arms for k in dict.fromkeys(args.levels)]
        drawn = ((arm, *measure.pruned(initial, arm, level(k), device)) for arm, k in wanted)
    return measure.study(drawn, network, args.size or (228, 304), device, args.repeats, args.out)
