"""Training: exact resume, exact repetition, the protocol, and that it learns."""

import functools
import json
import math
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import TINY, make_frames
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lthdepth import mask, metrics
from lthdepth.config import Config
from lthdepth.data import augment, weights
from lthdepth.errors import UserError
from lthdepth.model import FCRN
from lthdepth.training import arms, evaluate, step
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")

NEVER = 1e9  # seconds between checkpoints
TIMES = ("seconds", "images_per_second")


@functools.cache
def ticket_of(config):
    return arms.start(config, weights.NONE)[0]


def fit(config, frames, folder, **options):
    """Results without times, arrays, and the weights file."""
    folder.mkdir(exist_ok=True)
    options = {"every": NEVER, "progress": False} | options
    start = arms.Start(ticket_of(config), None)
    results, arrays, _ = train.fit(config, frames, start, folder, train.Options(**options))
    saved = torch.load(folder / "weights.pt", weights_only=True)
    return {k: v for k, v in results.items() if k not in TIMES}, arrays, saved


def assert_same(a, b):
    assert a[0] == b[0]
    for left, right in ((a[1], b[1]), (a[2], b[2])):
        assert left.keys() == right.keys()
    assert all(np.array_equal(a[1][k], b[1][k]) for k in a[1])
    assert all(torch.equal(a[2][k], b[2][k]) for k in a[2])


RESUMED = {
    "sgd, dense": TINY.replace(epochs=2),
    "adamw, ticket": TINY.replace(
        optimiser="adamw", arm="omp", density=0.1, weight_decay=0.1, schedule="cosine", warmup=0.3, epochs=2
    ),
    "sgd, random ticket, patience": TINY.replace(arm="random", density=0.2, patience=1, lr_decoder=0.1),
}


@pytest.mark.parametrize("case", RESUMED)
def test_training_in_parts_equals_training_in_one(case, frames, tmp_path, monkeypatch):
    config = RESUMED[case]
    whole = fit(config, frames, tmp_path / "whole")

    parts = 0
    while True:  # a deadline in the past ends every call after one epoch
        parts += 1
        assert parts <= config.epochs
        try:
            in_parts = fit(config, frames, tmp_path / "parts", deadline=time.monotonic() - 1)
            break
        except train.Stopped as stop:
            assert f"epoch {parts} of {config.epochs}" in str(stop)
            assert not (tmp_path / "parts" / "weights.pt").exists()
    assert parts == whole[0]["epochs_run"] + (whole[0]["epochs_run"] < config.epochs) > 1
    assert_same(whole, in_parts)


