"""Configurations: every bad value is refused by name; texts are read; what a key is made of."""

import json

import pytest

from lthdepth.config import FIELDS, Config, level
from lthdepth.errors import UserError

nan, inf = float("nan"), float("inf")

OUT_OF_RANGE = {
    "arm": ["lottery", "", "DENSE"],
    "density": [0.0, -0.5, 1.01, nan, inf],
    "round_epochs": [-1, 3],
    "rewind": [-1, 2, 100],
    "stride": [0, 3],
    "distil": [-0.1, 1.1, nan],
    "seed": [-1, 2**63],
    "backbone": ["resnet101", "vgg16", ""],
    "height": [31, -228, 4097],
    "width": [31, 4097],
    "bias": [nan, inf, -inf],
    "optimiser": ["rmsprop", "SGD"],
    "lr_encoder": [-1e-4, nan, inf],
    "lr_decoder": [-1e-4, nan, inf],
    "momentum": [-0.1, 1.0, nan],
    "weight_decay": [-0.1, nan, inf],
    "warmup": [-0.1, 1.0, nan],
    "schedule": ["step", "Cosine"],
    "batch": [1, -4],
    "epochs": [0, -1],
    "loss": ["mse", "huber"],
    "precision": ["float16", "fp32"],
    "scale": [0.99, 0.0, nan, inf],
    "rotation": [-1.0, 181.0, nan],
    "flip": [1, "true", None],
    "colour": [-0.1, 1.0, nan],
    "holdout": [0],
    "patience": [-1],
    "test": ["no"],
    "recalibrate": [-1, 3],
    "split": ["random", "Index"],
    "normalise": [1.0],
    "shuffle": [0],
    "last_batch": [-1, 2.0],
    "crop": [1],
}
WRONG_TYPE = {"arm": [1, None], "density": ["0.5", None, True], "seed": [1.0, "1", True], "height": [228.0]}


def pairs(table):
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize("name, value", pairs(OUT_OF_RANGE) + pairs(WRONG_TYPE))
def test_a_value_out_of_range_or_of_another_type_is_refused_by_name(name, value):
    start = Config(arm="omp") if name == "density" else Config()
    with pytest.raises(UserError, match=f"^{name} must be .*got") as error:
        start.replace(**{name: value})
    assert "\n" not in str(error.value) and OUT_OF_RANGE.keys() == FIELDS.keys()


def test_what_does_not_go_together_is_refused():
    for wrong, says in (
        ({"arm": "floor", "density": 0.5}, "density must be 1 for the arm floor"),
        ({"patience": 3, "holdout": False}, "patience must be 0 without holdout"),
        ({"arm": "gradual", "patience": 3}, "patience must be 0 for gradual"),
        ({"arm": "imp", "patience": 3, "rewind": 1}, "rewind must be 0 with patience"),
        ({"last_batch": 50, "test": False}, "last_batch must be 0 without test"),
        ({"arm": "resnet18"}, "backbone must be resnet18"),
    ):
        with pytest.raises(UserError, match=says):
            Config(**wrong)


def test_the_ends_of_ranges_are_allowed_and_a_whole_number_is_good_for_a_float():
    Config(arm="omp", density=1e-12, seed=2**63 - 1, height=32, width=4096, momentum=0.0, batch=2, epochs=1)
    config = Config(lr_encoder=0, weight_decay=0, scale=1, rotation=180, colour=0)
    assert type(config.scale) is float and '"scale": 1.0' in config.canonical()


def test_texts_are_read_on_top_of_a_start_and_checked_together():
    start = Config(epochs=7, flip=False)
    config = Config.parse("density=0.018 arm=omp flip=TRUE seed=3 lr_encoder=5e-4 scale=2".split(), start)
    assert config == start.replace(arm="omp", density=0.018, flip=True, seed=3, lr_encoder=5e-4, scale=2.0)
    assert Config.parse(["flip=0", "test=1"]) == Config(flip=False, test=True)


def test_canonical_names_what_differs_from_the_defaults():
    assert Config().canonical() == "{}"
    assert json.loads(Config(seed=4, flip=False).canonical()) == {"flip": False, "seed": 4}


def test_levels_of_chen():
    table = "100 80 64 51.2 40.96 32.77 26.21 20.97 16.78 13.42 10.74 8.59 6.87 5.50 4.40 3.52 2.81 2.25 1.80"
    assert [100 * level(k) for k in range(19)] == pytest.approx([*map(float, table.split())], abs=0.006)
