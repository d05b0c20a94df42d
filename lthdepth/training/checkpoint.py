"""An unfinished run on disk: its newest checkpoint and the one before, to which a damaged newest one falls back."""

import os

from .. import versions  # noqa: F401  (refuses a torch that is not safe)
from ..errors import UserError, warn
from ..files import read_tensors, replacing, sealed
from .step import restore

NAMES = ("checkpoint.pt", "checkpoint.previous.pt")


def save(folder, model, optimiser, state):
    """Write the newest checkpoint; the one that was the newest becomes the one before. A kill leaves one of them whole.

    Args:
        folder: of the run.
        state: plain values and tensors: how far the run has come.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    newest, before = (folder / name for name in NAMES)
    with replacing(newest) as part:
        with open(part, "wb") as file:
            file.write(
                sealed({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "state": state})
            )
            file.flush()
            os.fsync(file.fileno())
        if newest.exists():
            os.replace(newest, before)


def load(folder, model, optimiser, device, latest):
    """Put the newest whole checkpoint into a model and its optimiser, with a warning about a damaged one.

    Args:
        folder: of the run.
        device: where the tensors go.
        latest: checkpoints after this epoch are left alone.

    Returns:
        The `state` of `save`, or None where there is no whole checkpoint.
    """
    for name in NAMES:
        if (folder / name).exists():
            try:
                saved = read_tensors(folder / name, device)
                _check(saved, model)
                if saved["state"]["epoch"] > latest:
                    continue
                restore(optimiser, saved["optimiser"])  # refuses other parameters before it changes anything
                model.load_state_dict(saved["model"])
                return saved["state"]
            except (UserError, ValueError, KeyError, TypeError) as error:
                other = name == NAMES[0] and (folder / NAMES[1]).exists()
                then = "the one before it is used" if other else "the run starts anew"
                warn(f"the checkpoint {folder / name} is damaged or of another version ({error}); {then}.")
    return None


def clear(folder):
    """Remove the checkpoints of a finished run. Those younger than its record are kept: they are of a run that is made again."""
    record = folder / "record.json"
    for path in (folder / name for name in NAMES):
        if record.exists() and path.exists() and path.stat().st_mtime_ns <= record.stat().st_mtime_ns:
            path.unlink()


def _check(saved, model):
    """Raises ValueError where a checkpoint is of another model."""
    shapes = {k: v.shape for k, v in saved["model"].items()}
    if shapes != {k: v.shape for k, v in model.state_dict().items()} or "epoch" not in saved["state"]:
        raise ValueError("it is of another network")
