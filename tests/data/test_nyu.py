"""The official file, caches of it, built-in rooms: what is read, and how a file can be bad."""

import fcntl
import io
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from datafiles import HEIGHT, SHAPE, WIDTH, N, picture, write_cache, write_mat
from PIL import Image

from lthdepth.data import nyu, rooms
from lthdepth.data.frames import SPLITS, describe
from lthdepth.data.nyu import convert, halve_depth, load, nyu_table, read_cache
from lthdepth.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nyu, "DATA_DIR", tmp_path / "data")


def cached(**change):
    """Frames of a small cache."""
    write_cache("small.h5", **change)
    return read_cache("small.h5")


def official(monkeypatch, **change):
    """The parts of a small `.mat`, for as long as the test runs the official file; its last frame is test."""
    parts = write_mat("small.mat", 4, **change)
    table = np.array(["train", "validation", "train", "test"]), np.array(parts["scenes"])
    monkeypatch.setattr(nyu, "nyu_table", lambda: table)
    return parts


# Caches


def test_cache_is_read_as_written():
    frames = cached()
    assert frames.rgb.dtype == np.uint8 and frames.depth.dtype == np.float32 and frames.name == "small.h5"
    for i in range(N):
        assert np.array_equal(frames.rgb[i].transpose(1, 2, 0), picture(i)[1])
    for i, x, y in [(0, 0, 0), (3, 11, 2), (9, 5, 7)]:
        assert frames.depth[i, y, x] == pytest.approx(0.0002 * (i * 96 + x * 8 + y), rel=1e-6)
    assert (frames.split[6:] == "test").all() and set(frames.split[:6]) == {"train", "validation"}
    assert frames.scene[5] == "room_2"


def test_millimetres_with_holes_need_an_offset():
    codes = np.full(SHAPE, 1500, np.uint16)
    codes[2, 3, 4] = 0
    with pytest.raises(UserError, match="as offset, 0 where code 0 is a hole"):
        cached(depths=codes, scale=0.001, offset=None)
    depth = cached(depths=codes, scale=np.array([[0.001]]), offset=0).depth
    assert depth[2, 4, 3] == 0 and np.sum(depth == 0) == 1 and depth.max() == pytest.approx(1.5)


def test_what_a_file_is_its_content_says(tmp_path):
    """Whatever its name, its locks and the types of its numbers."""
    (tmp_path / "meine Räume").mkdir()
    cache = tmp_path / "meine Räume" / "cache"
    write_cache(cache, trainNdxs=np.arange(6, dtype=np.uint8), testNdxs=np.arange(6, N, dtype=np.uint64))
    Path("link").symlink_to(cache)
    with open(cache, "rb") as file:  # as where another program has it open
        fcntl.flock(file, fcntl.LOCK_EX)
        assert {load(source).fingerprint for source in (cache, "link")} == {cached().fingerprint}


def test_half_cache_loads_whole(shared):
    frames = load(shared("nyu/nyu_v2_labeled_half.h5"))
    assert frames.rgb.shape == (1449, 3, 240, 320) and frames.depth.shape == (1449, 240, 320)
    assert frames.name == "nyu"
    told = describe(frames)
    assert [told["splits"][split]["frames"] for split in SPLITS] == [710, 85, 654]
    test = told["splits"]["test"]
    assert test["depth_mean"] == pytest.approx(2.740, abs=0.005)  # the published constant
    assert test["scenes"] == 215 and sum(test["histogram"]) == 654 * 240 * 320
    assert told["fingerprint"] == "b3adc48063dbcbce"  # the committed records name it


# The official file


def test_conversion_halves_and_keeps_edges(monkeypatch):
    parts = official(monkeypatch)
    frames = load("small.mat")
    assert frames.rgb.shape == (4, 3, HEIGHT, WIDTH) and frames.scene.tolist() == parts["scenes"]
    assert frames.name == "nyu" and frames.split.tolist() == ["train", "validation", "train", "test"]
    for i, x, y in [(0, 0, 0), (1, 11, 7), (3, 4, 6)]:  # x along the width, y down
        block = np.s_[2 * x : 2 * x + 2, 2 * y : 2 * y + 2]
        for channel in range(3):
            assert abs(parts["images"][i, channel][block].mean() - frames.rgb[i, channel, y, x]) <= 0.5
        assert abs(sorted(parts["depths"][i][block].flat)[1] - frames.depth[i, y, x]) <= 0.000101


