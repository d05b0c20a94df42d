"""Made-up records with a known truth: what tests of the analysis and its pictures start from. Never in
results/.
"""

import numpy as np

from lthdepth import metrics
from lthdepth.config import level

SCENES = np.array([f"scene_{i // 3:02}" for i in range(60)] + ["bookstore_0001"] * 6)
TEST = np.arange(6, 66)  # the first six frames are for training


def record(arm="dense", density=1.0, seed=0, rms=0.6, delta1=0.77, **more):
    """A record of a finished run of the paper's study, of these pooled scores; more: what else it says."""
    scores = {"rel": 0.17, "rms": rms, "log10": 0.07, "delta1": delta1, "delta2": 0.94, "delta3": 0.98}
    both = {"pooled": scores, "per_image": scores | {"rms": rms - 0.05}}
    named = {"arm": arm, "density": density, "seed": seed}
    made = {"key": f"{arm}-{density:.4f}-{seed}", "study": "paper", "status": "finished", "validation": None}
    made |= {"commit": "abc", "dirty": False, "device": "CPU", "seconds": 10.0}
    made |= {"config": named | {"height": 228, "width": 304, "epochs": 100}}
    made |= {"data": {"name": "nyu", "fingerprint": "d", "height": 240}}
    made |= {"init": {"name": "w", "description": "weights", "fingerprint": "i"}}
    made |= {"test": {"full": both, "eigen": both, "frames": 654}}
    made |= {"curves": {"train_loss": [1.0, 0.5], "validation_rms": []}}
    made |= {"ticket": {"layers": [["layer1.0.conv1.weight", 10, 100], ["layer1.0.conv2.weight", 50, 100]]}}
    return made | named | more


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
        sums = np.zeros((len(TEST), 7))
        sums[:, 0] = 1000
        sums[:, 1], sums[:, 3] = 1000 * 0.17 * hard, 1000 * 0.07 * hard
        sums[:, 4:] = 1000 * np.array([0.77, 0.94, 0.98])
        error = hard * rng.gamma(30, 1 / 30, len(hard))
        sums[:, 2] = 1000 * rms**2 * error / error.mean()
        test = {"full": metrics.summarise(sums), "eigen": metrics.summarise(sums * 0.9), "frames": len(TEST)}
        made = record(arm, density, seed, test=test)
        if epochs != 100:
            made["config"]["epochs"], made["key"] = epochs, f"{made['key']}-{epochs}"
        frames = {"test/full": sums, "test/eigen": sums * 0.9, "test/frames": TEST}
        arrays[made["key"]] = frames | {"gallery": np.full((8, 24, 32), rms, np.float16)}
        return made

    records = [run("floor", 1.0, 0, floor)]
    for seed in range(seeds):
        records.append(run("dense", 1.0, seed, dense + rng.normal(0, spread)))
        for (arm, density), loss in losses.items():
            records.append(run(arm, density, seed, dense + loss + rng.normal(0, spread)))
    return records, arrays.__getitem__


def curve(arm, at_smallest, levels=(3, 6, 9, 12, 15, 17, 18)):
    """True losses of an arm that grow with the fourth power of the number of rounds."""
    return {(arm, level(k)): at_smallest * (k / 18) ** 4 for k in levels}
