"""The official file made into a cache: what comes out, and every way in which the file can be wrong."""

import io
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from lthdepth.data import nyu as data
from lthdepth.data.convert import convert, halve_depth, nyu_table
from lthdepth.data.nyu import load, read_cache
from lthdepth.errors import UserError

SHARED = Path(__file__).parents[1].parent / "shared" / "nyu"
HALF = SHARED / "nyu_v2_labeled_half.h5"
SAMPLE = SHARED / "nyu_sample.mat"
WIDTH, HEIGHT = 12, 8  # of a small frame at half resolution


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "DATA_DIR", tmp_path / "data")


def write_mat(path, images, depths, scenes):
    """The layout of the official file: `images` (N, 3, W, H), `depths` (N, W, H), `scenes` references."""
    with h5py.File(path, "w") as file:
        file["images"], file["depths"] = images, depths
        cells = file.create_dataset("scenes", (1, len(scenes)), h5py.ref_dtype)
        for i, scene in enumerate(scenes):
            file[f"#refs#/{i}"] = np.array([[ord(letter)] for letter in scene], np.uint16)
            cells[0, i] = file[f"#refs#/{i}"].ref
    return path


def small_mat(path, n=4, **change):
    rng = np.random.Generator(np.random.Philox(7))
    parts = {
        "images": rng.integers(0, 256, (n, 3, 2 * WIDTH, 2 * HEIGHT), np.uint8),
        "depths": rng.uniform(0.7, 10, (n, 2 * WIDTH, 2 * HEIGHT)).astype(np.float32),
        "scenes": [f"room_{i}" for i in range(n)],
    } | change
    Path("split.json").write_text(
        json.dumps({"train": list(range(n - 1)), "test": [n - 1]}), encoding="utf-8"
    )
    return write_mat(path, **parts), parts


def test_conversion_halves_and_keeps_edges():
    mat, parts = small_mat("small.mat")
    convert(mat, "small.h5", "split.json", progress=False)
    frames = read_cache("small.h5", progress=False)
    assert frames.rgb.shape == (4, 3, HEIGHT, WIDTH) and frames.scene.tolist() == parts["scenes"]
    assert frames.split[3] == "test" and "test" not in frames.split[:3]
    for i, x, y in [(0, 0, 0), (1, 11, 7), (3, 4, 6)]:  # x along the width, y down
        block = np.s_[2 * x : 2 * x + 2, 2 * y : 2 * y + 2]
        for channel in range(3):
            assert abs(parts["images"][i, channel][block].mean() - frames.rgb[i, channel, y, x]) <= 0.5
        assert abs(sorted(parts["depths"][i][block].flat)[1] - frames.depth[i, y, x]) <= 0.000101


@pytest.mark.parametrize(
    "four, half",
    [
        ([1, 1, 5, 5], 1),
        ([1, 5, 5, 5], 5),
        ([1, 2, 3, 4], 2),
        ([0, 2, 3, 4], 3),
        ([0, 0, 3, 4], 3),
        ([0, 0, 0, 4], 4),
        ([0, 0, 0, 0], 0),
        ([np.nan, 1, 2, 3], 2),
        ([np.inf, -1, 7, 0], 7),
    ],
)
def test_half_depth_is_a_depth_that_was_there(four, half):
    for turn in range(4):
        assert halve_depth(np.rot90(np.array(four, np.float32).reshape(2, 2), turn)) == half


def test_mat_is_converted_once_for_each_state_of_it(monkeypatch):
    split, scenes = nyu_table()
    # one small frame for each of the 1449, so that the committed split applies
    depths = np.ones((1449, 2, 4), np.float32) * np.linspace(1, 9, 1449, dtype=np.float32)[:, None, None]
    write_mat("nyu.mat", np.zeros((1449, 3, 2, 4), np.uint8), depths, scenes)
    frames = load("nyu.mat", progress=False)
    assert frames.name == "nyu" and np.array_equal(frames.split, split)
    assert np.array_equal(frames.scene, scenes)
    assert frames.depth[:, 0, 0] == pytest.approx(depths[:, 0, 0], abs=0.000101)
    calls = []
    monkeypatch.setattr(data, "convert", lambda mat, cache, **_: calls.append((mat, cache)))
    load("nyu.mat", progress=False)
    assert calls == []
    os.utime("nyu.mat", (1, 1))
    load("nyu.mat", progress=False)
    assert calls == [(Path("nyu.mat"), data.cache_of("nyu.mat"))]


