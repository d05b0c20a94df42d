"""Unlabelled photos: central squares of a folder or a file."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from lthdepth.data import photos
from lthdepth.errors import UserError


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def test_photos_of_a_folder_and_of_a_file_are_central_squares(tmp_path):
    wide = np.zeros((50, 90, 3), np.uint8)
    wide[:, 20:70] = 200  # the central square
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.PNG"):
        (tmp_path / name).write_bytes(png(wide))
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    with h5py.File(tmp_path / "p.h5", "w") as file:
        rows = file.create_dataset("images_png", 2, h5py.vlen_dtype(np.uint8))
        for i in range(2):
            rows[i] = np.frombuffer(png(wide), np.uint8)
    for source in (tmp_path, tmp_path / "p.h5"):
        read = photos.load(source, 50, progress=False)
        assert read.rgb.shape == (2, 3, 50, 50) and read.rgb.dtype == np.uint8 and (read.rgb == 200).all()
    one, two = (photos.load(source, 32, progress=False) for source in (tmp_path, tmp_path / "p.h5"))
    assert one.rgb[:, :, 8:24, 8:24].min() == 200 and one.fingerprint == two.fingerprint


def test_bad_photos_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"<html>")
    with h5py.File(tmp_path / "nyu.h5", "w") as file:
        file["images_jpeg"], file["testNdxs"] = np.zeros(3), np.zeros(3)
    told = {"empty": "no photo", "bad": "a.jpg", "nyu.h5": "test frames", "absent": "no file"}
    for name, says in told.items():
        with pytest.raises(UserError, match=says) as error:
            photos.load(tmp_path / name, progress=False)
        assert len(str(error.value).splitlines()) == 1


def test_of_many_photos_evenly_spaced_ones_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "MOST", 4)
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(png(np.full((4, 4, 3), i, np.uint8)))
    assert photos.load(tmp_path, 4, progress=False).rgb[:, 0, 0, 0].tolist() == [0, 2, 5, 7]
