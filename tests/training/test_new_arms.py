"""Arms that prune in the run, keep trained weights or learn from the dense run: what each keeps and what it
changes.
"""

import pytest
import torch
from conftest import make_frames

from lthdepth import mask, ticketfile, tickets
from lthdepth.config import Config, level
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.runs import run as runs
from lthdepth.training import arms
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")
TINY = Config(backbone="resnet18", height=32, width=32, batch=4, epochs=3, holdout=False, test=False,
              optimiser="adamw", lr_encoder=1e-3, lr_decoder=1e-3)  # fmt: skip
QUIET = {"progress": False}


@pytest.fixture
def store(tmp_path):
    return runs.Store(tmp_path / "runs", tmp_path / "results")


def saved(store, record, file="weights.pt"):
    return torch.load(store.local / record["key"] / file, weights_only=True)


def masks_of(store, record):
    return ticketfile.load(store.local / record["key"] / "ticket.npz")[0].masks


def test_gradual_pruning_ends_at_its_density_and_a_killed_run_ends_at_the_same_bits(store, tmp_path):
    frames, config = make_frames(), TINY.replace(arm="gradual", density=0.1)
    whole = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(**QUIET))
    assert whole["densities"]["prunable"] == pytest.approx(0.1, abs=1e-5)
    state, masks = saved(store, whole), masks_of(store, whole)
    assert all(torch.equal(state[f"encoder.{k}"] != 0, m) for k, m in masks.items() if m.any())
    other = runs.Store(tmp_path / "again", tmp_path / "results")
    for _ in range(2):
        with pytest.raises(train.Stopped):
            runs.run(config, runs.Inputs(frames, weights.NONE), other, runs.Options(deadline=0, **QUIET))
    again = runs.run(config, runs.Inputs(frames, weights.NONE), other, runs.Options(**QUIET))
    assert again["ticket"] == whole["ticket"]
    assert all(torch.equal(v, state[k]) for k, v in saved(other, again).items())


def test_rounds_of_three_levels_pass_through_every_third_and_their_first_is_dense(store):
    config = TINY.replace(arm="imp", density=level(6), stride=3, epochs=2, round_epochs=1)
    runs.run(config, runs.Inputs(make_frames(), weights.NONE), store, runs.Options(**QUIET))
    made = {(r["arm"], r["density"]): r["epochs_run"] for r in store.records().values()}
    assert made == {("dense", 1.0): 1, ("imp", level(3)): 1, ("imp", level(6)): 2}
    with pytest.raises(UserError, match="multiple"):
        arms.parents(config.replace(density=level(5)))


def test_rate_rewinding_goes_on_from_the_trained_network_where_imp_rewinds(store):
    frames = make_frames()
    config = TINY.replace(arm="lrr", density=level(3), stride=3, epochs=1)
    record = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(**QUIET))
    dense = next(r for r in store.records().values() if r["arm"] == "dense")
    folder, trained = store.local / dense["key"], saved(store, dense)
    start = arms.start(config, weights.NONE, folders={"trained": folder})
    assert all(torch.equal(start.state[k], v) for k, v in trained.items())  # decoder and statistics too
    rewound = arms.start(config.replace(arm="imp"), weights.NONE, folders={"trained": folder})
    assert rewound.ticket.fingerprint == start.ticket.fingerprint == record["ticket"]["fingerprint"]
    assert not torch.equal(rewound.state["layer1.0.conv1.weight"], trained["encoder.layer1.0.conv1.weight"])


def test_fisher_gradients_are_those_of_the_mean_loss(store):
    frames, config = make_frames(), TINY.replace(arm="fisher", density=0.2, loss="l1", epochs=1)
    record = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(**QUIET))
    dense = next(r for r in store.records().values() if r["arm"] == "dense")
    trained = saved(store, dense)
    squares = arms.squared_gradients(trained, frames, config, "cpu")
    encoder = {k: trained[f"encoder.{k}"] for k in squares}
    assert tickets.fisher(encoder, squares, 0.2).fingerprint == record["ticket"]["fingerprint"]
    # A finite difference along one weight agrees with the gradient where all frames are one batch.
    alone = arms.squared_gradients(trained, frames, config.replace(batch=16), "cpu")
    name = "layer1.0.conv1.weight"
    at = tuple(int(i) for i in torch.unravel_index(alone[name].argmax(), alone[name].shape))

    def loss(step):
        moved = {k: v.clone() for k, v in trained.items()}
        moved[f"encoder.{name}"][at] += step
        model = train.initialise(train.FCRN("resnet18"), 0, moved).eval()
        views = train.augment.Views(frames, 32, 32, torch.device("cpu"))
        x, y = (
            views.test(train.rows_of(frames, config)["fit"]),
            views.depth[train.rows_of(frames, config)["fit"]],
        )
        small = torch.nn.functional.interpolate(y[:, None], views.target_size, mode="nearest-exact")[:, 0]
        return torch.nn.functional.l1_loss(model(x)[:, 0], small).item()

    slope = (loss(1e-2) - loss(-1e-2)) / 2e-2
    assert slope**2 == pytest.approx(float(alone[name][at]), rel=0.2)


def test_distilling_all_the_way_learns_the_dense_run_and_not_the_truth(store):
    frames = make_frames()
    config = TINY.replace(arm="distilled", density=0.5, epochs=2, distil=1.0)
    record = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(**QUIET))
    blind = make_frames()
    blind.depth[:] = 1.0  # the truth does not matter to a run that only listens to the same teacher
    dense = next(r for r in store.records().values() if r["arm"] == "dense")
    start = arms.start(config, weights.NONE, folders={"teacher": store.local / dense["key"]})
    folder = store.local / "blind"
    folder.mkdir()
    train.fit(config, blind, start, folder, train.Options(progress=False))
    two = torch.load(folder / "weights.pt", weights_only=True)
    assert all(torch.equal(v, two[k]) for k, v in saved(store, record).items())
    plain = runs.run(
        config.replace(arm="omp"), runs.Inputs(frames, weights.NONE), store, runs.Options(**QUIET)
    )
    assert not torch.equal(saved(store, plain)["predict.weight"], two["predict.weight"])


def test_lamp_is_drawn_from_the_initial_weights():
    start = arms.start(TINY.replace(arm="lamp", density=0.1), weights.NONE)
    assert start.ticket.fingerprint == tickets.lamp(mask.prunable(start.state), 0.1).fingerprint
