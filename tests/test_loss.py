"""berHu against its formula (Laina et al. 2016, equation 2)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lthdepth.loss import LOSSES, berhu, l1

SHAPE = (2, 3, 4)
predictions = hnp.arrays(np.float64, SHAPE, elements=st.floats(-20, 20))
# 0 is an invalid pixel
targets = hnp.arrays(np.float64, SHAPE, elements=st.one_of(st.just(0.0), st.floats(0.1, 10)))


def by_hand(prediction, target, c=None):
    """Value and gradient, pixel by pixel; c may be held fixed."""
    errors = {i: prediction[i] - target[i] for i in np.ndindex(target.shape) if target[i] > 0}
    gradient = np.zeros_like(prediction)
    if not errors:
        return 0.0, gradient
    c = 0.2 * max(abs(x) for x in errors.values()) if c is None else c
    total = 0.0
    for i, x in errors.items():
        inside = abs(x) <= c
        total += abs(x) if inside else (x * x + c * c) / (2 * c)
        gradient[i] = (np.sign(x) if inside else x / c) / len(errors)
    return total / len(errors), gradient


def both(function, prediction, target):
    p = torch.tensor(prediction, requires_grad=True)
    value = function(p, torch.tensor(target))
    value.backward()
    return value.item(), p.grad.numpy()


@given(predictions, targets)
def test_berhu_and_its_gradient_equal_the_formula(prediction, target):
    value, gradient = both(berhu, prediction, target)
    expected, slope = by_hand(prediction, target)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-300)
    # An error below the smallest number whose square is not 0 has no meaningful direction; 1e-9 m is no error either.
    far = np.abs(prediction - target) > 1e-9
    np.testing.assert_allclose(gradient[far], slope[far], rtol=1e-9)
    assert np.isfinite(gradient).all()


@given(predictions, targets)
def test_l1_equals_the_mean_absolute_error_of_valid_pixels(prediction, target):
    value, gradient = both(l1, prediction, target)
    valid = target > 0
    expected = np.abs(prediction - target)[valid].mean() if valid.any() else 0.0
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(
        gradient, np.where(valid, np.sign(prediction - target), 0) / max(valid.sum(), 1)
    )


def test_gradient_agrees_with_finite_differences_of_the_formula():
    rng = np.random.default_rng(3)
    prediction, target = rng.normal(3, 2, SHAPE), rng.uniform(0.5, 5, SHAPE)
    target[0, 0, :2] = 0
    c = 0.2 * np.abs(prediction - target)[target > 0].max()
    _, gradient = both(berhu, prediction, target)
    for i in np.ndindex(SHAPE):
        step = np.zeros(SHAPE)
        step[i] = 1e-6
        slope = (by_hand(prediction + step, target, c)[0] - by_hand(prediction - step, target, c)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, abs=1e-8)


@given(predictions, targets, hnp.arrays(np.float64, SHAPE, elements=st.floats(-1e6, 1e6)))
def test_what_is_predicted_at_invalid_pixels_does_not_matter(prediction, target, noise):
    invalid = target == 0
    value, gradient = both(berhu, prediction, target)
    other, _ = both(berhu, np.where(invalid, noise, prediction), target)
    assert other == value
    assert (gradient[invalid] == 0).all()


def test_c_comes_from_valid_pixels_only():
    # Valid errors 1 and 0.5: c = 0.2, so both are beyond it. The invalid pixel's 100 m would make c 20.
    value = berhu(torch.tensor([[[2.0, 1.5, 100.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]]))
    assert value.item() == pytest.approx(((1 + 0.04) / 0.4 + (0.25 + 0.04) / 0.4) / 2, rel=1e-6)


def test_c_is_of_the_whole_batch_not_of_each_image():
    p, t = (
        torch.tensor([[[2.0]], [[11.0]]]),
        torch.ones(2, 1, 1),
    )  # errors 1 and 10: c = 2, so the 1 counts as 1
    assert berhu(p, t).item() == pytest.approx((1 + (100 + 4) / 4) / 2, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_no_error_and_no_valid_pixel_give_zero_and_a_zero_gradient(name):
    target = np.full(SHAPE, 2.5)
    for prediction, t in ((target.copy(), target), (np.full(SHAPE, np.nan), np.zeros(SHAPE))):
        value, gradient = both(LOSSES[name], prediction, t)
        assert value == 0
        assert (gradient == 0).all()


def test_value_and_slope_are_continuous_at_c():
    largest, c = 5.0, 1.0
    values, slopes = [], []
    for x in (c * (1 - 1e-9), c * (1 + 1e-9)):
        value, gradient = both(berhu, np.array([[[1 + largest, 1 + x]]]), np.ones((1, 1, 2)))
        values.append(value)
        slopes.append(gradient[0, 0, 1] * 2)
    assert values[1] == pytest.approx(values[0], abs=1e-8)
    assert slopes == pytest.approx([1, 1], abs=1e-8)


def test_float32_stays_finite_for_the_smallest_errors():
    target = torch.ones(1, 2, 2)
    p = (target + torch.tensor([[[0, 1.2e-7], [0, 0]]])).requires_grad_()
    loss = berhu(p, target)
    loss.backward()
    assert 0 < loss.item() < 1e-6
    assert torch.isfinite(p.grad).all()
