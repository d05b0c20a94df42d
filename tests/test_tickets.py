"""Drawing tickets: every control changes what it claims and keeps what it claims."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import arms, mask, ticketfile, tickets, weights
from lthdepth.config import Config, level
from lthdepth.errors import UserError

shapes = st.lists(st.tuples(*[st.integers(1, 5)] * 4), min_size=2, max_size=5)
densities = st.floats(0.05, 1)


def network(shapes, seed):
    rng = np.random.default_rng(seed)
    return {f"layer{i}.weight": torch.tensor(rng.normal(size=s), dtype=torch.float32) for i, s in enumerate(shapes)}


def size(w):
    return sum(v.numel() for v in w.values())


@given(shapes, st.integers(0, 99), densities)
def test_shuffled_keeps_the_count_of_every_layer_and_moves_the_places(shapes, seed, density):
    w = network([(8, 8, 3, 3), *shapes], seed)
    one = tickets.magnitude(w, density)
    two = tickets.shuffled(one, seed)
    assert one.layers() == two.layers()
    assert tickets.shuffled(one, seed).fingerprint == two.fingerprint != tickets.shuffled(one, seed + 1).fingerprint or one.density == 1
    if 0.1 < one.masks["layer0.weight"].float().mean() < 0.9:
        assert not torch.equal(one.masks["layer0.weight"], two.masks["layer0.weight"])


@given(shapes, st.integers(0, 99), densities)
def test_layerwise_tickets_have_exact_totals_and_keep_the_largest_of_each_layer(shapes, seed, density):
    w = network(shapes, seed)
    total = round(density * size(w))
    if not total:
        return
    profile = tickets.random(w, 0.5, seed) if size(w) > 1 else tickets.dense(w)
    drawn = [tickets.uniform(w, density), tickets.erk(w, density)]
    if all(kept for _, kept, _ in profile.layers()):
        drawn.append(tickets.profiled(w, profile, density))
    for ticket in drawn:
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


def test_overlap_by_hand():
    one = mask.Ticket({"a": torch.tensor([True, True, False]), "b": torch.tensor([False])})
    two = mask.Ticket({"a": torch.tensor([True, False, True]), "b": torch.tensor([False])})
    found = tickets.overlap(one, two)
    assert found["a"] == found["all"] == pytest.approx(1 / 3) and np.isnan(found["b"])


def test_profile_of_real_pruned_networks_is_followed(shared, pqf):
    w = mask.prunable(pqf.state)
    profile = ticketfile.read(shared("masks/extended_magnitude_pruning_0.96.npz"), w)
    drawn = tickets.profiled(w, profile, profile.density)
    for (_, wanted, n), (_, kept, _) in zip(profile.layers(), drawn.layers(), strict=True):
        assert abs(kept - wanted) <= 1 + 1e-6 * n


def test_all_19_levels_of_one_shot_shuffled_and_random_tickets_of_real_weights(pqf):
    w = mask.prunable(pqf.state)
    for k in (0, 4, 9, 18):
        one = tickets.magnitude(w, level(k))
        assert one.kept == round(level(k) * 23_445_504) == tickets.shuffled(one, 0).kept == tickets.random(w, level(k), 0).kept


@pytest.fixture
def initial(resnet18_state):
    state = {k: v for k, v in resnet18_state.items() if not k.startswith("fc.")}
    return weights.Initial(state, "test", "test", "test", "resnet18")


def test_reinit_keeps_the_places_and_loses_the_weights(initial):
    config = Config(arm="omp", density=0.1, backbone="resnet18", seed=3)
    one, state = arms.start(config, initial)
    two, other = arms.start(config.replace(arm="reinit"), initial)
    assert one.fingerprint == two.fingerprint
    assert all(torch.equal(v, initial.state[k]) for k, v in state.items())
    assert not any(torch.equal(other[k], initial.state[k]) for k in one.masks)


def test_permuted_keeps_places_and_the_values_of_each_layer(initial):
    config = Config(arm="omp", density=0.1, backbone="resnet18", seed=3)
    one, state = arms.start(config, initial)
    two, other = arms.start(config.replace(arm="permuted"), initial)
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
        config = arms.parent_of(config)
    assert [(c.arm, c.density) for c in chain] == [("imp", level(3)), ("imp", level(2)), ("imp", level(1)), ("dense", 1.0)]
    assert all(c.epochs == 9 and c.seed == 5 for c in chain)
    short = Config(arm="imp", density=level(2), epochs=9, round_epochs=2)
    assert [arms.parent_of(short).epochs, arms.parent_of(arms.parent_of(short)).epochs] == [2, 2]
    with pytest.raises(UserError, match="0.8"):
        arms.parent_of(Config(arm="imp", density=0.5))
