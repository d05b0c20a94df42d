"""What each arm starts from, keeps and changes: rounds, rewinding, freezing, distilling; batch norm anew."""

import pytest
import torch
from conftest import TINY, make_frames
from making import QUIET, dense_of, make, same, saved
from torch import nn

from lthdepth import mask, tickets
from lthdepth.config import level
from lthdepth.data import augment, weights
from lthdepth.errors import UserError
from lthdepth.model import FCRN, initialise
from lthdepth.runs import run as runs
from lthdepth.training import arms
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")

BARE = TINY.replace(test=False, holdout=False)
ADAM = BARE.replace(optimiser="adamw", lr_encoder=1e-3, lr_decoder=1e-3, batch=4)


def test_rounds_of_three_levels_pass_through_every_third_and_their_first_is_dense(frames, store):
    config = BARE.replace(arm="imp", density=level(6), stride=3, epochs=2, round_epochs=1)
    make(config, frames, store)
    made = {(r["arm"], r["density"]): r["epochs_run"] for r in store.records().values()}
    assert made == {("dense", 1.0): 1, ("imp", level(3)): 1, ("imp", level(6)): 2}
    with pytest.raises(UserError, match="multiple"):
        arms.parents(config.replace(density=level(5)))


def test_two_arms_go_on_from_the_trained_network_where_imp_rewinds(frames, store):
    """Decoder and statistics too."""
    config = BARE.replace(arm="lrr", density=level(3), stride=3, epochs=1)
    record, trained = make(config, frames, store), saved(store, dense_of(store))
    folders = {"trained": store.local / dense_of(store)["key"]}
    lrr, imp, tuned = (
        arms.start(config.replace(arm=arm, stride=stride), weights.NONE, folders=folders)
        for arm, stride in (("lrr", 3), ("imp", 3), ("finetuned", 1))
    )
    assert same(lrr.state, trained) and same(tuned.state, trained)
    assert not torch.equal(imp.state["layer1.0.conv1.weight"], trained["encoder.layer1.0.conv1.weight"])
    encoder = {k.removeprefix("encoder."): v for k, v in trained.items() if k.startswith("encoder.")}
    wanted = tickets.magnitude(mask.prunable(encoder), level(3)).fingerprint
    drawn = {start.ticket.fingerprint for start in (lrr, imp, tuned)}
    assert drawn == {wanted} == {record["ticket"]["fingerprint"]}


def test_gradual_pruning_ends_at_its_density_and_a_killed_run_ends_at_the_same_bits(frames, store, tmp_path):
    config = ADAM.replace(arm="gradual", density=0.1)
    whole = make(config, frames, store)
    assert whole["densities"]["prunable"] == pytest.approx(0.1, abs=1e-5)
    masks = tickets.load(store.local / whole.key / "ticket.npz")[0].masks
    state = saved(store, whole)
    assert all(torch.equal(state[f"encoder.{k}"] != 0, m) for k, m in masks.items() if m.any())
    other = runs.Store(tmp_path / "again", tmp_path / "results")
    for _ in range(2):
        with pytest.raises(train.Stopped):
            make(config, frames, other, deadline=0)
    again = make(config, frames, other)
    assert again["ticket"] == whole["ticket"] and same(saved(other, again), state)


def test_fisher_gradients_are_those_of_the_mean_loss(frames, store):
    config = ADAM.replace(arm="fisher", density=0.2, loss="l1", epochs=1)
    record, trained = make(config, frames, store), saved(store, dense_of(store))
    squares = arms.squared_gradients(trained, frames, config, "cpu")
    encoder = {k: trained[f"encoder.{k}"] for k in squares}
    assert tickets.fisher(encoder, squares, 0.2).fingerprint == record["ticket"]["fingerprint"]
    # A finite difference along one weight agrees with the gradient where all frames are one batch.
    alone = arms.squared_gradients(trained, frames, config.replace(batch=16), "cpu")
    name = "layer1.0.conv1.weight"
    at = tuple(int(i) for i in torch.unravel_index(alone[name].argmax(), alone[name].shape))
    rows, views = train.rows_of(frames, config)["fit"], augment.Views(frames, 32, 32, torch.device("cpu"))
    small = nn.functional.interpolate(views.depth[rows][:, None], views.target_size, mode="nearest-exact")

    def loss(step):
        moved = {k: v.clone() for k, v in trained.items()}
        moved[f"encoder.{name}"][at] += step
        model = initialise(FCRN("resnet18"), 0, moved).eval()
        return nn.functional.l1_loss(model(views.test(rows)), small).item()

    slope = (loss(1e-2) - loss(-1e-2)) / 2e-2
    assert slope**2 == pytest.approx(float(alone[name][at]), rel=0.2)


@pytest.mark.parametrize("other", [{"w": torch.zeros(3)}, [1, 2]])
def test_weights_that_are_those_of_another_network_are_named(other, tmp_path):
    torch.save(other, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="weights.pt holds no FCRN with resnet18: remove it"):
        arms.trained_weights(tmp_path, "resnet18")


def test_distilling_all_the_way_learns_the_dense_run_and_not_the_truth(frames, store):
    config = ADAM.replace(arm="distilled", density=0.5, epochs=2, distil=1.0)
    record, blind = make(config, frames, store), make_frames()
    blind.depth[:] = 1.0  # the truth does not matter to a run that only listens to the same teacher
    start = arms.start(config, weights.NONE, folders={"teacher": store.local / dense_of(store)["key"]})
    folder = store.local / "blind"
    folder.mkdir()
    train.fit(config, blind, start, folder, QUIET)
    two = torch.load(folder / "weights.pt", weights_only=True)
    assert same(saved(store, record), two)
    plain = saved(store, make(config.replace(arm="omp"), frames, store))
    assert not torch.equal(plain["predict.weight"], two["predict.weight"])


def test_batch_norm_taken_anew_has_the_statistics_of_the_training_frames(frames):
    """One batch of all frames: the mean and unbiased variance of it, whatever was there before."""
    config = TINY.replace(batch=12, recalibrate=12)
    views, rows = augment.Views(frames, 32, 32, "cpu"), train.rows_of(frames, config)["fit"]
    model, seen = initialise(FCRN("resnet18"), 0), {}
    norm = model.encoder.bn1
    norm.register_forward_pre_hook(lambda _, x: seen.update(x=x[0].detach()))
    norm.running_mean.fill_(7.0)
    before = {k: v.clone() for k, v in model.named_parameters()}
    train.recalibrate(model, views, rows, config)
    x = seen["x"].transpose(0, 1).flatten(1)
    assert x.shape[1] == 12 * 16 * 16
    torch.testing.assert_close(norm.running_mean, x.mean(1))
    torch.testing.assert_close(norm.running_var, x.var(1))
    assert same(before, dict(model.named_parameters()))
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
