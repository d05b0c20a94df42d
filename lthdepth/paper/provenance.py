"""Where a figure or table came from: its sidecar, the same in plain words, and whether the code has moved on since."""

import ast
import hashlib
import json
import subprocess
from pathlib import Path

import matplotlib
import pandas as pd
from PIL import Image

from ..config import SCIENCE_VERSION
from ..errors import UserError
from ..runs import run as runs
from ..runs.record import command

# What decides the numbers of a run: a change here can make recorded results differ from what the code would give.
SCIENCE = (
    "arms",
    "augment",
    "config",
    "convert",
    "data",
    "frames",
    "furniture",
    "loss",
    "mask",
    "metrics",
    "model",
    "pretraining",
    "rooms",
    "step",
    "tickets",
    "train",
    "weights",
)


# What of a record can be seen in a figure.
NUMBERS = ("test", "validation", "curves", "densities", "ticket")


def source(desk, name, caption, records, files=None):
    """What a sidecar says, but for how it was drawn (`drawn`) and the file's hash.

    Args:
        desk: `desk.Desk`; name, caption: of the figure; records: those that went into it, None for a missing one.
        files: of the repository, that numbers were taken from; [] for a figure of no data at all. Without runs and files it
            shows the desk's data.
    """
    records = [r for r in records if r]
    if files is None and not records and desk.profile == "paper":
        files = ["results/nyu_summary.h5"]
        data = [desk.summary().description]
    else:
        data = [r["data"] for r in records] or ([desk.summary().description] if files is None else [])
    kept = ("key", "study", "arm", "density", "seed", "commit", "dirty", "device", "seconds")
    return {
        "name": name,
        "caption": caption,
        "profile": desk.profile,
        "command": f"./build.sh --profile {desk.profile}",
        "data": _distinct(data, ("name", "fingerprint")),
        "init": _distinct(
            [r["init"] for r in records if r["arm"] != "floor"], ("name", "description", "fingerprint")
        ),
        "files": {path: fingerprint(path) for path in files or ()},
        "runs": [{k: r[k] for k in kept} | {"numbers": numbers(r)} for r in records],
    }


def numbers(record):
    """Hash of what a figure can show of a record: one digit changed afterwards, and it is another."""
    return hashlib.sha256(json.dumps([record.get(k) for k in NUMBERS], sort_keys=True).encode()).hexdigest()[
        :12
    ]


def fingerprint(path):
    """Hash of a file of the repository; "" where it is gone."""
    path = runs.ROOT / path
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else ""


def drawn(desk):
    """By what a figure was drawn: device, versions, commit, dirty flag, date."""
    made = runs.environment(desk.device)
    made["versions"] |= {"matplotlib": matplotlib.__version__, "pandas": pd.__version__}
    return made


def text(sidecar):
    """A sidecar as JSON: a line a run."""
    rows = ",".join(f"\n  {json.dumps(r)}" for r in sidecar["runs"])
    head = json.dumps({k: v for k, v in sidecar.items() if k != "runs"}, indent=1).removesuffix("\n}")
    return f'{head},\n "runs": [{rows}]\n}}\n'


