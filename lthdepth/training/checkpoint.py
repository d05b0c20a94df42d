"""An unfinished run on disk: its checkpoint, from which it continues to the same bits."""

from ..errors import UserError, warn
from ..files import read_tensors, write_atomic
from .step import restore

NAME = "checkpoint.pt"


def save(folder, model, optimiser, state):
    """Write the checkpoint of a run in the place of the one before.

    Args:
        folder: of the run.
        state: plain values and tensors: how far the run has come.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    write_atomic(
        folder / NAME, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "state": state}
    )


def load(folder, model, optimiser, device, latest):
    """Put a checkpoint into a model and its optimiser; a damaged one is left with a warning.

    Args:
        folder: of the run.
        device: where the tensors go.
        latest: a checkpoint after this epoch is left alone.

    Returns:
        The `state` of `save`, or None where there is no whole checkpoint.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        saved = read_tensors(path, device)
        shapes = {k: v.shape for k, v in saved["model"].items()}
        if shapes != {k: v.shape for k, v in model.state_dict().items()}:
            raise ValueError("it is of another network")
        if saved["state"]["epoch"] > latest:
            return None
        restore(optimiser, saved["optimiser"])  # refuses other parameters before it changes anything
        model.load_state_dict(saved["model"])
        return saved["state"]
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        warn(f"the checkpoint {path} is damaged or of another version ({error}); the run starts anew.")


def clear(folder):
    """Remove the checkpoint of a finished run, unless it is younger: of a run that is made again."""
    record, path = folder / "record.json", folder / NAME
    if record.exists() and path.exists() and path.stat().st_mtime_ns <= record.stat().st_mtime_ns:
        path.unlink()
