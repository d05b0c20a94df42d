"""Depth of a photo: the network sees what it saw in training, and the files hold what it said."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY, make_frames
from hypothesis import given
from hypothesis import strategies as st
from making import make
from PIL import Image

from lthdepth import metrics
from lthdepth.__main__ import main
from lthdepth.config import Config
from lthdepth.data import photos
from lthdepth.data.frames import summarise
from lthdepth.errors import UserError
from lthdepth.inference import predict
from lthdepth.paper import live
from lthdepth.runs import run as runs

SHAPE = TINY.replace(height=40, width=56, epochs=1, bias=3.5)  # size and mean depth of the frames


@pytest.fixture(scope="module")
def made(narrow, tmp_path_factory):
    """A store with a trained run and the floor; the frames, 17 for testing."""
    folder = tmp_path_factory.mktemp("store")
    store, frames = runs.Store(folder / "runs", folder / "results"), make_frames(85, 40, 56)
    return store, frames, *(make(config, frames, store) for config in (SHAPE, SHAPE.floor()))


def photo_of(frames, i, path):
    Image.fromarray(frames.rgb[i].transpose(1, 2, 0)).save(path)
    return path


def test_test_frames_as_photos_score_as_the_record_says(made, tmp_path):
    """One by one, where the record's were scored in batches of at most 16."""
    store, frames, record, _ = made
    record, model = predict.network(record["key"][:6], store)
    rows = np.flatnonzero(frames.split == "test")
    for i, sums in zip(rows, store.arrays(record["key"])["test/full"], strict=True):
        rgb = photos.read(photo_of(frames, i, tmp_path / "a.png"))
        metres = predict.depth(rgb, record, model)
        ours = metrics.error_sums(torch.from_numpy(metres)[None], torch.from_numpy(frames.depth[i])[None])
        assert np.allclose(ours[0], sums, rtol=1e-4)
    # Photos of other sizes and shapes give depth of their size.
    large = np.asarray(Image.fromarray(rgb).resize((560, 400), Image.Resampling.BICUBIC))
    assert np.abs(predict.depth(large, record, model)[5::10, 5::10] - metres).mean() < 0.02 * metres.max()
    tall = predict.depth(large[:, :20], record, model)
    assert tall.shape == (400, 20) and np.isfinite(tall).all()


def test_the_files_hold_millimetres_at_the_size_of_the_photo(made, tmp_path):
    _, frames, record, _ = made
    path = photo_of(frames, 4, tmp_path / "my room.png")
    metres = np.linspace(-0.2, 70, 40 * 56, dtype=np.float32).reshape(40, 56)
    depth, picture = predict.save(path, photos.read(path), metres, record, tmp_path / "out")
    assert depth.name == f"my room_depth_{record['key'][:8]}.png"
    image = Image.open(depth)
    found = np.asarray(image)
    inside = (metres > 0.001) & (metres < 65.535)
    assert image.size == (56, 40) and found.dtype == np.uint16
    assert np.abs(found[inside] / 1000 - metres[inside]).max() <= 0.00051
    assert found[metres < 0].max() == 1 and found[metres > 65.6].min() == 65535  # 0 would mean: not measured
    assert np.asarray(Image.open(picture)).std() > 10


@given(st.integers(150, 3000), st.floats(1 / 3, 3))
def test_a_photo_is_seen_in_its_own_shape_with_about_as_many_pixels(height, aspect):
    rgb = np.broadcast_to(np.uint8(0), (height, round(height * aspect), 3))
    h, w = predict.seen(rgb, Config())
    assert abs(w / h / (rgb.shape[1] / rgb.shape[0]) - 1) < 0.01 and abs(h * w / (228 * 304) - 1) < 0.01


def test_the_network_nearest_to_a_density_shows_itself(made, tmp_path, monkeypatch):
    store, frames, record, _ = made
    shown = []
    monkeypatch.setattr(live, "display", lambda *things: shown.append(things))
    make(SHAPE.replace(arm="random", density=0.1), frames, store)
    paper = SimpleNamespace(store=store, device=torch.device("cpu"), summary=summarise(frames))
    path = photo_of(frames, 4, tmp_path / "a.png")
    live.photo(paper, 0.02)
    live.photo(paper, path=path)
    live.photo(paper, path=path, cut=0.05)
    words = [text.data for text, _ in shown]
    maps = [figure.axes[1].images[0].get_array() for _, figure in shown]
    assert "random 10" in words[0] and "(dense" in words[1]
    assert np.array_equal(maps[1], predict.depth(photos.read(path), *predict.network(record["key"], store)))
    assert "Cut to 5 %" in words[2] and "Cut to" not in words[1]
    assert not np.allclose(maps[1], maps[2])  # cut, the network sees something else
    paper.store = runs.Store(tmp_path, tmp_path)
    live.photo(paper)
    assert "No trained network" in shown[-1][0].data


def test_keep_makes_the_weights_of_a_recorded_run(elsewhere, capsys, made):
    store = runs.Store()
    words = "train --data rooms:24 --device cpu backbone=resnet18 height=32 width=32 batch=4 epochs=1".split()
    assert main(words) == 0
    key = next(iter(store.records()))
    store.publish([key], "own")
    for path in (store.local / key).iterdir():
        path.unlink()
    assert main(words) == 0 and not (store.local / key / "weights.pt").exists()  # the record is enough
    with pytest.raises(UserError, match=r"weights are not here.*train --data rooms:24 .*--keep"):
        predict.network(key, store)
    assert main([*words, "--keep"]) == 0 and (store.local / key / "weights.pt").exists()
    Image.new("RGB", (64, 48), "grey").save("p.jpg")
    assert main(["predict", "p.jpg", "--run", key, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "never seen a photo" in said and f"p_depth_{key[:8]}.png" in said
    with pytest.raises(UserError, match="has a network"):
        predict.network(made[3]["key"], made[0])
