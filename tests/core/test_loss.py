"""The losses against their formulas: berHu (Laina et al. 2016, equation 2), L1, the published code's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lthdepth.loss import LOSSES, berhu, berhu_published, l1

SHAPE = (2, 3, 4)
predictions = hnp.arrays(np.float64, SHAPE, elements=st.floats(-20, 20))
# 0 is an invalid pixel
targets = hnp.arrays(np.float64, SHAPE, elements=st.one_of(st.just(0.0), st.floats(0.1, 10)))


def by_hand(prediction, target):
    """berHu and its gradient, pixel by pixel."""
    errors = {i: prediction[i] - target[i] for i in np.ndindex(target.shape) if target[i] > 0}
    c, total, gradient = 0.2 * max(map(abs, errors.values()), default=0), 0.0, np.zeros_like(prediction)
    for i, x in errors.items():
        inside = abs(x) <= c
        total += abs(x) if inside else (x * x + c * c) / (2 * c)
        gradient[i] = (np.sign(x) if inside else x / c) / len(errors)
    return total / max(len(errors), 1), gradient


def mean_error(prediction, target):
    """L1 and its gradient: the mean absolute error of valid pixels."""
    x, valid = prediction - target, target > 0
    return np.abs(x)[valid].mean() if valid.any() else 0.0, valid * np.sign(x) / max(valid.sum(), 1)


def published(prediction, target):
    """c from the signed, unmasked maximum; the mean of the errors and, once more, of the squared outliers."""
    x, valid, c = prediction - target, target > 0, 0.2 * np.max(prediction - target)
    d, far = np.abs(x), valid & (np.abs(x) > c)
    terms = np.concatenate([d[valid], d[far] ** 2])
    slope = valid * np.sign(x) + far * 2 * x
    return terms.mean() if len(terms) else 0.0, slope / max(len(terms), 1)


def both(function, prediction, target):
    p = torch.tensor(prediction, requires_grad=True)
    value = function(p, torch.tensor(target))
    value.backward()
    return value.item(), p.grad.numpy()


DEFINITIONS = {berhu: by_hand, l1: mean_error, berhu_published: published}


@pytest.mark.parametrize("loss", DEFINITIONS)
@given(predictions, targets)
def test_a_loss_and_its_gradient_equal_their_definition(loss, prediction, target):
    value, gradient = both(loss, prediction, target)
    expected, slope = DEFINITIONS[loss](prediction, target)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-300) and np.isfinite(gradient).all()
    # berHu: an error whose square is not distinct from 0 has no meaningful direction; 1e-9 m is no error.
    far = np.abs(prediction - target) > (1e-9 if loss is berhu else -1)
    np.testing.assert_allclose(gradient[far], slope[far], rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("name", LOSSES)
def test_no_error_and_no_valid_pixel_give_zero_and_a_zero_gradient(name):
    target = np.full(SHAPE, 2.5)
    for prediction, t in ((target.copy(), target), (np.full(SHAPE, np.nan), np.zeros(SHAPE))):
        value, gradient = both(LOSSES[name], prediction, t)
        assert value == 0 and (gradient == 0).all()
