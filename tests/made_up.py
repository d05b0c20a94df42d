"""Made-up records with a known truth: what tests of the analysis and its pictures start from. Never in
results/.
"""

import numpy as np

from lthdepth import metrics
from lthdepth.config import level

SCENES = np.array([f"scene_{i // 3:02}" for i in range(60)] + ["bookstore_0001"] * 6)
TEST = np.arange(6, 66)  # the first six frames are for training
LAYERS = [
    (f"layer{i}.0.conv{j}.weight", n)
    for i, n in ((1, 4096), (2, 16384), (3, 65536), (4, 262144))
    for j in (1, 2, 3)
]


def study(seeds, losses, dense=0.63, spread=0.004, floor=1.2, epochs=100):
    """Records and arrays of a study.

    Args:
        seeds: number of seeds.
        losses: `{(arm, density): true loss in metres of pooled rms}`.
        dense: true rms of the dense network; spread: standard deviation over seeds of every run; floor: rms
            of the floor; epochs: the budget.

    Returns:
        `(records, arrays)`: as `Paper.records` gives them, and a function from key to arrays.
    """
    arrays, rng = {}, np.random.default_rng(7)
    hard = rng.gamma(8, 1 / 8, len(SCENES))[np.unique(SCENES, return_inverse=True)[1]][TEST]

    def run(arm, density, seed, rms):
        key = f"{arm}-{density:.4f}-{seed}" + (f"-{epochs}" if epochs != 100 else "")
        sums = np.zeros((len(TEST), 7))
        sums[:, 0] = 1000
        sums[:, 1], sums[:, 3] = 1000 * 0.17 * hard, 1000 * 0.07 * hard
        sums[:, 4:] = 1000 * np.array([0.77, 0.94, 0.98])
        error = hard * rng.gamma(30, 1 / 30, len(hard))
        sums[:, 2] = 1000 * rms**2 * error / error.mean()
        frames = {"test/full": sums, "test/eigen": sums * 0.9, "test/frames": TEST}
        arrays[key] = frames | {"gallery": np.full((8, 24, 32), rms, np.float16)}
        test = {"full": metrics.summarise(sums), "eigen": metrics.summarise(sums * 0.9), "frames": len(TEST)}
        kept = [[name, max(1, round(n * density ** (1 - i / 24))), n] for i, (name, n) in enumerate(LAYERS)]
        total = sum(n for _, _, n in kept)
        counts = dict.fromkeys(("prunable", "encoder", "mac"), total) | {"network": 3 * total}
        densities = dict.fromkeys(("prunable", "encoder", "mac"), density) | {"network": 0.6 + 0.4 * density}
        record = {"key": key, "study": "paper", "arm": arm, "density": density, "seed": seed}
        record |= {"validation": None, "test": test, "status": "finished", "commit": "abc", "dirty": False}
        record |= {
            "data": {"name": "nyu", "fingerprint": "d", "height": 240},
            "device": "CPU",
            "seconds": 10.0,
        }
        record |= {"init": {"name": "w", "description": "weights", "fingerprint": "i"}}
        record |= {"curves": {"train_loss": [1.0, 0.5], "validation_rms": []}, "ticket": {"layers": kept}}
        record["densities"] = densities | {"counts": counts | {"kept": round(density * total)}}
        return record | {"config": {"height": 228, "width": 304, "arm": arm, "epochs": epochs}}

    records = [run("floor", 1.0, 0, floor)]
    for seed in range(seeds):
        records.append(run("dense", 1.0, seed, dense + rng.normal(0, spread)))
        records += [
            run(arm, d, seed, dense + loss + rng.normal(0, spread)) for (arm, d), loss in losses.items()
        ]
    return records, arrays.__getitem__


def curve(arm, at_smallest, levels=(3, 6, 9, 12, 15, 17, 18)):
    """True losses of an arm that grow with the fourth power of the number of rounds."""
    return {(arm, level(k)): at_smallest * (k / 18) ** 4 for k in levels}
