"""The paper's grids of runs, by name."""

from dataclasses import dataclass

from ..config import SMALL, TUNED, Config, level
from ..errors import UserError
from . import defects

# Only mirroring: for runs of a few hundred steps, too short to profit from more.
LIGHT = {"scale": 1.0, "rotation": 0.0, "colour": 0.0}

# Metres, about the mean depth of the rooms and of NYU. So short a training of an encoder that was not
# pre-trained must not spend its first steps on the mean: they teach the whole encoder to ignore the picture,
# and a ticket that is drawn then, or an encoder that goes on from there, may stay at the mean depth map.
MIDDLE = 2.8

# The paper's own size, which two CPU cores can finish; budgets in epochs, the middle one is the main one.
SIZE = {"height": 96, "width": 128, "batch": 8, "bias": MIDDLE, **LIGHT}
BUDGETS, MAIN = (2, 6, 18), 6

# The full size, for a GPU: the same question where FCRN was published.
FULL = {"epochs": 100, "precision": "bfloat16"}
FULL_BUDGETS = (6, 24)  # epochs, beside the 100


@dataclass(frozen=True)
class Study:
    """A named grid of runs.

    title: one line for people; configs: the runs, in the order in which they are worth having.
    """

    name: str
    title: str
    configs: tuple


def study(name, backbone="resnet50"):
    """A `Study` by name; `backbone` matters to "quick" alone. Raises UserError for an unknown name."""
    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}; the studies are {', '.join(STUDIES)}.")
    title, grid = STUDIES[name]
    configs = grid(TUNED.replace(backbone=backbone))
    return Study(name, title, tuple(dict.fromkeys(configs)))


def arms(base, levels, names, seeds):
    """For every seed the dense run and every arm at every level, smallest density first."""
    for seed in seeds:
        yield base.replace(arm="dense", seed=seed)
        for density in sorted(levels):
            for arm in names:
                yield base.replace(arm=arm, density=density, seed=seed)


def quick(base):
    """A small network, on the rooms without pre-training."""
    base = base.replace(height=60, width=80, epochs=4, batch=8, lr_decoder=3e-3, bias=MIDDLE, **LIGHT)
    high, low = level(4), level(18)
    return [
        Config(arm="floor", holdout=base.holdout),
        base,
        *(base.replace(arm=arm, density=low) for arm in ("omp", "shuffled", "random")),
        base.replace(arm="omp", density=high),
        base.replace(arm="imp", density=high, round_epochs=1),
    ]


def recipe(base):
    """Settings compared on the validation scenes, at the paper's size in its shortest budget."""
    base = base.replace(**SIZE, epochs=BUDGETS[0], holdout=True, test=False)
    at_18, at_6 = base.replace(arm="omp", density=level(18)), base.replace(arm="omp", density=level(6))
    tried = [
        base,
        at_18,
        *(at_18.replace(lr_encoder=rate) for rate in (1e-3, 1e-4)),
        at_6,
        at_6.replace(lr_encoder=1e-3),
        base.replace(lr_encoder=1e-4),
        base.replace(batch=16),
    ]
    return [c.replace(recalibrate=frames) for c in tried for frames in (0, 320)]