def test_a_run_killed_in_the_middle_of_an_epoch_continues_exactly(frames, tmp_path, monkeypatch):
    config, real, steps = TINY.replace(optimiser="adamw", arm="omp", density=0.1), augment.Views.train, []
    whole = fit(config, frames, tmp_path / "whole")

    def killed(self, index, *rest):
        steps.append(index)
        if len(steps) == 6:  # the last step of the second epoch of three steps
            raise KeyboardInterrupt
        return real(self, index, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(augment.Views, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(config, frames, tmp_path / "killed", every=0)
    saved = torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)
    assert saved["state"]["epoch"] == 1
    assert_same(whole, fit(config, frames, tmp_path / "killed"))


def test_a_run_killed_after_its_last_epoch_only_scores(frames, tmp_path, monkeypatch):
    config = TINY.replace(epochs=1)
    whole = fit(config, frames, tmp_path / "run", every=0)
    monkeypatch.setattr(augment.Views, "train", None)  # no step may be taken
    assert_same(whole, fit(config, frames, tmp_path / "run"))


def test_a_checkpoint_with_a_revived_weight_is_not_continued(frames, tmp_path, monkeypatch):
    config = TINY.replace(arm="omp", density=0.1, epochs=2)
    with pytest.raises(train.Stopped):
        fit(config, frames, tmp_path / "run", deadline=0)
    path = tmp_path / "run" / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    saved["model"]["encoder.layer1.0.conv1.weight"].fill_(0.1)
    torch.save(saved, path)
    monkeypatch.setattr(train.Step, "__call__", lambda *_: pytest.fail("it trained on"))
    with pytest.raises(RuntimeError, match="not zero"):
        fit(config, frames, tmp_path / "run")


def test_one_seed_gives_one_result_and_another_seed_another(frames, tmp_path):
    config = TINY.replace(epochs=1)
    a, b, c = (fit(config.replace(seed=s), frames, tmp_path / n) for s, n in ((0, "a"), (0, "b"), (1, "c")))
    assert_same(a, b)
    assert a[0]["curves"]["train_loss"] != c[0]["curves"]["train_loss"]
    assert a[0]["test"]["full"]["pooled"]["rms"] != c[0]["test"]["full"]["pooled"]["rms"]


def test_pruned_weights_are_zero_in_the_weights_file_and_the_rest_is_trained(frames, tmp_path):
    config = TINY.replace(arm="omp", density=0.1, epochs=1, weight_decay=0.1)
    ticket, start = ticket_of(config), train.initialise(FCRN("resnet18"), 0).state_dict()
    _, _, saved = fit(config, frames, tmp_path)
    for name, keep in ticket.masks.items():
        w = saved[f"encoder.{name}"]
        assert (w[~keep] == 0).all()
        assert (w[keep] != start[f"encoder.{name}"][keep]).float().mean() > 0.9
    assert (saved["encoder.conv1.weight"] != 0).all()


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
    assert results["validation"]["frames"] == results["test"]["frames"] == 4
    assert results["curves"]["validation_rms"][-1] == results["validation"]["full"]["pooled"]["rms"]
    for split in ("validation", "test"):
        for protocol in ("full", "eigen"):
            sums = arrays[f"{split}/{protocol}"]
            assert sums.shape == (4, 7)
            assert metrics.summarise(sums) == results[split][protocol]
    assert (
        arrays["test/full"][:, 0] == 40 * 56 - 15
    ).all()  # scored at the frames' size, invalid pixels left out
    assert arrays["gallery"].shape == (4, 16, 16)


def test_without_holdout_validation_frames_are_trained_on_and_nothing_is_validated(
    frames, tmp_path, monkeypatch
):
    watch = Watch(monkeypatch)
    results, arrays, _ = fit(TINY.replace(epochs=1, holdout=False, test=False, batch=5), frames, tmp_path)
    assert set(watch.trained) <= rows(frames, "train", "validation")
    assert (
        len(set(watch.trained)) == len(watch.trained) == 15
    )  # 16 frames; the one that fills no batch is left out
    assert set(watch.trained) & rows(frames, "validation")
    assert watch.seen == [] and arrays == {}  # no test frame was looked at
    assert results["validation"] is None and results["test"] is None
    assert results["curves"]["validation_rms"] == [] and results["fit_frames"] == 16


def test_patience_stops_and_keeps_the_best_weights(frames, tmp_path, monkeypatch):
    script, states = iter([1.0, 0.5, 0.7, 0.6, 0.4]), []

    def scripted(model, views, index, config):
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        rms = next(script) if len(states) <= 4 else 9.0
        sums = np.array([[1, 0, rms**2, 0, 0, 0, 0]])
        return {"full": sums, "eigen": sums}

    monkeypatch.setattr(train, "evaluate", scripted)
    results, _, saved = fit(TINY.replace(epochs=8, patience=2, test=False), frames, tmp_path)
    assert results["curves"]["validation_rms"] == pytest.approx([1.0, 0.5, 0.7, 0.6])
    assert results["epochs_run"] == 4
    assert all(torch.equal(saved[k], v) for k, v in states[1].items())
    assert not torch.equal(saved["predict.weight"], states[3]["predict.weight"])


def test_a_learning_rate_of_zero_leaves_its_group_alone(frames, tmp_path):
    start = train.initialise(FCRN("resnet18"), 0)
    names = [n for n, _ in start.named_parameters()]
    start = start.state_dict()
    for moving, config in (("encoder", {"lr_decoder": 0.0}), ("decoder", {"lr_encoder": 0.0})):
        _, _, saved = fit(
            TINY.replace(epochs=1, test=False, holdout=False, **config), frames, tmp_path / moving
        )
        moved = {n for n in names if not torch.equal(saved[n], start[n])}
        assert moved == {n for n in names if n.startswith("encoder.") == (moving == "encoder")}


def test_a_training_departs_from_the_bias_it_is_given(frames, tmp_path):
    still = TINY.replace(epochs=1, test=False, holdout=False, lr_encoder=0.0, lr_decoder=0.0, bias=2.5)
    assert fit(still, frames, tmp_path)[2]["predict.bias"].item() == 2.5


def test_bfloat16_keeps_float32_weights(frames, tmp_path):
    config = TINY.replace(epochs=1, precision="bfloat16", test=False, batch=12)
    results, _, saved = fit(config, frames, tmp_path)
    assert all(v.dtype == torch.float32 for v in saved.values() if v.is_floating_point())
    assert math.isfinite(results["validation"]["full"]["pooled"]["rms"])


def test_a_real_run_learns_far_below_the_floor(tmp_path, monkeypatch):
    """Depth is a function of brightness: a network that looks at the picture must beat one that does not."""
    monkeypatch.setattr(
        torchvision.models, "get_model", torchvision.models._api.get_model
    )  # the whole ResNet-18
    frames = make_frames(40, 32, 32, seed=1)
    config = TINY.replace(
        optimiser="adamw",
        schedule="linear",
        epochs=8,
        lr_encoder=1e-3,
        lr_decoder=3e-3,
        scale=1.0,
        rotation=0.0,
        colour=0.0,
    )
    results, _, _ = fit(config, frames, tmp_path)
    floor, _ = evaluate.floor(config.replace(arm="floor"), frames)
    assert results["curves"]["train_loss"][-1] < 0.5 * results["curves"]["train_loss"][0]
    assert results["test"]["full"]["pooled"]["rms"] < 0.5 * floor["test"]["full"]["pooled"]["rms"]


def test_a_loss_that_is_not_finite_is_told(frames, tmp_path):
    with pytest.raises(train.Diverged, match="lower the learning rate"):
        fit(TINY.replace(lr_encoder=1e30, lr_decoder=1e30, epochs=1), frames, tmp_path)
    assert not (tmp_path / "weights.pt").exists()


def test_frames_that_do_not_suffice_are_told(frames):
    with pytest.raises(UserError, match="12 training frames do not fill a batch of 13"):
        train.rows_of(frames, TINY.replace(batch=13))
    assert len(train.rows_of(frames, TINY.replace(batch=13, arm="floor"))["fit"]) == 12
    split = np.where(frames.split == "validation", "train", frames.split)
    without = type(frames)(frames.rgb, frames.depth, split, frames.scene, "toy")
    with pytest.raises(UserError, match="toy has no validation frames"):
        train.rows_of(without, TINY)
    assert len(train.rows_of(without, TINY.replace(holdout=False))["fit"]) == 16


# The schedule


@given(
    st.integers(1, 500),
    st.floats(0, 0.99),
    st.sampled_from(["constant", "linear", "cosine"]),
    st.floats(0, 0.999),
)
def test_the_learning_rate_follows_its_closed_form(steps, warmup, schedule, at):
    config, i, warm = Config(warmup=warmup, schedule=schedule), int(at * steps), warmup * steps
    found = step.rate(config, i, steps)
    t = (i - warm) / (steps - warm)
    decayed = {"constant": 1, "linear": 1 - t, "cosine": math.cos(math.pi * t / 2) ** 2}[schedule]
    assert found == pytest.approx((i + 1) / (warm + 1) if i < warm else decayed, abs=1e-12)
    assert 0 < found <= 1


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_learning_rate_rises_once_and_falls_towards_zero(schedule):
    config = Config(warmup=0.1, schedule=schedule)
    rates = [step.rate(config, i, 1000) for i in range(1000)]
    top = int(np.argmax(rates))
    assert top == 100 and rates[100] == 1
    assert (np.diff(rates[:101]) > 0).all() and (np.diff(rates[100:]) < 0).all()
    assert rates[0] < 0.011 and rates[-1] < 0.002


def test_each_group_has_its_peak_and_every_parameter_a_group():
    model = FCRN("resnet18")
    for kind, optimiser in (("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)):
        config = TINY.replace(optimiser=kind, momentum=0.8, weight_decay=0.03)
        opt = step.optimiser(config, model)
        assert isinstance(opt, optimiser)
        encoder, decoder = opt.param_groups
        assert (encoder["peak"], decoder["peak"]) == (config.lr_encoder, config.lr_decoder)
        assert {id(p) for p in encoder["params"]} == {id(p) for p in model.encoder.parameters()}
        assert len(encoder["params"]) + len(decoder["params"]) == len(list(model.parameters()))
        for group in opt.param_groups:
            assert group["weight_decay"] == 0.03
            assert group.get("momentum", group.get("betas", [None])[0]) == 0.8


# Scoring


class Constant(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 1, 16, 16), 2.0)


def test_evaluate_scores_every_frame_at_its_own_size(frames):
    views, index = augment.Views(frames, 32, 32, "cpu"), np.arange(19)  # more than one batch, and a rest
    sums = train.evaluate(Constant(), views, index, TINY)["full"]
    t = frames.depth[:19].astype(np.float64)
    expected = np.where(t > 0, (2 - t) ** 2, 0).sum((1, 2))
    np.testing.assert_allclose(sums[:, 2], expected, rtol=1e-5)
    assert (sums[:, 0] == (t > 0).sum((1, 2))).all()


def test_predictions_are_enlarged_bilinearly():
    """A model that answers with the picture's mean brightness in 16x16 blocks."""

    class Blocks(nn.Module):
        def forward(self, x):
            return F.adaptive_avg_pool2d(x.mean(1, keepdim=True), 16)

    rgb = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 56)).astype(np.uint8)
    frames = type("Frames", (), {"rgb": rgb, "depth": np.ones((3, 40, 56), np.float32)})
    views = augment.Views(frames, 32, 32, "cpu")
    found = list(train.predict(Blocks(), views, np.array([2, 0]), TINY, (40, 56)))
    assert [i.tolist() for i, _ in found] == [[2, 0]]
    small = Blocks()(views.test(np.array([2, 0])))
    torch.testing.assert_close(found[0][1], F.interpolate(small, (40, 56), mode="bilinear")[:, 0])


