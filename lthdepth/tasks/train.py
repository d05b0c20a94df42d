"""Train one configuration, or continue it; print its scores."""

import re
from pathlib import Path

from ..config import ARMS, SETTINGS
from . import line, sources

EXAMPLE = """\
example, 20 minutes on two cores:
  python -m lthdepth train --data nyu_half.h5 --weights resnet50.pth --setting tuned arm=omp density=0.018 height=114 width=152 epochs=4
"""


def arguments(p):
    sources(p, True)
    p.add_argument(
        "--ticket", type=Path, metavar="FILE", help="train under this ticket or mask file (arm=file)"
    )
    p.add_argument(
        "--frames",
        nargs=2,
        type=int,
        metavar=("TRAIN", "TEST"),
        help="only so many frames of a file, evenly spaced",
    )
    p.add_argument(
        "--photos",
        metavar="SOURCE",
        help="unlabelled photos for the arm logits: a folder or .h5 (default: training frames)",
    )
    p.add_argument(
        "--setting", choices=tuple(SETTINGS), help="start from a named configuration (default: tuned)"
    )
    p.add_argument(
        "--keep",
        action="store_true",
        help="train again where only the record is here, not the trained weights",
    )
    p.add_argument(
        "settings", nargs="*", metavar="name=value", help="settings changed from there; listed below"
    )
    p.epilog = f"{EXAMPLE}\n{settings()}"


def run(args):
    from .. import mask, ticketfile
    from ..config import Config
    from ..data import nyu as frames_of
    from ..data import photos, weights
    from ..errors import UserError
    from ..model import FCRN
    from ..runs import run as runs
    from ..training.fit import pick_device

    device = pick_device(args.device)
    config = Config.parse(args.settings, SETTINGS[args.setting or "tuned"])
    named = any(text.startswith("backbone=") for text in args.settings)
    initial = weights.load(args.weights, config.backbone if named else None)
    config = config.replace(backbone=initial.backbone or config.backbone)
    ticket = None
    if args.ticket:
        ticket = ticketfile.read(args.ticket, mask.prunable(FCRN(config.backbone).encoder.state_dict()))
        if not any(text.startswith("arm=") for text in args.settings):
            config = config.replace(arm="file", density=ticket.density)
    if args.photos and config.arm != "logits":
        raise UserError("--photos are for the arm logits alone; leave them out.")
    unlabelled = photos.load(args.photos) if args.photos else None
    frames = frames_of.load(args.data)
    if args.frames:
        if frames.name == "rooms":
            raise UserError("--frames takes a part of a file; of the rooms ask for rooms:N.")
        frames = frames.subset(*args.frames)
    record = runs.run(
        config, frames, initial, runs.Store(), device, "own", ticket, keep=args.keep, unlabelled=unlabelled
    )
    print(line(record))
    print(f"record: {runs.Store().local / record['key'] / 'record.json'}")


def settings():
    """The settings as text: library default and meaning; the named ones; then the arms."""
    source = (Path(__file__).parents[1] / "config.py").read_text()
    rows = re.findall(r"^    (\w+): \w+ = (\S+)  # (.*)$", source, re.MULTILINE)
    lines = [f"  {n + '=' + v.strip(chr(34)):22} {c}" for n, v, c in rows]
    named = [f"  --setting {name}: {', '.join(config.changes())}" for name, config in SETTINGS.items()]
    arms = [f"  {name:22} {words}" for name, words in ARMS.items()]
    return "\n".join(["settings (library defaults):", *lines, "", *named, "", "arms:", *arms])