def paper(base):
    """The paper's study: at every budget one-shot tickets beside dense; at the main one all arms."""
    base = base.replace(**SIZE, epochs=MAIN)
    short, long = base.replace(epochs=BUDGETS[0]), base.replace(epochs=BUDGETS[2])
    curve, rest, last = [level(k) for k in (1, 3, 6, 12, 18)], [level(k) for k in (9, 15)], [level(18)]
    rounds = {"stride": 3, "round_epochs": BUDGETS[0]}

    def in_rounds(arm, density, seed=0):
        return base.replace(arm=arm, density=density, seed=seed, **rounds)

    def endpoint(seed):
        yield from arms(base, last, ["omp", "gradual", "random", "shuffled"], [seed])
        yield in_rounds("imp", level(18), seed)

    yield Config(arm="floor", holdout=base.holdout)
    yield from arms(short, curve, ["omp"], [0])
    yield from arms(base, curve, ["omp"], [0])
    yield from endpoint(0)
    yield from arms(short, curve, ["omp"], [1, 2])
    yield long
    for k in (18, 3):
        yield long.replace(arm="omp", density=level(k))
    for seed in (1, 2):  # the pairs that decide
        yield base.replace(seed=seed)
        yield in_rounds("imp", level(18), seed)
    for k in (6, 1, 12):
        yield long.replace(arm="omp", density=level(k))
    for seed in (1, 2):
        yield from endpoint(seed)
        yield from arms(base, curve, ["omp"], [seed])
    yield in_rounds("lrr", level(18))
    yield from arms(base, [level(k) for k in (3, 6, 9, 12, 15)], ["gradual"], [0])
    yield from arms(base, rest, ["omp"], [0])
    for density in (level(18), level(12)):
        yield base.replace(arm="lamp", density=density)
        yield base.replace(arm="fisher", density=density, round_epochs=BUDGETS[0])
        yield base.replace(arm="distilled", density=density)
    yield from arms(long, curve, ["omp"], [1])
    for seed in (3, 4, 5):
        yield from endpoint(seed)


def pilot(base):
    """The runs that came before the paper's, at 114×152; their IMP takes rounds of one epoch."""
    base = base.replace(height=114, width=152, epochs=6, **LIGHT)
    names = ["omp", "random", "shuffled"]
    yield Config(arm="floor", holdout=base.holdout)
    for levels, seed in (([18], 0), ([6, 12], 0), ([18], 1)):
        yield base.replace(arm="dense", seed=seed)
        yield from (base.replace(arm=a, density=level(k), seed=seed) for k in levels for a in names)
    yield base.replace(arm="imp", density=level(18), round_epochs=1)


def full(base):
    """The same question at the size of the published network, for a GPU."""
    base = base.replace(**FULL)
    levels, names = (
        [level(k) for k in (3, 6, 9, 12, 15, 17, 18)],
        ["omp", "shuffled", "random", "imp", "logits"],
    )

    def plain(levels, names, seeds):
        for seed in seeds:
            yield base.replace(arm="dense", seed=seed)
            yield from (base.replace(arm=a, density=d, seed=seed) for d in sorted(levels) for a in names)

    yield Config(arm="floor", holdout=base.holdout)
    for epochs in FULL_BUDGETS:
        yield base.replace(epochs=epochs)
        yield from (base.replace(epochs=epochs, arm="omp", density=level(k)) for k in (18, 12, 6, 3))
    yield from plain(levels, names, range(3))
    yield from plain([level(18)], names, range(3, 6))
    yield from plain([level(18)], ["reinit", "permuted", "uniform", "finetuned"], range(3))
    yield from (base.replace(arm="frozen", seed=seed) for seed in range(3))
    yield from (base.replace(arm=small, backbone=small, seed=seed) for small in SMALL for seed in range(3))


def postmortem(name):
    """The rows of a post-mortem, `[(row, Config)]` as `defects.grid`, at the full size or in small."""
    if name == "postmortem":
        return defects.grid(TUNED.replace(**FULL), range(2))
    base = TUNED.replace(height=60, width=80, epochs=2, holdout=True, test=False, **LIGHT)
    alone = ("no normalisation", "no shuffling", "loss", "crop", "no augmentation", "weight decay 0.01")
    return defects.grid(base, [0], alone, code=False)


STUDIES = {
    "quick": ("Quick: a small network trained here", quick),
    "recipe": ("Recipe: settings compared on the validation scenes, 96×128, 2 epochs", recipe),
    "paper": ("Paper: 96×128; 2, 6 and 18 epochs", paper),
    "pilot": ("Pilot: 114×152, 6 epochs", pilot),
    "full": ("Full size: 228×304, 100 epochs", full),
    "postmortem": (
        "Post-mortem: 228×304, each defect alone in 100 epochs, two seeds",
        lambda base: defects.configs(postmortem("postmortem")),
    ),
    "postmortem-small": (
        "Post-mortem, small: 60×80, 2 epochs, validation scenes, one seed",
        lambda base: defects.configs(postmortem("postmortem-small")),
    ),
}
QUICK_FRAMES = (320, 48)  # train and test frames that a quick run takes of a larger data set
