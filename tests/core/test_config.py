"""Configurations: every bad value is refused by name; texts are read."""

import dataclasses
import json

import pytest

from lthdepth.config import Config, level
from lthdepth.errors import UserError

nan, inf = float("nan"), float("inf")

OUT_OF_RANGE = {
    "arm": ["lottery", "", "DENSE"],
    "round_epochs": [-1, 3],
    "rewind": [-1, 2, 100],
    "stride": [0, 3],
    "distil": [-0.1, 1.1, nan],
    "recalibrate": [-1, 3],
    "density": [0.0, -0.5, 1.01, nan, inf],
    "seed": [-1, 2**63],
    "backbone": ["resnet101", "vgg16", ""],
    "height": [31, 0, -228, 4097],
    "width": [31, 4097],
    "bias": [nan, inf, -inf],
    "optimiser": ["rmsprop", "SGD"],
    "lr_encoder": [-1e-4, nan, inf],
    "lr_decoder": [-1e-4, nan, inf],
    "momentum": [-0.1, 1.0, nan],
    "weight_decay": [-0.1, nan, inf],
    "warmup": [-0.1, 1.0, nan],
    "schedule": ["step", "Cosine"],
    "batch": [1, 0, -4],
    "epochs": [0, -1],
    "loss": ["mse", "huber"],
    "split": ["random", "Index"],
    "last_batch": [-1],
    "precision": ["float16", "fp32"],
    "scale": [0.99, 0.0, nan, inf],
    "rotation": [-1.0, 181.0, nan],
    "colour": [-0.1, 1.0, nan],
    "patience": [-1],
}


@pytest.mark.parametrize("name, value", [(n, v) for n, values in OUT_OF_RANGE.items() for v in values])
def test_a_value_out_of_range_is_refused_by_name(name, value):
    start = Config(arm="omp") if name == "density" else Config()
    with pytest.raises(UserError, match=f"^{name} must be .*got") as error:
        start.replace(**{name: value})
    assert len(str(error.value).splitlines()) == 1


def test_every_setting_with_a_range_is_in_the_table():
    free = {f.name for f in dataclasses.fields(Config) if f.type is bool}
    assert OUT_OF_RANGE.keys() | free == {f.name for f in dataclasses.fields(Config)}


WRONG_TYPE = {
    "arm": [1, None],
    "density": ["0.5", None, True],
    "seed": [1.0, "1", True],
    "height": [228.0],
    "lr_encoder": ["1e-4", True],
    "flip": [1, "true", None],
    "epochs": [True, 2.5],
}


@pytest.mark.parametrize("name, value", [(n, v) for n, values in WRONG_TYPE.items() for v in values])
def test_a_value_of_another_type_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"^{name} must be (str|int|float|bool), got"):
        Config(**{name: value})


def test_what_does_not_go_together_is_refused():
    for arm in ("floor", "dense"):
        with pytest.raises(UserError, match="density must be 1 for the arm"):
            Config(arm=arm, density=0.5)
    with pytest.raises(UserError, match="patience must be 0 without holdout"):
        Config(patience=3, holdout=False)


def test_the_ends_of_ranges_are_allowed():
    Config(arm="omp", density=1e-12, seed=2**63 - 1, height=32, width=4096, momentum=0.0, batch=2, epochs=1)
    Config(lr_encoder=0.0, lr_decoder=0.0, weight_decay=0.0, scale=1.0, rotation=180.0, colour=0.0)


def test_a_whole_number_is_good_for_a_float_and_means_the_same():
    config = Config(scale=2, rotation=0)
    assert config == Config(scale=2.0, rotation=0.0)
    assert type(config.scale) is float
    assert config.canonical() == Config(scale=2.0, rotation=0.0).canonical()


def test_texts_are_read_on_top_of_a_start():
    start = Config(epochs=7, flip=False)
    config = Config.parse(
        ["arm=omp", "density=0.018", "flip=TRUE", "seed=3", "lr_encoder=5e-4", "scale=2"], start
    )
    assert config == start.replace(arm="omp", density=0.018, flip=True, seed=3, lr_encoder=5e-4, scale=2.0)
    assert Config.parse(["flip=0", "test=1"]) == Config(flip=False, test=True)
    assert Config.parse([]) == Config()


def test_settings_are_checked_together_not_one_by_one():
    # Neither order passes through the forbidden dense arm with a density below 1.
    assert Config.parse(["density=0.5", "arm=omp"]) == Config.parse(["arm=omp", "density=0.5"])


@pytest.mark.parametrize(
    "text, says",
    [
        ("epochs", "not of the form name=value"),
        ("", "not of the form name=value"),
        ("dropout=0.5", "unknown setting 'dropout'"),
        ("=3", "unknown setting ''"),
        ("Epochs=3", "unknown setting 'Epochs'"),
        ("epochs=three", "epochs='three' does not read as int"),
        ("epochs=2.0", "does not read as int"),
        ("epochs=", "does not read as int"),
        ("density=half", "does not read as float"),
        ("flip=maybe", "does not read as bool"),
        ("density=2", "density must be"),
        ("lr_encoder=nan", "lr_encoder must be"),
    ],
)
def test_texts_that_do_not_read_are_refused(text, says):
    with pytest.raises(UserError, match=says):
        Config.parse([text])


def test_an_unknown_setting_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="weight_decay") as error:
        Config().replace(wd=0.1)
    assert "'wd'" in str(error.value)


def test_canonical_names_what_differs_from_the_defaults():
    assert Config().canonical() == "{}"
    assert json.loads(Config(seed=4, flip=False).canonical()) == {"flip": False, "seed": 4}


def test_levels_of_chen():
    table = "100 80 64 51.2 40.96 32.77 26.21 20.97 16.78 13.42 10.74 8.59 6.87 5.50 4.40 3.52 2.81 2.25 1.80"
    assert [100 * level(k) for k in range(19)] == pytest.approx([*map(float, table.split())], abs=0.006)
