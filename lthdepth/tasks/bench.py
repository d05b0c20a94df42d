"""Measure what training and evaluation cost here, beside public code, the bare hardware and the targets.

Prints a table and writes it as CSV, row by row; nothing else should be at work meanwhile. "by arithmetic" and "by
memory" say what the same number would be if only products, or only bytes that cannot be avoided, took time.
"""

import csv
import io
import math
import platform
import re
from pathlib import Path

from ..errors import UserError

COLUMNS = ("measure", "value", "unit", "by arithmetic", "by memory", "target", "note")


def arguments(p):
    p.add_argument("--device", default="auto")
    p.add_argument(
        "--size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="only this one (default: 114 152, and 228 304)",
    )
    p.add_argument(
        "--batch", type=int, help="frames a step where speeds are compared (default: 8 and 4; on a GPU 16)"
    )
    p.add_argument("--out", type=Path, metavar="FILE.csv", help="default: benchmarks/bench_<device>.csv")


def run(args):
    from ..bench.bench import Bench
    from ..files import write_atomic
    from ..runs.record import environment
    from ..runs.run import ROOT
    from ..training.fit import pick_device

    sizes = [tuple(args.size)] if args.size else [(114, 152), (228, 304)]
    if (
        args.batch is not None
        and args.batch < 2
        or not all(32 <= side <= 4096 for size in sizes for side in size)
    ):
        raise UserError("--batch must be 2 or more, --size between 32 and 4096 pixels.")
    device = pick_device(args.device)
    gpu = device.type == "cuda"
    batches = [args.batch or 16] * 2 if args.batch or gpu else [8, 4]
    sizes = [(*size, batch) for size, batch in zip(sizes, batches, strict=False)]
    bench = Bench(device, "bfloat16" if gpu else "float32", sizes, 5, 3 if gpu else 2)
    out = args.out or ROOT / "benchmarks" / f"bench_{re.sub('[^a-z0-9]+', '-', _name(device).lower())}.csv"
    about = [
        _name(device),
        *(f"{k} {v}" for k, v in environment(device)["versions"].items()),
        environment(device)["date"],
    ]
    table = [COLUMNS, ("machine", *[""] * 5, ", ".join(about))]
    for cells in table:
        print(_line(cells))
    for row in bench.run():
        table.append(_cells(row))
        print(_line(table[-1]), flush=True)
        with io.StringIO() as text:  # at once: a run that is cut off leaves what it has measured
            csv.writer(text, lineterminator="\n").writerows(table)
            write_atomic(out, text.getvalue())
    print(f"written to {out}")


def _cells(row):
    """Texts in the order of `COLUMNS`."""
    value, *best = [
        "" if v is None or math.isnan(v) else f"{v:.4g}" for v in (row.value, row.arithmetic, row.memory)
    ]
    target = row.target
    if target and value:
        sign, limit = target.split()
        good = row.value >= float(limit) if sign == "≥" else row.value <= float(limit)
        target += ": met" if good else ": missed"
    return [row.measure, value, row.unit, *best, target, row.note]


def _line(cells):
    return f"{cells[0]:46} {cells[1]:>9} {cells[2]:13} {cells[3]:>13} {cells[4]:>9}  {cells[5]:14} {cells[6]}"


def _name(device):
    """The device as its maker calls it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text(encoding="utf-8")) if info.exists() else None
    return f"{found[1] if found else platform.machine()}, {torch.get_num_threads()} threads"
