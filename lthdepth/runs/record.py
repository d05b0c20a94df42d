"""A record of a run: what is in it, that it is what was written, and where it was made."""

import functools
import hashlib
import json
import math
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

NAME = re.compile(r"\w[\w.-]*")  # of a run's folder
TEXTS, PARTS = (
    ("key", "study", "arm"),
    ("config", "data", "init"),
)  # what everything that reads records relies on


class Record(dict):
    """A record as it is read and written, a plain dictionary, with names for what is asked of it most."""

    @property
    def key(self):
        """Name of the run, 16 hex digits."""
        return self["key"]

    @property
    def config(self):
        """Its `Config`; None where it has a setting that this version does not know, so that no run of it is
        meant.
        """
        return Config(**self["config"]) if self["config"].keys() <= FIELDS.keys() else None

    @property
    def label(self):
        """Short name of its arm, with its density."""
        return label(self)

    def scores(self, split="test", crop="full", average="pooled"):
        """The seven metrics, rms in metres, as `metrics.summarise`; None where the split was not scored.

        Args:
            split: test or validation; crop: full or eigen; average: pooled (the headline) or per_image.
        """
        return self[split][crop][average] if self.get(split) else None

    @property
    def rms(self):
        """Root mean squared error in metres over all pixels of the test frames; None where they were not
        scored.
        """
        return (self.scores() or {}).get("rms")

    @property
    def rel(self):
        """Mean absolute relative error on the test frames."""
        return (self.scores() or {}).get("rel")

    @property
    def delta1(self):
        """Fraction of the test frames' pixels within a factor of 1.25."""
        return (self.scores() or {}).get("delta1")


def label(record):
    """Short name of a run's arm, with its density."""
    name = ARMS[record["arm"]]
    return name if record["arm"] in WHOLE else f"{name} {100 * record['density']:#.3g} %"


def line(r):
    """A record on one line."""
    split = "test" if r.get("test") else "validation"
    scores, size = "not scored", ""
    if r.get(split):
        s = r[split]["full"]["pooled"]
        scores = f"{split}: rel {s['rel']:.3f}  rms {s['rms']:.3f} m  delta1 {s['delta1']:.3f}"
    if r["arm"] != "floor":
        epochs = r.get("epochs_run", 0)
        size = f"{r['config']['height']}x{r['config']['width']}, {epochs} epoch{'s' if epochs != 1 else ''}"
    return f"{r['key']}  {r['study']:16}  {title(r)}  {size:19}  {scores}"


def title(run):
    """A run, of which there is a record or a `Config`, in columns."""
    arm, density, seed = (
        run[k] if isinstance(run, dict) else getattr(run, k) for k in ("arm", "density", "seed")
    )
    return f"{arm:9} {100 * density:6.2f} %  seed {seed}"


def parse(text, where, status="finished"):
    """The `Record` in the bytes of a line or file.

    Raises UserError where it is none, was changed, is of a later version or of another status.
    """
    try:
        record = Record(json.loads(text.decode()))
        texts = [record[k] for k in TEXTS]
        # A path out of the store, or markup for a page, may come from another's folder.
        if not all(isinstance(t, str) for t in texts) or not NAME.fullmatch(record.key) or b"<" in text:
            raise ValueError
        sizes = [record[k] for k in ("density", "seed")] + [record["config"][k] for k in ("height", "width")]
        scores = [v for split in ("test", "validation") for v in (record.scores(split) or {}).values()]
        version = record.get("science_version", SCIENCE_VERSION)
        if not all(isinstance(n, int | float) for n in [*sizes, *scores, version]):
            raise TypeError
        if not all(isinstance(record[k], dict) for k in PARTS):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} is no record of a run; remove it, and the run is made again.") from None
    if not all(math.isfinite(n) for n in scores):
        raise UserError(
            f"{where} has a score that is not a finite number; remove it, and the run is made again."
        )
    if not _intact(text):
        raise UserError(f"{where} was changed after it was written; remove it, and the run is made again.")
    if record["arm"] not in ARMS or version > SCIENCE_VERSION:
        raise UserError(f"{where} is of a later version of lthdepth; use that one.")
    if record.get("status", status) != status:  # a run that failed is no result
        raise UserError(
            f"{where} is of a run that is {record['status']}, not {status}; remove it from there."
        )
    return record


@functools.lru_cache(4096)  # records are looked up again and again
def _intact(text):
    record = json.loads(text.decode())
    return record.get("sha256") == digest(record)


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
    """The command that makes a run again.

    FILE stands for data, weights, photos or ticket of the fingerprints in its record.
    """
    config, data, init = record["config"], record["data"], record["init"]
    number = f":{data['frames']}" if "frames" in data else ""  # the committed records do not say it
    words = ["--data", f"rooms{number}" if data["name"] == "rooms" else "FILE"]
    if "part" in data:
        words += ["--frames", *map(str, data["part"])]
    words += ["--device", "cpu" if record["device"].startswith("CPU") else "cuda"]
    if init["fingerprint"] != "none":
        _, torchvision_s, name = init["name"].rpartition("torchvision-")
        words += ["--weights", name if torchvision_s else "FILE"]
    if record.get("photos", data)["name"] != data["name"]:  # otherwise the training frames
        words += ["--photos", "FILE"]
    if record["arm"] == "file":
        words += ["--ticket", "FILE"]
    words += [f"{k}={v}" for k, v in config.items() if v != getattr(TUNED, k, v)]
    return " ".join(["python -m lthdepth train", *words])


def environment(device):
    """Where a record was made: device, versions, commit, date."""
    device = torch.device(device)
    cpu = f"CPU, {torch.get_num_threads()} threads"
    versions = {
        "lthdepth": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
    }
    commit, dirty = revision()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "versions": versions,
        "science_version": SCIENCE_VERSION,
        "commit": commit,
        "dirty": dirty,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


TOP = Path(__file__).resolve().parents[2]


def revision(root=TOP):
    """The commit of the repository whose top is `root`, and whether the package differs from it.

    `(None, None)` without git, and where `root` only lies within a repository of something else.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != root:
        return None, None
    return _git(root, "rev-parse", "--short=12", "HEAD"), bool(
        _git(root, "status", "--porcelain", "--", "lthdepth")
    )


def _git(root, *words):
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError:  # there is no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
