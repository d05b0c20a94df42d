"""Bring finished runs of other machines together: folders that `sweep --out` wrote, or their two packed files alone."""

from pathlib import Path


def arguments(p):
    p.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="folders of runs, or with runs.jsonl and arrays/"
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where they go (default: runs/)")


def run(args):
    from ..runs import run as runs
    from ..runs.merge import merge

    store = runs.Store()
    added, same, other = merge(args.folders, runs.Store(args.out or store.local, store.recorded))
    print(f"{added} runs added, {same} were there already")
    for key in other:
        print(f"{key}: made twice with different scores; the one that was there first is kept")
