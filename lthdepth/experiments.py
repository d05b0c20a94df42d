"""The paper's grids of runs, by name."""

from dataclasses import dataclass

from .config import Config, level

# The published setting: Laina's network as trained in the paper under test (its text; its code had defects besides).
PUBLISHED = Config(optimiser="sgd", lr_encoder=1e-4, lr_decoder=2e-3, momentum=0.9, weight_decay=0.01, batch=50, epochs=10)

# The better setting, chosen on the validation scenes (grid "recipe"; notebook 02 shows the scores).
TUNED = Config(
    optimiser="adamw", lr_encoder=1e-4, lr_decoder=5e-4, weight_decay=0.01, schedule="linear", warmup=0.05, holdout=False
)

# Only the augmentation that costs no training time to get used to; for runs of a few hundred steps.
LIGHT = {"scale": 1.0, "rotation": 0.0, "colour": 0.0}


@dataclass(frozen=True)
class Study:
    """A named grid.

    title: one line for people; configs: its runs, in the order in which they are worth having.
    """

    name: str
    title: str
    configs: tuple


def recipe():
    """Learning rates and augmentation, scored on the validation scenes only; test frames are not looked at."""
    small = TUNED.replace(height=76, width=104, epochs=2, holdout=True, test=False)
    return [
        small,
        small.replace(**LIGHT),
        small.replace(lr_encoder=3e-4, lr_decoder=1e-3, **LIGHT),
        small.replace(optimiser="sgd", lr_encoder=1e-2, lr_decoder=5e-2, weight_decay=1e-4, **LIGHT),
        PUBLISHED.replace(height=76, width=104, epochs=2, batch=16, test=False),
    ]
