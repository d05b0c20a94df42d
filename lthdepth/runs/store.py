"""The store of runs: their records, arrays and failures, where they were made and where they are published.

A record is `runs/<key>/record.json` where it was made and one line of `results/runs.jsonl` once it is
published. Per-image error sums and a few predicted depth maps lie beside it (`arrays.npz`;
`results/arrays/<key>.npz`). A run that diverged leaves `runs/<key>/failed.json`, a line of
`results/failed.jsonl` once it is published, and no record.
"""

import json
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import locked, read_arrays, replacing, write_atomic
from .record import Record, parse

ROOT = Path(__file__).resolve().parents[2]
# By status: where it is published, and where it is when made here.
FILES = {"finished": ("runs.jsonl", "record.json"), "failed": ("failed.jsonl", "failed.json")}


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
        """Runs that diverged and were never finished, by key: what they were and the `reason`; no results."""
        failed, finished = self._read("failed"), self.records()
        return {k: r for k, r in failed.items() if k not in finished}

    def _read(self, status):
        lines, file = FILES[status]
        records, lines = {}, self.recorded / lines
        for number, line in enumerate(_bytes(lines).splitlines(), 1):
            record = parse(line, f"{lines}, line {number}", status)
            records[record.key] = record
        for path in sorted(self.local.glob(f"*/{file}")):
            record = parse(_bytes(path), path, status)
            record["study"] = records.get(record.key, record)["study"]
            records[record.key] = record
        return records

    def get(self, name):
        """The record of a key, or None. A unique beginning of a key is enough."""
        found = [r for k, r in self.records().items() if k.startswith(name)]
        if len(found) > 1:
            raise UserError(f"{name} is the beginning of {len(found)} keys; give more of it.")
        return found[0] if found else None

    def arrays(self, name):
        """Arrays of a finished run: error sums (N, 7) under "test/full" ..., predictions under "gallery"."""
        for path in (self.local / name / "arrays.npz", self.recorded / "arrays" / f"{name}.npz"):
            if path.exists():
                return read_arrays(path, "copy it again, or remove it and make the run again")
        return {}

    def publish(self, names, study):
        """Copy runs made here into `recorded`, as part of a study, in place of what is there.

        Error sums are stored as float32, depth maps as float16 and of seed 0 only.
        """
        published = Store(self.recorded / "nothing", self.recorded)
        with locked(self.recorded / "runs.jsonl"), locked(self.recorded / "failed.jsonl"):
            finished, lines = self.records(), published.records()
            failed, lost = self.failed(), published.failed()
            for name in names:
                if name in finished:
                    lines[name] = Record(finished[name], study=study)
                    arrays = self.arrays(name)
                    if finished[name]["seed"]:
                        arrays.pop("gallery", None)
                    for k, v in arrays.items():
                        if v.dtype.kind == "f":
                            arrays[k] = v.astype(np.float16 if k == "gallery" else np.float32)
                    path = self.recorded / "arrays" / f"{name}.npz"
                    with locked(path.parent):
                        write_arrays(path, arrays)
                else:
                    lost[name] = Record(failed[name], study=study)
            lost = {k: r for k, r in lost.items() if k not in lines}
            for status, records in (("finished", lines), ("failed", lost)):
                path = self.recorded / FILES[status][0]
                if records or path.exists():
                    text = "".join(json.dumps(r) + "\n" for r in sorted(records.values(), key=order))
                    write_atomic(path, text)

    def has(self, name):
        """Whether a run was made here, finished or failed."""
        return any((self.local / name / file).exists() for _, file in FILES.values())


def order(record):
    """Sorting key of records: study, arm, density, seed."""
    return record["study"], record["arm"], -record["density"], record["seed"], record["key"]


def write_arrays(path, arrays):
    """Write the arrays of a run to a `.npz`, whole or not at all."""
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, **{k: arrays[k] for k in sorted(arrays)})


def _bytes(path):
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
