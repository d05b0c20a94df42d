"""The defects of the published code, one at a time and all together: the grid of the post-mortem (notebook 05)."""

from ..config import PUBLISHED_CODE, PUBLISHED_FLOOR, level

SOUND, TOGETHER = "sound", "all together"

# What each changes in a sound configuration. Two differ from PUBLISHED_CODE, because they stand alone: the penalty is put
# into the gradient of Adam, as the sound optimiser is AdamW; and the short training goes without the penalty.
DEFECTS = {
    "split by index": {"split": "index"},
    "no normalisation": {"normalise": False},
    "no augmentation": {"scale": 1.0, "rotation": 0.0, "flip": False, "colour": 0.0},
    "no shuffling": {"shuffle": False},
    "last batch scored": {"last_batch": 50},
    "weight decay 0.01": {"optimiser": "adam", "weight_decay": 0.01},
    "loss": {"loss": "berhu-published"},
    "240 small steps": {
        "optimiser": "sgd",
        "lr_encoder": 1e-4,
        "lr_decoder": 2e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "batch": 50,
        "epochs": 10,
    },
    "crop": {"crop": True},
}


def together(base):
    """The published code at the size, backbone and seed of another configuration."""
    return PUBLISHED_CODE.replace(
        **{name: getattr(base, name) for name in ("backbone", "height", "width", "seed")}
    )


def grid(base, seeds, alone=tuple(DEFECTS), code=True):
    """The runs of a post-mortem as `[(row, Config)]`, in the order in which they are worth having.

    Args:
        base: a sound dense configuration; seeds: of every row.
        alone: names of `DEFECTS` to turn on one at a time.
        code: also run all together, dense and with a one-shot ticket of 1.80 %, the published pair.
    """
    rows = []
    for config in (base.replace(seed=seed) for seed in seeds):
        rows.append((SOUND, config))
        if code:
            rows.append((TOGETHER, together(config)))
            rows.append(
                (f"{TOGETHER}, 1.80 % ticket", together(config).replace(arm="omp", density=level(18)))
            )
        rows += [(name, config.replace(**DEFECTS[name])) for name in alone]
    return rows


def configs(rows):
    """The configurations of a study: the mean depth map under every protocol among the rows, then the rows."""
    floors = [config.floor() for _, config in rows]
    return tuple(dict.fromkeys([*floors, PUBLISHED_FLOOR, *(config for _, config in rows)]))
