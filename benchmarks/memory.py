"""Peak memory of reading the official file and of the quick build: `python benchmarks/memory.py mat build`.

Writes benchmarks/memory.csv; what is not named keeps its row there. The file is a stand-in of the official layout and size in
memory (1449 frames of 640x480), its frames all alike, so that it takes no space on disk. Memory is that of a command and all
its descendants together, five times a second; pages that they share count once (PSS), as a process that has just been
forked would else count twice. Linux only.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import psutil

from lthdepth.data.nyu import nyu_table

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"mat": 1.5, "build": 4.0}  # GB
TITLES = {"mat": "reading the official .mat, converting it", "build": "./build.sh --profile quick"}
COLUMNS = ("measure", "peak, GB", "target, GB", "met")


def stand_in(path):
    """A file of the official layout: never-written chunks read as one value."""
    _, scenes = nyu_table()
    n = len(scenes)
    with h5py.File(path, "w") as file:
        for name, shape, kind, value in (
            ("images", (3, 640, 480), "uint8", 90),
            ("depths", (640, 480), "float32", 2.0),
        ):
            file.create_dataset(name, (n, *shape), kind, chunks=(1, *shape), fillvalue=value)
        cells = file.create_dataset("scenes", (1, n), h5py.ref_dtype)
        for i, scene in enumerate(scenes):
            text = np.frombuffer(scene.encode("utf-16-le"), np.uint16)[:, None]
            cells[0, i] = file.create_dataset(f"#refs#/{i}", data=text).ref


def peak(command):
    """Bytes that a command takes at most; raises CalledProcessError where it fails."""
    most = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        top = psutil.Process(process.pid)
        while process.poll() is None:
            used = 0
            for one in (top, *top.children(recursive=True)):
                try:
                    used += one.memory_full_info().pss
                except psutil.Error:  # it has ended
                    continue
            most = max(most, used)
            time.sleep(0.2)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return most


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", nargs="+", choices=TARGETS)
    wanted, path = p.parse_args().what, ROOT / "benchmarks" / "memory.csv"
    with open(path, newline="", encoding="utf-8") as file:
        rows = {row[0]: row for row in list(csv.reader(file))[1:]}
    with tempfile.TemporaryDirectory() as folder:
        for what in wanted:
            command = ["./build.sh", "--profile", "quick"]
            if what == "mat":
                stand_in(Path(folder) / "all.mat")
                command = [
                    sys.executable,
                    "-m",
                    "lthdepth",
                    "data",
                    f"{folder}/all.mat",
                    "--out",
                    f"{folder}/half.h5",
                ]
            used = peak(command)
            met = "yes" if used <= TARGETS[what] * 1e9 else "no"
            row = rows[TITLES[what]] = [TITLES[what], f"{used / 1e9:.2f}", TARGETS[what], met]
            print(*row, sep="  ", flush=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [COLUMNS, *(rows[title] for title in TITLES.values() if title in rows)]
        )


if __name__ == "__main__":
    main()
