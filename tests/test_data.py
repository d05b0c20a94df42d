"""The frames: their split, caches, every way in which a file can be bad, and the built-in rooms."""

import csv
import io
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from lthdepth.data import nyu as data
from lthdepth.data import rooms
from lthdepth.data.convert import NYU_CSV, nyu_table
from lthdepth.data.frames import SPLITS, Frames, carve, describe
from lthdepth.data.nyu import load, read_cache
from lthdepth.errors import UserError

SHARED = Path(__file__).parents[1].parent / "shared" / "nyu"
HALF = SHARED / "nyu_v2_labeled_half.h5"
with_shared = pytest.mark.skipif(not HALF.exists(), reason="needs the real frames in ../shared/nyu")
WIDTH, HEIGHT, N = 12, 8, 10  # of the small files made here


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "DATA_DIR", tmp_path / "data")


def picture(i, width=WIDTH, height=HEIGHT, mode="RGB", kind="PNG"):
    pixels = np.random.Generator(np.random.Philox(i)).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return np.frombuffer(file.getvalue(), np.uint8), pixels


def write_cache(path, **change):
    """A small cache; `change` replaces a dataset or, named scale or offset, an attribute; None omits it."""
    codes = np.arange(N * WIDTH * HEIGHT, dtype=np.uint16).reshape(N, WIDTH, HEIGHT)
    parts = {
        "images_png": [picture(i)[0] for i in range(N)],
        "depths": codes,
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
    return path


# The split


def test_committed_split_is_what_the_rule_says():
    with open(NYU_CSV, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "split", "scene"]
    assert [int(row["index"]) for row in rows] == list(range(1449))
    scenes = [row["scene"] for row in rows]
    official = ["test" if row["split"] == "test" else "train" for row in rows]
    # the rule, written a second time
    names = sorted({s for s, o in zip(scenes, official) if o == "train" and not s.startswith("bookstore")})
    draws = np.random.Philox(key=2012).random_raw(len(names))
    chosen, frames = set(), 0
    for _, name in sorted(zip(draws.tolist(), names)):
        if frames < 0.1 * official.count("train"):
            chosen.add(name)
            frames += scenes.count(name)
    assert [row["split"] for row in rows] == [
        "validation" if s in chosen else o for s, o in zip(scenes, official)
    ]
    assert frames == 85 and len(chosen) == 30
    assert {s for s in scenes if s.startswith("bookstore")}.isdisjoint(chosen)


def test_no_scene_is_in_two_splits():
    split, scene = nyu_table()
    pairs = set(zip(scene.tolist(), split.tolist()))
    assert len(pairs) == len(set(scene.tolist())) == 464


@with_shared
def test_committed_split_is_the_official_one():
    official = json.loads((SHARED / "splits.json").read_text())
    split, scene = nyu_table()
    assert np.flatnonzero(split != "test").tolist() == official["train"]
    assert np.flatnonzero(split == "test").tolist() == official["test"]
    with open(SHARED / "frames.csv", encoding="utf-8", newline="") as file:
        assert scene.tolist() == [row["scene"] for row in csv.DictReader(file)]


def test_carving_keeps_scenes_whole_and_test_untouched():
    scene = np.array([f"s{i // 3}" for i in range(90)])
    train = np.arange(90) < 60
    split = carve(scene, train)
    assert (split[60:] == "test").all()
    validation = set(scene[split == "validation"])
    assert len(validation) == 2 and validation.isdisjoint(scene[split == "train"])


def test_carving_leaves_something_to_train_on():
    split = carve(np.array(["a", "a", "b"]), np.array([True, True, False]))
    assert split.tolist() == ["train", "train", "test"]


# Caches


def test_cache_is_read_as_written():
    frames = read_cache(write_cache("small.h5"), progress=False)
    assert frames.rgb.dtype == np.uint8 and frames.depth.dtype == np.float32 and frames.name == "small"
    for i in range(N):
        assert np.array_equal(frames.rgb[i].transpose(1, 2, 0), picture(i)[1])
    for i, x, y in [(0, 0, 0), (3, 11, 2), (9, 5, 7)]:
        assert frames.depth[i, y, x] == pytest.approx(0.0002 * (i * 96 + x * 8 + y), rel=1e-6)
    assert (frames.split[6:] == "test").all() and set(frames.split[:6]) == {"train", "validation"}
    assert frames.scene[5] == "room_2"


def test_offset_is_half_a_code_where_it_is_not_given():
    codes = np.full((N, WIDTH, HEIGHT), 3, np.uint8)
    frames = read_cache(write_cache("small.h5", depths=codes, scale=0.1, offset=None), progress=False)
    assert frames.depth == pytest.approx(np.full((N, HEIGHT, WIDTH), 0.35))


def test_frames_without_scene_names_are_scenes_of_their_own():
    frames = read_cache(write_cache("small.h5", scenes=None), progress=False)
    assert len(set(frames.scene)) == N


def bad_caches():
    images = [picture(i)[0] for i in range(N)]
    shape = (N, WIDTH, HEIGHT)
    return {
        "no images": ({"images_png": None}, "images_jpeg"),
        "no depths": ({"depths": None}, "depths"),
        "no split": ({"testNdxs": None}, "testNdxs"),
        "no scale": ({"scale": None}, "scale"),
        "scale nan": ({"scale": np.nan}, "scale"),
        "scale zero": ({"scale": 0.0}, "scale"),
        "scale text": ({"scale": "much"}, "scale"),
        "offset below 0": ({"offset": -1.0}, "offset"),
        "float depth": ({"depths": np.ones(shape, np.float32)}, "float32"),
        "flat depth": ({"depths": np.ones((N, 96), np.uint8)}, r"\(10, 96\)"),
        "no frames": ({"depths": np.ones((0, WIDTH, HEIGHT), np.uint8), "images_png": []}, "depths"),
        "an image too few": ({"images_png": images[1:]}, "images_png"),
        "not an image": ({"images_png": [*images[:-1], images[0][:0]]}, "frame 9"),
        "half an image": ({"images_png": [*images[:4], images[4][:150], *images[5:]]}, "frame 4"),
        "image of another size": ({"images_png": [picture(0, WIDTH + 1)[0], *images[1:]]}, "13 x 8"),
        "grey image": ({"images_png": [picture(0, mode="L")[0], *images[1:]]}, "is L of"),
        "images as numbers": ({"images_png": np.zeros(N)}, "images_png"),
        "1-based": ({"testNdxs": np.arange(7, N + 1)}, "frame 10"),
        "negative": ({"trainNdxs": np.arange(-1, 6)}, "frame -1"),
        "overlap": ({"testNdxs": np.arange(5, N)}, "frame 5"),
        "twice": ({"trainNdxs": np.array([0, 1, 2, 3, 4, 5, 5])}, "frame 5"),
        "a frame left out": ({"testNdxs": np.arange(7, N)}, "frame 6"),
        "fractional index": ({"testNdxs": np.arange(6, N) + 0.5}, "testNdxs"),
        "scenes as numbers": ({"scenes": np.arange(N)}, "scenes"),
        "too few scenes": ({"scenes": ["a", "b"]}, "scenes"),
    }


@pytest.mark.parametrize("case", bad_caches())
def test_bad_cache(case):
    change, message = bad_caches()[case]
    path = write_cache("bad.h5", **change)
    with pytest.raises(UserError, match=message) as caught:
        read_cache(path, progress=False)
    assert "bad.h5" in str(caught.value)


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
@pytest.mark.parametrize(
    "kind, message",
    [
        ("missing", "no file"),
        ("folder", "is a folder"),
        ("empty", "is empty"),
        ("html", "web page"),
        ("matlab5", "MATLAB 5"),
        ("text", "not an HDF5 file"),
        ("cut", "cut short"),
        ("other", "has no dataset depths"),
    ],
)
def test_bad_file(kind, message, suffix):
    path = Path("bad" + suffix)
    match kind:
        case "folder":
            path.mkdir()
        case "empty" | "text":
            path.write_text("" if kind == "empty" else "hello", encoding="utf-8")
        case "html":
            path.write_text("\n <!DOCTYPE html>\n<html><body>Not found</body></html>", encoding="utf-8")
        case "matlab5":
            with open(path, "wb") as file:
                scipy.io.savemat(file, {"depths": np.ones(3)})
        case "cut":
            whole = Path(write_cache("whole.h5")).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "other":
            with h5py.File(path, "w") as file:
                file["weights"] = np.ones(3)
    with pytest.raises(UserError, match=message) as caught:
        load(path, progress=False)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_a_cache_cut_anywhere_is_told_in_a_sentence():
    whole = Path(write_cache("whole.h5")).read_bytes()
    for length in range(1, len(whole) - 1, len(whole) // 60):
        Path("cut.h5").write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut.h5"):
            read_cache("cut.h5", progress=False)


@pytest.mark.parametrize("source", ["room", "rooms:", "rooms:-3", "rooms:1", "frames.txt", ""])
def test_unknown_source(source):
    with pytest.raises(UserError, match="rooms"):
        load(source)


@with_shared
def test_half_cache_loads_whole():
    frames = load(HALF, progress=False)
    assert frames.rgb.shape == (1449, 3, 240, 320) and frames.depth.shape == (1449, 240, 320)
    assert frames.name == "nyu"
    told = describe(frames)
    assert [told["splits"][split]["frames"] for split in SPLITS] == [710, 85, 654]
    test = told["splits"]["test"]
    assert test["depth_mean"] == pytest.approx(2.740, abs=0.005)  # the published constant
    assert test["scenes"] == 215 and sum(test["histogram"]) == 654 * 240 * 320
    assert told["fingerprint"] == "b3adc48063dbcbce"  # the committed records name it


# Frames


def make_frames(n=40):
    rng = np.random.Generator(np.random.Philox(3))
    split = np.where(np.arange(n) % 4 == 3, "test", np.where(np.arange(n) % 8 == 1, "validation", "train"))
    return Frames(
        rng.integers(0, 256, (n, 3, 4, 5), np.uint8),
        rng.uniform(0, 12, (n, 4, 5)).astype(np.float32),
        split,
        np.array([f"s{i}" for i in range(n)]),
        "made",
    )


def test_fingerprint_sees_every_part_and_nothing_else():
    frames = make_frames()
    same = Frames(
        *(np.ascontiguousarray(a[:, ...]) for a in (frames.rgb, frames.depth)),
        frames.split.astype("<U30"),
        frames.scene.astype(object),
        "another name",
    )
    assert same.fingerprint == frames.fingerprint and len(frames.fingerprint) == 16
    seen = {frames.fingerprint}
    for part in ("rgb", "depth", "split", "scene"):
        parts = {name: getattr(frames, name).copy() for name in ("rgb", "depth", "split", "scene")}
        parts[part][-1] = parts[part][0]
        seen.add(Frames(**parts, name="made").fingerprint)
    assert len(seen) == 5


def test_fingerprint_does_not_depend_on_the_container():
    write_cache("png.h5")
    depths = np.arange(N * WIDTH * HEIGHT, dtype=np.uint16).reshape(N, WIDTH, HEIGHT)
    images = [picture(i, kind="BMP")[0] for i in range(N)]
    write_cache("bmp.h5", images_png=None, images_jpeg=images, depths=depths)
    assert read_cache("png.h5", False).fingerprint == read_cache("bmp.h5", False).fingerprint


@pytest.mark.parametrize("train, test", [(1, 1), (7, 3), (25, 10)])
def test_subset_is_evenly_spaced(train, test):
    frames = make_frames()
    total = {split: np.flatnonzero(frames.split == split) for split in SPLITS}
    part = frames.subset(train, test)
    kept = {split: [int(name[1:]) for name in part.scene[part.split == split]] for split in SPLITS}
    assert len(kept["train"]) == train and len(kept["test"]) == test
    assert len(kept["validation"]) == max(1, round(train / 25 * 5))
    for split in SPLITS:
        assert len(set(kept[split])) == len(kept[split]) and set(kept[split]) <= set(total[split].tolist())
        steps = np.diff(np.searchsorted(total[split], kept[split]))
        assert len(steps) == 0 or steps.max() - steps.min() <= 1
    assert np.array_equal(part.rgb, frames.rgb[[int(name[1:]) for name in part.scene]])
    assert (part.fingerprint == frames.fingerprint) == ((train, test) == (25, 10))


@pytest.mark.parametrize("train, test", [(0, 1), (1, 0), (26, 1), (1, 11), (-1, 1)])
def test_subset_of_what_is_not_there(train, test):
    with pytest.raises(UserError, match="made"):
        make_frames().subset(train, test)


def test_describe_counts_valid_pixels_only():
    depth = np.array([0, 0.05, 0.15, 0.17, 9.95, 12], np.float32).reshape(1, 2, 3)
    frames = Frames(np.zeros((1, 3, 2, 3), np.uint8), depth, np.array(["train"]), np.array(["a"]), "one")
    told = json.loads(json.dumps(describe(frames)))
    train = told["splits"]["train"]
    valid = [0.05, 0.15, 0.17, 9.95, 12]
    assert train["depth_mean"] == pytest.approx(np.mean(valid))
    assert train["depth_std"] == pytest.approx(np.std(valid))
    assert train["valid"] == pytest.approx(5 / 6)
    assert {i: n for i, n in enumerate(train["histogram"]) if n} == {0: 1, 1: 2, 99: 2}
    assert told["splits"]["test"] == {
        "frames": 0,
        "scenes": 0,
        "scene_sizes": [],
        "depth_mean": None,
        "depth_std": None,
        "valid": None,
        "histogram": [0] * 100,
    }
    assert (told["height"], told["width"], train["scene_sizes"]) == (2, 3, [1])


# Rooms


def test_rooms_are_split_by_room(monkeypatch):
    monkeypatch.setattr(
        rooms,
        "render",
        lambda n, views: (
            np.zeros((n, 3, 2, 2), np.uint8),
            np.ones((n, 2, 2), np.float32),
            np.arange(n) // views,
        ),
    )
    frames = load("rooms")
    assert len(frames.rgb) == 240 and frames.name == "rooms"
    assert [np.sum(frames.split == split) for split in SPLITS] == [144, 24, 72]
    assert len(set(zip(frames.scene, frames.split))) == len(set(frames.scene)) == 60
    for split in SPLITS:  # interleaved: every split has rooms among the first and the last ten
        assert split in frames.split[:40] and split in frames.split[-40:]
    assert set(load("rooms:12").split) == set(SPLITS)


def test_rooms_are_rendered_once_and_again_when_the_renderer_changes(monkeypatch, tmp_path):
    source = tmp_path / "rooms.py"
    shutil.copy(rooms.__file__, source)
    monkeypatch.setattr(rooms, "__file__", str(source))
    calls, render = [], rooms.render
    monkeypatch.setattr(rooms, "render", lambda n, **more: calls.append(n) or render(n, **more))
    first = load("rooms:12")
    assert first.rgb.shape == (12, 3, 120, 160) and first.depth.min() > 0
    assert load("rooms:12").fingerprint == first.fingerprint and calls == [12]
    source.write_text(source.read_text() + "# changed\n")
    assert load("rooms:12").fingerprint == first.fingerprint and calls == [12, 12]
    for path in Path("data").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    assert load("rooms:12").fingerprint == first.fingerprint and calls == [12, 12, 12]


def test_caches_lie_in_one_place_and_files_of_one_name_have_two(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        load("rooms:12")
    assert [p.suffix for p in (tmp_path / "data").iterdir()] == [".npz"]
    assert data.cache_of(tmp_path / "a" / "x.mat") != data.cache_of(tmp_path / "b" / "x.mat")
    assert data.cache_of("x.mat") == data.cache_of(tmp_path / "b" / "x.mat")


def test_upper_case_suffixes_are_the_same_kind(tmp_path):
    write_cache(tmp_path / "FRAMES.H5")
    assert len(load(tmp_path / "FRAMES.H5", progress=False).rgb) == N


def test_rooms_need_no_place_to_be_kept():
    Path("data").write_text("a file where the folder should be", encoding="utf-8")
    assert len(load("rooms:12").rgb) == 12
