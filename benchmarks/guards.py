"""Take every guard out, one at a time, and see that its test fails: `python benchmarks/guards.py` (about 4 minutes).

Writes benchmarks/guards.csv. Each change is made in a copy of the repository. `guards.py TRAP ...` tries only those whose
names hold one of the words, and those that are new or stand elsewhere than in the file.
"""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# trap: (file, the guard, what is put in its place, the test that must fail)
GUARDS = {
    "c = 0 in berHu": ("loss.py", ".clamp(min=torch.finfo(x.dtype).tiny)", "", "test_loss.py"),
    "no valid pixel in a batch": ("loss.py", "valid.sum().clamp(min=1)", "valid.sum()", "test_loss.py"),
    "log10 of a depth that is not positive": (
        "metrics.py",
        "prediction.clamp(min=SMALLEST)",
        "prediction",
        "test_metrics.py",
    ),
    "no valid pixel to score": ("metrics.py", "    if not len(sums):", "    if False:", "test_metrics.py"),
    "a gradient that is not masked": (
        "mask.py",
        "torch._foreach_mul_([p.grad for p in self.parameters], self.masks)",
        "pass",
        "test_mask.py",
    ),
    "a pruned weight that is revived": (
        "mask.py",
        "torch.count_nonzero(torch.where(m == 0, v, 0))",
        "False",
        "test_mask.py",
    ),
    "a last batch of one frame": (
        "config.py",
        '("batch", self.batch >= 2,',
        '("batch", self.batch >= 1,',
        "test_bad_inputs.py -k one",
    ),
    "momentum that is not masked": (
        "mask.py",
        "[p] + [v for v in optimiser.state[p].values() if torch.is_tensor(v) and v.shape == p.shape] "
        "if optimiser else [p]",
        "[p]",
        "test_mask.py -k revived",
    ),
    "pruned weights when a checkpoint is written": (
        "train.py",
        "                masking.check(opt)\n",
        "",
        "test_train.py -k written",
    ),
    "pruned weights when a checkpoint is read": (
        "train.py",
        "        state = saved\n        masking.check(opt)\n",
        "        state = saved\n",
        "test_train.py -k not_continued",
    ),
    "pruned weights before a record": ("train.py", "    masking.check()\n", "", "test_train.py -k record"),
    "a loss that is not finite": (
        "train.py",
        "return not (mean_loss < ABSURD and torch.stack(norms).isfinite().all())",
        "return False",
        "test_files.py -k finite",
    ),
    "weights that are not finite": (
        "train.py",
        " and torch.stack(norms).isfinite().all()",
        "",
        "test_files.py -k finite",
    ),
    "pickles as weights": (
        "weights.py",
        "weights_only=True",
        "weights_only=False",
        "test_weights.py -k pickle",
    ),
    "pickles as masks": (
        "ticketfile.py",
        "weights_only=True",
        "weights_only=False",
        "test_mask.py -k pickle",
    ),
    "pickles in arrays": ("files.py", "allow_pickle=False", "allow_pickle=True", "test_bad_inputs.py -k npz"),
    "pickles anywhere else": ("files.py", "weights_only=True", "weights_only=False", "test_safety.py -k run"),
    "a download that is not the file": (
        "download.py",
        "if _sha256(part, progress) != sha256:",
        "if False:",
        "test_download.py -k wrong",
    ),
    "torchvision's file that is another": (
        "weights.py",
        "check_hash=True",
        "check_hash=False",
        "test_weights.py -k own",
    ),
    "a torchvision of another build": (
        "versions.py",
        "except RuntimeError as error:",
        "except ZeroDivisionError as error:",
        "test_safety.py -k torchvision",
    ),
    "a torch before 2.10": ("versions.py", "< OLDEST_TORCH", "< (0, 0)", "test_files.py -k torch"),
    "archives that unpack to much": ("files.py", "> LARGEST:", "> 2**60:", "test_weights.py -k archive"),
    "packed files that unpack to much": (
        "weights.py",
        "if len(data) > LARGEST:",
        "if False:",
        "test_weights.py -k unpacks",
    ),
    "a truncated HDF5 file": (
        "hdf5.py",
        "except (OSError, RuntimeError) as error:",
        "except ZeroDivisionError as error:",
        "test_data.py -k cut",
    ),
    "data kept in another file": (
        "hdf5.py",
        "if found.file.filename != file.filename or found.external or found.is_virtual:",
        "if False:",
        "test_bad_inputs.py -k another",
    ),
    "damage inside an HDF5 file": (
        "hdf5.py",
        "except (OSError, RuntimeError):",
        "except ZeroDivisionError:",
        "test_fuzz.py -k frames",
    ),
    "a damaged checkpoint": (
        "files.py",
        "if comment and comment != ",
        "if comment and b'' == ",
        "test_files.py -k falls",
    ),
    "published arrays that were changed": (
        "store.py",
        'if group.attrs.get("sha256", digest(found)) != digest(found):',
        "if False:",
        "test_old.py -k arrays",
    ),
    "the checkpoint before": ("checkpoint.py", "if newest.exists():", "if False:", "test_files.py -k falls"),
    "a full disk while writing": ("files.py", "yield Path(part)\n", "yield path\n", "test_runs.py -k fails"),
    "a name before its content": (
        "files.py",
        "            os.fsync(file.fileno())\n",
        "            pass\n",
        "test_files.py -k on_disk",
    ),
    "a name that the folder forgets": (
        "files.py",
        "            os.fsync(folder)\n",
        "            pass\n",
        "test_files.py -k on_disk",
    ),
    "what a kill right after the record leaves": (
        "runs.py",
        "        tidy(folder)\n",
        "",
        "test_runs.py -k killed",
    ),
    "the checkpoint of a run made again": (
        "checkpoint.py",
        " and path.stat().st_mtime_ns <= record.stat().st_mtime_ns",
        "",
        "test_runs.py -k killed",
    ),
    "two processes on one run": (
        "files.py",
        "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "test_files.py -k second",
    ),
    "a failed run among the results": (
        "record.py",
        'if (found := record.get("status", status)) != status:',
        "if False:",
        "test_bad_inputs.py -k among",
    ),
    "a key that leads out of the store": (
        "record.py",
        'not NAME.fullmatch(record["key"]) or ',
        "",
        "test_bad_inputs.py -k leads",
    ),
    "markup in a record": (
        "record.py",
        ' or "<" in json.dumps(record):',
        ":",
        "test_bad_inputs.py -k markup",
    ),
    "a lock that is a link": ("files.py", " | os.O_NOFOLLOW", "", "test_files.py -k link"),
    "a picture that starts a program": (
        "photos.py",
        "formats=FORMATS",
        "formats=None",
        "test_safety.py -k program",
    ),
    "a tensor that claims more than its file": (
        "weights.py",
        "> LARGEST:  # a tensor",
        "> 2**60:  # a tensor",
        "test_bad_inputs.py -k classifier",
    ),
    "arrays that claim more than there is": (
        "hdf5.py",
        "if sum(part.nbytes for part in parts.values()) > LARGEST:",
        "if False:",
        "test_bad_inputs.py -k 7",
    ),
    "a full disk under HDF5": (
        "hdf5.py",
        "            self.error = error\n        return size",
        "            raise\n        return size",
        "test_files.py -k hdf5",
    ),
    "ties in the order of a file": (
        "weights.py",
        "in _ordered(state, found).items()",
        "in state.items()",
        "test_weights.py -k order",
    ),
    "a record that was changed": (
        "record.py",
        'if "sha256" in record and not _intact(text):',
        "if False:",
        "test_runs.py -k changed",
    ),
}


