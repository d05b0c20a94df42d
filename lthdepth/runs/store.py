"""The store of runs: their records, arrays and failures, where they were made and where they are published.

A record is `runs/<key>/record.json` where it was made and one line of `results/runs.jsonl` once it is
published; one of a run that diverged `failed.json`, and a line of `results/failed.jsonl`. A run that is
published and made once more, for its weights, is a line of `results/reruns.jsonl`. Per-image error sums and
a few predicted depth maps lie beside it (`arrays.npz`; `results/arrays/<key>.npz`).
"""

import json
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import locked, read_arrays, write_atomic
from .record import Record, parse

ROOT = Path(__file__).resolve().parents[2]


class Store:
    """Finished runs: those made here (`local`) and those committed with the paper (`recorded`).

    Reading raises UserError where a record does not read, or is not what was written.
    """

    def __init__(self, local=ROOT / "runs", recorded=ROOT / "results"):
        self.local, self.recorded = Path(local), Path(recorded)

    def records(self):
        """All finished records by key; one made here goes before a committed one."""
        return self._read("runs.jsonl", "record.json")

    def failed(self):
        """Runs that diverged and were never finished, by key: what they were and the `reason`; no results."""
        failed, finished = self._read("failed.jsonl", "failed.json"), self.records()
        return {k: r for k, r in failed.items() if k not in finished}

    def reruns(self):
        """Recorded runs that were made once more and ended otherwise, as on another machine: no results."""
        path = self.recorded / "reruns.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else ()
        return [parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]

    def _read(self, lines, file):
        records, lines = {}, self.recorded / lines
        for number, line in enumerate(lines.read_bytes().splitlines() if lines.exists() else (), 1):
            record = parse(line, f"{lines}, line {number}")
            records[record.key] = record
        for path in sorted(self.local.glob(f"*/{file}")):
            record = parse(path.read_bytes(), path)
            record["study"] = records.get(record.key, record)["study"]
            records[record.key] = record
        return records

    def get(self, name):
        """The record of a key, or None. A unique beginning of a key is enough."""
        found = [r for k, r in self.records().items() if k.startswith(name)]
        if len(found) > 1:
            raise UserError(f"{name!r} is the beginning of {len(found)} keys; give more of it.")
        return found[0] if found else None

    def arrays(self, name):
        """Arrays of a finished run: error sums (N, 7) under "test/full" ..., predictions under "gallery"."""
        for path in (self.local / name / "arrays.npz", self.recorded / "arrays" / f"{name}.npz"):
            if path.exists():
                return read_arrays(path, "copy it again, or remove it and make the run again")
        return {}

    def publish(self, names, study):
        """Copy runs made here into `recorded`, as part of a study. The first result of a run stands.

        Error sums are stored as float32, depth maps as float16 and of seed 0 only.
        """
        published = Store(self.recorded / "nothing", self.recorded)
        with locked(self.recorded), locked(self.recorded / "arrays"):
            made, failed, there = self.records(), self.failed(), published.records()
            again = [made[n] for n in names if n in there and made[n]["test"] != there[n]["test"]]
            again = {json.dumps(r): r for r in [*self.reruns(), *again]}.values()
            names = [n for n in names if n not in there]
            lines = there | {n: Record(made[n], study=study) for n in names if n in made}
            lost = published.failed() | {n: Record(failed[n], study=study) for n in names if n in failed}
            for name in names:
                arrays = self.arrays(name)
                if made.get(name, {}).get("seed"):
                    arrays.pop("gallery", None)
                for k, v in arrays.items():
                    if v.dtype.kind == "f":
                        arrays[k] = v.astype(np.float16 if k == "gallery" else np.float32)
                if name in made:
                    write_atomic(self.recorded / "arrays" / f"{name}.npz", arrays)
            lost = {k: r for k, r in lost.items() if k not in lines}
            files = {"runs.jsonl": lines.values(), "failed.jsonl": lost.values(), "reruns.jsonl": again}
            for file, records in files.items():
                if records or (self.recorded / file).exists():
                    text = "".join(json.dumps(r) + "\n" for r in sorted(records, key=order))
                    write_atomic(self.recorded / file, text)


def order(record):
    """Sorting key of records: study, arm, density, seed."""
    return record["study"], record["arm"], -record["density"], record["seed"], record["key"]
