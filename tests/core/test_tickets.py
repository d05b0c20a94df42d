"""Drawing tickets: every control changes what it claims and keeps what it claims."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import mask, ticketfile, tickets
from lthdepth.analysis import levels
from lthdepth.config import Config, level
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.training import arms

shapes = st.lists(st.tuples(*[st.integers(1, 5)] * 4), min_size=2, max_size=5)
densities = st.floats(0.05, 1)


def network(shapes, seed):
    rng = np.random.default_rng(seed)
    return {
        f"layer{i}.weight": torch.tensor(rng.normal(size=s), dtype=torch.float32)
        for i, s in enumerate(shapes)
    }


def size(w):
    return sum(v.numel() for v in w.values())


@given(shapes, st.integers(0, 99), densities)
def test_shuffled_keeps_the_count_of_every_layer_and_moves_the_places(shapes, seed, density):
    w = network([(8, 8, 3, 3), *shapes], seed)
    one = tickets.magnitude(w, density)
    two = tickets.shuffled(one, seed)
    assert one.layers() == two.layers()
    assert (
        tickets.shuffled(one, seed).fingerprint
        == two.fingerprint
        != tickets.shuffled(one, seed + 1).fingerprint
        or one.density == 1
    )
    if 0.1 < one.masks["layer0.weight"].float().mean() < 0.9:
        assert not torch.equal(one.masks["layer0.weight"], two.masks["layer0.weight"])


@given(shapes, st.integers(0, 99), densities)
def test_layerwise_tickets_have_exact_totals_and_keep_the_largest_of_each_layer(shapes, seed, density):
    w = network(shapes, seed)
    total = round(density * size(w))
    if not total:
        return
    for ticket in (tickets.uniform(w, density), tickets.erk(w, density)):
        assert ticket.kept == total
        for name, m in ticket.masks.items():
            magnitudes = w[name].abs()
            if 0 < m.sum() < m.numel():
                assert magnitudes[m].min() >= magnitudes[~m].max()


@given(shapes, st.integers(0, 99), densities)
def test_uniform_is_within_one_weight_of_the_same_share_everywhere(shapes, seed, density):
    w = network(shapes, seed)
    if round(density * size(w)):
        share = round(density * size(w)) / size(w)
        for _, kept, n in tickets.uniform(w, density).layers():
            assert abs(kept - share * n) < 1


def test_erk_densities_follow_the_formula():
    w = network([(64, 64, 3, 3), (128, 64, 1, 1), (256, 128, 3, 3)], 0)
    found = {name: kept / n for name, kept, n in tickets.erk(w, 0.02).layers()}
    raw = [sum(v.shape) / v.numel() for v in w.values()]
    ratios = np.array(list(found.values())) / raw
    assert ratios.std() / ratios.mean() < 0.01  # proportional, up to rounding
    assert tickets.erk(w, 0.9).kept == round(0.9 * size(w))  # some layers full, the total exact


@given(shapes, st.integers(0, 99))
def test_iterations_are_nested_exact_and_prune_the_smallest_survivors(shapes, seed):
    w = network([(6, 6, 3, 3), *shapes], seed)
    ticket = tickets.dense(w)
    for k in range(1, 8):
        trained = network([(6, 6, 3, 3), *shapes], 100 * seed + k)
        after = tickets.iterate(ticket, trained, level(k))
        assert after.kept == round(level(k) * size(w))
        values = torch.cat([v.abs().flatten() for v in trained.values()])
        old, new = (torch.cat([m.flatten() for m in t.masks.values()]) for t in (ticket, after))
        assert not (new & ~old).any()
        assert values[new].min() >= values[old & ~new].max()
        assert after.history[-1]["parent"] == ticket.fingerprint
        ticket = after


@pytest.mark.parametrize("sparsity", ["0.8", "0.91", "0.96", "0.98"])
def test_the_profile_of_published_pruned_networks_is_uniform(shared, pqf, sparsity):
    """Which is why it is no arm of its own: `uniform` keeps as many of every layer, to a thousandth or one
    weight.
    """
    w = mask.prunable(pqf.state)
    published = ticketfile.read(shared(f"masks/extended_magnitude_pruning_{sparsity}.npz"), w)
    ours = tickets.uniform(w, published.density)
    for (_, wanted, _), (_, kept, _) in zip(published.layers(), ours.layers(), strict=True):
        assert abs(kept - wanted) <= 1 + 1e-3 * wanted


@given(shapes, st.integers(0, 99), densities)
def test_random_keeps_the_total_and_depends_on_shapes_and_seed_alone(shapes, seed, density):
    w, other = network([(6, 6, 3, 3), *shapes], seed), network([(6, 6, 3, 3), *shapes], seed + 1)
    one = tickets.random(w, density, seed)
    assert one.kept == round(density * size(w)) and one.size == size(w)
    assert one.fingerprint == tickets.random(other, density, seed).fingerprint
    if 0.1 < one.density < 0.9:
        assert one.fingerprint != tickets.random(w, density, seed + 1).fingerprint


@given(shapes, st.integers(0, 99), densities)
def test_permuting_moves_kept_values_within_their_layer_and_nothing_else(shapes, seed, density):
    w = network([(6, 6, 3, 3), *shapes], seed) | {"bn1.weight": torch.arange(5.0)}
    ticket = tickets.magnitude({k: v for k, v in w.items() if v.ndim == 4}, density)
    before = {k: v.clone() for k, v in w.items()}
    found = arms.permuted(w, ticket, seed)
    assert all(torch.equal(w[k], v) for k, v in before.items())  # a copy was changed
    assert torch.equal(found["bn1.weight"], w["bn1.weight"])
    for name, m in ticket.masks.items():
        assert torch.equal(found[name][~m], w[name][~m])
        assert torch.equal(found[name][m].sort().values, w[name][m].sort().values)
    first = ticket.masks["layer0.weight"]
    if first.sum() > 20:
        assert not torch.equal(found["layer0.weight"], w["layer0.weight"])


@given(shapes, st.integers(0, 99), densities)
def test_a_ticket_file_of_any_shapes_keeps_every_bit(shapes, seed, density):
    w = network([(6, 6, 3, 3), *shapes], seed)
    ticket = tickets.shuffled(tickets.magnitude(w, density), seed)
    with tempfile.TemporaryDirectory() as folder:
        ticketfile.save(ticket, Path(folder) / "t.npz")
        found = ticketfile.read(Path(folder) / "t.npz", w)
    assert found.fingerprint == ticket.fingerprint and found.history == ticket.history


def trained_on(x, y, start, ticket):
    """Weights of a linear layer after gradient descent under a ticket, and the squared error that is left."""
    w, m = start.clone(), ticket.masks["w"]
    for _ in range(60):
        w = (w - 0.2 * (x @ (w * m).T - y).T @ x / len(x)) * m
    return w, float(((x @ w.T - y) ** 2).mean())


@pytest.mark.parametrize("seed", range(5))
def test_imp_finds_a_planted_ticket_and_random_and_one_shot_pruning_do_not(seed):
    """Targets made by a sparse layer, noise added: the places of its weights are the known answer."""
    torch.manual_seed(seed)
    start, x = torch.randn(10, 20), torch.randn(200, 20)
    answer = tickets.random({"w": start}, level(8), seed).masks["w"]
    target = answer * (1 + torch.rand(10, 20)) * torch.randn(10, 20).sign()
    y = x @ target.T + 0.1 * torch.randn(200, 10)
    ticket = tickets.dense({"w": start})
    for k in range(1, 9):  # every round from the same start
        after, _ = trained_on(x, y, start, ticket)
        ticket = tickets.iterate(ticket, {"w": after}, level(k))
    assert torch.equal(ticket.masks["w"], answer)
    _, error = trained_on(x, y, start, ticket)
    for other in (
        tickets.magnitude({"w": start}, level(8)),
        *(tickets.random({"w": start}, level(8), s + 100) for s in range(5)),
    ):
        assert trained_on(x, y, start, other)[1] > 20 * error


def test_the_record_of_all_19_levels_says_what_real_weights_and_counts_say(pqf):
    w = mask.prunable(pqf.state)
    recorded = {(t["arm"], t["k"]): t for t in levels.load()["tickets"]}
    assert len(recorded) == 3 * 19
    for k in range(19):
        kept = round(level(k) * 23_445_504)
        for arm in ("omp", "shuffled", "random"):
            t = recorded[arm, k]
            assert t["kept"] == kept and t["prunable"] == pytest.approx(kept / 23_445_504)
            assert t["encoder"] == pytest.approx((kept + 9408) / 23_454_912)
        assert recorded["omp", k]["mac"] == recorded["shuffled", k]["mac"]
    for k in (4, 18):
        one = tickets.magnitude(w, level(k))
        assert one.fingerprint == recorded["omp", k]["fingerprint"]
        assert (
            one.kept
            == round(level(k) * 23_445_504)
            == tickets.shuffled(one, 0).kept
            == tickets.random(w, level(k), 0).kept
        )


@pytest.fixture
def initial(resnet18_state):
    state = {k: v for k, v in resnet18_state.items() if not k.startswith("fc.")}
    return weights.Initial(state, "test", "test", "test", "resnet18")


def test_reinit_keeps_the_places_and_loses_the_weights(initial):
    config = Config(arm="omp", density=0.1, backbone="resnet18", seed=3)
    one, state, _ = arms.start(config, initial)
    two, other, _ = arms.start(config.replace(arm="reinit"), initial)
    assert one.fingerprint == two.fingerprint
    assert all(torch.equal(v, initial.state[k]) for k, v in state.items())
    assert not any(torch.equal(other[k], initial.state[k]) for k in one.masks)


def test_permuted_keeps_places_and_the_values_of_each_layer(initial):
    config = Config(arm="omp", density=0.1, backbone="resnet18", seed=3)
    one, state, _ = arms.start(config, initial)
    two, other, _ = arms.start(config.replace(arm="permuted"), initial)
    assert one.fingerprint == two.fingerprint
    moved = 0
    for name, m in one.masks.items():
        assert torch.equal(state[name][m].sort().values, other[name][m].sort().values)
        assert torch.equal(state[name][~m], other[name][~m])
        moved += not torch.equal(state[name], other[name])
    assert moved > len(one.masks) / 2
    assert all(torch.equal(state[k], other[k]) for k in state if k not in one.masks)


def test_imp_descends_round_by_round_to_the_dense_run():
    config = Config(arm="imp", density=level(3), epochs=9, seed=5)
    chain = []
    while config:
        chain.append(config)
        config = arms.parents(config).get("trained")
    assert [(c.arm, c.density) for c in chain] == [
        ("imp", level(3)),
        ("imp", level(2)),
        ("imp", level(1)),
        ("dense", 1.0),
    ]
    assert all(c.epochs == 9 and c.seed == 5 for c in chain)
    late = Config(arm="imp", density=level(2), epochs=9, rewind=2)
    assert (
        arms.parents(late)["trained"].rewind == 2
    )  # a chain of its own: other rewound weights, other trained weights
    assert (
        arms.parents(late)["origin"]
        == arms.parents(arms.parents(late)["trained"])["trained"]
        == chain[-1].replace(seed=0)
    )
    assert "origin" not in arms.parents(chain[0])
    short = Config(arm="imp", density=level(2), epochs=9, round_epochs=2)
    assert [
        arms.parents(short)["trained"].epochs,
        arms.parents(arms.parents(short)["trained"])["trained"].epochs,
    ] == [2, 2]
    with pytest.raises(UserError, match="0.8"):
        arms.parents(Config(arm="imp", density=0.5))
