"""Training: exact resume, exact repetition, the protocol, and that it learns."""

import functools
import json

import numpy as np
import pytest
import torch
import torchvision
from conftest import TINY, make_frames
from making import same

from lthdepth import metrics
from lthdepth.config import Config
from lthdepth.data import augment, weights
from lthdepth.training import arms, evaluate
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")

NEVER = 1e9  # seconds between checkpoints
TIMES = ("seconds", "images_per_second")
TICKET = TINY.replace(arm="omp", density=0.1, optimiser="adamw", weight_decay=0.1)
BARE = TINY.replace(epochs=1, test=False, holdout=False)


@functools.cache
def ticket_of(config):
    return arms.start(config, weights.NONE).ticket


def fit(config, frames, folder, **options):
    """Results without times, arrays, and the weights file."""
    folder.mkdir(exist_ok=True)
    options = train.Options(**{"every": NEVER, "progress": False} | options)
    results, arrays, _ = train.fit(config, frames, arms.Start(ticket_of(config), None), folder, options)
    state = torch.load(folder / "weights.pt", weights_only=True)
    return {k: v for k, v in results.items() if k not in TIMES}, arrays, state


def assert_same(a, b):
    assert a[0] == b[0] and a[1].keys() == b[1].keys()
    assert all(np.array_equal(a[1][k], b[1][k]) for k in a[1]) and same(a[2], b[2])


RESUMED = {
    "sgd, dense": TINY.replace(epochs=2),
    "adamw, ticket": TICKET.replace(schedule="cosine", warmup=0.3, epochs=2),
    "averaged over the last steps": TICKET.replace(average=0.5, progressive=0.5, height=64, epochs=3),
    "sgd, random ticket, best epoch": TINY.replace(arm="random", density=0.2, last_batch=3, lr_decoder=0.1),
}


@pytest.mark.parametrize("case", RESUMED)
def test_training_in_parts_equals_training_in_one(case, frames, tmp_path):
    config, parts = RESUMED[case], 0
    whole = fit(config, frames, tmp_path / "whole")
    while True:  # a deadline in the past ends every call after one epoch
        parts += 1
        assert parts <= config.epochs
        try:
            in_parts = fit(config, frames, tmp_path / "parts", deadline=0)
            break
        except train.Stopped as stop:
            assert f"epoch {parts} of {config.epochs}" in str(stop)
            assert not (tmp_path / "parts" / "weights.pt").exists()
    assert parts == whole[0]["epochs_run"] + (whole[0]["epochs_run"] < config.epochs) > 1
    assert_same(whole, in_parts)


