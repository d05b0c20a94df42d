"""LAMP, Fisher and gradual pruning: definitions written plainly, toy problems with a known answer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import tickets
from lthdepth.errors import UserError

values = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=6)
networks = st.lists(values, min_size=1, max_size=4)


def network(layers):
    return {f"layer{i}": torch.tensor(v).view(-1, 1, 1, 1) for i, v in enumerate(layers)}


@given(networks, st.floats(0.05, 1))
def test_lamp_keeps_the_largest_scores_of_the_definition(layers, density):
    w = network(layers)
    size = sum(map(len, layers))
    if not round(density * size):
        with pytest.raises(UserError):
            tickets.lamp(w, density)
        return
    ticket = tickets.lamp(w, density)
    assert ticket.kept == round(density * size)
    scores, kept = [], []
    for name, v in w.items():
        squares = v.double().flatten().numpy() ** 2
        for i, s in enumerate(squares):
            rivals = sum(r for j, r in enumerate(squares) if r > s or r == s and j <= i)
            scores.append(s / rivals if rivals else 0.0)
        kept += ticket.masks[name].flatten().tolist()
    kept, scores = np.array(kept), np.array(scores)
    if not kept.all():
        assert scores[kept].min() >= scores[~kept].max() - 1e-12


def test_lamp_by_hand_keeps_the_largest_of_every_layer_however_small():
    w = network([[1e-3, 2e-3], [5.0, 4.0]])
    ticket = tickets.lamp(w, 0.5)  # scores: 1/5 and 1, 1 and 16/41
    assert [m.flatten().tolist() for m in ticket.masks.values()] == [[False, True], [True, False]]
    assert tickets.magnitude(w, 0.5).masks["layer0"].sum() == 0  # where plain magnitude loses a layer


def test_fisher_keeps_what_a_quadratic_loss_misses_most():
    """For a loss of 1/2 Σ h w² around 0 whose gradients have the variance h, dropping w costs h w² / 2."""
    w = network([[3.0, 1.0, 2.0], [0.5, 4.0, 1.0]])
    h = network([[0.1, 9.0, 1.0], [1.0, 0.0, 2.0]])
    cost = torch.cat([(h[k] * w[k] ** 2).flatten() for k in w])
    ticket = tickets.fisher(w, h, 0.5)
    kept = torch.cat([m.flatten() for m in ticket.masks.values()])
    assert kept.sum() == 3 and cost[kept].min() >= cost[~kept].max()
    assert not ticket.masks["layer1"].flatten()[1]  # the largest weight of all, which the loss does not feel


@given(st.integers(1, 400), st.floats(0.001, 0.9))
def test_gradual_pruning_falls_to_its_density_and_leaves_the_last_third_alone(steps, density):
    stages = [(i, d) for i in range(steps) if (d := tickets.gradual(density, i, steps)) is not None]
    assert stages and stages[-1][1] == density and len(stages) <= 41
    assert all(before > after for (_, before), (_, after) in zip(stages, stages[1:], strict=False))
    assert stages[-1][0] <= max(0, 2 * steps // 3)
    if steps >= 60:
        last = stages[-1][0]
        assert last >= steps / 2
        for i, d in stages[:-1]:
            assert d == pytest.approx(density + (1 - density) * (1 - i / last) ** 3)
