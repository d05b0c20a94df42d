"""Everything that changes the result of a run, in one place."""

import dataclasses
import json
import math
from dataclasses import dataclass

from .errors import UserError

# How the encoder's ticket is drawn: short name, as in figures and tables.
ARMS = {
    "floor": "mean depth map",  # no network: the mean of the training frames
    "dense": "dense",  # the whole pre-trained encoder
    "omp": "one-shot magnitude",  # the largest weights of the pre-trained encoder
    "random": "random",  # as many, drawn uniformly
    "imp": "IMP",  # iterative magnitude pruning on the task, rewound to the pre-trained weights
    "lrr": "IMP, rate rewinding",  # the same, but only the schedule starts anew
    "gradual": "gradual magnitude",  # within the one run, by its weights as they train (Zhu & Gupta 2017)
    "fisher": "Fisher",  # the largest w² times squared gradient in the trained dense run, rewound
    "lamp": "LAMP",  # the largest layer-adaptive magnitudes of the pre-trained encoder (Lee et al. 2021)
    "distilled": "one-shot, distilled",  # learning from the dense run of the same seed too
    "shuffled": "layer-shuffled",  # as many a layer as one-shot magnitude, at random places
    "uniform": "uniform",  # the largest of each layer, at one density (as Gale et al. 2019)
    "reinit": "re-initialised",  # the one-shot magnitude ticket over a random encoder
    "finetuned": "pruned after fine-tuning",  # the largest weights of the dense run, trained on
    "file": "from file",  # read from a mask file
}

WHOLE = ("floor", "dense")  # the arms that prune nothing
ROUNDS = ("imp", "lrr")  # the arms that prune in rounds, each a run of its own
EARLIER = (*ROUNDS, "fisher", "distilled")  # the arms that follow from earlier training

# Raised by hand when the numbers of a given Config change on purpose; old records are then no longer found.
SCIENCE_VERSION = 1


def _in(default, interval, help):
    """A number with its range, such as "[0, 1)", and what it means."""
    low, high = (float(end) for end in interval[1:-1].split(","))

    def good(value):
        return low < value < high or value == low and "[" in interval or value == high and "]" in interval

    about = {"good": good, "wanted": f"in {interval}", "help": help}
    return dataclasses.field(default=default, metadata=about)


def _of(default, names, help):
    """A text with what it may be, such as "a | b", or a switch, and what it means."""
    good = (lambda _: True) if type(default) is bool else names.split(" | ").__contains__
    return dataclasses.field(default=default, metadata={"good": good, "wanted": names, "help": help})


def _switch(default, help):
    return _of(default, "true | false", help)


