"""A record of a run: what is in it, that it is what was written, and where it was made."""

import dataclasses
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
from ..config import ARMS, SCIENCE_VERSION, TUNED, Config
from ..errors import UserError

NAME = re.compile(r"\w[\w.-]*")  # of a run's folder
# What everything that reads records relies on.
FORM = {
    "key": str,
    "study": str,
    "arm": str,
    "density": float,
    "seed": int,
    "config": dict,
    "data": dict,
    "init": dict,
}


def parse(text, where, status="finished"):
    """The record in a line or file. Raises UserError where it is none, was changed, is of a later version or of another status."""
    try:
        record = json.loads(text.decode())
        scores = [record.get(split) for split in ("test", "validation")]  # None where a split was not scored
        numbers = [s["full"]["pooled"][k] for s in scores if s for k in ("rel", "rms", "delta1")]
        numbers += [
            record["config"]["height"],
            record["config"]["width"],
            record.get("science_version", SCIENCE_VERSION),
        ]
        if not NAME.fullmatch(record["key"]) or "<" in json.dumps(
            record
        ):  # a path out of the store; markup for a page
            raise ValueError
        if not all(isinstance(record[k], kind) for k, kind in FORM.items()) or not all(
            isinstance(n, int | float) for n in numbers
        ):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} is no record of a run; remove it, and the run is made again.") from None
    if "sha256" in record and not _intact(text):  # the first records have none
        raise UserError(f"{where} was changed after it was written; remove it, and the run is made again.")
    if not all(map(_finite, (record.get("validation"), record.get("test")))):
        raise UserError(
            f"{where} has a score that is not a finite number; remove it, and the run is made again."
        )
    if record["arm"] not in ARMS or record.get("science_version", SCIENCE_VERSION) > SCIENCE_VERSION:
        raise UserError(f"{where} is of a later version of lthdepth; use that one.")
    if (found := record.get("status", status)) != status:  # a run that failed is no result
        raise UserError(f"{where} is of a run that is {found}, not {status}; remove it from there.")
    return record


def _finite(scores):
    """Whether nested dictionaries hold finite numbers alone."""
    if isinstance(scores, dict):
        return all(map(_finite, scores.values()))
    return scores is None or isinstance(scores, int | float) and abs(scores) < math.inf


@functools.lru_cache(4096)  # records are looked up again and again
def _intact(text):
    record = json.loads(text.decode())
    return record["sha256"] == digest(record)


def config_of(record):
    """A record's `Config`; None where it has a setting that this version does not know, so that no run of it is meant."""
    known = {field.name for field in dataclasses.fields(Config)}
    return Config(**record["config"]) if record["config"].keys() <= known else None


def digest(record):
    """SHA-256 of a record without its label, the study, and without itself."""
    text = json.dumps({k: v for k, v in record.items() if k not in ("study", "sha256")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record):
    """A record with its `digest` in it, as it will be read again; a file's name cannot be markup in it."""
    record = json.loads(json.dumps(record).replace("<", "("))
    return record | {"sha256": digest(record)}


def command(record):
    """The command that makes a run again; FILE stands for data, weights, photos or ticket of the fingerprints in its record."""
    config, data, init = record["config"], record["data"], record["init"]
    number = f":{data['frames']}" if "frames" in data else ""  # the first records do not say it
    words = ["--data", f"rooms{number}" if data["name"] == "rooms" else "FILE"]
    words += ["--frames", *map(str, data["part"])] if "part" in data else []
    words += ["--device", "cpu" if record["device"].startswith("CPU") else "cuda"]
    if init["fingerprint"] != "none":
        _, torchvision_s, name = init["name"].rpartition("torchvision-")
        words += ["--weights", name if torchvision_s else "FILE"]
    if record.get("photos", data)["name"] != data["name"]:  # otherwise the training frames
        words += ["--photos", "FILE"]
    words += ["--ticket", "FILE"] * (record["arm"] == "file") + [
        f"{k}={v}" for k, v in config.items() if v != getattr(TUNED, k, v)
    ]
    return " ".join(["python -m lthdepth train", *words])


def environment(device):
    """Where a record was made: device, versions, commit, date."""
    device = torch.device(device)
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
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
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
    except OSError:  # there is no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
