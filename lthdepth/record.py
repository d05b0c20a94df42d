"""A record of a run: what is in it, that it is what was written, and where it was made."""

import functools
import hashlib
import json
import platform
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
import torchvision

from . import __version__
from .config import ARMS, SCIENCE_VERSION, TUNED
from .errors import UserError

# What everything that reads records relies on.
FORM = {"key": str, "study": str, "arm": str, "density": float, "seed": int, "config": dict, "data": dict, "init": dict}


def parse(text, where, status="finished"):
    """The record in a line or file. Raises UserError where it is none, was changed, is of a later version or of another status."""
    try:
        record = json.loads(text.decode())
        if not all(isinstance(record[k], kind) for k, kind in FORM.items()):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{where} is no record of a run; remove it, and the run is made again.") from None
    if "sha256" in record and not _intact(text):  # the first records have none
        raise UserError(f"{where} was changed after it was written; remove it, and the run is made again.")
    if record["arm"] not in ARMS or record.get("science_version", SCIENCE_VERSION) > SCIENCE_VERSION:
        raise UserError(f"{where} is of a later version of lthdepth; use that one.")
    if (found := record.get("status", status)) != status:  # a run that failed is no result
        raise UserError(f"{where} is of a run that is {found}, not {status}; remove it from there.")
    return record


@functools.lru_cache(4096)  # records are looked up again and again
def _intact(text):
    record = json.loads(text.decode())
    return record["sha256"] == digest(record)


def digest(record):
    """SHA-256 of a record without its label, the study, and without itself."""
    text = json.dumps({k: v for k, v in record.items() if k not in ("study", "sha256")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record):
    """A record with its `digest` in it, as it will be read again."""
    record = json.loads(json.dumps(record))
    return record | {"sha256": digest(record)}


def command(record):
    """The command that makes a run again; FILE stands for data, weights, photos or ticket of the fingerprints in its record."""
    config, data, init = record["config"], record["data"], record["init"]
    rooms = data["name"] == "rooms"
    words = ["--data", f"rooms:{data['frames']}" if rooms else "FILE", "--device", "cpu" if record["device"].startswith("CPU") else "cuda"]
    if init["fingerprint"] != "none":
        _, torchvision_s, name = init["name"].rpartition("torchvision-")
        words += ["--weights", name if torchvision_s else "FILE"]
    if record.get("photos", data)["name"] != data["name"]:  # otherwise the training frames
        words += ["--photos", "FILE"]
    if record["study"] == "quick" and not rooms:  # it takes a part of the frames, which `train` does not
        return " ".join(["python -m lthdepth sweep quick", *words, "--seeds", str(record["seed"])])
    words += ["--ticket", "FILE"] * (record["arm"] == "file") + [f"{k}={v}" for k, v in config.items() if v != getattr(TUNED, k)]
    return " ".join(["python -m lthdepth train", *words])


def environment(device):
    """Where a record was made: device, versions, commit, date."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "device": name,
        "versions": {
            "lthdepth": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
        },
        "science_version": SCIENCE_VERSION,
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", "lthdepth")),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _git(*words):
    try:
        done = subprocess.run(["git", *words], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