def read(path):
    """The sidecar of a figure or table, from beside it or, failing that, from inside a PNG.

    Raises:
        UserError: no such file, nothing said of it, or damaged.
    """
    path, sidecar = Path(path), Path(path).with_suffix(".json")
    if not path.is_file():
        raise UserError(
            f"no file {path}; figures and tables of the paper are in figures/, those of a quick build in build/quick/figures/."
        )
    try:
        said = (
            sidecar.read_text()
            if sidecar.exists()
            else getattr(Image.open(path, formats=("PNG",)), "text", {}).get("Description")
        )
        if said is None:
            raise UserError(
                f"{path} has no sidecar {sidecar.name} and says nothing of itself: it is no figure or table of a build."
            )
        s = json.loads(said)
        s["caption"], s["profile"], s["drawn"]["versions"], s["data"], s["init"], s["runs"]
        return s
    except (OSError, SyntaxError, Image.DecompressionBombError):  # of Pillow
        raise UserError(
            f"{path} has no sidecar {sidecar.name}: it is no figure or table of a build."
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{sidecar} is damaged or of another program; build the paper again.") from None


def explain(path, store=None):
    """Say in plain words where a figure or table came from.

    Raises:
        UserError: as `read`.
    """
    s, known = read(path), (store or runs.Store()).records()
    lines = [f"{Path(path).name}: {s['caption']}", ""]
    trained = [r for r in s["runs"] if r["arm"] != "floor"]
    if s["runs"]:
        spent, n = _time(sum(r["seconds"] for r in s["runs"])), len(s["runs"])
        lines.append(
            f"It shows {n} recorded {'run' if n == 1 else 'runs'}, {spent} of computing on {_listed(r['device'] for r in s['runs'])}."
        )
        missing = [r["key"] for r in s["runs"] if r["key"] not in known]
        there = f"here but for {', '.join(missing)}" if missing else "all here"
        lines.append(f"Their records are {there}; `python -m lthdepth show KEY` prints one.")
    elif s["data"]:
        lines.append("No trained run went into it, only the data.")
    else:
        lines.append("No trained run went into it, and no data set.")
    for path, was in s.get("files", {}).items():
        same = (
            "as it is now" if fingerprint(path) == was else "which has changed since: build the paper again"
        )
        lines.append(f"Numbers from {path} (SHA-256 {was}…), {same}.")
    lines += [f"Data: {d['name']}, fingerprint {d['fingerprint']}." for d in s["data"]]
    lines += [
        f"Initial weights: {i['name']} ({i['description']}), fingerprint {i['fingerprint']}."
        for i in s["init"]
    ]
    d = s["drawn"]
    versions = ", ".join(f"{name} {version}" for name, version in d["versions"].items())
    lines.append(
        f"Drawn on {d['date']} by {s['command']} at commit {_commit(d)} on {d['device']}; {versions}."
    )
    changed, files = _changed(s["runs"])
    if changed:
        lines.append(f"{changed} Changed: {_listed(files)}.")
    if any(made["dirty"] for made in (d, *s["runs"])):
        lines.append("A + behind a commit: there were changes that it does not hold.")
    if s["runs"]:
        study, arm = (max(len(r[k]) for r in s["runs"]) for k in ("study", "arm"))
        lines += [
            "",
            f"{'key':16}  {'study':{study}}  {'arm':{arm}}  {'kept':>8}  seed  {'commit':13}  wall time",
        ]
        for r in s["runs"]:
            kept = f"{100 * r['density']:6.2f} %"
            lines.append(
                f"{r['key']}  {r['study']:{study}}  {r['arm']:{arm}}  {kept}  {r['seed']:4}  {_commit(r):13}  {_time(r['seconds'])}"
            )
    if again := next((known[r["key"]] for r in trained if r["key"] in known), None):
        lines += ["", f"To make the run {again['key']} again: {command(again)}"]
    return "\n".join(lines)


def banner(folder):
    """Sentences for the top of the pages where code or data are newer than the runs of the sidecars in `folder`; or ""."""
    sidecars = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    used = {r["key"]: r for s in sidecars for r in s["runs"]}
    # A figure without runs shows the data at hand.
    now, then = (
        {d["fingerprint"] for s in sidecars if bool(s["runs"]) == of_runs for d in s["data"]}
        for of_runs in (False, True)
    )
    newer = now - then if then else set()
    data = (
        f"The data at hand (fingerprint {_listed(newer)}) are not those of the runs shown here ({_listed(then)})."
        if newer
        else ""
    )
    return " ".join(filter(None, (_changed(used.values())[0], data)))


def _changed(used):
    """A sentence where code has changed since runs were recorded, "" where not; and the names of the files."""
    used, moved, stale = list(used), set(), 0
    for commit in {r["commit"] for r in used if r["commit"]}:
        files = _differ(commit)
        moved |= files
        stale += bool(files) * sum(r["commit"] == commit for r in used)
    if not moved:
        return "", []
    which = (
        "the run"
        if len(used) == 1
        else f"all {stale} runs"
        if stale == len(used)
        else f"{stale} of the {len(used)} runs"
    )
    meant = f"not meant to change results: science version {SCIENCE_VERSION} then and now"
    return (
        f"The code has changed since {which} shown here {'was' if len(used) == 1 else 'were'} recorded ({meant}).",
        sorted(moved),
    )


def _differ(commit):
    """The files of SCIENCE whose code, comments and docstrings aside, is not what it was at a commit; none if unknown."""
    paths = [f"lthdepth/{name}.py" for name in SCIENCE]
    named = _git("diff", "--name-only", commit, "--", *paths)
    return {
        Path(p).name
        for p in (named or "").split()
        if _code(_git("show", f"{commit}:{p}")) != _code((runs.ROOT / p).read_text())
    }


def _code(text):
    tree = ast.parse(text or "")
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


def _git(*words):
    done = subprocess.run(["git", *words], cwd=runs.ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _time(seconds):
    return (
        f"{seconds:.0f} s"
        if seconds < 600
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _commit(made):
    return f"{made['commit']}{'+' if made['dirty'] else ''}" if made["commit"] else "unknown"


def _listed(names):
    names = sorted(set(names))
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _distinct(rows, names):
    return pd.DataFrame(rows, columns=list(names)).drop_duplicates().to_dict("records")
