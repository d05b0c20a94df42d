"""Measure training and inference speed of FCRN here, fast and plain up-projection."""


def arguments(p):
    p.add_argument("--device", default="auto")
    p.add_argument("--size", nargs=2, type=int, default=(114, 152), metavar=("HEIGHT", "WIDTH"))
    p.add_argument("--batch", type=int, default=8)


def run(args):
    from ..bench import bench as measure
    from ..train import pick_device

    measure(pick_device(args.device), *args.size, args.batch)
