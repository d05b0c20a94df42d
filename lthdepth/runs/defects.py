"""The defects of the published code, one at a time and all together: the grid of the post-mortem."""

from ..config import PUBLISHED, PUBLISHED_CODE, PUBLISHED_FLOOR, level

SOUND, TOGETHER = "sound", "all together"
STEPS = ("optimiser", "lr_encoder", "lr_decoder", "schedule", "warmup", "batch", "epochs")

# What each changes in a sound configuration. Two differ from PUBLISHED_CODE, as they stand alone: the penalty
# is put into the gradient of Adam, for the sound optimiser is AdamW; the short training goes without it.
DEFECTS = {
    "split by index": {"split": "index"},
    "no normalisation": {"normalise": False},
    "no augmentation": {"scale": 1.0, "rotation": 0.0, "flip": False, "colour": 0.0},
    "no shuffling": {"shuffle": False},
    "last batch scored": {"last_batch": 50},
    "weight decay 0.01": {"optimiser": "adam", "weight_decay": 0.01},
    "loss": {"loss": "berhu-published"},
    "240 small steps": {name: getattr(PUBLISHED, name) for name in STEPS} | {"weight_decay": 0.0},
    "crop": {"crop": True},
}


def together(base):
    """The published code at the size, backbone and seed of another configuration."""
    kept = ("backbone", "height", "width", "seed")
    return PUBLISHED_CODE.replace(**{name: getattr(base, name) for name in kept})


def grid(base, seeds, alone=tuple(DEFECTS), code=True):
    """The runs of a post-mortem as `[(row, Config)]`, in the order in which they are worth having.

    Args:
        base: a sound dense configuration; seeds: of every row.
        alone: names of `DEFECTS` to turn on one at a time.
        code: also run all together, dense and with a one-shot ticket of 1.80 %, the published pair.
    """
    rows = []
    for sound in (base.replace(seed=seed) for seed in seeds):
        rows.append((SOUND, sound))
        if code:
            published = together(sound)
            rows.append((TOGETHER, published))
            rows.append((f"{TOGETHER}, 1.80 % ticket", published.replace(arm="omp", density=level(18))))
        rows += [(name, sound.replace(**DEFECTS[name])) for name in alone]
    return rows


def configs(rows):
    """The runs of a study: the mean depth map under every protocol among the rows, then the rows."""
    floors = [config.floor() for _, config in rows]
    return tuple(dict.fromkeys([*floors, PUBLISHED_FLOOR, *(config for _, config in rows)]))
