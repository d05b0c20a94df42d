"""The scores in records as one table: what every analysis, table and figure starts from."""

import pandas as pd

from ..config import ROUNDS
from ..training import arms


def scores(records, protocol="full", average="pooled", split="test"):
    """A row a scored run: key, arm, density, seed, epochs (its budget; 0 of the floor) and its metrics."""
    rows = [
        {name: r[name] for name in ("key", "arm", "density", "seed")}
        | {"epochs": budget(r)}
        | r[split][protocol][average]
        for r in records
        if r and r.get(split)
    ]
    return pd.DataFrame(rows)


def budget(record):
    """Epochs a run was asked to train; 0 of the mean depth map, which belongs to every budget."""
    return 0 if record["arm"] == "floor" else record["config"].get("epochs", 0)


def of_budget(records, epochs):
    """The records of one budget, and the floor."""
    return [r for r in records if r and budget(r) in (0, epochs)]


def images(config, frames):
    """Training images that a run costs, those of the runs that its ticket follows from included.

    Args:
        config: `Config`; frames: number of training frames.
    """
    if config.arm == "floor":
        return 0
    own = config.epochs * (frames // config.batch) * config.batch
    earlier = {} if config.arm not in (*ROUNDS, "fisher", "finetuned", "distilled") else arms.parents(config)
    return own + sum(images(parent, frames) for parent in earlier.values())