def fails(copy, test):
    """Whether a test of the copy fails: its exit status is 1 (failures), not 2 to 5 (nothing could be run)."""
    name, *rest = test.split(" -k ")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-qx",
        "-p",
        "no:cacheprovider",
        f"tests/{name}",
        *(["-k", rest[0]] if rest else []),
    ]
    done = subprocess.run(
        command,
        cwd=copy,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(copy)},
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{test} could not be run:\n{done.stdout[-3000:]}")
    return done.returncode == 1


def main():
    words, target = sys.argv[1:], ROOT / "benchmarks" / "guards.csv"
    with open(target, encoding="utf-8", newline="") as file:
        kept = {row[0]: row for row in csv.reader(file)} if words else {}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for trap, (file, guard, instead, test) in GUARDS.items():
            place = [trap, f"lthdepth/{file}", f"tests/{test}"]
            if kept.get(trap, [])[:3] == place and not any(word in trap for word in words):
                rows.append(kept[trap])
                continue
            copy = Path(folder) / "copy"
            shutil.copytree(
                ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "data", "build", "figures")
            )
            path = copy / "lthdepth" / file
            text = path.read_text()
            if guard not in text:
                raise SystemExit(f"{file} has no guard {guard!r} any more")
            path.write_text(text.replace(guard, instead))
            rows.append([*place, "fails" if fails(copy, test) else "PASSES"])
            print(*rows[-1], sep="; ", flush=True)
            shutil.rmtree(copy)
    with open(target, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(
            [["trap", "guard in", "test", "without the guard"], *rows]
        )
    sys.exit(any(row[-1] != "fails" for row in rows))


if __name__ == "__main__":
    main()
