"""Measure training and inference speed of FCRN here, fast and plain up-projection."""

from ..errors import UserError


def arguments(p):
    p.add_argument("--device", default="auto")
    p.add_argument("--size", nargs=2, type=int, default=(114, 152), metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--batch", type=int, default=8)


def run(args):
    from ..bench import bench as measure
    from ..train import pick_device

    if args.batch < 2 or not all(32 <= side <= 4096 for side in args.size):
        raise UserError("--batch must be 2 or more, --size between 32 and 4096 pixels.")
    measure(pick_device(args.device), *args.size, args.batch)
