"""Where a figure or table came from: its sidecar, and the same in words."""

import hashlib
import json
import subprocess
from pathlib import Path

import pandas as pd

from ..config import SCIENCE_VERSION
from ..errors import UserError
from ..runs import run as runs
from ..runs.record import command

NUMBERS = ("test", "validation", "curves", "densities", "ticket")  # what of a record a figure can show
DECIDES = ("lthdepth/*.py", "lthdepth/data", "lthdepth/training")  # the code that decides a run's numbers


def sidecar(paper, name, caption, sources, content):
    """What is written beside a figure or table, a dictionary; the same inputs give the same bytes.

    Args:
        paper: whose profile and data are shown.
        sources: the records behind it (None for a missing one) and paths of files of the repository. Without
            any it shows the data alone.
        content: text of the numbers shown, of which the sidecar keeps a hash.
    """
    records = [s for s in sources if isinstance(s, dict)]
    files = [s for s in sources if isinstance(s, str)]
    data = [r["data"] for r in records]
    if not records and not files:
        data = [paper.summary().description]
        files = ["results/nyu_summary.h5"] if paper.profile == "paper" else []
    weights = [r["init"] for r in records if r["arm"] != "floor"]
    kept = ("key", "study", "arm", "density", "seed", "commit", "dirty", "device", "seconds")
    return {
        "name": name,
        "caption": caption,
        "command": f"./build.sh --profile {paper.profile}",
        "data": _distinct(data, ("name", "fingerprint")),
        "weights": _distinct(weights, ("name", "description", "fingerprint")),
        "files": {path: fingerprint(path) for path in files},
        "numbers": short_hash(content.encode()),
        "runs": [{k: r[k] for k in kept} | {"numbers": numbers(r)} for r in records],
    }


def numbers(record):
    """Hash of what a figure can show of a record: with one digit changed it is another."""
    return short_hash(json.dumps([record.get(k) for k in NUMBERS], sort_keys=True).encode())


def fingerprint(path):
    """Hash of a file of the repository; "" where it is gone."""
    path = runs.ROOT / path
    return short_hash(path.read_bytes()) if path.is_file() else ""


def short_hash(content):
    """The first 12 hex digits of the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


def text(sidecar):
    """A sidecar as JSON: a line a run."""
    rows = ",".join(f"\n  {json.dumps(r)}" for r in sidecar["runs"])
    head = json.dumps({k: v for k, v in sidecar.items() if k != "runs"}, indent=1).removesuffix("\n}")
    return f'{head},\n "runs": [{rows}]\n}}\n'


def read(path):
    """The sidecar of a figure or table. Raises UserError: no such file, no sidecar, or a damaged one."""
    path, beside = Path(path), Path(path).with_suffix(".json")
    if not path.is_file():
        where = "those of the paper are in figures/, those of a quick build in build/quick/figures/"
        raise UserError(f"no file {path}; {where}.")
    if not beside.is_file():
        raise UserError(f"{path} has no sidecar {beside.name}: it is no figure or table of a build.")
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
        sentences(said)
        return said
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{beside} is damaged or of another program; build the paper again.") from None


def sentences(sidecar):
    """Where a figure or table came from, a sentence each: runs, files, data, weights, commit and command."""
    used = sidecar["runs"]
    lines = []
    if used:
        spent, devices = _time(sum(r["seconds"] for r in used)), _listed(r["device"] for r in used)
        lines.append(f"It shows {_count(used)}: {spent} of computing on {devices}.")
        lines.append(f"They were recorded at commit {_listed(map(commit, used))}.")
    elif sidecar["data"]:
        lines.append("No trained run went into it, only the data.")
    for path, mark in sidecar["files"].items():
        lines.append(f"Numbers come from {path} (SHA-256 {mark}…).")
    for d in sidecar["data"]:
        lines.append(f"Data: {d['name']}, fingerprint {d['fingerprint']}.")
    for w in sidecar["weights"]:
        lines.append(f"Initial weights: {w['name']} ({w['description']}), fingerprint {w['fingerprint']}.")
    return [*lines, f"Drawn by {sidecar['command']}; the numbers shown have the hash {sidecar['numbers']}."]


def explain(path, store=None):
    """Where a figure or table came from, and what has changed since. Raises UserError as `read`."""
    said, known = read(path), (store or runs.Store()).records()
    lines = [f"{Path(path).name}: {said['caption']}", "", *sentences(said)]
    for file, mark in said["files"].items():
        if fingerprint(file) != mark:
            lines.append(f"{file} has changed since: build the paper again.")
    used = said["runs"]
    if not used:
        return "\n".join(lines)
    missing = [r["key"] for r in used if r["key"] not in known]
    lines.append(f"Not recorded here: {', '.join(missing)}." if missing else "All their records are here.")
    if files := changed(used):
        lines.append(f"Code that decides numbers was edited since, under the same science version: {files}.")
    lines += ["", *map(line, used)]
    if again := next((known[r["key"]] for r in used if r["key"] in known and r["arm"] != "floor"), None):
        lines += ["", f"To make the run {again['key']} again: {command(again)}"]
    return "\n".join(lines)


def line(used):
    """A run of a sidecar in one line."""
    kept = f"{100 * used['density']:.4g} %"
    return f"{used['key']}  {used['study']}  {used['arm']} {kept}, seed {used['seed']}, commit {commit(used)}"


def banner(folder, store=None):
    """A sentence where what decides numbers is not what it was for the runs in a folder's sidecars; or "".

    That is the data at hand, which figures without runs show, and the science version of the records.
    """
    sidecars = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*.json")]
    shown = {d["fingerprint"] for s in sidecars if not s["runs"] for d in s["data"]}
    trained = {d["fingerprint"] for s in sidecars if s["runs"] for d in s["data"]}
    if trained and (newer := shown - trained):
        return (
            f"The data at hand ({_listed(newer)}) are not those of the runs shown here ({_listed(trained)})."
        )
    known = (store or runs.Store()).records()
    used = [known[r["key"]] for s in sidecars for r in s["runs"] if r["key"] in known]
    if any(r.get("science_version", SCIENCE_VERSION) != SCIENCE_VERSION for r in used):
        return "Some runs shown here were made by code of another science version."
    return ""


def changed(used):
    """Names of the files that decide numbers and differ from the commits of some runs; "" for none."""
    commits = {r["commit"] for r in used if r["commit"]}
    names = [_git("diff", "--name-only", made, "--", *DECIDES).split() for made in commits]
    return ", ".join(sorted({Path(name).name for each in names for name in each}))


def commit(made):
    """A run's commit, with a + where there were changes that it does not hold."""
    return f"{made['commit']}{'+' if made['dirty'] else ''}" if made["commit"] else "unknown"


def _git(*words):
    try:
        done = subprocess.run(["git", *words], cwd=runs.ROOT, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return ""
    return done.stdout if done.returncode == 0 else ""


def _count(used):
    return "one recorded run" if len(used) == 1 else f"{len(used)} recorded runs"


def _time(seconds):
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _listed(names):
    names = sorted(set(names))
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]


def _distinct(rows, names):
    return pd.DataFrame(rows, columns=list(names)).drop_duplicates().to_dict("records")
