"""The store of runs: a configuration is asked for, and either its record is found or the run is made.

A record is a plain dictionary, `runs/<key>/record.json` where it was made and one line of `results/runs.jsonl` once it
is published. Per-image error sums and a few predicted depth maps lie beside it (`arrays.npz`; `results/arrays.h5`).
"""

import dataclasses
import hashlib
import io
import json
import platform
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import torchvision

from . import __version__, arms, mask, photos, pretraining, ticketfile, train
from .config import ARMS, SCIENCE_VERSION, WHOLE, Config
from .errors import UserError
from .files import write_atomic
from .model import FCRN

ROOT = Path(__file__).resolve().parents[1]


def key(config, data, init, ticket=""):
    """Name of a run: the first 16 hex digits of a SHA-256.

    Args:
        config: `Config`; data, init: fingerprints of the frames and of the initial weights.
        ticket: fingerprint of what a ticket follows from beside these: the file's, or `pretraining.fingerprint`.
    """
    if config.arm == "floor":  # it knows neither network nor optimiser: only the protocol and the data count
        config, init = config.floor(), "none"
    parts = [config.canonical(), data, init, ticket, str(SCIENCE_VERSION)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def label(record):
    """Short name of a run's arm, with its density."""
    name = ARMS[record["arm"]]
    return name if record["arm"] in WHOLE else f"{name} {100 * record['density']:.3g} %"


class Store:
    """Finished runs: those made here (`local`) and those committed with the paper (`recorded`).

    Raises:
        UserError: a record does not read.
    """

    def __init__(self, local=ROOT / "runs", recorded=ROOT / "results"):
        self.local, self.recorded = Path(local), Path(recorded)

    def records(self):
        """All finished records by key; one made here goes before a committed one."""
        found = {}
        lines = self.recorded / "runs.jsonl"
        if lines.exists():
            for number, line in enumerate(lines.read_text().splitlines(), 1):
                record = _parse(line, f"{lines}, line {number}")
                found[record["key"]] = record
        for path in sorted(self.local.glob("*/record.json")):
            record = _parse(path.read_text(), path)
            found[record["key"]] = record | {"study": found.get(record["key"], record)["study"]}
        return found

    def get(self, name):
        """The record of a key, or None. A unique beginning of a key is enough."""
        found = [r for k, r in self.records().items() if k.startswith(name)]
        if len(found) > 1:
            raise UserError(f"{name} is the beginning of {len(found)} keys; give more of it.")
        return found[0] if found else None

    def arrays(self, name):
        """Arrays of a finished run: error sums `(N, 7)` under "test/full" ..., predictions under "gallery"."""
        path = self.local / name / "arrays.npz"
        if path.exists():
            with np.load(path) as file:
                return {k: file[k] for k in file.files}
        path, found = self.recorded / "arrays.h5", {}
        if path.exists():
            with h5py.File(path) as file:
                if name in file:
                    file[name].visititems(lambda k, v: found.update({k: v[()]}) if isinstance(v, h5py.Dataset) else None)
        return found

    def publish(self, names, study):
        """Copy finished runs made here into `recorded`, as part of a study. A key that is there is replaced.

        Error sums are stored as float32, depth maps as float16. Both files are written anew and then replaced.
        """
        made, kept = self.records(), Store(self.recorded / "nothing", self.recorded)
        lines, arrays = kept.records(), {}
        for name in names:
            if not (self.local / name / "record.json").exists():
                raise UserError(f"no finished run {name} in {self.local}; `python -m lthdepth show` lists them.")
            lines[name] = made[name] | {"study": study}
            for k, v in self.arrays(name).items():
                small = {"gallery": np.float16}.get(k, np.float32) if v.dtype.kind == "f" else v.dtype
                arrays.setdefault(name, {})[k] = v.astype(small)
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name in sorted(lines):
                for k, v in sorted((arrays.get(name) or kept.arrays(name)).items()):
                    file.create_dataset(f"{name}/{k}", data=v, compression="gzip", shuffle=True)
        write_atomic(self.recorded / "arrays.h5", buffer.getvalue())
        text = "".join(json.dumps(r) + "\n" for r in sorted(lines.values(), key=order))
        write_atomic(self.recorded / "runs.jsonl", text)


def key_of(config, frames, initial, ticket=None, unlabelled=None):
    """`key` of a configuration with its data, weights, ticket and photos at hand; arguments as `run`."""
    mark = ticket.fingerprint if ticket else ""
    if config.arm == "logits":
        mark = pretraining.fingerprint(initial, unlabelled or _training_photos(config, frames))
    return key(config, frames.fingerprint, initial.fingerprint, mark)


def run(config, frames, initial, store, device="cpu", study="", ticket=None, deadline=None, every=0.0, progress=True,
        keep=False, snapshot=0, unlabelled=None):  # fmt: skip
    """The record of a configuration: found in the store, or made now, continuing a run that was stopped.

    Args:
        config: `Config`; frames: `data.Frames`; initial: `weights.Initial`; store: `Store`.
        study: label under which a new record is filed; no part of its key.
        ticket: `mask.Ticket` of the arm "file"; other arms draw their own.
        device, deadline, every, progress: as `train.fit`.
        keep: make the run again where only its record is here, and not the trained weights.
        snapshot: the same for the encoder after this epoch, as `train.fit`.
        unlabelled: `photos.Photos` for the tickets of the arm logits; None: the training frames.

    A run of iterative magnitude pruning needs the weights of the round before, which is a run of its own: those that
    are missing here are made first. The rounds of the arm logits are no runs; their tickets lie in `logits-*` of the store.

    Raises:
        UserError: as `train.fit`; the weights are of another backbone; the arm "file" without a ticket, or the reverse.
    """
    if initial.backbone not in (None, config.backbone) and config.arm != "floor":
        raise UserError(f"the weights {initial.name} are of a {initial.backbone}, the backbone is {config.backbone}.")
    if (config.arm == "file") != (ticket is not None):
        raise UserError("the arm file needs a mask file, and only that arm takes one.")
    if config.arm == "logits":
        unlabelled = unlabelled or _training_photos(config, frames)
    name = key_of(config, frames, initial, ticket, unlabelled)
    folder = store.local / name
    record = store.get(name)
    needed = ["weights.pt"] * keep + [f"epoch-{snapshot}.pt"] * bool(snapshot)
    if record and all((folder / file).exists() for file in needed):
        return record
    origin = parent = None
    if before := arms.origin_of(config):
        made = run(before, frames, initial, store, device, study, None, deadline, every, progress, True, config.rewind)
        origin = store.local / made["key"]
    if before := arms.parent_of(config):
        made = run(before, frames, initial, store, device, study, None, deadline, every, progress, True)
        parent = store.local / made["key"]
    if config.arm == "logits":
        rounds = store.local / pretraining.chain(config, initial, unlabelled)
        ticket = pretraining.draw(config, initial, unlabelled, rounds, device, deadline, progress)
    folder.mkdir(parents=True, exist_ok=True)
    record = {"key": name, "study": study, "arm": config.arm, "density": config.density, "seed": config.seed}
    record["config"] = dataclasses.asdict(config)
    record["data"] = {"name": frames.name, "fingerprint": frames.fingerprint, "height": frames.depth.shape[1]}
    record["init"] = initial.summary()
    if config.arm == "floor":
        results, arrays = train.floor(config, frames)
        record["densities"] = None
    else:
        ticket, state = arms.start(config, initial, ticket, parent, origin)
        ticketfile.save(ticket, folder / "ticket.npz", config.backbone, initial.fingerprint)
        results, arrays = train.fit(config, frames, state, ticket, folder, device, deadline, every, progress, snapshot)
        record["densities"] = mask.densities(ticket, FCRN(config.backbone), config.height, config.width)
        record["ticket"] = {"fingerprint": ticket.fingerprint, "history": ticket.history, "layers": ticket.layers()}
    arrays |= {f"{split}/frames": train.rows_of(frames, config)[split] for split in ("validation", "test")}
    record |= results | environment(device) | {"status": "finished"}
    _write_arrays(folder / "arrays.npz", arrays)
    write_atomic(folder / "record.json", record)  # last: a run is finished when its record is there
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


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


def _training_photos(config, frames):
    return photos.of_frames(frames, train.rows_of(frames, config)["fit"])


def _git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _parse(text, where):
    try:
        record = json.loads(text)
        record["key"], record["config"], record["study"]
        return record
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{where} is no record of a run; remove it, and the run is made again.") from None


def order(record):
    """Sorting key of records: study, arm, density, seed."""
    return record["study"], record["arm"], -record["density"], record["seed"], record["key"]


def _write_arrays(path, arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(path, buffer.getvalue())
