"""The post-mortem: its grid of defects, how far they lead to the floor, and what is shown of it."""

import numpy as np
import pytest
from made_up import record, study

from lthdepth.analysis import postmortem, verdict
from lthdepth.config import TUNED, level
from lthdepth.paper import plots, sentences, tables
from lthdepth.runs import studies
from lthdepth.runs.studies import PUBLISHED_CODE, PUBLISHED_FLOOR


def test_every_defect_alone_changes_what_the_published_code_has_and_nothing_else():
    # where a defect differs alone
    alone = {"weight decay 0.01": {"optimiser"}, "240 small steps": {"weight_decay"}}
    for name, changes in studies.DEFECTS.items():
        differs = {f for f, v in changes.items() if v != getattr(PUBLISHED_CODE, f)}
        assert differs == alone.get(name, set()), name
        assert TUNED.replace(**changes) != TUNED
    # Nothing that separates the published code from the sound setting is left without a switch.
    every = set().union(*studies.DEFECTS.values())
    assert {f for f, v in vars(PUBLISHED_CODE).items() if getattr(TUNED, f) != v} <= every


def test_the_grid_turns_on_one_defect_at_a_time_around_the_papers_dense_runs():
    rows = studies.postmortem("postmortem")
    for seed in (0, 1):
        mine = {row: c for row, c in rows if c.seed == seed}
        assert mine[studies.SOUND].arm == "dense"
        for name, changes in studies.DEFECTS.items():
            assert mine[name] == mine[studies.SOUND].replace(**changes)
        assert mine[studies.TOGETHER] == PUBLISHED_CODE.replace(seed=seed)
    configs = studies.study("postmortem").configs
    assert all(c.floor() in configs for _, c in rows) and PUBLISHED_FLOOR in configs


def pair(rms, floor, seed=0):
    """Records of a network and of its floor."""
    scores = ("dense", rms, 0.7), ("floor", floor, 0.4)
    return [record(arm, 1.0, seed, r, delta1, key=f"{arm}{r}{seed}") for arm, r, delta1 in scores]


def a_grid():
    """Sound 0.6 and 0.7 of a floor of 1.2; one defect half-way to its own floor of 1.4; another not run."""
    return [
        (studies.SOUND, *pair(0.6, 1.2)),
        (studies.TOGETHER, *pair(1.4, 1.4)),
        ("split by index", *pair(1.4 * 0.7708333333, 1.4)),
        ("loss", None, pair(1, 1.2)[1]),
        (studies.SOUND, *pair(0.7, 1.2, seed=1)),
    ]


def test_the_way_to_the_floor_is_measured_against_each_rows_own_floor():
    table = tables.postmortem(a_grid()).set_index("defect")
    assert list(table.index) == [studies.SOUND, "split by index", studies.TOGETHER]  # "loss" is not run
    assert list(table["way to the floor"]) == ["0 %", "50 %", "100 %"]
    assert table.loc[studies.SOUND, "rms (m)"] == f"0.650 ± {np.std([0.6, 0.7], ddof=1):.3f}"
    assert len(postmortem.used(a_grid())) == 7  # of three finished rows


def test_the_figure_shows_each_run_relative_to_its_floor():
    drawn = plots.postmortem(a_grid(), pair(1, 1.262)[1])
    rms, _, delta1 = drawn.axes
    dots = {line.get_ydata()[0]: line.get_xdata() for line in rms.lines if line.get_marker() in ("o", "D")}
    assert dots[0] == pytest.approx([0.5, 0.7 / 1.2]) and dots[1] == pytest.approx([0.7708333333])
    assert dots[2] == pytest.approx([1.0]) and len(dots) == 5  # "loss" is not run
    assert dots[3] == pytest.approx([1.239 / 1.262]) and dots[4] == pytest.approx([1.407 / 1.262])
    first = next(line for line in delta1.lines if line.get_marker() == "o")
    assert first.get_xdata() == pytest.approx([0.5, 0.5])  # (1 - 0.7) / (1 - 0.4)
    assert plots.postmortem([(studies.SOUND, *pair(0.6, 1.2)), ("loss", None, None)]) is None
    assert plots.postmortem([]) is None


def test_the_published_rows_are_read_against_the_floor_of_their_own_frames():
    scores = {"rel": 0.328, "rms": 1.262, "delta1": 0.417, "delta2": 0.736, "delta3": 0.917}
    floor = {"test": {"full": {"pooled": scores, "per_image": {**scores, "rms": 1.179}}}}
    text = sentences.against_floor(floor)
    assert "dense network has rms −1.8 %, rel −0.9 %, 1 − δ1 −1.9 %" in text
    assert "sparse network has rms +11.5 %" in text
    assert list(tables.against_floor(floor)["rms (m)"]) == ["1.239", "1.407", "1.262", "1.179"]


def test_their_images_are_set_beside_every_recorded_budget():
    losses, records = {2: 0.24, 6: 0.21, 18: 0.03}, []  # the last with more images than theirs
    for epochs, loss in losses.items():
        made, _ = study(2, {("omp", level(18)): loss}, dense=0.8, spread=0, epochs=epochs)
        records += made if not records else made[1:]
    text = sentences.training_images(verdict.analyse("paper", records), None)
    assert all(f"- {images} images" in text for images in ("1,584", "4,752", "14,256"))
    assert all(f"loses {loss:.3f} m (2 pairs)" in text for loss in losses.values())
    assert text.count("dense rms 0.800 m, 33 % below the mean depth map's 1.200 m") == 3
    assert "0.210 m, is about 14 times" in text
    text = sentences.training_images(verdict.analyse("paper", made), None)
    assert "14,256" in text and "single pair" not in text  # it proves nothing about theirs
