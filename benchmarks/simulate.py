"""How far the plan's statistics can be trusted: coverage of the intervals, size and power of the tests.

Studies with a known truth are simulated and analysed by `lthdepth.analysis.stats`, many times, in about 4
minutes on one core: `python benchmarks/simulate.py` writes benchmarks/statistics.csv. Paired differences are
in metres of rms: normal with the standard deviation SD, or skewed (an exponential of the same mean and
deviation) as when a run now and then ends badly.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lthdepth.analysis import stats
from lthdepth.config import level

SD = 0.010  # metres: two runs that each spread by 0.007 m, independent of each other
M = stats.MARGIN
SCENES, FRAMES = 215, 654  # of the official test set


def normal(rng, shape, mean):
    return rng.normal(mean, SD, shape)


def skewed(rng, shape, mean):
    return mean - SD + rng.exponential(SD, shape)


def tests(rng, studies):
    """Size (the truth is at the margin) and power (it is better) of the tests; Chen's rule beside them."""
    for draw, seeds in ((normal, 3), (normal, 6), (normal, 10), (skewed, 6)):
        for loss in (M, 0.010, 0.005, 0.0):
            d, end = draw(rng, (studies, seeds), loss), f"true loss {loss:.3f} m"
            what, nominal = ("size", stats.ALPHA) if loss == M else ("power", None)
            passed = [stats.non_inferiority(one) < stats.ALPHA for one in d]
            yield f"{what} of non-inferiority, {end}", draw, seeds, nominal, passed
            same = [stats.equivalence(one) < stats.ALPHA for one in d]
            yield f"{what} of equivalence, {end}", draw, seeds, nominal, same
        flipped = [stats.sign_flip(one) < stats.ALPHA for one in draw(rng, (studies, seeds), 0)]
        yield "size of the sign-flip test", draw, seeds, stats.ALPHA, flipped
    for seeds in (3, 6):
        for loss in (2 * M, M, 0.0):
            ticket, dense = (rng.normal(mean, SD / 2**0.5, (studies, seeds)) for mean in (loss, 0))
            won = [stats.chen(*pair) for pair in zip(ticket, dense, strict=True)]
            name = f"a ticket wins by the rule of Chen et al., true loss {loss:.3f} m"
            yield name, normal, seeds, None, won


def family(rng, studies):
    """How often a control that is as bad as the margin passes, when four are tested: alone, and with Holm."""
    p = [[stats.non_inferiority(one) for one in arms] for arms in normal(rng, (studies, 4, 6), M)]
    name, alone = "any of 4 arms at the margin passes", [min(one) < stats.ALPHA for one in p]
    yield f"{name}, uncorrected", normal, 6, None, alone
    yield f"{name}, Holm", normal, 6, stats.ALPHA, [min(stats.holm(one)) < stats.ALPHA for one in p]


def intervals(rng, studies):
    """Coverage of the intervals of the mean difference over seeds."""
    for draw, seeds in ((normal, 3), (normal, 6), (normal, 12), (skewed, 6)):
        held = [low <= M <= high for low, high in map(stats.interval, draw(rng, (studies, seeds), M))]
        yield "coverage of the t interval over seeds", draw, seeds, 0.95, held


def break_even(rng, studies):
    """Coverage of the interval of the break-even density, on a curve that crosses the margin at 5 %."""
    densities = [level(k) for k in (3, 6, 9, 12, 15, 17, 18)]
    truth = M / np.log(0.05) ** 4 * np.log(densities) ** 4
    for seeds in (3, 6):
        dense = normal(rng, (studies, seeds, 1), 0) / 2**0.5  # is part of all differences of its seed
        d = truth + dense + normal(rng, (studies, seeds, len(truth)), 0) / 2**0.5
        ends = [stats.break_even(densities, list(one.T))[1:] for one in d]
        held = [low <= 0.05 <= high for low, high in ends]
        yield "coverage of the interval of the break-even density", normal, seeds, 0.95, held


def scenes(rng, studies):
    """Coverage of the interval over test scenes: a population of scenes of which 215 are drawn."""
    size = rng.multinomial(FRAMES - SCENES, np.full(SCENES, 1 / SCENES)) + 1
    scene, base = np.repeat(np.arange(SCENES), size), np.array([0.6**2 + 0.05, 0.6**2])
    truth = np.subtract(*np.sqrt(base))
    for seeds in (1, 6):
        held = []
        for _ in range(studies // 5 + 1):
            hard = rng.gamma(2, 0.5, (SCENES, 1))[scene]  # of mean 1: hard or easy for both networks
            noise = rng.gamma(4, 0.25, (2, FRAMES, seeds))
            sums = np.zeros((2, seeds, FRAMES, 7))
            sums[..., 0] = 1
            sums[..., 2] = (hard * noise * base[:, None, None]).swapaxes(1, 2)
            low, high = stats.over_scenes(*sums, scene)
            held.append(low <= truth <= high)
        yield "coverage of the interval over scenes", normal, seeds, 0.95, held


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="for every line (default 2000)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("statistics.csv"))
    args = parser.parse_args()
    rows = []
    for part in (tests, family, intervals, break_even, scenes):
        for name, draw, seeds, nominal, hits in part(np.random.default_rng(1), args.studies):
            n, value = len(hits), np.mean(hits)
            error = (max(value * (1 - value), 1 / n) / n) ** 0.5
            rows.append((name, draw.__name__, seeds, nominal, round(value, 4), round(error, 4), n))
    columns = ["quantity", "differences", "seeds", "nominal", "found", "standard error", "studies"]
    pd.DataFrame(rows, columns=columns).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