@dataclass(frozen=True)
class Config:
    """One run. Data, initial weights and a ticket file are no part of it; their fingerprints join the key.

    The defaults are frozen: a key is the hash of the fields that differ from them (`runs.run.key`), so a new
    field whose default means "as before" leaves every recorded run findable, and an old default must never
    change. Raises UserError where a field is outside its range, or does not go together with another.
    """

    # The ticket
    arm: str = _of("dense", " | ".join(ARMS), "how the ticket is drawn")
    density: float = _in(1.0, "(0, 1]", "kept fraction of the prunable encoder weights")
    round_epochs: int = _in(0, "[0, inf)", "of the earlier runs it follows from; 0: as this one")
    stride: int = _in(1, "[1, inf)", "levels of 0.8 that one round of imp or lrr prunes at once")
    distil: float = _in(0.5, "[0, 1]", "distilled: share of the loss that is the distance from the dense run")
    seed: int = _in(0, "[0, 9223372036854775808)", "of decoder, frame order, augmentation, random tickets")
    # The network
    backbone: str = _of("resnet50", "resnet18 | resnet34 | resnet50", "the encoder")
    height: int = _in(228, "[32, 4096]", "of the input, pixels; the whole frame is resized to it")
    width: int = _in(304, "[32, 4096]", "of the input, pixels")
    bias: float = _in(0.0, "(-inf, inf)", "of the last convolution at the start, metres")
    # The optimiser
    optimiser: str = _of("sgd", "sgd | adamw | adam", "of encoder and decoder")
    lr_encoder: float = _in(1e-4, "[0, inf)", "peak learning rate of the encoder")
    lr_decoder: float = _in(2e-3, "[0, inf)", "peak learning rate of everything else")
    momentum: float = _in(0.9, "[0, 1)", "of SGD; the first beta of AdamW and Adam")
    weight_decay: float = _in(0.01, "[0, inf)", "L2 penalty of SGD and Adam; decoupled decay of AdamW")
    warmup: float = _in(0.0, "[0, 1)", "fraction of all steps in which the rate rises linearly from 0")
    schedule: str = _of("constant", "constant | linear | cosine", "decay to 0 after the warm-up")
    batch: int = _in(16, "[2, inf)", "frames a step (batch norm needs 2); the rest of an epoch is left out")
    epochs: int = _in(20, "[1, inf)", "passes over the training frames")
    progressive: float = _in(0.0, "[0, 1)", "share of the steps, the first, on inputs of about half the area")
    average: float = _in(0.0, "[0, 1)", "share of the steps, the last, whose weights are averaged and scored")
    loss: str = _of("berhu", "berhu | l1 | berhu-published", "see lthdepth/loss.py")
    precision: str = _of("float32", "float32 | bfloat16", "of the products; weights stay float32")
    # Augmentation, drawn anew for every frame and epoch
    scale: float = _in(1.5, "[1, inf)", "largest zoom s, uniform in [1, scale]; depth is divided by s")
    rotation: float = _in(5.0, "[0, 180]", "largest rotation, degrees")
    flip: bool = _switch(True, "mirror every second frame")
    colour: float = _in(0.2, "[0, 1)", "channels times factors uniform in [1 - colour, 1 + colour]")
    # The protocol
    holdout: bool = _switch(True, "keep the validation scenes out of training, score them every epoch")
    test: bool = _switch(True, "score the test frames, once, at the end")
    recalibrate: int = _in(0, "[0, inf)", "training frames that batch norm sees anew before scoring; 0: none")
    # Defects of the published code, each a switch; the defaults are without them
    split: str = _of("official", "official | index", "index: the first 1200 of 1449 train, the rest test")
    normalise: bool = _switch(True, "colours by ImageNet's mean and deviation; false: only scaled to [0, 1]")
    shuffle: bool = _switch(True, "a new order of the frames every epoch; false: that of their numbers")
    last_batch: int = _in(0, "[0, inf)", "score only so many frames, the last, at their best epoch; 0: all")
    crop: bool = _switch(False, "see and score only the central 91.2 % of the frame in height and width")

    def __post_init__(self):
        for name, field in FIELDS.items():
            value, about = getattr(self, name), field.metadata
            if field.type is float and type(value) is int:
                object.__setattr__(self, name, float(value))
            elif type(value) is not field.type:
                raise UserError(f"{name} must be {field.type.__name__}, got {value!r}.")
            if not about["good"](value):
                raise UserError(f"{name} must be {about['wanted']}: {about['help']}; got {value!r}.")
        arm = self.arm
        for name, good, wanted in (
            ("round_epochs", arm in EARLIER or not self.round_epochs, f"0 for the arm {arm}"),
            ("stride", arm in ROUNDS or self.stride == 1, "1 for every arm but imp and lrr"),
            ("progressive", not self.progressive or max(self.height, self.width) >= 64, "0 below 64 pixels"),
            ("average", arm != "gradual" or self.average <= 1 / 3, "at most a third for the arm gradual"),
            ("last_batch", self.test or not self.last_batch, "0 without test: there is nothing to score"),
            ("last_batch", arm != "gradual" or not self.last_batch, "0 for gradual: its ticket comes last"),
            ("recalibrate", not 0 < self.recalibrate < self.batch, "0, or at least one batch"),
            ("density", arm not in WHOLE or self.density == 1, f"1 for the arm {arm}"),
        ):
            if not good:
                raise UserError(f"{name} must be {wanted}; got {getattr(self, name)!r}.")

    def canonical(self):
        """JSON text of the fields that differ from their defaults, sorted: what a run's key is made of."""
        changes = {k: value for k, field in FIELDS.items() if (value := getattr(self, k)) != field.default}
        return json.dumps(changes, sort_keys=True)

    def floor(self):
        """The mean depth map under the same protocol: of the same frames, scored on the same pixels."""
        protocol = ("holdout", "test", "split", "last_batch", "crop")
        return Config(arm="floor", **{name: getattr(self, name) for name in protocol})

    def replace(self, **changes):
        """This configuration with some fields changed. Raises UserError for a name that is no field."""
        for name in changes:
            if name not in FIELDS:
                raise UserError(f"unknown setting {name!r}; the settings are {', '.join(FIELDS)}.")
        return dataclasses.replace(self, **changes)

    @classmethod
    def parse(cls, settings, start=None):
        """Change a configuration by texts such as `["epochs=5", "flip=false"]`; UserError if none."""
        changes, switch = {}, {"true": True, "1": True, "false": False, "0": False}
        for text in settings:
            name, equals, value = text.partition("=")
            if not equals:
                raise UserError(f"{text!r} is not of the form name=value.")
            kind = FIELDS[name].type if name in FIELDS else str  # `replace` refuses what is no field
            try:
                changes[name] = switch[value.lower()] if kind is bool else kind(value)
            except (ValueError, KeyError):
                raise UserError(f"{name}={value!r} does not read as {kind.__name__}.") from None
        return (start or cls()).replace(**changes)


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def level(k):
    """Density after `k` rounds that each prune 20 % of what is left: 0.8^k (Chen et al. 2021; 18: 1.80 %)."""
    return 4**k / 5**k  # one correctly rounded division: the float is part of a run's key, on every machine


def rounds(density):
    """The number k of rounds that lead to a density of 0.8^k. Raises UserError for any other density."""
    k = round(math.log(density) / math.log(0.8))
    if not math.isclose(density, level(k), rel_tol=1e-9):
        raise UserError(f"iterative pruning takes 20 % a round: the density must be 0.8^k, not {density}.")
    return k


# The better setting, chosen on the validation scenes (grid "recipe"; notebook 02 shows the scores).
TUNED = Config.parse(
    "optimiser=adamw lr_encoder=3e-4 lr_decoder=1e-3 schedule=linear warmup=0.05 holdout=false".split()
)
