"""The store of runs: their records, arrays and failures, where they were made and where they are published.

A record is a plain dictionary, `runs/<key>/record.json` where it was made and one line of `results/runs.jsonl` once it
is published. Per-image error sums and a few predicted depth maps lie beside it (`arrays.npz`; `results/arrays/<key>.h5`).
A run that diverged leaves `runs/<key>/failed.json`, a line of `results/failed.jsonl` once it is published, and no record.
"""

import json
from pathlib import Path

import h5py
import numpy as np

from ..data.hdf5 import open_h5, whole, writing
from ..errors import UserError
from ..files import digest, locked, read_arrays, replacing, write_atomic
from .record import parse

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "finished": ("runs.jsonl", "record.json"),
    "failed": ("failed.jsonl", "failed.json"),
}  # by status: published, made here


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
        own, early = (
            self.recorded / "arrays" / f"{name}.h5",
            self.recorded / "arrays.h5",
        )  # one file of all runs, once
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
        with (
            locked(self.recorded / "runs.jsonl"),
            locked(self.recorded / "failed.jsonl"),
            locked(self.recorded / "arrays"),
        ):
            published = Store(self.recorded / "nothing", self.recorded)
            made, lines = self.records(), published.records()
            lost, before = self.failed(), published.failed()
            for name in names:
                if not any((self.local / name / file).exists() for _, file in FILES.values()):
                    raise UserError(
                        f"no finished run {name} in {self.local}; `python -m lthdepth show` lists them."
                    )
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
        kinds = {
            k: {"gallery": np.float16}.get(k, np.float32) if v.dtype.kind == "f" else v.dtype
            for k, v in arrays.items()
        }
        arrays = {k: arrays[k].astype(kinds[k]) for k in sorted(arrays)}
        with writing(self.recorded / "arrays" / f"{name}.h5") as file:
            for k, v in arrays.items():
                file.create_dataset(k, data=v, compression="gzip", shuffle=True, fletcher32=True)
            file.attrs["sha256"] = digest(arrays)


def order(record):
    """Sorting key of records: study, arm, density, seed."""
    return record["study"], record["arm"], -record["density"], record["seed"], record["key"]


def write_arrays(path, arrays):
    """Write the arrays of a run to a `.npz`, whole or not at all."""
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)


def _arrays_of(group, path):
    """The arrays in an HDF5 group, and that they are those that were written; the first have no checksum."""
    parts = {}
    try:
        group.visititems(lambda k, v: parts.update({k: v}) if isinstance(v, h5py.Dataset) else None)
        found = whole(parts, path)
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
