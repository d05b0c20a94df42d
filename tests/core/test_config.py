"""Configurations: every bad value is refused by name; texts are read; what a key is made of."""

import pytest

from lthdepth.config import FIELDS, Config, level
from lthdepth.errors import UserError

OUT_OF_RANGE = """
arm=lottery arm=DENSE density=0 density=1.01 density=nan density=inf round_epochs=-1 round_epochs=3
stride=0 stride=3 distil=-0.1 distil=1.1 seed=-1 seed=9223372036854775808
backbone=resnet101 height=31 height=4097 width=31 width=4097 bias=nan bias=inf optimiser=rmsprop
lr_encoder=-1e-4 lr_encoder=nan lr_decoder=-1e-4 lr_decoder=inf momentum=-0.1 momentum=1 weight_decay=-0.1
weight_decay=nan warmup=-0.1 warmup=1 schedule=step batch=1 epochs=0 loss=mse precision=float16 scale=0.99
scale=inf rotation=-1 rotation=181 colour=-0.1 colour=1 recalibrate=-1 recalibrate=3
split=random last_batch=-1 average=1 average=-0.1 progressive=1 progressive=-0.1
""".split()
WRONG_TYPE = {"arm": None, "density": "0.5", "seed": True, "height": 228.0, "flip": 1}


def test_a_value_out_of_range_or_of_another_type_is_refused_by_name():
    switches = {name for name, field in FIELDS.items() if field.type is bool}
    assert {text.partition("=")[0] for text in OUT_OF_RANGE} | switches == FIELDS.keys()
    for text in OUT_OF_RANGE:
        name = text.partition("=")[0]
        with pytest.raises(UserError, match=f"^{name} must be .*got"):
            Config.parse([text], Config(arm="omp" if name == "density" else "dense"))
    for name, value in WRONG_TYPE.items():
        with pytest.raises(UserError, match=f"^{name} must be .*got"):
            Config(**{name: value})


def test_what_does_not_go_together_is_refused():
    for wrong, says in (
        ({"arm": "floor", "density": 0.5}, "density must be 1 for the arm floor"),
        ({"last_batch": 50, "test": False}, "last_batch must be 0 without test"),
        ({"arm": "gradual", "density": 0.5, "average": 0.5}, "average must be at most a third"),
        ({"arm": "gradual", "density": 0.5, "last_batch": 4}, "last_batch must be 0 for gradual"),
        ({"progressive": 0.5, "height": 48, "width": 63}, "progressive must be 0 below 64 pixels"),
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


def test_levels_of_chen():
    table = "100 80 64 51.2 40.96 32.77 26.21 20.97 16.78 13.42 10.74 8.59 6.87 5.50 4.40 3.52 2.81 2.25 1.80"
    assert [100 * level(k) for k in range(19)] == pytest.approx([*map(float, table.split())], abs=0.006)
