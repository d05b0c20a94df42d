"""The official file, caches of it, built-in rooms: what is read, and how a file can be bad."""

import fcntl
import io
import json
import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from lthdepth.__main__ import main
from lthdepth.data import nyu, rooms
from lthdepth.data.frames import SPLITS, describe
from lthdepth.data.nyu import convert, halve_depth, load, nyu_table, read_cache
from lthdepth.errors import UserError

WIDTH, HEIGHT, N = 12, 8, 10  # of the small files made here, at half size
SHAPE = (N, WIDTH, HEIGHT)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nyu, "DATA_DIR", tmp_path / "data")


def picture(i, width=WIDTH, kind="PNG"):
    pixels = np.random.Generator(np.random.Philox(i)).integers(0, 256, (HEIGHT, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return np.frombuffer(file.getvalue(), np.uint8), pixels


def write_cache(path, **change):
    """A small cache; `change` replaces a dataset or, named scale or offset, an attribute; None omits it."""
    parts = {
        "images_png": [picture(i)[0] for i in range(N)],
        "depths": np.arange(N * WIDTH * HEIGHT, dtype=np.uint16).reshape(SHAPE),
        "trainNdxs": np.arange(6, dtype=np.int32),
        "testNdxs": np.arange(6, N, dtype=np.int32),
        "scenes": [f"room_{i // 2}" for i in range(N)],
        "scale": 0.0002,
        "offset": 0.0,
    } | change
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if name.startswith("images") and isinstance(value, list):
                images = file.create_dataset(name, (len(value),), h5py.vlen_dtype(np.uint8))
                for i, image in enumerate(value):
                    images[i] = image
            elif name not in ("scale", "offset") and value is not None:
                file[name] = value
            elif value is not None and "depths" in file:
                file["depths"].attrs[name] = value
    return Path(path)


def write_mat(path, n=4, **change):
    """A file in the layout of the official one, and its parts."""
    rng = np.random.Generator(np.random.Philox(7))
    parts = {
        "images": rng.integers(0, 256, (n, 3, 2 * WIDTH, 2 * HEIGHT), np.uint8),
        "depths": rng.uniform(0.7, 10, (n, 2 * WIDTH, 2 * HEIGHT)).astype(np.float32),
        "scenes": [f"room_{i}" for i in range(n)],
    } | change
    with h5py.File(path, "w") as file:
        file["images"], file["depths"] = parts["images"], parts["depths"]
        cells = file.create_dataset("scenes", (1, len(parts["scenes"])), h5py.ref_dtype)
        for i, scene in enumerate(parts["scenes"]):
            file[f"#refs#/{i}"] = np.array([[ord(letter)] for letter in scene], np.uint16)
            cells[0, i] = file[f"#refs#/{i}"].ref
    Path("split.json").write_text('{"train": [0, 1, 2], "test": [3]}', encoding="utf-8")
    return parts


# Caches


def test_cache_is_read_as_written():
    frames = read_cache(write_cache("small.H5"))
    assert frames.rgb.dtype == np.uint8 and frames.depth.dtype == np.float32 and frames.name == "small"
    for i in range(N):
        assert np.array_equal(frames.rgb[i].transpose(1, 2, 0), picture(i)[1])
    for i, x, y in [(0, 0, 0), (3, 11, 2), (9, 5, 7)]:
        assert frames.depth[i, y, x] == pytest.approx(0.0002 * (i * 96 + x * 8 + y), rel=1e-6)
    assert (frames.split[6:] == "test").all() and set(frames.split[:6]) == {"train", "validation"}
    assert frames.scene[5] == "room_2"


@pytest.mark.parametrize("scale", [0.1, np.array([0.1]), np.array([[0.1]], np.float32)])
def test_offset_is_half_a_code_where_it_is_not_given(scale):
    change = {"depths": np.full(SHAPE, 3, np.uint8), "scale": scale, "offset": None}
    frames = read_cache(write_cache("small.h5", **change))
    assert frames.depth == pytest.approx(np.full((N, HEIGHT, WIDTH), 0.35))


def test_millimetres_with_holes_need_an_offset():
    codes = np.full(SHAPE, 1500, np.uint16)
    codes[2, 3, 4] = 0
    change = {"depths": codes, "scale": 0.001}
    with pytest.raises(UserError, match="code 0 in the depths of frame 2 and no attribute offset"):
        read_cache(write_cache("mm.h5", offset=None, **change))
    depth = read_cache(write_cache("mm.h5", offset=0, **change)).depth
    assert depth[2, 4, 3] == 0 and np.sum(depth == 0) == 1 and depth.max() == pytest.approx(1.5)


def test_frames_without_scene_names_are_scenes_of_their_own():
    frames = read_cache(write_cache("small.h5", scenes=None))
    assert len(set(frames.scene)) == N


def test_fingerprint_does_not_depend_on_the_container():
    images = [picture(i, kind="BMP")[0] for i in range(N)]
    write_cache("bmp.h5", images_png=None, images_jpeg=images)
    assert read_cache(write_cache("a.h5")).fingerprint == read_cache("bmp.h5").fingerprint


BAD = {  # besides those of tests/bad_inputs.py
    "scale text": ({"scale": "much"}, "scale"),
    "scale of every frame": ({"scale": np.ones(N)}, "scale"),
    "offset below 0": ({"offset": -1.0}, "offset"),
    "flat depth": ({"depths": np.ones((N, 96), np.uint8)}, r"\(10, 96\)"),
    "no frames": ({"depths": np.ones((0, WIDTH, HEIGHT), np.uint8), "images_png": []}, "depths"),
    "images as numbers": ({"images_png": np.zeros(N)}, "images_png"),
    "half an image": ({"images_png": [picture(i)[0][: 999 - 849 * (i == 4)] for i in range(N)]}, "frame 4"),
    "1-based": ({"testNdxs": np.arange(7, N + 1)}, "frame 10"),
    "negative": ({"trainNdxs": np.arange(-1, 6)}, "frame -1"),
    "overlap": ({"testNdxs": np.arange(5, N)}, "frame 5"),
    "a frame left out": ({"testNdxs": np.arange(7, N)}, "frame 6"),
    "fractional index": ({"testNdxs": np.arange(6, N) + 0.5}, "testNdxs"),
    "scenes as numbers": ({"scenes": np.arange(N)}, "scenes"),
    "too few scenes": ({"scenes": ["a", "b"]}, "scenes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_cache(case):
    change, message = BAD[case]
    with pytest.raises(UserError, match=message) as caught:
        read_cache(write_cache("bad.h5", **change))
    assert "bad.h5" in str(caught.value)


def test_a_cache_cut_anywhere_is_told_in_a_sentence():
    whole = write_cache("whole.h5").read_bytes()
    for length in range(1, len(whole) - 1, len(whole) // 20):
        Path("cut.h5").write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut.h5"):
            read_cache("cut.h5")


def test_what_a_file_is_its_content_says(monkeypatch, tmp_path):
    """Whatever its name, its locks, the types of its numbers, and whatever writes to it beside."""
    change = {"trainNdxs": np.arange(6, dtype=np.uint8), "testNdxs": np.arange(6, N, dtype=np.uint64)}
    (tmp_path / "meine Räume").mkdir()
    cache = write_cache(tmp_path / "meine Räume" / "cache", **change)
    Path("link").symlink_to(cache)
    monkeypatch.setenv("HOME", str(tmp_path))
    prints = {load(source).fingerprint for source in (cache, "link", "~/meine Räume/cache")}
    with open(cache, "rb") as file:  # as where another program has it open
        fcntl.flock(file, fcntl.LOCK_EX)
        prints.add(load(cache).fingerprint)
    write_mat("mat.h5")
    convert("mat.h5", "half.h5", "split.json")
    assert len(prints) == 1 and len(load("half.h5").rgb) == 4


@pytest.mark.parametrize(
    ("source", "says"),
    [
        *((name, "say rooms, rooms:N") for name in ("room", "rooms:", "rooms:-3")),
        ("rooms:1", "at least rooms:12"),
        ("absent.h5", "there is no file absent.h5"),
        ("x" * 300 + ".h5", "there is no file"),
        ("https://example.org/nyu.h5", "is an address"),
        (".", "is a folder"),
        ("pipe.h5", "is a pipe"),
        ("frame.h5", "has no dataset depths .* a cache has images_png"),  # a frame a file, as fast-depth's
        ("depth.png", "not an HDF5 file"),  # 16 bits, as ScanNet's
    ],
)
def test_what_is_no_data_set_gets_one_sentence(source, says, capsys):
    os.mkfifo("pipe.h5")
    Image.fromarray(np.full((8, 12), 1500, np.uint16)).save("depth.png")
    with h5py.File("frame.h5", "w") as file:
        file["rgb"], file["depth"] = np.zeros((3, 8, 12), np.uint8), np.ones((8, 12), np.float32)
    assert main(["data", source]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says, line)


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


def test_conversion_halves_and_keeps_edges():
    parts = write_mat("small.mat")
    convert("small.mat", "small.h5", "split.json")
    frames = read_cache("small.h5")
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
        ([0, 2, 3, 4], 3),
        ([0, 0, 3, 4], 3),
        ([0, 0, 0, 0], 0),
        ([np.nan, 1, 2, 3], 2),
        ([np.inf, -1, 7, 0], 7),
    ],
)
def test_half_depth_is_a_depth_that_was_there(four, half):
    for turn in range(4):
        assert halve_depth(np.rot90(np.array(four, np.float32).reshape(2, 2), turn)) == half


def test_mat_is_converted_once_for_each_state_of_it(monkeypatch):
    split, scenes = (column[::100] for column in nyu_table())  # as if the official file had these frames
    monkeypatch.setattr(nyu, "nyu_table", lambda: (split, scenes))
    monkeypatch.setattr(nyu, "NYU_FRAMES", n := len(split))
    depths = np.linspace(1, 9, n, dtype=np.float32)[:, None, None] * np.ones((n, 2, 4), np.float32)
    write_mat("nyu.mat", images=np.zeros((n, 3, 2, 4), np.uint8), depths=depths, scenes=scenes.tolist())
    frames = load("nyu.mat")
    assert frames.name == "nyu" and np.array_equal(frames.split, split)
    assert np.array_equal(frames.scene, scenes)
    assert frames.depth[:, 0, 0] == pytest.approx(depths[:, 0, 0], abs=0.000101)
    calls = []
    monkeypatch.setattr(nyu, "convert", lambda mat, cache: calls.append((mat, cache)))
    load("nyu.mat")
    assert calls == []
    os.utime("nyu.mat", (1, 1))
    load("nyu.mat")
    assert calls == [(Path("nyu.mat"), nyu.cache_of("nyu.mat"))]


def test_files_of_one_name_have_two_caches(tmp_path):
    assert nyu.cache_of(tmp_path / "a" / "x.mat") != nyu.cache_of(tmp_path / "x.mat")
    assert nyu.cache_of("x.mat") == nyu.cache_of(tmp_path / "x.mat")


def test_a_split_with_a_byte_order_mark_is_read():
    write_mat("small.mat")
    Path("split.json").write_text(json.dumps({"train": [1, 2], "test": [0, 3]}), encoding="utf-8-sig")
    convert("small.mat", "out.h5", "split.json")
    assert np.flatnonzero(read_cache("out.h5").split == "test").tolist() == [0, 3]


def test_a_0_based_splits_mat_is_noticed():
    write_mat("small.mat")
    train, test = np.array([[0, 1], [2, 3]], np.uint16)
    scipy.io.savemat("splits.mat", {"trainNdxs": train, "testNdxs": test})
    with pytest.raises(UserError, match="frame -1"):
        convert("small.mat", "out.h5", "splits.mat")


def test_damage_inside_the_mat_is_told_and_leaves_nothing():
    write_mat("bad.mat")
    with h5py.File("bad.mat", "r+") as file:
        depths = file["depths"][:]
        del file["depths"]
        packed = file.create_dataset("depths", data=depths, chunks=(1, 24, 16), compression="gzip")
        spot = packed.id.get_chunk_info(2).byte_offset
    with open("bad.mat", "rb+") as file:
        file.seek(spot + 20)
        file.write(bytes(60))
    with pytest.raises(UserError, match="bad.mat is damaged"):
        convert("bad.mat", "data/out.h5", "split.json")
    assert not Path("data").exists()


def test_sample_converts_upright_and_agrees_with_the_half_cache(shared):
    sample = shared("nyu/nyu_sample.mat")
    convert(sample, "sample.h5", shared("nyu/nyu_sample_splits.mat"))
    ours = read_cache("sample.h5")
    with h5py.File(sample) as file, h5py.File(shared("nyu/nyu_v2_labeled_half.h5")) as half:
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


# Rooms


def test_rooms_are_split_by_room_rendered_once_and_need_no_place(monkeypatch):
    def render(n, views):
        calls.append(n)
        return np.zeros((n, 3, 2, 2), np.uint8), np.ones((n, 2, 2), np.float32), np.arange(n) // views

    calls = []
    monkeypatch.setattr(rooms, "render", render)
    frames = load("rooms")
    assert len(frames.rgb) == 240 and frames.name == "rooms"
    assert [np.sum(frames.split == split) for split in SPLITS] == [144, 24, 72]
    assert len(set(zip(frames.scene, frames.split))) == len(set(frames.scene)) == 60
    for split in SPLITS:  # interleaved: every split has rooms among the first and the last ten
        assert split in frames.split[:40] and split in frames.split[-40:]
    assert load("rooms").fingerprint == frames.fingerprint and calls == [240]
    for path in Path("data").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    assert load("rooms").fingerprint == frames.fingerprint and calls == [240, 240]
    monkeypatch.setattr(nyu, "DATA_DIR", Path("split.json"))
    Path("split.json").write_text("a file where the folder should be", encoding="utf-8")
    assert set(load("rooms:12").split) == set(SPLITS)
