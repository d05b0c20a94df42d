"""The store of runs: a configuration is asked for, and either its record is found or the run is made.

A record is a plain dictionary, `runs/<key>/record.json` where it was made and one line of `results/runs.jsonl` once it
is published. Per-image error sums and a few predicted depth maps lie beside it (`arrays.npz`; `results/arrays/<key>.h5`).
A run that diverged leaves `runs/<key>/failed.json`, a line of `results/failed.jsonl` once it is published, and no record.
"""

import dataclasses
import hashlib
import json
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from . import arms, checkpoint, mask, overlap, photos, pretraining, ticketfile, train
from .config import ARMS, SCIENCE_VERSION, WHOLE, Config
from .errors import UserError
from .files import digest, locked, read_arrays, replacing, write_atomic
from .hdf5 import open_h5
from .model import FCRN
from .record import command, environment, parse, sealed

ROOT = Path(__file__).resolve().parents[1]
FILES = {"finished": ("runs.jsonl", "record.json"), "failed": ("failed.jsonl", "failed.json")}  # by status: published, made here


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
    return name if record["arm"] in WHOLE else f"{name} {100 * record['density']:#.3g} %"


class Store:
    """Finished runs: those made here (`local`) and those committed with the paper (`recorded`).

    Raises:
        UserError: a record does not read, or is not what was written.
    """

    def __init__(self, local=ROOT / "runs", recorded=ROOT / "results"):
        self.local, self.recorded = Path(local), Path(recorded)

    def records(self):
        """All finished records by key; one made here goes before a committed one."""
        return self._read("finished")

    def failed(self):
        """Runs that diverged and were never finished, by key: what they were and the `reason`. They are no results."""
        failed, finished = self._read("failed"), self.records()
        return {k: r for k, r in failed.items() if k not in finished}

    def _read(self, status):
        lines, file = FILES[status]
        found, lines = {}, self.recorded / lines
        for number, line in enumerate(_bytes(lines).splitlines(), 1):
            record = parse(line, f"{lines}, line {number}", status)
            found[record["key"]] = record
        for path in sorted(self.local.glob(f"*/{file}")):
            record = parse(_bytes(path), path, status)
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
            return read_arrays(path)
        own, early = self.recorded / "arrays" / f"{name}.h5", self.recorded / "arrays.h5"  # one file of all runs, once
        for path, group in ((own, "/"), (early, name)):
            if path.exists():
                with open_h5(path) as file:
                    if group in file:
                        return _arrays_of(file[group], path)
        return {}

    def publish(self, names, study):
        """Copy runs made here, finished or failed, into `recorded`, as part of a study. A key that is there is replaced.

        Error sums are stored as float32, depth maps as float16 and of seed 0 only.
        """
        with locked(self.recorded / "runs.jsonl"):
            published = Store(self.recorded / "nothing", self.recorded)
            made, lines = self.records(), published.records()
            lost, before = self.failed(), published.failed()
            for name in names:
                if not any((self.local / name / file).exists() for _, file in FILES.values()):
                    raise UserError(f"no finished run {name} in {self.local}; `python -m lthdepth show` lists them.")
                if name in made:
                    lines[name] = made[name] | {"study": study}
                else:
                    before[name] = lost[name] | {"study": study}
            for name in lines.keys() & set(names):
                arrays = self.arrays(name)
                if made[name]["seed"]:
                    arrays.pop("gallery", None)
                self._publish_arrays(name, arrays)
            self._write("finished", lines)
            self._write("failed", {k: r for k, r in before.items() if k not in lines})

    def _write(self, status, records):
        path = self.recorded / FILES[status][0]
        if records or path.exists():
            write_atomic(path, "".join(json.dumps(r) + "\n" for r in sorted(records.values(), key=order)))

    def _publish_arrays(self, name, arrays):
        kinds = {k: {"gallery": np.float16}.get(k, np.float32) if v.dtype.kind == "f" else v.dtype for k, v in arrays.items()}
        arrays = {k: arrays[k].astype(kinds[k]) for k in sorted(arrays)}
        with replacing(self.recorded / "arrays" / f"{name}.h5") as part, h5py.File(part, "w") as file:
            for k, v in arrays.items():
                file.create_dataset(k, data=v, compression="gzip", shuffle=True, fletcher32=True)
            file.attrs["sha256"] = digest(arrays)


def key_of(config, frames, initial, ticket=None, unlabelled=None):
    """`key` of a configuration with its data, weights, ticket and photos at hand; arguments as `run`."""
    mark = ticket.fingerprint if ticket else ""
    if config.arm == "logits":
        mark = pretraining.fingerprint(initial, unlabelled or _training_photos(config, frames))
    return key(config, frames.fingerprint, initial.fingerprint, mark)