def test_a_run_killed_in_the_middle_of_an_epoch_or_after_the_last_continues_exactly(
    frames, tmp_path, monkeypatch
):
    config, real, steps = TICKET.replace(epochs=2), augment.Views.train, []
    whole = fit(config, frames, tmp_path / "whole", every=0)

    def killed(self, index, *rest):
        steps.append(index)
        if len(steps) == 6:  # the last step of the second epoch of three steps
            raise KeyboardInterrupt
        return real(self, index, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(augment.Views, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(config, frames, tmp_path / "killed", every=0)
    assert_same(whole, fit(config, frames, tmp_path / "killed"))
    monkeypatch.setattr(augment.Views, "train", None)  # no step may be taken after the last epoch
    assert_same(whole, fit(config, frames, tmp_path / "whole"))


@pytest.mark.parametrize("damage", ["cut", "other tensors"])  # more of it: tests/core/test_files.py
def test_from_a_damaged_checkpoint_the_run_starts_anew_with_one_warning(damage, frames, tmp_path, capsys):
    config = TINY.replace(epochs=2, test=False)
    with pytest.raises(train.Stopped):
        fit(config, frames, tmp_path / "run", deadline=0)
    path = tmp_path / "run" / "checkpoint.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        torch.save({"w": torch.zeros(3)}, path)
    whole, found = (fit(config, frames, tmp_path / name) for name in ("whole", "run"))
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "checkpoint.pt" in said[0] and said[0].endswith("the run starts anew.")
    assert_same(whole, found)


def test_a_weight_that_is_revived_in_training_or_is_not_finite_in_the_end_is_no_result(
    frames, tmp_path, monkeypatch
):
    call = train.Step.__call__

    def revive(self, *rest):
        call(self, *rest)
        self.masking.parameters[0].data[self.masking.masks[0] == 0] = 0.1

    def infinite(self, *rest):
        call(self, *rest)
        self.model.predict.weight.data[0, 0] = float("inf")  # after the loss

    for change, error in ((revive, RuntimeError), (infinite, train.Diverged)):
        monkeypatch.setattr(train.Step, "__call__", change)
        with pytest.raises(error):
            fit(BARE.replace(arm="omp", density=0.1, batch=16), frames, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_the_last_weights_are_averaged_and_the_first_inputs_small(frames, tmp_path, monkeypatch):
    config = TICKET.replace(average=1 / 3, progressive=0.5, height=64, width=96, epochs=2, holdout=False)
    call, view, states, sizes = train.Step.__call__, augment.Views.train, [], []

    def noting(self, *rest):
        call(self, *rest)
        states.append({k: v.clone() for k, v in self.model.state_dict().items()})

    def seeing(self, *rest):
        x, y = view(self, *rest)
        sizes.append((tuple(x.shape[2:]), tuple(y.shape[1:])))
        return x, y

    monkeypatch.setattr(train.Step, "__call__", noting)
    monkeypatch.setattr(augment.Views, "train", seeing)
    _, _, scored = fit(config, frames, tmp_path)
    assert sizes == 4 * [((32, 64), (16, 32))] + 4 * [((64, 96), (32, 48))]
    for name, value in scored.items():  # of 8 steps, those past two thirds
        if value.is_floating_point():
            mean = torch.stack([state[name].double() for state in states[6:]]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-6, atol=1e-7)
    for name, kept in ticket_of(config).masks.items():
        assert not scored[f"encoder.{name}"][~torch.as_tensor(kept)].any()


def test_the_smallest_share_averages_the_last_weights_alone(frames, tmp_path):
    one, two = (fit(BARE.replace(average=share), frames, tmp_path / str(share)) for share in (0.0, 1e-9))
    assert same(one[2], two[2])


class Watch:
    """Notes which frames are trained on and which are looked at for a score."""

    def __init__(self, monkeypatch):
        self.trained, self.seen = [], []
        for name, notes in (("train", self.trained), ("test", self.seen)):
            real = getattr(augment.Views, name)

            def noting(views, index, *rest, real=real, notes=notes):
                notes.extend(np.asarray(index).tolist())
                return real(views, index, *rest)

            monkeypatch.setattr(augment.Views, name, noting)


def rows(frames, *splits):
    return set(np.flatnonzero(np.isin(frames.split, splits)).tolist())


def test_with_holdout_training_never_sees_validation_or_test_frames(frames, tmp_path, monkeypatch):
    watch = Watch(monkeypatch)
    results, arrays, _ = fit(TINY.replace(epochs=2), frames, tmp_path)
    # 12 frames in 3 batches of 4: every epoch takes each frame once, in an order of its own
    first, second = watch.trained[:12], watch.trained[12:]
    assert set(first) == set(second) == rows(frames, "train")
    assert len(second) == 12 and first != second
    assert results["fit_frames"] == 12 and results["epochs_run"] == 2
    assert [len(v) for v in results["curves"].values()] == [2, 2]
    assert results["curves"]["validation_rms"][-1] == results["validation"]["full"]["pooled"]["rms"]
    for split in ("validation", "test"):
        assert results[split]["frames"] == 4
        for protocol in ("full", "eigen"):
            sums = arrays[f"{split}/{protocol}"]
            assert sums.shape == (4, 7) and metrics.summarise(sums) == results[split][protocol]
    assert (arrays["test/full"][:, 0] == 40 * 56 - 15).all()  # at the frames' size, without invalid pixels
    assert arrays["gallery"].shape == (4, 16, 16)


def test_without_holdout_validation_frames_are_trained_on_and_nothing_is_validated(
    frames, tmp_path, monkeypatch
):
    watch = Watch(monkeypatch)
    results, arrays, _ = fit(BARE.replace(batch=5), frames, tmp_path)
    assert set(watch.trained) <= rows(frames, "train", "validation")
    assert len(set(watch.trained)) == len(watch.trained) == 15  # of 16: the one that fills no batch is left
    assert set(watch.trained) & rows(frames, "validation")
    assert watch.seen == [] and arrays == {}  # no test frame was looked at
    assert results["validation"] is None and results["test"] is None
    assert results["curves"]["validation_rms"] == [] and results["fit_frames"] == 16


def test_a_real_run_learns_far_below_the_floor(tmp_path, monkeypatch):
    """Depth is a function of brightness: a network that looks at the picture must beat one that does not."""
    real = torchvision.models._api.get_model  # the whole ResNet-18
    monkeypatch.setattr(torchvision.models, "get_model", real)
    frames = make_frames(40, 32, 32, seed=1)
    plain = {"scale": 1.0, "rotation": 0.0, "colour": 0.0}
    config = TINY.replace(optimiser="adamw", schedule="linear", epochs=8, lr_decoder=3e-3, **plain)
    results, _, _ = fit(config, frames, tmp_path)
    floor, _ = evaluate.floor(config.replace(arm="floor"), frames)
    assert results["curves"]["train_loss"][-1] < 0.5 * results["curves"]["train_loss"][0]
    assert results["test"]["full"]["pooled"]["rms"] < 0.5 * floor["test"]["full"]["pooled"]["rms"]


# Scoring


def test_the_floor_is_the_mean_map_of_the_frames_trained_on(frames):
    results, arrays = evaluate.floor(Config(arm="floor"), frames)
    depth = frames.depth[frames.split == "train"].astype(np.float64)
    total, valid, everywhere = depth.sum(0), (depth > 0).sum(0), depth[depth > 0].mean()
    mean = np.where(valid > 0, total / np.maximum(valid, 1), everywhere)
    np.testing.assert_allclose(arrays["gallery"][0], mean, rtol=1e-3)
    t = frames.depth[sorted(rows(frames, "test"))].astype(np.float64)
    rms = (((mean - t) ** 2)[t > 0].mean()) ** 0.5
    assert results["test"]["full"]["pooled"]["rms"] == pytest.approx(rms, rel=1e-5)
    assert results["validation"]["frames"] == 4
    json.dumps(results)
