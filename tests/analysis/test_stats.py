"""The statistics, against scipy, closed forms and hand-worked examples."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from lthdepth.analysis import stats
from lthdepth.runs.run import ROOT

differences = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=12).filter(lambda d: np.std(d) > 1e-6)


@given(differences, st.floats(0.001, 0.1))
def test_non_inferiority_is_the_t_test_written_out(d, margin):
    p = stats.non_inferiority(d, margin)
    n, mean, sd = len(d), np.mean(d), np.std(d, ddof=1)
    t = (mean - margin) / (sd / n**0.5)
    assert p == pytest.approx(scipy_stats.t.cdf(t, n - 1), abs=1e-12)
    assert stats.interval(d) == pytest.approx(scipy_stats.t.interval(0.95, n - 1, mean, sd / n**0.5))
    assert (p < 0.05) == (stats.interval(d, 0.9)[1] < margin)  # test and interval say the same
    assert stats.equivalence(d, margin) >= p


def test_sign_flip_counts_every_pattern():
    d = np.array([0.3, -0.1, 0.2, 0.4])
    flips = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T
    means = (flips * d).mean(1)
    low, high = np.mean(means <= d.mean() + 1e-12), np.mean(means >= d.mean() - 1e-12)
    assert stats.sign_flip(d) == pytest.approx(2 * min(low, high))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1, 1])


def test_pairs_are_made_by_seed():
    rows = [("dense", 1.0, s, v) for s, v in ((0, 0.6), (1, 0.7), (2, 0.8))]
    rows += [("omp", 0.018, s, v) for s, v in ((2, 0.9), (0, 0.65))]
    rows += [("imp", d, s, d + s) for d in (0.5, 0.1) for s in (0, 1)]
    rows += [("random", 0.1, s, 3 * s + 1) for s in (0, 1)]
    table = pd.DataFrame(rows, columns=["arm", "density", "seed", "rms"])
    assert stats.pair(table, "omp", 0.018).tolist() == pytest.approx([0.05, 0.1])
    assert stats.pair(table, "omp", 0.018).index.tolist() == [0, 2]
    assert stats.pair(table, "random", 0.1, against="imp").tolist() == pytest.approx([0.9, 2.9])
    with pytest.raises(ValueError, match="two runs of one seed"):
        stats.pair(pd.concat([table, table]), "omp", 0.018)


def test_chen_counts_one_standard_deviation():
    dense = [0.60, 0.62, 0.64]  # mean 0.62, sd 0.02
    assert stats.chen([0.639], dense) and not stats.chen([0.641], dense)


def test_bootstrap_over_scenes_is_wider_than_over_frames_when_scenes_differ():
    rng = np.random.default_rng(3)
    scene = np.repeat(np.arange(40), 5)
    sums = np.zeros((2, 1, 200, 7))
    sums[..., 0] = 100
    effect = np.repeat(rng.normal(0.1, 0.1, 40), 5)
    sums[0, 0, :, 2] = 100 * (0.4 + effect)
    sums[1, 0, :, 2] = 100 * 0.4
    low, high = stats.over_scenes(sums[0], sums[1], scene)
    assert low < (0.4 + effect.mean()) ** 0.5 - 0.4**0.5 < high
    low_frames, high_frames = stats.over_scenes(sums[0], sums[1], np.arange(200))
    assert high - low > 1.7 * (high_frames - low_frames)  # five copies of one scene are no five scenes


def test_crossing_interpolates_on_log_density_from_dense():
    assert stats.crossing([0.1, 0.01], [0.01, 0.02], 0.015) == pytest.approx(10**-1.5)
    assert stats.crossing([0.01, 0.1], [0.02, 0.01], 0.015) == pytest.approx(10**-1.5)
    assert stats.crossing([0.1], [0.03], 0.015) == pytest.approx(0.1**0.5)
    assert stats.crossing([0.5, 0.1], [0, 0.01], 0.015) == 0
    first = stats.crossing([0.5, 0.1, 0.01], [0.02, 0, 0.02], 0.01)  # of two crossings
    assert first == pytest.approx(0.5**0.5)


def test_break_even_interval_inverts_the_t_intervals():
    rng = np.random.default_rng(4)
    densities = 0.8 ** np.arange(3, 19, 3)
    curve = 0.03 * (np.log(densities) / np.log(densities[-1])) ** 2
    d = [rng.normal(loss, 0.003, n) for loss, n in zip(curve, (3, 3, 3, 3, 3, 6), strict=True)]
    value, low, high = stats.break_even(densities, d)
    assert low <= value <= high
    assert value == pytest.approx(densities[-1] ** 0.5**0.5, rel=0.3)
    bounds = np.array([stats.interval(x) for x in d])
    assert (low, high) == tuple(stats.crossing(densities, bounds[:, i]) for i in (0, 1))
    assert stats.break_even([0.5, 0.1], [[0.0], [0.03]])[1:] == (0, 1)  # one seed shows nothing


SIMULATED = pd.read_csv(ROOT / "benchmarks" / "statistics.csv")


def test_simulated_sizes_and_coverages_are_as_promised_where_differences_are_normal():
    """The table that the paper shows: what it says of the tests that decide."""
    rows = SIMULATED[(SIMULATED.differences == "normal") & (SIMULATED.seeds == 6)].set_index("quantity")
    for name in rows.index[rows.index.str.startswith("size of")]:
        assert rows.found[name] <= 0.05 + 4 * rows["standard error"][name], name
    for name in (
        "coverage of the t interval over seeds",
        "coverage of the interval of the break-even density",
    ):
        assert rows.found[name] >= 0.95 - 4 * rows["standard error"][name], name
    assert rows.found["any of 4 arms at the margin passes, Holm"] < 0.07


def test_the_simulation_runs(tmp_path):
    out = tmp_path / "statistics.csv"
    words = [sys.executable, str(ROOT / "benchmarks" / "simulate.py"), "--studies", "4", "--out", str(out)]
    subprocess.run(words, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert pd.read_csv(out).quantity.tolist() == SIMULATED.quantity.tolist()
