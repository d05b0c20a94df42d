"""The statistics of a verdict: is a ticket worse than the dense network by more than a margin?

Everything works from records and their per-image error sums; differences are ticket minus dense of one seed,
in metres of rms, so that positive is worse.
"""

import numpy as np
from scipy import stats

MARGIN = 0.015  # metres of pooled rms; fixed before the study (PLAN.md)
ALPHA = 0.05
RESAMPLES = 9999


def pair(table, arm, density, against="dense"):
    """Differences in rms of a ticket from dense, or from another arm of its density, as a Series over the
    seeds that both have; table: of `budget.scores`. Raises ValueError for two runs of one seed.
    """
    same = np.isclose(table.density, density)
    one = table[(table.arm == arm) & same].set_index("seed").rms
    two = table[(table.arm == against) & (same if against != "dense" else True)].set_index("seed").rms
    if not (one.index.is_unique and two.index.is_unique):
        raise ValueError(f"two runs of one seed among those of {arm} or {against}: which is the pair?")
    return (one - two).dropna().sort_index()


def non_inferiority(differences, margin=MARGIN):
    """p value of the one-sided paired t test of "the mean difference is `margin` or more" (Schuirmann 1987,
    one half of TOST); below `ALPHA` the loss is shown to be smaller than the margin. It takes two pairs.
    """
    d = np.asarray(differences, float)
    if np.ptp(d) == 0:  # identical differences: the t statistic is infinite
        return float(d[0] >= margin)
    return float(stats.ttest_1samp(d, margin, alternative="less").pvalue)


def equivalence(differences, margin=MARGIN):
    """p value of the two one-sided tests: the mean difference lies outside (-margin, margin)."""
    d = np.asarray(differences, float)
    return max(non_inferiority(d, margin), non_inferiority(-d, margin))


def sign_flip(differences):
    """Two-sided exact sign-flip p value of "no difference"; with n pairs it cannot fall below 2 / 2^n."""
    how = {"permutation_type": "samples", "n_resamples": RESAMPLES, "rng": 0}
    return float(stats.permutation_test((np.asarray(differences, float),), np.mean, **how).pvalue)


def chen(ticket, dense):
    """The rule of Chen et al. (2021): a ticket wins if its mean error is within one sd of dense."""
    return bool(np.mean(ticket) <= np.mean(dense) + np.std(dense, ddof=1))


def interval(differences, level=0.95):
    """Interval of the mean difference over seeds by Student's t: `(low, high)`; nan for fewer than two."""
    d = np.asarray(differences, float)
    if len(d) < 2:
        return np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * stats.sem(d)
    return float(d.mean() - half), float(d.mean() + half)


def over_scenes(ticket, dense, scene):
    """BCa bootstrap 95 % interval, metres, of the mean difference in pooled rms when the test scenes were
    others; nan for fewer than three scenes.

    Frames of one scene resemble each other, so whole scenes are drawn, not frames. The networks stay the
    same: it says nothing of other seeds.

    Args:
        ticket, dense: error sums `(seeds, N, 7)` of `metrics.error_sums`, paired by seed.
        scene: `(N,)` scene of each frame.
    """
    _, groups = np.unique(scene, return_inverse=True)
    if groups.max() < 2:
        return np.nan, np.nan

    def per_scene(sums, column):  # (scenes, seeds)
        return np.stack([np.bincount(groups, np.asarray(one, float)[:, column]) for one in sums], 1)

    count, one, two = per_scene(dense, 0), per_scene(ticket, 2), per_scene(dense, 2)
    if np.array_equal(one, two):
        return 0.0, 0.0

    def difference(drawn, axis=-1):  # drawn: indices of scenes, (..., scenes)
        total = count[drawn].sum(-2)
        return (np.sqrt(one[drawn].sum(-2) / total) - np.sqrt(two[drawn].sum(-2) / total)).mean(-1)

    how = {"vectorized": True, "n_resamples": RESAMPLES, "batch": 500, "rng": 0}
    bounds = stats.bootstrap((np.arange(len(count)),), difference, **how).confidence_interval
    return tuple(map(float, bounds))


def holm(p):
    """Holm's step-down adjusted p values (Holm 1979), in the order given."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted[np.argsort(order)]


def crossing(densities, differences, margin=MARGIN):
    """Smallest density before a curve of losses first exceeds the margin on the way down, interpolated on log
    density; 0, for "below the smallest", where the margin is never exceeded.

    The curve starts at the dense network, density 1 and loss 0; densities: `(K,)` in any order; differences:
    `(K,)` losses at them, metres.
    """
    order = np.argsort(densities)[::-1]
    x = np.log(np.r_[1.0, np.asarray(densities, float)[order]])
    y = np.r_[0.0, np.asarray(differences, float)[order]]
    above = np.flatnonzero(y > margin)
    if not len(above):
        return 0.0
    k = above[0]
    return float(np.exp(np.interp(margin, y[k - 1 : k + 1], x[k - 1 : k + 1])))


def break_even(densities, differences, margin=MARGIN):
    """Break-even density with its 95 % interval, `(density, low, high)`, each as `crossing`.

    The interval holds the densities at which the t interval of the mean loss holds the margin: from `high`
    upwards the loss is shown to be below the margin, and below `low` to be above it. differences: K arrays,
    a value a seed; a level with one seed shows nothing.
    """
    bounds = [interval(d) if len(d) > 1 else (-np.inf, np.inf) for d in differences]
    curves = [np.mean(d) for d in differences], [low for low, _ in bounds], [high for _, high in bounds]
    return tuple(crossing(densities, curve, margin) for curve in curves)
