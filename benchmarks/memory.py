"""Peak memory of reading the official file and of the quick build: `python benchmarks/memory.py`.

Writes benchmarks/memory.csv. The file is a stand-in of the official layout and size in memory (1449 frames of
640x480), its frames all alike, so that it takes no space on disk. Memory is that of a command and all its
descendants together, five times a second; pages that they share count once (PSS). Linux only.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil

from lthdepth.data.nyu import nyu_table

ROOT = Path(__file__).resolve().parents[1]


def stand_in(path):
    """A file of the official layout: never-written chunks read as one value."""
    _, scenes = nyu_table()
    n = len(scenes)
    with h5py.File(path, "w") as file:
        image, depth = (3, 640, 480), (640, 480)
        file.create_dataset("images", (n, *image), "uint8", chunks=(1, *image), fillvalue=90)
        file.create_dataset("depths", (n, *depth), "float32", chunks=(1, *depth), fillvalue=2.0)
        cells = file.create_dataset("scenes", (1, n), h5py.ref_dtype)
        for i, scene in enumerate(scenes):
            text = np.frombuffer(scene.encode("utf-16-le"), np.uint16)[:, None]
            cells[0, i] = file.create_dataset(f"#refs#/{i}", data=text).ref


def peak(command):
    """GB that a command takes at most."""
    most, process = 0, psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with suppress(psutil.Error):  # one has ended
            everyone = [process, *process.children(recursive=True)]
            most = max(most, sum(one.memory_full_info().pss for one in everyone))
        time.sleep(0.2)
    assert process.returncode == 0, command
    return most / 1e9


with tempfile.TemporaryDirectory() as folder:
    stand_in(f"{folder}/all.mat")
    code = "from lthdepth.data import nyu; nyu.DATA_DIR = nyu.Path({0!r}); nyu.load({0!r} + '/all.mat')"
    convert = [sys.executable, "-c", code.format(folder)]
    rows = [("reading the official .mat, converting it", peak(convert), 1.5)]
    rows += [("./build.sh --profile quick", peak(["./build.sh", "--profile", "quick"]), 4.0)]
table = pd.DataFrame(rows, columns=["measure", "peak, GB", "target, GB"]).round(2)
table["met"] = np.where(table["peak, GB"] <= table["target, GB"], "yes", "no")
table.to_csv(ROOT / "benchmarks" / "memory.csv", index=False)
print(table)
