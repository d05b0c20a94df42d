"""The paper's grids of runs, by name."""

from dataclasses import dataclass

from ..config import PUBLISHED, SMALL, TUNED, Config, level
from ..errors import UserError
from . import defects

# Only mirroring: for runs of a few hundred steps, too short to profit from more.
LIGHT = {"scale": 1.0, "rotation": 0.0, "colour": 0.0}

# Metres, about the mean depth of the rooms and of NYU. So short a training of an encoder that was not pre-trained must not
# spend its first steps on the mean: they teach the whole encoder to ignore the picture, and a ticket that is drawn then, or an
# encoder that goes on from there, may stay at the mean depth map.
MIDDLE = 2.8

# The full size: the paper's runs, and those of the post-mortem around its dense ones.
FULL = {"epochs": 100, "precision": "bfloat16"}


@dataclass(frozen=True)
class Study:
    """A named grid of runs.

    title: one line for people; configs: the runs, in the order in which they are worth having.
    """

    name: str
    title: str
    configs: tuple


def _arms(base, levels, arms, seeds):
    """The floor, then for every seed the dense run and every arm at every level, smallest density first."""
    yield Config(
        arm="floor", holdout=base.holdout
    )  # one for all studies: it knows neither size nor optimiser
    for seed in seeds:
        yield base.replace(arm="dense", seed=seed)
        for density in sorted(levels):
            for arm in arms:
                yield base.replace(arm=arm, density=density, seed=seed)


def study(name, backbone="resnet50"):
    """A `Study` by name; `backbone` matters to "quick" alone. Raises UserError for an unknown name."""
    base = TUNED.replace(backbone=backbone)
    if name == "quick":
        base = base.replace(height=60, width=80, epochs=4, batch=8, lr_decoder=3e-3, bias=MIDDLE, **LIGHT)
        high, low = level(4), level(18)
        configs = [
            Config(arm="floor", holdout=base.holdout),
            base,
            *(base.replace(arm=arm, density=low) for arm in ("omp", "shuffled", "random")),
            base.replace(arm="omp", density=high),
            base.replace(arm="imp", density=high, round_epochs=1),
        ]
        return Study(name, "Quick: a small network trained here", tuple(configs))
    if name == "recipe":
        small = base.replace(height=60, width=80, epochs=2, holdout=True, test=False)
        configs = [
            small.replace(lr_encoder=1e-4, lr_decoder=5e-4, **LIGHT),
            small.replace(**LIGHT),
            PUBLISHED.replace(height=60, width=80, epochs=2, batch=16, test=False),
            small.replace(optimiser="sgd", lr_encoder=1e-2, lr_decoder=5e-2, weight_decay=1e-4, **LIGHT),
            small,
        ]
        return Study(
            name, "Recipe: settings compared on the validation scenes, 60×80, 2 epochs", tuple(configs)
        )
    if name == "pilot":
        base = base.replace(height=114, width=152, epochs=6, **LIGHT)
        arms = ["omp", "random", "shuffled"]
        configs = [
            *_arms(base, [level(18)], arms, [0]),
            *_arms(base, [level(6), level(12)], arms, [0]),
            *_arms(base, [level(18)], arms, [1]),
            base.replace(arm="imp", density=level(18), round_epochs=1),
        ]
        return Study(name, "Pilot: 114×152, 6 epochs", tuple(dict.fromkeys(configs)))
    if name == "paper":
        base = base.replace(**FULL)
        levels = [level(k) for k in (3, 6, 9, 12, 15, 17, 18)]
        arms = ["omp", "shuffled", "random", "imp", "logits"]
        configs = [
            *_arms(base, levels, arms, range(3)),
            *_arms(base, [level(18)], arms, range(3, 6)),
            *_arms(base, [level(18)], ["reinit", "permuted", "uniform", "finetuned"], range(3)),
            *(base.replace(arm="frozen", seed=seed) for seed in range(3)),
            *(base.replace(arm=small, backbone=small, seed=seed) for small in SMALL for seed in range(3)),
        ]
        return Study(name, "Paper: 228×304, 100 epochs", tuple(dict.fromkeys(configs)))
    if name in POSTMORTEMS:
        return Study(name, POSTMORTEMS[name], defects.configs(postmortem(name)))
    raise UserError(f"unknown study {name!r}; the studies are {', '.join(STUDIES)}.")


def postmortem(name):
    """The rows of a post-mortem, `[(row, Config)]` as `defects.grid`: around the paper's dense runs, or the recipe's best."""
    if name == "postmortem":
        return defects.grid(TUNED.replace(**FULL), range(2))
    base = TUNED.replace(height=60, width=80, epochs=2, holdout=True, test=False, **LIGHT)
    alone = ("no normalisation", "no shuffling", "loss", "crop", "no augmentation", "weight decay 0.01")
    return defects.grid(base, [0], alone, code=False)


POSTMORTEMS = {
    "postmortem": "Post-mortem: 228×304, each defect alone in 100 epochs, two seeds",
    "postmortem-small": "Post-mortem, small: 60×80, 2 epochs, validation scenes, one seed",
}
STUDIES = ("quick", "recipe", "pilot", "paper", *POSTMORTEMS)
QUICK_FRAMES = (320, 48)  # train and test frames that a quick run takes of a larger data set
