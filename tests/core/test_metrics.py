"""Metrics against plain numpy written from the definitions of Eigen et al. 2014."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lthdepth import metrics


def by_hand(p, t):
    """The six metrics of a set of pixels."""
    p, t = p[t > 0].astype(np.float64), t[t > 0].astype(np.float64)
    p = np.where(p < 0.1, 0.1, p)
    worst = np.array([max(a / b, b / a) for a, b in zip(p, t)])
    return {
        "rel": np.mean(np.abs(p - t) / t),
        "rms": np.mean((p - t) ** 2) ** 0.5,
        "log10": np.mean(np.abs(np.log10(p) - np.log10(t))),
        "delta1": np.mean(worst < 1.25),
        "delta2": np.mean(worst < 1.25**2),
        "delta3": np.mean(worst < 1.25**3),
    }


def pooled_and_per_image(p, t):
    images = [by_hand(a, b) for a, b in zip(p, t) if (b > 0).any()]
    return by_hand(p.ravel(), t.ravel()), {k: np.mean([i[k] for i in images]) for k in images[0]}


def summary(p, t):
    sums = metrics.error_sums(torch.tensor(p), torch.tensor(t)).numpy()
    return metrics.summarise(sums)


@given(
    hnp.arrays(np.float64, (3, 4, 5), elements=st.floats(-5, 12)),
    hnp.arrays(np.float64, (3, 4, 5), elements=st.one_of(st.just(0.0), st.floats(0.3, 10))),
)
def test_pooled_and_per_image_metrics_equal_the_definitions(p, t):
    t[0, 0, 0] = 2.0  # one valid pixel at least
    p[t == 0] *= np.nan
    pooled, image = pooled_and_per_image(p, t)
    result = summary(p, t)
    assert result["pooled"] == pytest.approx(pooled, rel=1e-9, abs=1e-12)
    assert result["per_image"] == pytest.approx(image, rel=1e-9, abs=1e-12)


def test_the_thresholds_are_strict():
    result = summary(np.array([[[1.25, 1.2499, 1.5625, 0.8001]]]), np.ones((1, 1, 4)))["pooled"]
    assert result["delta1"] == 0.5  # 1.2499 and 1 / 0.8001
    assert result["delta2"] == 0.75  # 1.25^2 itself is out
    assert result["delta3"] == 1


def test_images_without_a_valid_pixel_are_left_out_and_none_at_all_is_an_error():
    t = np.array([[[2.0]], [[0.0]]])
    assert summary(np.array([[[3.0]], [[9.0]]]), t)["per_image"]["rms"] == 1
    with pytest.raises(ValueError, match="no valid pixel"):
        summary(np.ones((2, 1, 1)), np.zeros((2, 1, 1)))


def test_score_looks_at_the_whole_frame_and_at_the_crop():
    rng = np.random.default_rng(1)
    t, p = rng.uniform(1, 9, (2, 240, 320)), rng.uniform(1, 9, (2, 240, 320))
    scores = metrics.score(torch.tensor(p), torch.tensor(t))
    assert metrics.summarise(scores["full"])["pooled"] == pytest.approx(by_hand(p, t))
    assert metrics.eigen_crop(480, 640) == (slice(45, 471), slice(41, 601))
    crop = (slice(None), slice(23, 235), slice(21, 300))
    assert metrics.summarise(scores["eigen"])["pooled"] == pytest.approx(by_hand(p[crop], t[crop]))
    assert (scores["eigen"][:, 0] == 212 * 279).all()