@pytest.mark.parametrize("holdout", [True, False])
def test_the_floor_is_the_mean_map_of_the_frames_trained_on(frames, holdout):
    results, arrays = evaluate.floor(Config(arm="floor", holdout=holdout), frames)
    fit_rows = sorted(rows(frames, "train") if holdout else rows(frames, "train", "validation"))
    depth = frames.depth[fit_rows].astype(np.float64)
    everywhere = depth[depth > 0].mean()
    total, valid = depth.sum(0), (depth > 0).sum(0)
    mean = np.where(valid > 0, total / np.maximum(valid, 1), everywhere)
    np.testing.assert_allclose(arrays["gallery"][0], mean, rtol=1e-3)
    t = frames.depth[sorted(rows(frames, "test"))].astype(np.float64)
    rms = (((mean - t) ** 2)[t > 0].mean()) ** 0.5
    assert results["test"]["full"]["pooled"]["rms"] == pytest.approx(rms, rel=1e-5)
    assert (results["validation"] is None) == (not holdout)
    json.dumps(results)


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", "", "cuda:x", "cpu cuda"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UserError, match="unknown device"):
        train.pick_device(name)


def test_a_device_that_is_absent_is_refused():
    with pytest.raises(UserError, match="CUDA devices here"):
        train.pick_device("cuda:99")
    assert train.pick_device("cpu").type == "cpu"
    assert train.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_ticket_may_be_any(frames, tmp_path):
    """A ticket that keeps whole layers and drops others trains too."""
    model = FCRN("resnet18")
    masks = {
        k: torch.full(v.shape, "layer4" not in k)
        for k, v in mask.prunable(model.encoder.state_dict()).items()
    }
    config = TINY.replace(arm="file", epochs=1)
    train.fit(
        config,
        frames,
        arms.Start(mask.Ticket(masks), None),
        tmp_path,
        train.Options(every=NEVER, progress=False),
    )
    saved = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert not any(saved[f"encoder.{k}"].any() for k in masks if "layer4" in k)
    assert all(saved[f"encoder.{k}"].any() for k in masks if "layer4" not in k)


def test_another_number_of_threads_changes_the_last_digits_only(frames, tmp_path):
    """Of what the network says of the same weights; training multiplies such differences, so nothing is
    promised after it.
    """
    config, threads, found = (
        TINY.replace(epochs=1, lr_encoder=0.0, lr_decoder=0.0),
        torch.get_num_threads(),
        [],
    )
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(fit(config, frames, tmp_path / str(n))[0]["curves"]["train_loss"][0])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("every", [0.0, NEVER], ids=["when a checkpoint is written", "before the record"])
def test_a_weight_that_is_revived_in_training_stops_the_run(every, frames, tmp_path, monkeypatch):
    config, call = (
        TINY.replace(arm="omp", density=0.1, epochs=1, holdout=False, test=False),
        train.Step.__call__,
    )

    def revive(self, *rest):
        call(self, *rest)
        self.masking.parameters[0].data[self.masking.masks[0] == 0] = 0.1

    monkeypatch.setattr(train.Step, "__call__", revive)
    with pytest.raises(RuntimeError, match="not zero"):
        fit(config, frames, tmp_path, every=every)
    assert list(tmp_path.iterdir()) == []
