"""List recorded runs, show one, or explain a figure."""

import json
from pathlib import Path

from ..errors import UserError
from . import line


def arguments(p):
    p.add_argument("what", nargs="?", help="key of a run (its beginning is enough) or a file in figures/")
    p.add_argument("--study", help="list only this study")


def run(args):
    from ..runs import run as runs
    from ..runs.studies import STUDIES

    if args.what and (Path(args.what).suffix or "/" in args.what):
        from ..paper.provenance import explain

        return print(explain(Path(args.what)))
    store = runs.Store()
    if args.what:
        record = store.get(args.what) or store.failed().get(args.what)
        if not record:
            raise UserError(f"no run {args.what}; `python -m lthdepth show` lists them.")
        return print(json.dumps(record, indent=1))
    records, failed = store.records(), store.failed()
    studies = {*STUDIES, "own", *(r["study"] for r in records.values())}
    if args.study not in (None, *studies):
        raise UserError(f"no study {args.study}; the studies are {', '.join(sorted(studies))}.")
    found = [r for r in records.values() if args.study in (None, r["study"])]
    for record in sorted(found, key=runs.order):
        print(line(record))
    lost = [r for r in failed.values() if args.study in (None, r["study"])]
    for record in sorted(lost, key=runs.order):
        print(f"{record['key']}  {record['study']:7} failed: {record['reason']}")
    print(f"{len(found)} runs" + (f", {len(lost)} failed" if lost else ""))
