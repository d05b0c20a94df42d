"""Tickets: exact counts, ties, definitions written plainly."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import mask, tickets
from lthdepth.config import Config, level
from lthdepth.data import foreign, weights
from lthdepth.errors import UserError
from lthdepth.model import FCRN
from lthdepth.training import arms

shapes = st.lists(st.tuples(*[st.integers(1, 4)] * 4), min_size=1, max_size=4).map(
    lambda s: [(6, 6, 2, 2), *s]
)
seeds, densities = st.integers(0, 99), st.floats(0.05, 1)


def network(shapes, seed, values=1000):
    """Weights of so many distinct magnitudes: few make many of them tie."""
    rng = np.random.default_rng(seed)
    draw = (rng.integers(-values, values + 1, s) / 8 for s in shapes)
    return {f"layer{i}.weight": torch.tensor(w, dtype=torch.float32) for i, w in enumerate(draw)}


def flat(tensors):
    return np.concatenate([v.numpy().ravel() for v in tensors.values()])


def largest(scores, density):
    """The places of the largest scores, as many as a density keeps; of equals the first."""
    order = np.argsort(-scores, kind="stable")
    return np.isin(np.arange(scores.size), order[: round(density * scores.size)])


@given(shapes, seeds, st.integers(1, 5), densities)
def test_magnitude_and_random_keep_an_exact_number_and_magnitude_the_largest(shapes, seed, values, density):
    w = network(shapes, seed, values)
    one, other = tickets.magnitude(w, density), tickets.random(w, density, seed)
    size = flat(w).size
    assert np.array_equal(flat(one.masks), largest(np.abs(flat(w)), density))
    assert one.kept == other.kept == round(density * size) and one.density == one.kept / size
    assert {k: m.shape for k, m in one.masks.items()} == {k: v.shape for k, v in w.items()}
    assert other.fingerprint == tickets.random(network(shapes, seed + 1), density, seed).fingerprint
    if 0.1 < density < 0.9:
        assert other.fingerprint != tickets.random(w, density, seed + 1).fingerprint


def test_a_random_ticket_is_uniform_over_all_layers(resnet18_prunable):
    w, density = {k: v for k, v in resnet18_prunable.items() if k < "layer3"}, 0.05
    for name, kept, size in tickets.random(w, density, 3).layers():
        assert abs(kept - density * size) < 5 * (size * density * (1 - density)) ** 0.5, name


@pytest.mark.parametrize("density", [0, 1.0001, float("nan"), 1e-9])
def test_a_density_that_is_none_is_refused(density):
    w = {"a.weight": torch.ones(4, 4, 3, 3)}
    for draw in (tickets.magnitude, tickets.uniform, tickets.lamp, lambda w, d: tickets.random(w, d, 0)):
        with pytest.raises(UserError, match="density"):
            draw(w, density)


@given(shapes, seeds, densities)
def test_shuffled_keeps_the_count_of_every_layer_and_moves_the_places(shapes, seed, density):
    one = tickets.magnitude(network(shapes, seed), density)
    two = tickets.shuffled(one, seed)
    assert one.layers() == two.layers()
    assert two.fingerprint == tickets.shuffled(one, seed).fingerprint
    if 0.1 < one.masks["layer0.weight"].float().mean() < 0.9:
        assert not torch.equal(one.masks["layer0.weight"], two.masks["layer0.weight"])


@given(shapes, seeds, densities)
def test_a_uniform_ticket_has_its_exact_total_and_keeps_the_largest_of_each_layer(shapes, seed, density):
    w = network(shapes, seed)
    total, ticket = round(density * flat(w).size), tickets.uniform(w, density)
    assert ticket.kept == total
    for (name, m), (_, kept, n) in zip(ticket.masks.items(), ticket.layers(), strict=True):
        assert abs(kept - total * n / flat(w).size) < 1
        if 0 < kept < n:
            assert w[name].abs()[m].min() >= w[name].abs()[~m].max()


@pytest.mark.parametrize("sparsity", ["0.8", "0.98"])
def test_the_profile_of_published_pruned_networks_is_uniform(shared, sparsity):
    """Which is why it is no arm of its own: `uniform` keeps as many of a layer, to a thousandth or one."""
    path = shared(f"masks/extended_magnitude_pruning_{sparsity}.npz")
    with torch.device("meta"):
        w = mask.prunable(FCRN("resnet50").encoder.state_dict())
    published = foreign.masks(path, w)
    assert published.density == pytest.approx(1 - float(sparsity), abs=2e-3)
    ours = tickets.uniform({k: torch.zeros(v.shape) for k, v in w.items()}, published.density)
    for (_, wanted, _), (_, kept, _) in zip(published.layers(), ours.layers(), strict=True):
        assert abs(kept - wanted) <= 1 + 1e-3 * wanted


@given(shapes, seeds, densities)
def test_lamp_keeps_the_largest_scores_of_the_definition(shapes, seed, density):
    w, scores = network(shapes, seed, values=9), []
    for v in w.values():
        squares = v.double().flatten().numpy() ** 2
        for i, s in enumerate(squares):
            rivals = squares[squares > s].sum() + squares[: i + 1][squares[: i + 1] == s].sum()
            scores.append(s / rivals if rivals else 0.0)
    ticket, scores = tickets.lamp(w, density), np.array(scores)
    kept = flat(ticket.masks)
    assert ticket.kept == round(density * scores.size)
    assert kept.all() or scores[kept].min() >= scores[~kept].max() - 1e-12


def test_fisher_keeps_what_a_quadratic_loss_misses_most():
    """For a loss of 1/2 Σ h w² around 0 whose gradients have the variance h, dropping w costs h w² / 2."""
    w = {"a": torch.tensor([3.0, 1.0, 2.0]), "b": torch.tensor([0.5, 4.0, 1.0])}
    h = {"a": torch.tensor([0.1, 9.0, 1.0]), "b": torch.tensor([1.0, 0.0, 2.0])}
    kept = flat(tickets.fisher(w, h, 0.5).masks)
    assert np.array_equal(kept, largest(flat(h) * flat(w) ** 2, 0.5)) and not kept[4]  # the largest weight


@given(st.integers(1, 400), st.floats(0.001, 0.9))
def test_gradual_pruning_falls_to_its_density_and_leaves_the_last_third_alone(steps, density):
    stages = [(i, d) for i in range(steps) if (d := tickets.gradual(density, i, steps)) is not None]
    last, end = stages[-1]
    assert end == density and len(stages) <= 41 and last <= max(0, 2 * steps // 3)
    assert all(before > after for (_, before), (_, after) in zip(stages, stages[1:], strict=False))
    for i, d in stages[:-1] if steps >= 60 else ():
        assert last >= steps / 2 and d == pytest.approx(density + (1 - density) * (1 - i / last) ** 3)


@given(shapes, seeds)
def test_iterations_are_nested_exact_and_prune_the_smallest_survivors(shapes, seed):
    ticket = tickets.dense(network(shapes, seed))
    for k in range(1, 8):
        trained = network(shapes, 100 * seed + k)
        after = tickets.iterate(ticket, trained, level(k))
        values, old, new = np.abs(flat(trained)), flat(ticket.masks), flat(after.masks)
        assert new.sum() == round(level(k) * new.size) and not (new & ~old).any()
        assert values[new].min() >= values[old & ~new].max()
        assert after.history[-1]["parent"] == ticket.fingerprint
        ticket = after


def test_recorded_tickets_are_drawn_again_from_real_weights_and_counted_by_hand(pqf, paper):
    made = [r for r in paper.store.records().values() if r["init"]["fingerprint"] == pqf.fingerprint]
    one = tickets.magnitude(mask.prunable(pqf.state), level(18))  # where most magnitudes tie
    drawn = {r["ticket"]["fingerprint"] for r in made if (r["arm"], r["density"]) == ("omp", level(18))}
    assert drawn == {one.fingerprint}
    for r in (r for r in made if r["densities"]):
        kept, d = round(r["density"] * 23_445_504), r["densities"]
        assert d["counts"]["kept"] == kept and d["prunable"] == pytest.approx(kept / 23_445_504)
        assert d["encoder"] == pytest.approx((kept + 9408) / 23_454_912)


def test_reinit_keeps_the_places_and_loses_the_weights(narrow_state):
    initial = weights.Initial(narrow_state, "test", "test", "test", "resnet18")
    config = Config(arm="omp", density=0.1, backbone="resnet18", seed=3)
    one, state, _ = arms.start(config, initial)
    assert all(torch.equal(v, narrow_state[k]) for k, v in state.items())
    two, other, _ = arms.start(config.replace(arm="reinit"), initial)
    assert one.fingerprint == two.fingerprint
    assert not any(torch.equal(other[k], narrow_state[k]) for k in one.masks)
