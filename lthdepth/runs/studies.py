"""The paper's grids of runs, by name."""

from typing import NamedTuple

from ..config import TUNED, Config, level

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


class Study(NamedTuple):
    """A named grid of runs, in the order in which they are worth having."""

    name: str
    title: str
    configs: tuple


def study(name, backbone="resnet50"):
    """A `Study` by name; `backbone` matters to "quick" alone."""
    title, grid = STUDIES[name]
    return Study(name, title, tuple(dict.fromkeys(grid(TUNED.replace(backbone=backbone)))))


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
        base.replace(arm="imp", density=high, stride=2, round_epochs=1),  # first of the tickets: a chain
        *(base.replace(arm=arm, density=low) for arm in ("omp", "random")),
        base.replace(arm="omp", density=high),
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
    later = [  # when the study had begun: larger input at equal time, full augmentation, and two tricks
        base.replace(height=128, width=160),
        base.replace(epochs=3),
        base.replace(**{name: getattr(TUNED, name) for name in LIGHT}),
        *(c.replace(average=1 / 3) for c in (base, at_18)),
        base.replace(epochs=3, progressive=2 / 3),  # the multiply-adds of two epochs
    ]
    return [c.replace(recalibrate=frames) for c in tried for frames in (0, 320)] + later


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
    yield from endpoint(1)
    yield from arms(base, curve, ["omp"], [1])
    yield from endpoint(2)
    yield in_rounds("lrr", level(18))
    yield from arms(base, [level(k) for k in (3, 6, 9, 12, 15)], ["gradual"], [0])
    yield from arms(base, rest, ["omp"], [0, 1])
    long = long.replace(seed=1)  # decides whether the break-even density moves
    yield long
    for k in (3, 1, 6, 12, 18):
        yield long.replace(arm="omp", density=level(k))
    yield from arms(base, curve, ["omp"], [2])
    for density in (level(18), level(12)):
        yield base.replace(arm="lamp", density=density)
        yield base.replace(arm="fisher", density=density, round_epochs=BUDGETS[0])
        yield base.replace(arm="distilled", density=density)
    for seed in (3, 4, 5):
        yield from endpoint(seed)


def full(base):
    """The same question at the size of the published network, for a GPU."""
    base = base.replace(**FULL)
    names, last = ["omp", "shuffled", "random", "imp"], [level(18)]
    yield Config(arm="floor", holdout=base.holdout)
    for epochs in FULL_BUDGETS:
        yield from arms(base.replace(epochs=epochs), [level(k) for k in (3, 6, 12, 18)], ["omp"], [0])
    yield from arms(base, [level(k) for k in (3, 6, 9, 12, 15, 17, 18)], names, range(3))
    yield from arms(base, last, names, range(3, 6))
    yield from arms(base, last, ["reinit", "uniform", "finetuned"], range(3))


# The published setting: Laina's network as the paper under test says it was trained.
PUBLISHED = Config(
    optimiser="sgd", lr_encoder=1e-4, lr_decoder=2e-3, momentum=0.9, weight_decay=0.01, batch=50, epochs=10
)

# The published setting as its code ran it, defect by defect (notebook 05), and the mean depth map beside it.
PUBLISHED_CODE = Config.parse(
    "split=index normalise=false scale=1 rotation=0 flip=false colour=0 shuffle=false last_batch=50 "
    "loss=berhu-published crop=true holdout=false".split(),
    PUBLISHED,
)
PUBLISHED_FLOOR = Config(arm="floor", split="index", last_batch=50, holdout=False)

# The post-mortem: the defects of the published code, one at a time and all together.
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
SMALL = ("no normalisation", "no shuffling", "loss", "crop", "no augmentation", "weight decay 0.01")


def together(base):
    """The published code at the size, backbone and seed of another configuration."""
    return PUBLISHED_CODE.replace(**{k: getattr(base, k) for k in ("backbone", "height", "width", "seed")})


def postmortem(name):
    """The rows of a post-mortem as `[(row, Config)]`, in the order in which they are worth having.

    At full size all defects alone and together (dense, and with the published ticket of 1.80 %), two seeds;
    in small some of them alone, one seed.
    """
    if name == "postmortem-small":
        base = TUNED.replace(height=60, width=80, epochs=2, holdout=True, test=False, **LIGHT)
        return [(SOUND, base), *((defect, base.replace(**DEFECTS[defect])) for defect in SMALL)]
    rows = []
    for seed in (0, 1):
        sound = TUNED.replace(**FULL, seed=seed)
        published = together(sound)
        ticket = published.replace(arm="omp", density=level(18))
        rows += [(SOUND, sound), (TOGETHER, published), (f"{TOGETHER}, 1.80 % ticket", ticket)]
        rows += [(defect, sound.replace(**changes)) for defect, changes in DEFECTS.items()]
    return rows


def with_floors(name):
    """The runs of a post-mortem, after the mean depth map under every protocol among them."""
    rows = postmortem(name)
    return [*(config.floor() for _, config in rows), PUBLISHED_FLOOR, *(config for _, config in rows)]


STUDIES = {
    "quick": ("Quick: a small network trained here", quick),
    "recipe": ("Recipe: settings compared on the validation scenes", recipe),
    "paper": ("Paper: 96×128; 2, 6 and 18 epochs", paper),
    "full": ("Full size: 228×304, 100 epochs", full),
    "postmortem": (
        "Post-mortem: 228×304, each defect alone in 100 epochs, two seeds",
        lambda _: with_floors("postmortem"),
    ),
    "postmortem-small": (
        "Post-mortem, small: 60×80, 2 epochs, validation scenes, one seed",
        lambda _: with_floors("postmortem-small"),
    ),
}
QUICK_FRAMES = (320, 48)  # train and test frames that a quick run takes of a larger data set
