"""Arms that need more than weights: rewinding, pruning after fine-tuning, a frozen encoder, small networks;
batch norm taken anew.
"""

import numpy as np
import pytest
import torch
from conftest import TINY
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

QUIET = {"progress": False, "every": 1e9}


@pytest.fixture(scope="module")
def initial(narrow_state):
    state = {k: v for k, v in narrow_state.items() if not k.startswith("fc.")}
    return weights.Initial(state, "toy", "toy", weights.fingerprint(state), "resnet18")


def saved(store, record, file="weights.pt"):
    return torch.load(store.local / record["key"] / file, weights_only=True)


def test_imp_rewinds_to_the_encoder_after_the_named_epoch_of_its_dense_run(frames, initial, store):
    config = TINY.replace(arm="imp", density=level(1), rewind=1, epochs=2, test=False, holdout=False)
    record = runs.run(config, runs.Inputs(frames, initial), store, runs.Options(**QUIET))
    dense = next(r for r in store.records().values() if r["arm"] == "dense")
    assert dense["config"]["rewind"] == 0 and store.get(dense["key"]) and len(store.records()) == 2
    folder = store.local / dense["key"]
    early = saved(store, dense, "epoch-1.pt")
    ticket, state, _ = arms.start(config, initial, None, {"trained": folder, "origin": folder})
    assert ticket.fingerprint == record["ticket"]["fingerprint"]
    assert all(torch.equal(state[k], early[k]) for k in early)
    assert not torch.equal(state["bn1.running_mean"], initial.state["bn1.running_mean"])
    last = saved(store, dense)
    assert not torch.equal(early["layer4.1.conv2.weight"], last["encoder.layer4.1.conv2.weight"])
    # The epoch is that of the dense run itself: one that stops there under the same schedule has the same
    # encoder.
    alone = runs.run(
        config.replace(arm="dense", density=1.0, rewind=0, epochs=1),
        runs.Inputs(frames, initial),
        store,
        runs.Options(**QUIET),
    )
    stopped = saved(store, alone)  # constant schedule, no warm-up: an epoch is an epoch
    assert all(torch.equal(early[k], stopped[f"encoder.{k}"]) for k in early)


def test_a_checkpoint_past_the_epoch_that_is_wanted_is_not_continued(frames, initial, store):
    dense = TINY.replace(epochs=2, test=False, holdout=False)
    with pytest.raises(train.Stopped):
        runs.run(dense, runs.Inputs(frames, initial), store, runs.Options(deadline=0, **QUIET))
    with pytest.raises(train.Stopped):
        runs.run(dense, runs.Inputs(frames, initial), store, runs.Options(deadline=0, snapshot=1, **QUIET))
    assert list(store.local.glob("*/epoch-1.pt"))


def test_pruning_after_fine_tuning_keeps_the_largest_trained_weights_and_goes_on_from_them(
    frames, initial, store
):
    config = TINY.replace(arm="finetuned", density=0.1, epochs=1, test=False, holdout=False)
    record = runs.run(config, runs.Inputs(frames, initial), store, runs.Options(**QUIET))
    dense = next(r for r in store.records().values() if r["arm"] == "dense")
    trained = saved(store, dense)
    encoder = {k.removeprefix("encoder."): v for k, v in trained.items() if k.startswith("encoder.")}
    wanted = tickets.magnitude(mask.prunable(encoder), 0.1)
    assert record["ticket"]["fingerprint"] == wanted.fingerprint
    _, state, _ = arms.start(config, initial, None, {"trained": store.local / dense["key"]})
    assert all(torch.equal(v, trained[k]) for k, v in state.items())  # the whole network, decoder too
    begun = initialise(FCRN("resnet18"), config.seed, state).state_dict()
    assert all(torch.equal(v, trained[k]) for k, v in begun.items())


def test_a_frozen_encoder_keeps_every_weight_and_statistic_while_the_decoder_learns(frames, initial, store):
    for optimiser in ("sgd", "adamw"):
        config = TINY.replace(
            arm="frozen", optimiser=optimiser, weight_decay=0.1, epochs=2, test=False, recalibrate=8
        )
        record = runs.run(config, runs.Inputs(frames, initial), store, runs.Options(**QUIET))
        after = saved(store, record)
        for name, value in initial.state.items():
            assert torch.equal(after[f"encoder.{name}"], value), name
        before = initialise(FCRN("resnet18"), config.seed).state_dict()
        assert not torch.equal(after["predict.weight"], before["predict.weight"])
        assert not torch.equal(after["squeeze_bn.running_mean"], before["squeeze_bn.running_mean"])
        assert runs.label(record) == "frozen encoder"


def test_small_networks_are_dense_runs_under_their_own_name(frames, initial, store):
    config = TINY.replace(arm="resnet18", epochs=1, test=False, holdout=False)
    small = runs.run(config, runs.Inputs(frames, initial), store, runs.Options(**QUIET))
    dense = runs.run(config.replace(arm="dense"), runs.Inputs(frames, initial), store, runs.Options(**QUIET))
    assert small["key"] != dense["key"] and small["curves"] == dense["curves"]
    assert runs.label(small) == "small dense ResNet-18"
    for wrong in ({"backbone": "resnet50"}, {"density": 0.5}):
        with pytest.raises(UserError, match="resnet18"):
            config.replace(**wrong)


def test_batch_norm_taken_anew_has_the_statistics_of_the_training_frames(frames):
    """One batch of all frames: the mean and unbiased variance that batch norm computes of it, whatever was
    there before.
    """
    config = TINY.replace(batch=12, recalibrate=12)
    views = augment.Views(frames, config.height, config.width, "cpu")
    rows = train.rows_of(frames, config)["fit"]
    model = initialise(FCRN("resnet18"), 0)
    seen = {}
    model.encoder.bn1.register_forward_pre_hook(lambda _, x: seen.update(x=x[0].detach()))
    model.encoder.bn1.running_mean.fill_(7.0)
    before = {
        k: v.clone() for k, v in model.state_dict().items() if "running" not in k and "tracked" not in k
    }
    train.recalibrate(model, views, rows, config)
    x = seen["x"].transpose(0, 1).flatten(1)
    assert x.shape[1] == 12 * 16 * 16
    torch.testing.assert_close(model.encoder.bn1.running_mean, x.mean(1))
    torch.testing.assert_close(model.encoder.bn1.running_var, x.var(1))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    again = {k: v.clone() for k, v in model.state_dict().items()}
    train.recalibrate(model, views, rows, config.replace(recalibrate=0))  # nothing
    assert all(torch.equal(v, again[k]) for k, v in model.state_dict().items())


def test_taking_batch_norm_anew_changes_the_scores_and_not_the_training(frames, initial, store):
    plain = TINY.replace(epochs=2)
    one, two = (
        runs.run(c, runs.Inputs(frames, initial), store, runs.Options(**QUIET))
        for c in (plain, plain.replace(recalibrate=12))
    )
    assert one["curves"]["train_loss"] == two["curves"]["train_loss"]
    assert one["validation"]["full"]["pooled"]["rms"] != two["validation"]["full"]["pooled"]["rms"]
    a, b = saved(store, one), saved(store, two)
    statistics = [k for k in a if k.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert all(torch.equal(v, b[k]) for k, v in a.items() if k not in statistics)
    assert not any(torch.equal(a[k], b[k]) for k in statistics if "squeeze_bn.running" in k)
    assert np.isfinite(two["test"]["full"]["pooled"]["rms"])
