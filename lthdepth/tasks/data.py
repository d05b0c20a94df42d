"""Describe a data set, convert the official .mat, or download it."""

import json
from pathlib import Path

from ..errors import UserError


def arguments(p):
    p.add_argument("source", nargs="?", help="rooms, rooms:N, a cache .h5 or the official .mat")
    p.add_argument(
        "--out", type=Path, metavar="FILE.h5", help="where the half-resolution cache of a .mat goes"
    )
    p.add_argument(
        "--splits",
        type=Path,
        metavar="FILE",
        help="splits .mat or .json, for a .mat of other than 1449 frames",
    )
    p.add_argument(
        "--record", action="store_true", help="write what the paper shows of it to results/nyu_summary.h5"
    )
    p.add_argument(
        "--download", action="store_true", help="fetch nyu_depth_v2_labeled.mat (2.8 GB) into data/"
    )


def run(args):
    from ..data import nyu as frames_of
    from ..data.download import download
    from ..data.frames import describe

    source = args.source
    if args.download:
        if source:
            raise UserError(f"--download takes no source, and {source} was given: leave one of the two out.")
        source = str(download())
    if source is None:
        raise UserError("give a data source (rooms, a .h5 or a .mat) or --download.")
    if args.out and args.out.suffix.lower() not in (".h5", ".hdf5"):
        raise UserError(f"--out {args.out}: a cache is named .h5.")
    if (args.out or args.splits) and Path(source).suffix.lower() != ".mat":
        raise UserError(f"--out and --splits go with a .mat to convert, and {source} is none.")
    if Path(source).suffix.lower() == ".mat" and (args.out or args.splits):
        out = args.out or frames_of.cache_of(source)
        frames_of.convert(Path(source), out, splits=args.splits)
        source = str(out)
    frames = frames_of.load(source)
    if args.record:
        from ..data import summary
        from ..runs import run as runs

        if frames.name != "nyu":
            raise UserError(
                f"--record is for NYU Depth V2, which the paper shows; {source} is {frames.name}."
            )
        summary.save(summary.summarise(frames), runs.ROOT / "results" / "nyu_summary.h5")
    shown = describe(frames)
    for part in shown["splits"].values():  # long lists are for figures, not for a terminal
        del part["histogram"], part["scene_sizes"]
    print(json.dumps(shown, indent=1))
