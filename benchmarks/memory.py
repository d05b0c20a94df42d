"""Peak memory of reading the official file and of the quick build: `python benchmarks/memory.py mat build`.

Writes benchmarks/memory.csv; what is not named keeps its row there. The file is a stand-in of the official
layout and size in memory (1449 frames of 640x480), its frames all alike, so that it takes no space on disk.
Memory is that of a command and all its descendants together, five times a second; pages that they share count
once (PSS). Linux only.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil

from lthdepth.data.nyu import nyu_table

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {  # GB
    "mat": ("reading the official .mat, converting it", 1.5),
    "build": ("./build.sh --profile quick", 4.0),
}


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
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("what", nargs="+", choices=TARGETS)
    path = ROOT / "benchmarks" / "memory.csv"
    table = pd.read_csv(path, dtype=str).set_index("measure")
    for what in parser.parse_args().what:
        title, target = TARGETS[what]
        with tempfile.TemporaryDirectory() as folder:
            command = ["./build.sh", "--profile", "quick"]
            if what == "mat":
                mat, half = f"{folder}/all.mat", f"{folder}/half.h5"
                stand_in(mat)
                command = [sys.executable, "-m", "lthdepth", "data", mat, "--out", half]
            used = peak(command) / 1e9
        table.loc[title] = [f"{used:.2f}", str(target), "yes" if used <= target else "no"]
        print(title, *table.loc[title], sep="  ", flush=True)
    table.to_csv(path)


if __name__ == "__main__":
    main()
