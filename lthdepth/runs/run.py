"""Runs by name: a configuration is asked for; its record is found in the store, or the run is made."""

import dataclasses
import hashlib
from dataclasses import dataclass

from .. import mask, tickets
from ..config import SCIENCE_VERSION
from ..data.frames import Frames
from ..data.weights import Initial
from ..errors import UserError
from ..files import locked, write_atomic
from ..model import FCRN
from ..training import arms
from ..training import fit as training
from ..training.evaluate import rows_of
from ..training.fit import Options
from .record import Record, command, environment, label, sealed
from .store import ROOT, Store, order

__all__ = ["ROOT", "Inputs", "Options", "Record", "Store", "key", "label", "order", "run"]


def key(config, data, init, ticket=""):
    """Name of a run, 16 hex digits of a SHA-256; data, init, ticket: fingerprints."""
    if config.arm == "floor":  # it knows neither network nor optimiser: only the protocol and the data count
        config, init = config.floor(), "none"
    parts = [config.canonical(), data, init, ticket, str(SCIENCE_VERSION)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one run, or all runs of a study, are made from; ticket: of the arm file."""

    frames: Frames
    initial: Initial
    ticket: mask.Ticket | None = None

    def key(self, config):
        """The name of a configuration's run. Raises UserError where what it needs is not here."""
        ticket = self.ticket.fingerprint if self.ticket else ""
        if config.arm != "floor" and self.initial.backbone not in (None, config.backbone):
            given = f"{self.initial.name} holds a {self.initial.backbone}"
            raise UserError(f"the run needs weights of a {config.backbone}, and {given}; give others.")
        if (config.arm == "file") != (self.ticket is not None):
            raise UserError("the arm file needs a mask file, and only that arm takes one.")
        return key(config, self.frames.fingerprint, self.initial.fingerprint, ticket)


def run(config, inputs, store, options=Options(), study=""):
    """The `Record` of a configuration: found in the store, or made now, continuing a run that was stopped.

    Runs that it follows from (`arms.parents`) are runs of their own: those whose weights are missing here are
    made first.

    Args:
        config: `Config`; inputs: `Inputs`; store: `Store`; options: `training.fit.Options`.
        study: label under which a new record is filed; no part of its key.

    Raises:
        files.Busy: another process is making this run, and this one does not wait.
        fit.Diverged: training left the finite numbers, now or before.
        UserError: as `Inputs.key` and `fit.fit`.
    """
    name = inputs.key(config)
    folder = store.local / name
    if record := finished(store, name, options):
        return record
    folders = {}
    for role, parent in arms.parents(config).items():
        run(parent, inputs, store, dataclasses.replace(options, weights=True), study)
        folders[role] = store.local / inputs.key(parent)
    with locked(folder, options.wait):
        record = finished(store, name, options)  # another process has made it meanwhile
        if not record:
            record = Record(key=name, study=study, arm=config.arm, density=config.density, seed=config.seed)
            _make(record, config, inputs, folders, folder, options)
            (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def finished(store, name, options=Options()):
    """The record of a run whose files are here as far as the options need them, or None.

    Raises fit.Diverged where it was tried before, and failed.
    """
    record, folder = store.get(name), store.local / name
    if not record and (failed := store.failed().get(name)):
        where = f"remove {folder}, or its line in {store.recorded / 'failed.jsonl'}, to make another"
        raise training.Diverged(f"{failed['reason'].rstrip('.')} (an earlier attempt; {where}).")
    return record if options.satisfied(folder) else None


def _make(record, config, inputs, folders, folder, options):
    """Train or continue a run in its folder, which this process holds, and complete and write its record.

    folders: `{role: folder}` of the runs that it follows from.
    """
    initial, frames, ticket = inputs.initial, inputs.frames, inputs.ticket
    record |= {"config": dataclasses.asdict(config), "data": frames.summary(), "init": initial.summary()}
    try:
        start = None
        if config.arm != "floor":
            start = arms.start(config, initial, frames, folders, ticket, options.device)
        results, arrays, ticket = training.fit(config, frames, start, folder, options)
    except training.Diverged as error:
        failed = record | environment(options.device) | {"status": "failed", "reason": str(error)}
        write_atomic(folder / "failed.json", sealed(failed | {"reproduce": command(failed)}))
        raise
    record["densities"] = None
    if ticket:
        tickets.save(ticket, folder / "ticket.npz", config.backbone, initial.fingerprint)
        layers = ticket.layers()
        record["ticket"] = {"fingerprint": ticket.fingerprint, "history": ticket.history, "layers": layers}
        record["densities"] = mask.densities(ticket, FCRN(config.backbone), config.height, config.width)
    arrays |= {f"{split}/frames": rows_of(frames, config)[split] for split in ("validation", "test")}
    write_atomic(folder / "arrays.npz", arrays)
    record |= sealed(record | results | environment(options.device) | {"status": "finished"})
    write_atomic(folder / "record.json", record)  # last: a run is finished when its record is there
