"""Runs by name: a configuration is asked for; its record is found in the store, or the run is made."""

import dataclasses
from contextlib import contextmanager, suppress

from .. import mask, ticketfile
from ..errors import UserError
from ..files import locked, write_atomic
from ..model import FCRN
from ..training import arms, checkpoint, logits
from ..training import fit as training
from ..training.evaluate import rows_of
from ..training.fit import Options
from .inputs import Inputs, key
from .record import Record, command, environment, label, sealed
from .store import ROOT, Store, order, write_arrays

__all__ = ["ROOT", "Inputs", "Options", "Record", "Store", "key", "label", "order", "run"]


def run(config, inputs, store, options=Options(), study=""):  # noqa: B008  (it is frozen)
    """The `Record` of a configuration: found in the store, or made now, continuing a run that was stopped.

    Runs that it follows from (`arms.parents`) are runs of their own: those whose weights are missing here are
    made first. The rounds of the arm logits are no runs; their tickets lie in `logits-*` of the store.

    Args:
        config: `Config`; inputs: `Inputs`; store: `Store`; options: `training.fit.Options`.
        study: label under which a new record is filed; no part of its key.

    Raises:
        files.Busy: another process is making this run, and this one does not wait (any longer).
        fit.Diverged: training left the finite numbers, now or before; the failed record says how to see it
        again.
        UserError: as `Inputs.check` and `fit.fit`.
    """
    name = inputs.key(config)
    folder = store.local / name
    if record := finished(store, name, options):
        tidy(folder)
        return record
    folders = {}
    for role, parent in arms.parents(config).items():
        snapshot = config.rewind if role == "origin" else 0
        kept = dataclasses.replace(options, keep=True, snapshot=snapshot)
        made = run(parent, dataclasses.replace(inputs, ticket=None), store, kept, study)
        folders[role] = store.local / made.key
    record = Record(key=name, study=study, arm=config.arm, density=config.density, seed=config.seed)
    record["config"], record["data"] = dataclasses.asdict(config), inputs.frames.summary()
    record["init"] = inputs.weights(config).summary()
    ticket = inputs.ticket
    if config.arm == "logits":
        ticket = _on_logits(config, inputs, store, options, record)
    with locked(folder, options.wait, options.deadline):
        if there := finished(store, name, options):  # another process has made it meanwhile
            checkpoint.clear(folder)
            return there
        start = None
        if config.arm != "floor":
            initial = inputs.weights(config)
            start = arms.start(config, initial, inputs.frames, folders, ticket, options.device)
        return _make(record, config, inputs.frames, start, folder, options)


def finished(store, name, options=Options()):  # noqa: B008
    """The record of a run whose files are here as far as the options need them, or None.

    Raises:
        fit.Diverged: it was tried before, and failed.
    """
    record, folder = store.get(name), store.local / name
    if not record and (failed := store.failed().get(name)):
        line = f"its line in {store.recorded / 'failed.jsonl'}"
        where = folder if (folder / "failed.json").exists() else line
        reason = failed["reason"].rstrip(".")
        raise training.Diverged(f"{reason} (an earlier attempt; remove {where} to make another).")
    lacks_weights = options.keep and not (folder / "weights.pt").exists()
    lacks_snapshot = options.snapshot and not (folder / f"epoch-{options.snapshot}.pt").exists()
    return None if lacks_weights or lacks_snapshot else record


def _on_logits(config, inputs, store, options, record):
    """The ticket of the arm logits; what it was drawn from goes into the record."""
    initial, photos = inputs.weights(config), inputs.unlabelled(config)
    rounds = store.local / logits.chain(config, initial, photos)
    record["photos"] = {"name": photos.name, "fingerprint": photos.fingerprint}
    with locked(rounds, options.wait, options.deadline), _noted(record, store.local / record.key, options):
        return logits.draw(config, initial, photos, rounds, options)


@contextmanager
def _noted(record, folder, options):
    """A run that diverges in the block is recorded as failed, with the command that shows it again."""
    try:
        yield
    except training.Diverged as error:
        failed = record | environment(options.device) | {"status": "failed", "reason": str(error)}
        write_atomic(folder / "failed.json", sealed(failed | {"reproduce": command(failed)}))
        raise


def _make(record, config, frames, start, folder, options):
    """Train or continue a run in its folder, which this process holds; record: what is known before."""
    with _noted(record, folder, options):
        results, arrays, ticket = training.fit(config, frames, start, folder, options)
    record["densities"] = None
    if ticket:
        ticketfile.save(ticket, folder / "ticket.npz", config.backbone, record["init"]["fingerprint"])
        layers = ticket.layers()
        record["ticket"] = {"fingerprint": ticket.fingerprint, "history": ticket.history, "layers": layers}
        record["densities"] = mask.densities(ticket, FCRN(config.backbone), config.height, config.width)
        if ticket.kept < ticket.size:
            arrays["ticket"] = mask.sample(ticket)
    arrays |= {f"{split}/frames": rows_of(frames, config)[split] for split in ("validation", "test")}
    record = sealed(record | results | environment(options.device) | {"status": "finished"})
    write_arrays(folder / "arrays.npz", arrays)
    write_atomic(folder / "record.json", record)  # last: a run is finished when its record is there
    checkpoint.clear(folder)
    return record


def tidy(folder):
    """Remove what a process that was killed right after writing a run's record left, where this one may."""
    if any((*folder.glob("checkpoint*"), *folder.parent.glob(f".{folder.name}.*"))):
        with suppress(UserError), locked(folder, wait=False):
            checkpoint.clear(folder)
