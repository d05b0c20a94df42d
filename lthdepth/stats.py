"""The statistics of a verdict: is a ticket worse than the dense network by more than a margin?

Everything works from records and their per-image error sums; differences are ticket minus dense of one seed, in metres
of rms, so that positive is worse.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

MARGIN = 0.015  # metres of pooled rms; fixed before the study (PLAN.md)
ALPHA = 0.05
RESAMPLES = 9999


@dataclass(frozen=True)
class Test:
    """Outcome of a one-sided test of non-inferiority.

    mean, sd: of the paired differences; upper: their one-sided 95 % confidence bound; p: of "worse by the margin or more".
    """

    n: int
    mean: float
    sd: float
    upper: float
    p: float
    margin: float

    @property
    def passed(self):
        """Whether the loss is shown to be smaller than the margin."""
        return self.p < ALPHA

    def sentence(self, name):
        """The outcome in plain words."""
        verdict = "is not worse than" if self.passed else "is not shown to be within the margin of"
        return (
            f"{name} {verdict} the dense network: mean difference {self.mean:+.3f} m over {self.n} paired seeds, one-sided "
            f"{100 * (1 - ALPHA):.0f} % bound {self.upper:+.3f} m, margin {self.margin:.3f} m, p = {self.p:.3g}."
        )


def pair(table, arm, density, metric="rms", against="dense"):
    """Differences of an arm from another, seed by seed.

    Args:
        table: `plots.tidy` of the records.
        arm, density: the ticket; against: the arm it is compared with.

    Returns:
        Array `(n,)` over the seeds that both have, in the order of the seeds.
    """
    one = table[(table.arm == arm) & np.isclose(table.density, density)].set_index("seed")[metric]
    two = table[table.arm == against].set_index("seed")[metric]
    return (one - two).dropna().sort_index().to_numpy()


def non_inferiority(differences, margin=MARGIN):
    """One-sided paired t test of "the mean difference is `margin` or more" (Schuirmann 1987, one half of TOST).

    Raises:
        ValueError: fewer than two pairs: one run has no spread, and no test can be made.
    """
    d = np.asarray(differences, float)
    if len(d) < 2:
        raise ValueError("a paired test needs at least two seeds")
    mean, sd, error = d.mean(), d.std(ddof=1), stats.sem(d)
    if error == 0:  # identical differences: the t statistic is infinite
        p = 0.0 if mean < margin else 1.0
    else:
        p = stats.ttest_1samp(d, margin, alternative="less").pvalue
    return Test(len(d), mean, sd, mean + stats.t.ppf(1 - ALPHA, len(d) - 1) * error, float(p), margin)


def equivalence(differences, margin=MARGIN):
    """p value of the two one-sided tests: the mean difference lies outside (-margin, margin)."""
    d = np.asarray(differences, float)
    return max(non_inferiority(d, margin).p, non_inferiority(-d, margin).p)


def sign_flip(differences):
    """Two-sided exact sign-flip p value of "no difference"; with n pairs it cannot fall below 2 / 2^n."""
    d = np.asarray(differences, float)
    found = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=0)
    return float(found.pvalue)


def chen(ticket, dense):
    """The rule of Chen et al. (2021): a ticket wins if its mean error is within one standard deviation of dense."""
    return bool(np.mean(ticket) <= np.mean(dense) + np.std(dense, ddof=1))


def interval(differences, level=0.95):
    """BCa bootstrap interval of the mean difference over seeds: `(low, high)`."""
    found = stats.bootstrap((np.asarray(differences, float),), np.mean, confidence_level=level, n_resamples=RESAMPLES, rng=0)
    return tuple(map(float, found.confidence_interval))


def over_scenes(ticket, dense, scene, level=0.95):
    """BCa bootstrap interval of the difference in pooled rms when the test scenes were others.

    Frames of one scene resemble each other, so whole scenes are drawn, not frames.

    Args:
        ticket, dense: error sums `(seeds, N, 7)` of `metrics.error_sums`, averaged over seeds first.
        scene: `(N,)` scene of each frame.

    Returns:
        `(difference, low, high)`, metres.
    """
    _, groups = np.unique(scene, return_inverse=True)

    def per_scene(sums, column):
        return np.bincount(groups, np.asarray(sums, float).mean(0)[:, column])

    def difference(count, one, two, axis=-1):
        total = count.sum(axis)
        return np.sqrt(one.sum(axis) / total) - np.sqrt(two.sum(axis) / total)

    data = per_scene(dense, 0), per_scene(ticket, 2), per_scene(dense, 2)
    found = stats.bootstrap(data, difference, paired=True, vectorized=True, confidence_level=level, n_resamples=RESAMPLES, rng=0)
    return (float(difference(*data)), *map(float, found.confidence_interval))


def holm(p):
    """Holm's step-down adjusted p values (Holm 1979), in the order given."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted[np.argsort(order)]


def crossing(densities, differences, margin=MARGIN):
    """Smallest density before the mean loss first exceeds the margin on the way down, interpolated on log density.

    Args:
        densities: `(K,)`, any order; differences: `(K,)` mean differences at them.

    Returns:
        A density; the smallest one where the margin is never exceeded, 1 where it is exceeded at once.
    """
    order = np.argsort(densities)[::-1]
    x, y = np.log(np.asarray(densities, float)[order]), np.asarray(differences, float)[order]
    above = np.flatnonzero(y > margin)
    if not len(above):
        return float(np.exp(x[-1]))
    k = above[0]
    if k == 0:
        return 1.0
    share = (margin - y[k - 1]) / (y[k] - y[k - 1])
    return float(np.exp(x[k - 1] + share * (x[k] - x[k - 1])))


def break_even(densities, differences, margin=MARGIN, level=0.95):
    """Break-even density with a percentile bootstrap interval over seeds: `(density, low, high)`.

    Args:
        densities: `(K,)`; differences: `(seeds, K)`, paired with dense.
    """
    d = np.asarray(differences, float)
    generator = np.random.Generator(np.random.Philox(key=0))
    draws = generator.integers(len(d), size=(RESAMPLES, len(d)))
    found = [crossing(densities, row, margin) for row in d[draws].mean(1)]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return crossing(densities, d.mean(0), margin), float(low), float(high)
