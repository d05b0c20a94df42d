"""Runs of several machines in one store."""

import shutil

from ..errors import UserError
from ..files import locked, replacing, write_atomic
from .run import tidy
from .store import Store, write_arrays


def merge(folders, store):
    """Copy finished runs into a store, each once, and the records of failed ones.

    Args:
        folders: of runs as a store's `local`, or with `runs.jsonl` and `arrays/` as its `recorded`, or both.
        store: `Store`; what it has stays as it is.

    Returns:
        `(added, same, other)`: numbers of finished runs copied and of those that were there already; keys of the latter
        whose scores differ.

    Raises:
        UserError: a folder holds no finished run, or one that does not read.
    """
    known, added, same, other = store.records(), 0, 0, []
    for folder in folders:
        source = Store(folder, folder)
        found, failed = source.records(), source.failed()
        if not found and not failed:
            raise UserError(f"{folder} holds no finished runs: name a folder that `sweep --out` wrote.")
        for key, record in found.items():
            if key in known:
                same += 1
                other += [key] * (known[key]["test"] != record["test"])
                continue
            target = store.local / key
            with locked(target):
                write_arrays(target / "arrays.npz", source.arrays(key))
                for path in sorted((folder / key).glob("*.pt")) + sorted((folder / key).glob("ticket.npz")):
                    if not path.name.startswith("checkpoint"):
                        with replacing(target / path.name) as part:
                            shutil.copyfile(path, part)
                write_atomic(
                    target / "record.json", record
                )  # last: a run is finished when its record is there
            known[key] = record
            added += 1
        for key in found.keys() | failed.keys():
            tidy(store.local / key)  # where an earlier merge was killed
        for key in failed.keys() - known.keys() - store.failed().keys():
            with locked(store.local / key):
                write_atomic(store.local / key / "failed.json", failed[key])
    return added, same, other