def run(config, frames, initial, store, device="cpu", study="", ticket=None, deadline=None, every=0.0, progress=True,
        keep=False, snapshot=0, unlabelled=None, wait=True):  # fmt: skip
    """The record of a configuration: found in the store, or made now, continuing a run that was stopped.

    Args:
        config: `Config`; frames: `data.Frames`; initial: `weights.Initial`; store: `Store`.
        study: label under which a new record is filed; no part of its key.
        ticket: `mask.Ticket` of the arm "file"; other arms draw their own.
        device, deadline, every, progress: as `train.fit`.
        keep: make the run again where only its record is here, and not the trained weights.
        snapshot: the same for the encoder after this epoch, as `train.fit`.
        unlabelled: `photos.Photos` for the tickets of the arm logits; None: the training frames.
        wait: wait where another process is making this run, and take its record.

    A run of iterative magnitude pruning needs the weights of the round before, which is a run of its own: those that
    are missing here are made first. The rounds of the arm logits are no runs; their tickets lie in `logits-*` of the store.

    Raises:
        files.Busy: another process is making this run, and this one does not wait (any longer).
        train.Diverged: training left the finite numbers, now or before; the failed record says how to see it again.
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
    needed = ["weights.pt"] * keep + [f"epoch-{snapshot}.pt"] * bool(snapshot)

    def finished():
        record = store.get(name)
        if not record and (failed := store.failed().get(name)):
            where = folder if (folder / "failed.json").exists() else f"its line in {store.recorded / 'failed.jsonl'}"
            raise train.Diverged(f"{failed['reason'].rstrip('.')} (an earlier attempt; remove {where} to make another).")
        return record if record and all((folder / file).exists() for file in needed) else None

    if record := finished():
        tidy(folder)
        return record
    origin = parent = None
    if before := arms.origin_of(config):
        made = run(before, frames, initial, store, device, study, None, deadline, every, progress, True, config.rewind, wait=wait)
        origin = store.local / made["key"]
    if before := arms.parent_of(config):
        made = run(before, frames, initial, store, device, study, None, deadline, every, progress, True, wait=wait)
        parent = store.local / made["key"]
    record = {"key": name, "study": study, "arm": config.arm, "density": config.density, "seed": config.seed}
    record["config"], record["init"] = dataclasses.asdict(config), initial.summary()
    n, height, _ = frames.depth.shape
    record["data"] = {"name": frames.name, "fingerprint": frames.fingerprint, "frames": n, "height": height}
    if config.arm == "logits":
        rounds = store.local / pretraining.chain(config, initial, unlabelled)
        record["photos"] = {"name": unlabelled.name, "fingerprint": unlabelled.fingerprint}
        with locked(rounds, wait, deadline), _noted(record, folder, device):
            ticket = pretraining.draw(config, initial, unlabelled, rounds, device, deadline, progress)
    with locked(folder, wait, deadline):
        if record_there := finished():  # another process has made it meanwhile
            checkpoint.clear(folder)
            return record_there
        fitting = {"device": device, "deadline": deadline, "every": every, "progress": progress, "snapshot": snapshot}
        return _make(record, config, frames, initial, folder, ticket, parent, origin, **fitting)


@contextmanager
def _noted(record, folder, device):
    """A run that diverges in the block is recorded as failed, with the command that shows it again."""
    try:
        yield
    except train.Diverged as error:
        failed = record | environment(device) | {"status": "failed", "reason": str(error)}
        write_atomic(folder / "failed.json", sealed(failed | {"reproduce": command(failed)}))
        raise


def _make(record, config, frames, initial, folder, ticket, parent, origin, device, **fitting):
    """Train or continue one run in its folder, which this process holds; record: what is known of it before."""
    if config.arm == "floor":
        results, arrays = train.floor(config, frames)
        record["densities"] = None
    else:
        ticket, state = arms.start(config, initial, ticket, parent, origin)
        ticketfile.save(ticket, folder / "ticket.npz", config.backbone, initial.fingerprint)
        record["ticket"] = {"fingerprint": ticket.fingerprint, "history": ticket.history, "layers": ticket.layers()}
        with _noted(record, folder, device):
            results, arrays = train.fit(config, frames, state, ticket, folder, device, **fitting)
        record["densities"] = mask.densities(ticket, FCRN(config.backbone), config.height, config.width)
        if ticket.kept < ticket.size:
            arrays["ticket"] = overlap.sample(ticket)
    arrays |= {f"{split}/frames": train.rows_of(frames, config)[split] for split in ("validation", "test")}
    record |= results | environment(device) | {"status": "finished"}
    record = sealed(record)
    write_arrays(folder / "arrays.npz", arrays)
    write_atomic(folder / "record.json", record)  # last: a run is finished when its record is there
    checkpoint.clear(folder)
    return record


def tidy(folder):
    """Remove what a process that was killed after writing a run's record left in or beside its folder, where this one may."""
    if any((*folder.glob("checkpoint*"), *folder.parent.glob(f".{folder.name}.*"))):
        with suppress(UserError), locked(folder, wait=False):
            checkpoint.clear(folder)


def _training_photos(config, frames):
    return photos.of_frames(frames, train.rows_of(frames, config)["fit"])


def _arrays_of(group, path):
    """The arrays in an HDF5 group, and that they are those that were written; the first have no checksum."""
    found = {}
    try:
        group.visititems(lambda k, v: found.update({k: v[()]}) if isinstance(v, h5py.Dataset) else None)
        if group.attrs.get("sha256", digest(found)) != digest(found):
            raise ValueError
    except (AttributeError, KeyError, MemoryError, TypeError, ValueError):
        raise UserError(f"{path} is damaged: copy it again, or publish the run again.") from None
    return found


def _bytes(path):
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None


def order(record):
    """Sorting key of records: study, arm, density, seed."""
    return record["study"], record["arm"], -record["density"], record["seed"], record["key"]


def write_arrays(path, arrays):
    """Write the arrays of a run to a `.npz`, whole or not at all."""
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)
