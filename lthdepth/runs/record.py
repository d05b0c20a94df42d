"""A record of a run: what is in it, that it is what was written, and where it was made."""

import hashlib
import json
import platform
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
import torchvision

from .. import __version__
from ..config import ARMS, FIELDS, SCIENCE_VERSION, TUNED, WHOLE, Config
from ..errors import UserError

TOP = Path(__file__).resolve().parents[2]
GONE = {"rewind": 0, "patience": 0}  # settings of earlier versions; no record has another value
NAME = re.compile(r"\w[\w.-]*")  # of a run's folder


class Record(dict):
    """A record as it is read and written, a plain dictionary."""

    @property
    def key(self):
        """Name of the run, 16 hex digits."""
        return self["key"]

    @property
    def config(self):
        """Its `Config`; None where it has a setting that this version does not know."""
        known = {name: value for name, value in self["config"].items() if GONE.get(name) != value}
        return Config(**known) if known.keys() <= FIELDS.keys() else None


def label(record):
    """Short name of a run's arm, with its density."""
    name = ARMS[record["arm"]]
    return name if record["arm"] in WHOLE else f"{name} {100 * record['density']:#.3g} %"


def line(record):
    """A record on one line."""
    scores, size, config = "not scored", "", record["config"]
    for split in ("validation", "test"):
        if record.get(split):
            s = record[split]["full"]["pooled"]
            scores = f"{split}: rel {s['rel']:.3f}  rms {s['rms']:.3f} m  delta1 {s['delta1']:.3f}"
    if record["arm"] != "floor":
        size = f"{config['height']}x{config['width']}, epochs {config['epochs']}"
    return f"{record['key']}  {record['study']:16}  {title(record)}  {size:19}  {scores}"


def title(run):
    """A run, of which there is a record or a `Config`, in columns."""
    known = run if isinstance(run, dict) else vars(run)
    return f"{known['arm']:9} {100 * known['density']:6.2f} %  seed {known['seed']}"


def parse(text, where):
    """The `Record` in the bytes of a line or file.

    Raises UserError where it is none, was changed, or is of a later version.
    """
    try:
        record = Record(json.loads(text.decode()))
        intact, version = record["sha256"] == digest(record), record.get("science_version", SCIENCE_VERSION)
        # A path out of the store, or markup for a page, may come from another's folder.
        if not NAME.fullmatch(record.key) or b"<" in text:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} is no record of a run; remove it, and the run is made again.") from None
    if not intact:
        raise UserError(f"{where} was changed after it was written; remove it, and the run is made again.")
    if record["arm"] not in ARMS or version > SCIENCE_VERSION:
        raise UserError(f"{where} is of a later version of lthdepth; use that one.")
    return record


def digest(record):
    """SHA-256 of a record without its label, the study, and without itself."""
    text = json.dumps({k: v for k, v in record.items() if k not in ("study", "sha256")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record):
    """A record with its `digest` in it, as it will be read again; a file's name cannot be markup in it."""
    record = Record(json.loads(json.dumps(record).replace("<", "(")))
    record["sha256"] = digest(record)
    return record


def command(record):
    """The command that makes a run again; FILE: data, weights or ticket of the fingerprints in its record."""
    config, data, init = record["config"], record["data"], record["init"]
    number = f":{data['frames']}" if "frames" in data else ""  # the committed records do not say it
    words = ["--data", f"rooms{number}" if data["name"] == "rooms" else "FILE"]
    if "part" in data:
        words += ["--frames", *map(str, data["part"])]
    words += ["--device", "cpu" if record["device"].startswith("CPU") else "cuda"]
    if init["fingerprint"] != "none":
        _, torchvision_s, name = init["name"].rpartition("torchvision-")
        words += ["--weights", name if torchvision_s else "FILE"]
    if record["arm"] == "file":
        words += ["--ticket", "FILE"]
    words += [f"{k}={v}" for k, v in config.items() if v != getattr(TUNED, k, v)]
    return " ".join(["python -m lthdepth train", *words])


def environment(device):
    """Where a record was made: device, versions, commit, date."""
    device = torch.device(device)
    cpu = f"CPU, {torch.get_num_threads()} threads"
    versions = {"lthdepth": __version__, "python": platform.python_version()}
    commit, dirty = revision()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "versions": versions | {m.__name__: m.__version__ for m in (torch, torchvision, np)},
        "science_version": SCIENCE_VERSION,
        "commit": commit,
        "dirty": dirty,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def revision(root=TOP):
    """The commit of the repository whose top is `root`, and whether the package differs from it.

    `(None, None)` without git, and where `root` only lies within a repository of something else.
    """

    def git(*words):
        how = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "check": True}
        return subprocess.run(["git", *words], cwd=root, **how).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None, None
        return git("rev-parse", "--short=12", "HEAD"), bool(git("status", "--porcelain", "--", "lthdepth"))
    except (OSError, subprocess.CalledProcessError):
        return None, None
