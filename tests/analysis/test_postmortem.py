"""Each defect of the published code is a switch that does just what it says, against its definition."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, make_frames
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_train import Watch, fit

from lthdepth import metrics
from lthdepth.analysis import postmortem
from lthdepth.config import PUBLISHED, PUBLISHED_CODE, PUBLISHED_FLOOR, TUNED, Config
from lthdepth.data import augment, weights
from lthdepth.errors import UserError
from lthdepth.loss import berhu_published
from lthdepth.paper import postmortem as report
from lthdepth.paper.study import Desk
from lthdepth.runs import defects
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments
from lthdepth.training import fit as train
from lthdepth.training import step

PLAIN = {"scale": 1.0, "rotation": 0.0, "flip": False, "colour": 0.0}
SHAPE = (2, 3, 4)


# The loss


def defective_berhu(prediction, target):
    """Plain numpy: c from the signed, unmasked maximum; the mean of the errors and, once more, the squared outliers."""
    c = 0.2 * np.max(prediction - target)
    d = np.abs(prediction - target)[target > 0]
    return np.concatenate([d, d[d > c] ** 2]).mean() if len(d) else 0.0


@given(
    hnp.arrays(np.float64, SHAPE, elements=st.floats(-20, 20)),
    hnp.arrays(np.float64, SHAPE, elements=st.one_of(st.just(0.0), st.floats(0.1, 10))),
)
def test_the_published_loss_equals_its_definition(prediction, target):
    found = berhu_published(torch.tensor(prediction), torch.tensor(target)).item()
    assert found == pytest.approx(defective_berhu(prediction, target), rel=1e-12)


@pytest.mark.parametrize("largest", [-1.0, 0.0])
def test_with_c_of_zero_or_less_every_wrong_pixel_counts_twice(largest):
    """Depth too small everywhere, as at the start of training: the largest signed error is not positive."""
    target = np.full(SHAPE, 4.0)
    prediction = target + np.linspace(-3, largest, target.size).reshape(SHAPE)
    d = target - prediction
    wrong = d > 0  # where c = 0, a pixel without error is no outlier
    expected = (d.sum() + (d**2).sum()) / (d.size + wrong.sum())
    assert berhu_published(torch.tensor(prediction), torch.tensor(target)).item() == pytest.approx(
        expected, rel=1e-12
    )


def test_the_published_loss_listens_to_invalid_pixels():
    target = torch.tensor([[[2.0, 2.0, 0.0]]])
    small, large = (berhu_published(torch.tensor([[[2.5, 3.0, x]]]), target) for x in (1.0, 100.0))
    assert small.item() == pytest.approx((0.5 + 1.0 + 0.5**2 + 1.0**2) / 4)  # c = 0.2: both are outliers
    assert large.item() == pytest.approx((0.5 + 1.0) / 2)  # c = 20 by a pixel that has no depth


def test_the_published_loss_takes_c_as_a_constant():
    rng = np.random.default_rng(0)
    p, t = rng.normal(3, 2, SHAPE), rng.uniform(0.5, 5, SHAPE)
    x = torch.tensor(p, requires_grad=True)
    berhu_published(x, torch.tensor(t)).backward()
    c, d = 0.2 * (p - t).max(), np.abs(p - t)
    expected = np.sign(p - t) * np.where(d > c, 1 + 2 * d, 1) / (d.size + (d > c).sum())
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-9)


# Which frames


def test_the_index_split_takes_the_first_1200_of_nyu_and_as_large_a_part_of_others():
    config = Config(arm="floor", split="index", holdout=False)
    for n, first in ((1449, 1200), (240, 199), (20, 17)):
        split = np.array(["test", "train", "validation"])[np.arange(n) % 3]  # not looked at
        frames = type("Frames", (), {"split": split, "name": "toy"})
        found = train.rows_of(frames, config)
        assert found["fit"].tolist() == list(range(first)) and found["test"].tolist() == list(range(first, n))
        assert not len(found["validation"])
    with pytest.raises(UserError, match="no validation frames under split=index"):
        train.rows_of(frames, config.replace(holdout=True))


def test_without_shuffling_every_epoch_takes_the_frames_by_number(frames, tmp_path, monkeypatch):
    watch = Watch(monkeypatch)
    fit(TINY.replace(epochs=2, shuffle=False, holdout=False, test=False, batch=5), frames, tmp_path)
    rows = np.flatnonzero(frames.split != "test")[:15].tolist()  # the sixteenth never fills a batch
    assert watch.trained == rows + rows


# What is scored


@pytest.mark.parametrize("split", ["official", "index"])
def test_only_the_last_frames_are_scored_and_the_epoch_best_on_them_is_kept(split, tmp_path, monkeypatch):
    frames = make_frames(40)
    script, states, seen = iter([0.9, 0.5, 0.7]), [], []
    real = train.evaluate

    def scripted(model, views, index, config):
        seen.append(index.tolist())
        if len(states) == config.epochs:
            return real(model, views, index, config)
        states.append({k: v.clone() for k, v in model.state_dict().items()})
        sums = np.array([[1, 0, next(script) ** 2, 0, 0, 0, 0]])
        return {"full": sums, "eigen": sums}

    monkeypatch.setattr(train, "evaluate", scripted)
    config = TINY.replace(epochs=3, split=split, last_batch=5, holdout=False)
    results, arrays, saved = fit(config, frames, tmp_path)
    last = {"official": [19, 24, 29, 34, 39], "index": [35, 36, 37, 38, 39]}[split]
    assert all(index == last for index in seen)
    assert (
        results["curves"]["validation_rms"] == pytest.approx([0.9, 0.5, 0.7]) and results["epochs_run"] == 3
    )
    assert all(torch.equal(saved[k], v) for k, v in states[1].items())
    assert results["test"]["frames"] == 5 and results["test"]["full"] == metrics.summarise(
        arrays["test/full"]
    )
    assert results["test"] == results["validation"]


def test_the_floor_of_the_last_batch_in_plain_numpy(frames):
    config = Config(split="index", last_batch=2, holdout=False)
    results, _ = train.floor(config.floor(), frames)
    t, p = frames.depth[-2:].astype(np.float64), frames.depth[:17].astype(np.float64).mean(0)
    valid = t > 0
    rms = np.sqrt(((p - t)[valid] ** 2).mean())
    assert results["test"]["full"]["pooled"]["rms"] == pytest.approx(rms, rel=1e-6)
    assert results["fit_frames"] == 17 and results["test"]["frames"] == 2


# What is seen


def test_without_normalisation_colours_are_scaled_to_0_1_and_no_more(frames):
    views = augment.Views(frames, 32, 32, "cpu", normalise=False)
    index, config = np.arange(3), TINY.replace(**PLAIN)
    expected = F.interpolate(torch.tensor(frames.rgb[:3]).float() / 255, (32, 32), mode="bilinear")
    torch.testing.assert_close(views.test(index), expected)
    x, _ = views.train(*views.plan(index, np.full((3, 9), 0.5), config))
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)


def test_the_crop_is_that_of_resizing_to_250_rows_and_cutting_out_228_by_304():
    # Colour and depth say where in the frame they are.
    rows, columns = (np.arange(240) + 0.5) / 240, (np.arange(320) + 0.5) / 320
    rgb = np.zeros((1, 3, 240, 320), np.uint8)
    rgb[0, 0], rgb[0, 1] = (255 * columns).round(), (255 * rows[:, None]).round()
    depth = np.broadcast_to(1 + rows[:, None] + 0 * columns, (1, 240, 320)).astype(np.float32)
    frames = type("Frames", (), {"rgb": rgb, "depth": depth})
    views = augment.Views(frames, 228, 304, "cpu", normalise=False, crop=True)
    resized = F.interpolate(torch.tensor(rgb).float() / 255, (250, round(250 * 4 / 3)), mode="bilinear")[0]
    left = (resized.shape[2] - 304) / 2
    cut = resized[:, 11 : 11 + 228, int(left) : int(left) + 304]
    x, y = views.train(*views.plan(np.array([0]), np.full((1, 9), 0.5), Config(**PLAIN)))
    for found in (x[0], views.test(np.array([0]))[0]):
        assert (found - cut)[:2].abs().max() < 0.005  # half a column of 333, and 8 bits
    # Targets show the same window; all of it is valid.
    expected = 1 + 0.5 + 0.912 * ((np.arange(128) + 0.5) / 128 - 0.5)
    assert np.abs(y[0].numpy() - expected[:, None]).max() < 0.6 / 240 + 1e-6


def test_only_the_crop_is_scored_and_predictions_lie_where_they_belong():
    depth = np.random.default_rng(0).uniform(1, 9, (2, 120, 160)).astype(np.float32)
    blank = augment.cropped(depth)
    rows, columns = (np.flatnonzero(blank[0].any(axis=a)) for a in (1, 0))
    # 0.912 of 120 is 109.44 rows: centres from 5.28 to 114.72; of 160: from 7.04 to 152.96
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 114, 7, 152)
    assert (
        np.array_equal(blank[:, 5:115, 7:153], depth[:, 5:115, 7:153]) and (blank > 0).sum() == 2 * 110 * 146
    )
    frames = type("Frames", (), {"rgb": np.zeros((2, 3, 120, 160), np.uint8), "depth": depth})
    views = augment.Views(frames, 114, 152, "cpu", crop=True)
    # A network that is right about the window's columns is right about the frame's.
    answer = 0.5 + 0.912 * ((torch.arange(64) + 0.5) / 64 - 0.5)
    whole = views.enlarge(answer.expand(1, 1, 48, 64), (120, 160))[0]
    truth = (torch.arange(160) + 0.5) / 160
    assert (whole - truth)[:, 8:152].abs().max() < 1e-5
    floor, _ = train.floor(Config(holdout=False, crop=True, split="index").floor(), make_frames())
    assert floor["test"]["full"]["pooled"]["rms"] > 0


# The optimiser


def test_adam_adds_the_penalty_to_the_gradient_and_adamw_does_not():
    """First step of Adam from zero moments: every weight moves by lr against the sign of gradient + penalty."""
    w = torch.tensor([2.0, -3.0])
    for name, moved in (("adam", w - 0.1 * w.sign()), ("adamw", w * (1 - 0.1 * 0.01))):
        model = type("Model", (), {"encoder": torch.nn.Module(), "decoder_parameters": lambda self: []})()
        model.encoder.w = torch.nn.Parameter(w.clone())
        opt = step.optimiser(Config(optimiser=name, weight_decay=0.01), model)
        opt.param_groups[0]["lr"] = 0.1
        model.encoder.w.grad = torch.zeros(2)  # a flat loss: only the decay moves the weights
        opt.step()
        torch.testing.assert_close(model.encoder.w.detach(), moved)


# All together


def test_the_published_code_is_the_published_setting_with_every_defect():
    assert (
        PUBLISHED_CODE.replace(
            **{
                f: getattr(PUBLISHED, f)
                for f in (
                    "split",
                    "normalise",
                    "scale",
                    "rotation",
                    "flip",
                    "colour",
                    "shuffle",
                    "last_batch",
                    "loss",
                    "crop",
                    "holdout",
                )
            }
        )
        == PUBLISHED
    )
    c = PUBLISHED_CODE
    assert (c.split, c.last_batch, c.loss, c.crop, c.holdout) == ("index", 50, "berhu-published", True, False)
    assert not (c.normalise or c.shuffle or c.flip or c.rotation or c.colour) and c.scale == 1
    assert (c.optimiser, c.lr_encoder, c.lr_decoder, c.weight_decay) == ("sgd", 1e-4, 2e-3, 0.01)
    assert 1200 // c.batch * c.epochs == 240 and (c.height, c.width) == (228, 304)


def test_the_published_code_runs_with_all_its_defects(store):
    frames = make_frames(40)
    config = PUBLISHED_CODE.replace(
        backbone="resnet18", height=32, width=32, batch=16, epochs=2, last_batch=4
    )
    record = runs.run(config, frames, weights.NONE, store, progress=False)
    assert record["fit_frames"] == 33 and record["test"]["frames"] == 4
    floor = runs.run(config.floor(), frames, weights.NONE, store)
    arrays = [store.arrays(r["key"])["test/frames"].tolist() for r in (record, floor)]
    assert arrays[0] == arrays[1] == [36, 37, 38, 39]
    assert (
        store.arrays(record["key"])["test/full"][0, 0]
        == store.arrays(floor["key"])["test/full"][0, 0]
        < 40 * 56
    )


@pytest.mark.parametrize(
    ("last", "rel", "rms", "rms_image", "delta"),
    [(0, 0.308, 1.403, 1.291, (0.419, 0.734, 0.912)), (50, 0.328, 1.262, 1.179, (0.417, 0.736, 0.917))],
)
def test_the_floor_of_the_published_frames_on_nyu(nyu_depth, last, rel, rms, rms_image, delta):
    """Against values computed apart from this code, at full resolution."""
    depth, _ = nyu_depth
    frames = type("Frames", (), {"depth": depth, "split": np.full(1449, "train"), "name": "nyu"})
    results, _ = train.floor(Config(arm="floor", split="index", last_batch=last, holdout=False), frames)
    pooled, image = (results["test"]["full"][k] for k in ("pooled", "per_image"))
    assert image["rms"] == pytest.approx(rms_image, abs=0.01)
    found = [pooled[k] for k in ("rel", "rms", "delta1", "delta2", "delta3")]
    assert found == pytest.approx([rel, rms, *delta], abs=0.01)


# The grid and what is shown of it


def test_every_defect_alone_changes_what_the_published_code_has_and_nothing_else():
    alone = {
        "weight decay 0.01": {"optimiser"},
        "240 small steps": {"weight_decay"},
    }  # where a defect differs alone
    every = set()
    for name, changes in defects.DEFECTS.items():
        differs = {f for f, v in changes.items() if v != getattr(PUBLISHED_CODE, f)}
        assert differs == alone.get(name, set()), name
        assert TUNED.replace(**changes) != TUNED
        every |= changes.keys()
    # Nothing that separates the published code from the sound setting is left without a switch.
    fields = [
        f for f in PUBLISHED_CODE.__dataclass_fields__ if getattr(TUNED, f) != getattr(PUBLISHED_CODE, f)
    ]
    assert set(fields) <= every


def test_the_grid_turns_on_one_defect_at_a_time_around_the_papers_dense_runs():
    rows = experiments.postmortem("postmortem")
    paper = experiments.study("paper").configs
    for seed in (0, 1):
        mine = {row: c for row, c in rows if c.seed == seed}
        assert mine[defects.SOUND] in paper and mine[defects.SOUND].arm == "dense"
        for name, changes in defects.DEFECTS.items():
            assert mine[name] == mine[defects.SOUND].replace(**changes)
        assert mine[defects.TOGETHER] == PUBLISHED_CODE.replace(seed=seed)
    configs = experiments.study("postmortem").configs
    assert all(c.floor() in configs for _, c in rows) and PUBLISHED_FLOOR in configs


def made_up(rms, floor, seed=0, delta1=0.7):
    def record(name, rms, delta1):
        scores = {"rel": rms / 4, "rms": rms, "log10": 0.1, "delta1": delta1, "delta2": 0.9, "delta3": 0.95}
        both = {"full": {"pooled": scores, "per_image": scores}, "frames": 50}
        return {
            "key": f"{name}{rms}{seed}",
            "seed": seed,
            "arm": name,
            "density": 1.0,
            "test": both,
            "data": {"height": 240},
        }

    return record("dense", rms, delta1), record("floor", floor, 0.4)


def a_grid():
    """Sound 0.6 and 0.7 of a floor of 1.2; one defect half-way to its own floor of 1.4; another not run."""
    return [
        (defects.SOUND, *made_up(0.6, 1.2)),
        (defects.TOGETHER, *made_up(1.4, 1.4)),
        ("split by index", *made_up(1.4 * 0.7708333333, 1.4)),
        ("loss", None, made_up(1, 1.2)[1]),
        (defects.SOUND, *made_up(0.7, 1.2, seed=1)),
    ]


def test_the_way_to_the_floor_is_measured_against_each_rows_own_floor():
    table = report.table(a_grid()).set_index("defect")
    assert list(table.index) == [defects.SOUND, "split by index", "loss", defects.TOGETHER]
    assert list(table["way to the floor"]) == ["0 %", "50 %", "–", "100 %"]
    assert table.loc[defects.SOUND, "rms (m)"] == f"0.650 ± {np.std([0.6, 0.7], ddof=1):.3f}"
    assert table.loc["loss", "rms (m)"] == "not run yet" and table.loc["loss", "runs"] == 0
    assert len(postmortem.used(a_grid())) == 7  # two of the four records of the sound rows are one floor


def test_the_figure_shows_each_run_relative_to_its_floor_and_says_what_is_missing():
    drawn = report.figure(a_grid(), made_up(1, 1.262)[1])
    rms, _, delta1 = drawn.axes
    dots = {line.get_ydata()[0]: line.get_xdata() for line in rms.lines if line.get_marker() in ("o", "D")}
    assert dots[0] == pytest.approx([0.5, 0.7 / 1.2]) and dots[1] == pytest.approx([0.7708333333])
    assert 2 not in dots and any(t.get_text() == "not run yet" for t in rms.texts)
    assert dots[4] == pytest.approx([1.239 / 1.262]) and dots[5] == pytest.approx([1.407 / 1.262])
    first = next(line for line in delta1.lines if line.get_marker() == "o")
    assert first.get_xdata() == pytest.approx([0.5, 0.5])  # (1 - 0.7) / (1 - 0.4)
    assert report.figure([(defects.SOUND, *made_up(0.6, 1.2)), ("loss", None, None)]) is None
    assert report.figure([]) is None


def test_a_build_without_any_record_says_so(store):
    desk = Desk("paper", store=store)
    found = postmortem.grid(desk)
    assert set(report.table(found)["rms (m)"]) == {"not run yet"} and postmortem.used(found) == []
    assert report.reading(None) is None and len(report.against_floor(None)) == 2


def test_the_published_rows_are_read_against_the_floor_of_their_own_frames():
    scores = {"rel": 0.328, "rms": 1.262, "delta1": 0.417, "delta2": 0.736, "delta3": 0.917}
    floor = {"test": {"full": {"pooled": scores, "per_image": {**scores, "rms": 1.179}}}}
    text = report.reading(floor)
    assert (
        "dense network has rms −1.8 %, rel −0.9 %, 1 − δ1 −1.9 %" in text
        and "sparse network has rms +11.5 %" in text
    )
    table = report.against_floor(floor)
    assert list(table["rms (m)"]) == ["1.239", "1.407", "1.262", "1.179"]


def test_the_index_split_is_told_from_the_list_of_frames():
    text = postmortem.index_split()
    assert (
        "other 249 are all of a living room or a dining room" in text and "8 frames of a dining room" in text
    )
