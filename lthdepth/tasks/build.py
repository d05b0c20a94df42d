"""Run the notebooks of a profile and render the paper to HTML."""

import time

from . import sources


def arguments(p):
    p.add_argument("--profile", choices=("quick", "paper"), default="quick")
    sources(p, False)
    p.add_argument(
        "--pdf", action="store_true", help="also print all pages into a PDF, with Chromium or Chrome"
    )
    p.add_argument("--quiet", action="store_true", help="print only where the paper is")


def run(args):
    from ..files import write_atomic
    from ..paper import figures, findings, tables
    from ..paper.build import build as build_paper
    from ..paper.build import to_pdf
    from ..paper.study import Desk
    from ..runs import run as runs

    started = time.time()
    index = build_paper(args.profile, args.data, args.weights, args.device, quiet=args.quiet)
    if args.pdf:
        print(to_pdf(index).as_uri())
    if args.profile == "paper":
        desk = Desk("paper")
        figures.drop_older(desk, started - 2)  # some file systems keep whole seconds only
        speed = tables.speed(runs.ROOT / "benchmarks")
        for name, mark, fresh in (
            *(("README.md", mark, text) for mark, text in findings.readme(desk).items()),
            ("docs/speed.md", "speed", speed),
        ):
            page = runs.ROOT / name
            text = page.read_text(encoding="utf-8")
            fresh = tables.refresh(text, fresh, mark)
            if fresh != text:
                write_atomic(page, fresh)
                if not args.quiet:
                    print(f"  {name} was brought up to date")
