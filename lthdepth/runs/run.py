"""Runs by name: a configuration is asked for, and either its record is found in the store or the run is made."""

import dataclasses
import hashlib
from contextlib import contextmanager, suppress

from .. import mask, ticketfile
from ..config import ARMS, SCIENCE_VERSION, WHOLE
from ..data import photos
from ..errors import UserError
from ..files import locked, write_atomic
from ..model import FCRN
from ..training import arms, checkpoint
from ..training import fit as train
from ..training import logits as pretraining
from .record import command, environment, sealed
from .store import FILES, ROOT, Store, order, write_arrays  # noqa: F401  (the store is part of what `runs` offers)


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


def key_of(config, frames, initial, ticket=None, unlabelled=None):
    """`key` of a configuration with its data, weights, ticket and photos at hand; arguments as `run`."""
    mark = ticket.fingerprint if ticket else ""
    if config.arm == "logits":
        mark = pretraining.fingerprint(initial, unlabelled or _training_photos(config, frames))
    return key(config, frames.fingerprint, initial.fingerprint, mark)


def run(
    config,
    frames,
    initial,
    store,
    device="cpu",
    study="",
    ticket=None,
    deadline=None,
    every=0.0,
    progress=True,
    keep=False,
    snapshot=0,
    unlabelled=None,
    wait=True,
):
    """The record of a configuration: found in the store, or made now, continuing a run that was stopped.

    Args:
        config: `Config`; frames: `frames.Frames`; initial: `weights.Initial`; store: `Store`.
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
        raise UserError(
            f"the weights {initial.name} are of a {initial.backbone}, the backbone is {config.backbone}."
        )
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
            where = (
                folder
                if (folder / "failed.json").exists()
                else f"its line in {store.recorded / 'failed.jsonl'}"
            )
            raise train.Diverged(
                f"{failed['reason'].rstrip('.')} (an earlier attempt; remove {where} to make another)."
            )
        return record if record and all((folder / file).exists() for file in needed) else None

    if record := finished():
        tidy(folder)
        return record
    folders = {}
    for role, before in arms.parents(config).items():
        snap = config.rewind if role == "origin" else 0
        rest = (None, deadline, every, progress, True, snap)
        made = run(before, frames, initial, store, device, study, *rest, wait=wait)
        folders[role] = store.local / made["key"]
    record = {"key": name, "study": study, "arm": config.arm, "density": config.density, "seed": config.seed}
    record["config"], record["init"] = dataclasses.asdict(config), initial.summary()
    record["data"] = frames.summary()
    if config.arm == "logits":
        rounds = store.local / pretraining.chain(config, initial, unlabelled)
        record["photos"] = {"name": unlabelled.name, "fingerprint": unlabelled.fingerprint}
        with locked(rounds, wait, deadline), _noted(record, folder, device):
            ticket = pretraining.draw(config, initial, unlabelled, rounds, device, deadline, progress)
    with locked(folder, wait, deadline):
        if record_there := finished():  # another process has made it meanwhile
            checkpoint.clear(folder)
            return record_there
        options = train.Options(device, deadline, every, progress, keep, snapshot, wait)
        start = None
        if config.arm != "floor":
            start = arms.start(config, initial, frames, folders, ticket, device)
        return _make(record, config, frames, start, folder, options)


@contextmanager
def _noted(record, folder, device):
    """A run that diverges in the block is recorded as failed, with the command that shows it again."""
    try:
        yield
    except train.Diverged as error:
        failed = record | environment(device) | {"status": "failed", "reason": str(error)}
        write_atomic(folder / "failed.json", sealed(failed | {"reproduce": command(failed)}))
        raise


def _make(record, config, frames, start, folder, options):
    """Train or continue one run in its folder, which this process holds; record: what is known of it before."""
    with _noted(record, folder, options.device):
        results, arrays, ticket = train.fit(config, frames, start, folder, options)
    record["densities"] = None
    if ticket:
        ticketfile.save(ticket, folder / "ticket.npz", config.backbone, record["init"]["fingerprint"])
        layers = ticket.layers()
        record["ticket"] = {"fingerprint": ticket.fingerprint, "history": ticket.history, "layers": layers}
        record["densities"] = mask.densities(ticket, FCRN(config.backbone), config.height, config.width)
        if ticket.kept < ticket.size:
            arrays["ticket"] = mask.sample(ticket)
    arrays |= {f"{split}/frames": train.rows_of(frames, config)[split] for split in ("validation", "test")}
    record |= results | environment(options.device) | {"status": "finished"}
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