def test_scenes_of_another_file_are_noticed():
    images, depths = np.zeros((1449, 3, 2, 4), np.uint8), np.ones((1449, 2, 4), np.float32)
    write_mat("nyu.mat", images, depths, nyu_table()[1][::-1])
    with pytest.raises(UserError, match="scene of frame 0 dining_room_0036, not kitchen_0004"):
        load("nyu.mat", progress=False)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"depths": np.ones((4, 3, 2 * WIDTH, 2 * HEIGHT), np.float32)}, "depths"),
        ({"depths": np.full((4, 2 * WIDTH, 2 * HEIGHT), 1500, np.float32)}, "1500"),
        ({"images": np.ones((4, 3, 2 * WIDTH, 2 * HEIGHT), np.float32)}, "images as float32"),
        ({"images": np.ones((2 * HEIGHT, 2 * WIDTH, 3, 4), np.uint8)}, "images"),
        ({"images": np.ones((4, 3, 5, 4), np.uint8), "depths": np.ones((4, 5, 4), np.float32)}, "even"),
        ({"scenes": ["a"]}, "scenes"),
    ],
)
def test_mat_of_another_layout(change, message):
    mat, _ = small_mat("bad.mat", **change)
    with pytest.raises(UserError, match=message):
        convert(mat, "out.h5", "split.json", progress=False)
    assert sorted(path.name for path in Path().iterdir()) == ["bad.mat", "split.json"]


def test_another_number_of_frames_needs_a_split():
    mat, _ = small_mat("small.mat")
    with pytest.raises(UserError, match="holds 4 frames, not 1449"):
        load(mat, progress=False)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no split file"),
        ("{", "not a split"),
        ('{"train": [0, 1]}', "not a split"),
        ('{"train": [0, 1], "test": [2.5, 3]}', "whole numbers"),
        ('{"train": [], "test": [0, 1, 2, 3]}', "0 train"),
        ('{"train": [0, 1], "test": [2, 4]}', "frame 4"),
        ('{"train": [0, 1], "test": [1, 2, 3]}', "frame 1"),
    ],
)
def test_bad_split_file(content, message):
    mat, _ = small_mat("small.mat")
    path = Path("bad.json")
    if content:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        convert(mat, "out.h5", path, progress=False)


def test_a_0_based_splits_mat_is_noticed():
    mat, _ = small_mat("small.mat")
    train, test = np.array([[0, 1], [2, 3]], np.uint16)
    scipy.io.savemat("splits.mat", {"trainNdxs": train, "testNdxs": test})
    with pytest.raises(UserError, match="frame -1"):
        convert(mat, "out.h5", "splits.mat", progress=False)


def test_damage_inside_the_mat_is_told_and_leaves_nothing():
    with h5py.File("bad.mat", "w") as file:
        depths = np.random.default_rng(0).random((4, 24, 16), np.float32)
        file.create_dataset("depths", data=depths, chunks=(1, 24, 16), compression="gzip")
        file["images"] = np.zeros((4, 3, 24, 16), np.uint8)
        cells = file.create_dataset("scenes", (1, 4), h5py.ref_dtype)
        file["name"] = np.array([[97]], np.uint16)
        cells[0] = file["name"].ref
        spot = file["depths"].id.get_chunk_info(2).byte_offset
    with open("bad.mat", "rb+") as file:
        file.seek(spot + 20)
        file.write(bytes(60))
    Path("split.json").write_text('{"train": [0, 1, 2], "test": [3]}', encoding="utf-8")
    with pytest.raises(UserError, match="bad.mat is damaged in depths"):
        convert("bad.mat", "data/out.h5", "split.json", progress=False)
    assert list(Path("data").iterdir()) == []


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs the real frames in ../shared/nyu")
def test_sample_converts_upright_and_agrees_with_the_half_cache():
    convert(SAMPLE, "sample.h5", SHARED / "nyu_sample_splits.mat", progress=False)
    ours = read_cache("sample.h5", progress=False)
    with h5py.File(SAMPLE) as file, h5py.File(HALF) as half:
        index = file.attrs["original_index_0based"]
        images = [Image.open(io.BytesIO(half["images_jpeg"][i].tobytes())) for i in index]
        rgb = [np.asarray(image).transpose(2, 0, 1) for image in images]
        depth = [(half["depths"][i].T + 0.5) * half["depths"].attrs["scale"] for i in index]
    split, scene = nyu_table()
    assert ours.scene.tolist() == scene[index].tolist()
    assert np.array_equal(ours.split == "test", split[index] == "test")
    for i in range(16):
        assert psnr(ours.rgb[i], rgb[i]) > 35
        assert psnr(ours.rgb[i], rgb[i][:, :, ::-1]) < 20 and psnr(ours.rgb[i], rgb[i][:, ::-1]) < 20
        assert np.abs(ours.depth[i] - depth[i]).max() < 0.04  # one step of the 8-bit codes
        assert np.abs(ours.depth[i] - depth[i][:, ::-1]).max() > 0.4


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
