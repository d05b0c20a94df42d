"""Depth errors (Eigen et al. 2014), pooled over a set of frames and averaged over its images.

`pooled` takes every valid pixel of the set as one sample (the protocol of Laina et al. 2016; the paper's
headline); `per_image` computes the metric of each image and averages those. The two differ: RMSE is
about a tenth lower per image. Both follow from the same six sums per image, so the sums are what is stored.
"""

import math

import numpy as np
import torch

METRICS = ("rel", "rms", "log10", "delta1", "delta2", "delta3")
PROTOCOLS = ("full", "eigen")  # the whole frame; the crop of Eigen et al. 2014
SMALLEST = 0.1  # metres; predictions are clamped to it before scoring, for log10 needs a positive depth


def eigen_crop(height, width):
    """Rows and columns of the crop [45:471, 41:601] of a 480x640 frame, at another size: two slices."""
    rows = slice(math.ceil(45 * height / 480), math.floor(471 * height / 480))
    columns = slice(math.ceil(41 * width / 640), math.floor(601 * width / 640))
    return rows, columns


def error_sums(prediction, target):
    """Sums over the valid pixels (target > 0) of each image.

    Shapes: both `(B, H, W)`, metres; returns `(B, 7)` float64: number of valid pixels, then the sums of
    |x|/t, x^2, |log10 p - log10 t|, and of max(p/t, t/p) < 1.25, < 1.25^2, < 1.25^3.
    """
    valid = target > 0
    t = torch.where(valid, target, 1)
    p = torch.where(valid, prediction.clamp(min=SMALLEST), 1)
    x, ratio = p - t, torch.maximum(p / t, t / p)
    terms = [valid, x.abs() / t, x * x, (p.log10() - t.log10()).abs()]
    terms += [(ratio < 1.25**i) & valid for i in (1, 2, 3)]
    return torch.stack([term.flatten(1).sum(1, dtype=torch.float64) for term in terms], 1)


def summarise(sums):
    """Metrics of a set of frames from its error sums `(N, 7)`, images without a valid pixel left out.

    Returns `{"pooled": {metric: float}, "per_image": {metric: float}}`; rel and delta as fractions, rms in
    metres. Raises ValueError where no image has a valid pixel.
    """
    sums = np.asarray(sums, dtype=np.float64)
    sums = sums[sums[:, 0] > 0]
    if not len(sums):
        raise ValueError("no valid pixel to score")
    pooled, image = sums[:, 1:].sum(0) / sums[:, 0].sum(), sums[:, 1:] / sums[:, :1]
    pooled[1], image[:, 1] = np.sqrt(pooled[1]), np.sqrt(image[:, 1])
    return {
        "pooled": dict(zip(METRICS, pooled.tolist(), strict=True)),
        "per_image": dict(zip(METRICS, image.mean(0).tolist(), strict=True)),
    }


def score(prediction, target):
    """`error_sums` of a batch under every protocol: `{"full": (B, 7), "eigen": (B, 7)}`."""
    crop = (slice(None), *eigen_crop(*target.shape[1:]))
    return {"full": error_sums(prediction, target), "eigen": error_sums(prediction[crop], target[crop])}
