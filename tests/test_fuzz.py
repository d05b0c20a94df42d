"""Parsers against files cut anywhere or with bits flipped: a sentence, or what was there; never anything else."""

import json

import h5py
import numpy as np
import pytest
import torch
from bad_inputs import cache_file, mat_file, record_line, resnet18
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import record, weights
from lthdepth.convert import convert
from lthdepth.data import read_cache
from lthdepth.errors import UserError


@st.composite
def damage(draw):
    """Function from bytes to damaged bytes: cut short, up to eight bits flipped, or a stretch overwritten."""
    kind, at = draw(st.sampled_from(("cut", "flip", "smear"))), draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8))
    bit, byte = draw(st.integers(0, 7)), draw(st.integers(0, 255))

    def apply(content):
        places = [int(x * len(content)) for x in at]
        if kind == "cut":
            return content[: places[0]]
        content = bytearray(content)
        for place in places:
            if kind == "flip":
                content[place] ^= 1 << bit
            else:
                content[place : place + 16] = bytes([byte]) * len(content[place : place + 16])
        return bytes(content)

    return apply


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def damaged(path, apply, read):
    """What `read` makes of a damaged copy, or None where it refused it in a sentence."""
    copy = path.with_name(f"damaged{path.suffix}")
    copy.write_bytes(apply(path.read_bytes()))
    try:
        return read(copy)
    except UserError as error:
        assert "\n" not in str(error)
        return None


@given(damage())
def test_a_damaged_cache_is_refused_or_gives_sound_frames(folder, apply):
    path = folder / "c.h5"
    if not path.exists():
        cache_file(path)
    frames = damaged(path, apply, lambda p: read_cache(p, progress=False))
    if frames is not None:
        assert frames.rgb.shape == (10, 3, 8, 12) and np.isfinite(frames.depth).all() and (frames.depth >= 0).all()
        assert set(frames.split) <= {"train", "validation", "test"}


@given(damage())
def test_a_damaged_mat_is_refused_or_converted(folder, apply):
    path, split = folder / "m.mat", folder / "s.json"
    if not path.exists():
        mat_file(path)
        split.write_text('{"train": [0, 1, 2, 3, 4], "test": [5, 6, 7, 8, 9]}')
    damaged(path, apply, lambda p: convert(p, folder / "out.h5", split, progress=False))
    assert not list(folder.glob(".*"))  # nothing half written stays
    if (folder / "out.h5").exists():
        with h5py.File(folder / "out.h5") as file:
            assert len(file["depths"]) == 10
        (folder / "out.h5").unlink()


@given(damage())
def test_a_damaged_record_is_refused_or_is_what_was_written(apply):
    written = record.sealed(json.loads(record_line(seconds=12.5)))
    text = apply(json.dumps(written).encode())
    try:
        found = record.parse(text, "here")
    except UserError as error:
        assert "\n" not in str(error)
    else:  # a flip in the label, or in the name "sha256", is no harm
        for name in written.keys() - {"study", "sha256"} if "sha256" in found else ():
            assert found[name] == written[name]


@given(st.binary(max_size=200))
def test_any_bytes_as_a_record(content):
    with pytest.raises(UserError, match="here is no record"):
        record.parse(content, "here")


SMALL = {"conv1.weight": torch.arange(500.0)}


@given(damage())
def test_damaged_weights_are_refused(folder, apply):
    """The first kilobytes of a real file hold all its structure; what is left of it fits no network."""
    path = folder / "w.pth"
    if not path.exists():
        torch.save(SMALL, path)
    assert damaged(path, apply, weights.load) is None


def test_resnet18_of_the_table_is_a_whole_one():
    assert weights._architecture({k: v for k, v in resnet18().items() if not k.startswith("fc.")}) == "resnet18"
