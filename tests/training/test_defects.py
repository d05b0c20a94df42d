"""Each defect of the published code is a switch that does just what it says; the floor of its frames."""

import numpy as np
import pytest
import torch
from conftest import TINY, make_frames
from making import same
from test_train import Watch, fit

from lthdepth import metrics
from lthdepth.config import Config
from lthdepth.data import augment
from lthdepth.errors import UserError
from lthdepth.training import fit as train


def stub(**arrays):
    """What `Views` and `rows_of` need of frames."""
    return type("Frames", (), {"name": "toy", **arrays})


# Which frames


def test_the_index_split_takes_the_first_1200_of_nyu_and_as_large_a_part_of_others():
    config = Config(arm="floor", split="index", holdout=False)
    for n, first in ((1449, 1200), (240, 199), (20, 17)):
        frames = stub(split=np.array(["test", "train", "validation"])[np.arange(n) % 3])  # not looked at
        rows = {k: v.tolist() for k, v in train.rows_of(frames, config).items()}
        assert rows == {"fit": list(range(first)), "validation": [], "test": list(range(first, n))}
    with pytest.raises(UserError, match="no validation frames under split=index"):
        train.rows_of(frames, config.replace(holdout=True))


def test_without_shuffling_every_epoch_takes_the_frames_by_number(frames, tmp_path, monkeypatch, narrow):
    watch = Watch(monkeypatch)
    fit(TINY.replace(epochs=2, shuffle=False, holdout=False, test=False, batch=5), frames, tmp_path)
    rows = np.flatnonzero(frames.split != "test")[:15].tolist()  # the sixteenth never fills a batch
    assert watch.trained == rows + rows


# What is scored


@pytest.mark.parametrize("split", ["official", "index"])
def test_only_the_last_frames_are_scored_and_the_best_epoch_on_them_is_kept(
    split, tmp_path, monkeypatch, narrow
):
    frames, script, states, seen, real = make_frames(40), iter([0.9, 0.5, 0.7]), [], [], train.evaluate

    def scripted(model, views, index, config):
        seen.append(index.tolist())
        if len(states) == config.epochs:
            return real(model, views, index, config)
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        sums = np.array([[1, 0, next(script) ** 2, 0, 0, 0, 0]])
        return {"full": sums, "eigen": sums}

    monkeypatch.setattr(train, "evaluate", scripted)
    config = TINY.replace(epochs=3, split=split, last_batch=5, holdout=False)
    results, arrays, saved = fit(config, frames, tmp_path)
    last = {"official": [19, 24, 29, 34, 39], "index": [35, 36, 37, 38, 39]}[split]
    assert all(index == last for index in seen)
    assert results["curves"]["validation_rms"] == pytest.approx([0.9, 0.5, 0.7])
    assert results["epochs_run"] == 3 and same(saved, states[1])
    assert results["test"]["frames"] == 5
    assert results["test"]["full"] == metrics.summarise(arrays["test/full"])
    assert results["test"] == results["validation"]


def test_only_the_crop_is_scored_and_predictions_lie_where_they_belong():
    frames = stub(rgb=np.zeros((2, 3, 120, 160), np.uint8), depth=np.ones((2, 120, 160), np.float32))
    views = augment.Views(frames, 114, 152, "cpu", crop=True)
    # 0.912 of 120 is 109.44 rows: centres from 5.28 to 114.72; of 160: from 7.04 to 152.96
    assert (views.depth[:, 5:115, 7:153] == 1).all() and views.depth.sum() == 2 * 110 * 146
    # A network that is right about the window's columns is right about the frame's.
    answer = 0.5 + 0.912 * ((torch.arange(64) + 0.5) / 64 - 0.5)
    whole = views.enlarge(answer.expand(1, 1, 48, 64), (120, 160))[0]
    truth = (torch.arange(160) + 0.5) / 160
    assert (whole - truth)[:, 8:152].abs().max() < 1e-5


# The mean depth map of NYU, by frames trained on and scored: rel, rms, δ1 to δ3, and rms per image


FLOORS = {
    (795, 654): [0.408, 1.202, 0.426, 0.714, 0.873, 1.095],
    (1200, 249): [0.308, 1.403, 0.419, 0.734, 0.912, 1.291],
    (1200, 50): [0.328, 1.262, 0.417, 0.736, 0.917, 1.179],
}


def test_the_recorded_floors_are_those_computed_apart_from_this_code_at_full_resolution(paper):
    floors = [r for r in paper.store.records().values() if r["arm"] == "floor" and r["test"]]
    for r in (r for r in floors if not r["config"].get("crop")):
        pooled, image = (r["test"]["full"][k] for k in ("pooled", "per_image"))
        scores = [pooled[k] for k in ("rel", "rms", "delta1", "delta2", "delta3")] + [image["rms"]]
        known = FLOORS.pop((r["fit_frames"], r["test"]["frames"]), scores)
        assert scores == pytest.approx(known, abs=0.01)
    assert not FLOORS