@pytest.mark.parametrize(
    "four, half",
    [([1, 1, 5, 5], 1), ([1, 5, 5, 5], 5), ([0, 2, 3, 4], 3), ([0, 0, 3, 4], 3), ([0, 0, 0, 0], 0)]
    + [([np.nan, 1, 2, 3], 2), ([np.inf, -1, 7, 0], 7)],
)
def test_half_depth_is_a_depth_that_was_there(four, half):
    for turn in range(4):
        assert halve_depth(np.rot90(np.array(four, np.float32).reshape(2, 2), turn)) == half


def test_mat_is_converted_once_for_each_state_of_it(monkeypatch):
    official(monkeypatch)
    load("small.mat")
    kept = nyu.cache_of("small.mat")
    monkeypatch.setattr(nyu, "convert", None)  # nothing is converted from here on
    load("small.mat")
    os.utime("small.mat", (1, 1))
    Path("other").mkdir()
    shutil.copy2("small.mat", "other")  # of one name and time, elsewhere
    assert len({kept, nyu.cache_of("small.mat"), nyu.cache_of("other/small.mat")}) == 3


def test_damage_inside_the_mat_is_told_and_leaves_nothing(monkeypatch):
    official(monkeypatch)
    with h5py.File("small.mat", "r+") as file:
        depths = file["depths"][:]
        del file["depths"]
        packed = file.create_dataset("depths", data=depths, chunks=(1, 24, 16), compression="gzip")
        spot = packed.id.get_chunk_info(2).byte_offset
    with open("small.mat", "rb+") as file:
        file.seek(spot + 20)
        file.write(bytes(60))
    with pytest.raises(UserError, match="small.mat cannot be read"):
        convert("small.mat", "data/out.h5")
    assert not Path("data").exists()


def test_sample_converts_upright_and_agrees_with_the_half_cache(shared, monkeypatch):
    sample = shared("nyu/nyu_sample.mat")
    split, scene = nyu_table()
    with h5py.File(sample) as file, h5py.File(shared("nyu/nyu_v2_labeled_half.h5")) as half:
        index = file.attrs["original_index_0based"]
        images = [Image.open(io.BytesIO(half["images_jpeg"][i].tobytes())) for i in index]
        rgb = [np.asarray(image).transpose(2, 0, 1) for image in images]
        depth = [(half["depths"][i].T + 0.5) * half["depths"].attrs["scale"] for i in index]
    monkeypatch.setattr(nyu, "nyu_table", lambda: (split[index], scene[index]))
    convert(sample, "sample.h5")
    ours = read_cache("sample.h5")
    for i in range(16):
        assert psnr(ours.rgb[i], rgb[i]) > 35
        assert psnr(ours.rgb[i], rgb[i][:, :, ::-1]) < 20 and psnr(ours.rgb[i], rgb[i][:, ::-1]) < 20
        assert np.abs(ours.depth[i] - depth[i]).max() < 0.04  # one step of the 8-bit codes
        assert np.abs(ours.depth[i] - depth[i][:, ::-1]).max() > 0.4


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


# Rooms


def test_rooms_are_split_by_room_rendered_once_and_need_no_place(monkeypatch):
    def render(n, views):
        calls.append(n)
        return np.zeros((n, 3, 2, 2), np.uint8), np.ones((n, 2, 2), np.float32), np.arange(n) // views

    calls = []
    monkeypatch.setattr(rooms, "render", render)
    frames = load("rooms")
    assert frames.name == "rooms" and [np.sum(frames.split == s) for s in SPLITS] == [144, 24, 72]
    assert len(set(zip(frames.scene, frames.split))) == len(set(frames.scene)) == 60
    assert load("rooms").fingerprint == frames.fingerprint and calls == [240]
    for path in Path("data").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:300])
    assert load("rooms").fingerprint == frames.fingerprint and calls == [240, 240]
    monkeypatch.setattr(nyu, "DATA_DIR", Path("taken"))
    Path("taken").write_text("a file where the folder should be", encoding="utf-8")
    assert set(load("rooms:12").split) == set(SPLITS)
