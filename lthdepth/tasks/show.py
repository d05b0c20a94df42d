"""List recorded runs, show one, or explain a figure."""

import json
from pathlib import Path

from ..errors import UserError
from . import line


def arguments(p):
    p.add_argument("what", nargs="?", help="key of a run (its beginning is enough) or a file in figures/")
    p.add_argument("--study", help="list only this study")


def run(args):
    from .. import runs

    if args.what and Path(args.what).suffix:
        from ..provenance import explain

        return print(explain(Path(args.what)))
    store = runs.Store()
    if args.what:
        record = store.get(args.what)
        if not record:
            raise UserError(f"no run {args.what}; `python -m lthdepth show` lists them.")
        return print(json.dumps(record, indent=1))
    found = [r for r in store.records().values() if args.study in (None, r["study"])]
    for record in sorted(found, key=runs.order):
        print(line(record))
    print(f"{len(found)} runs")
