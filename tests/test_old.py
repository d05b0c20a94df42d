"""Files as earlier versions wrote them: understood, made anew, or refused in a sentence; never misread.

old/runs.jsonl holds the first two records of the project, as they were committed: 24 settings, no checksum.
"""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from bad_inputs import cache_file
from conftest import TINY

from lthdepth import files
from lthdepth.config import Config
from lthdepth.data import nyu as data
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.mask import Masking
from lthdepth.model import FCRN, initialise
from lthdepth.paper import provenance
from lthdepth.paper.study import Desk
from lthdepth.runs import effort
from lthdepth.runs import run as runs
from lthdepth.training import arms
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")

OLD = Path(__file__).with_name("old")


def test_the_first_records_are_read_and_found_by_their_configuration(tmp_path):
    store = runs.Store(tmp_path, OLD)
    found = store.records()
    assert found.keys() == {"d88235a6a38fb13a", "a20e9a42d3e80f4b"}
    for key, record in found.items():
        assert len(record["config"]) == 24 and "sha256" not in record
        config = Config(**record["config"])
        assert runs.key(config, record["data"]["fingerprint"], record["init"]["fingerprint"]) == key
        assert (config.last_batch, config.split, config.normalise) == (
            0,
            "official",
            True,
        )  # settings that came later: as before
    assert found["a20e9a42d3e80f4b"]["test"]["full"]["pooled"]["rms"] == 1.1985369424370296


def test_an_old_record_with_a_setting_that_is_unknown_now_is_read_as_it_is(tmp_path):
    record = json.loads((OLD / "runs.jsonl").read_text().splitlines()[0])
    record["config"]["gone"] = 1
    (tmp_path / "runs.jsonl").write_text(json.dumps(record) + "\n")
    store = runs.Store(tmp_path / "none", tmp_path)
    assert store.get(record["key"])["config"]["gone"] == 1
    (tmp_path / "failed.jsonl").write_text(json.dumps(record | {"status": "failed", "key": "x"}) + "\n")
    assert store.failed() and Desk("paper", store=store).lost("pilot") == []
    assert effort.Estimates([record], record["device"]).seen == []


def test_published_arrays_without_checksum_are_read_and_get_one_when_published_again(frames, tmp_path):
    store = runs.Store(tmp_path / "runs", tmp_path / "results")
    record = runs.run(TINY.replace(arm="floor"), frames, weights.NONE, store)
    store.publish([record["key"]], "paper")
    path, reader = (
        tmp_path / "results" / "arrays" / f"{record['key']}.h5",
        runs.Store(tmp_path / "none", tmp_path / "results"),
    )
    wanted = reader.arrays(record["key"])
    with h5py.File(path, "r+") as file:
        del file.attrs["sha256"]
    assert files.digest(reader.arrays(record["key"])) == files.digest(wanted)
    with (
        h5py.File(path) as file,
        h5py.File(tmp_path / "results" / "arrays.h5", "w") as one,
    ):  # of all runs, the first layout
        file.copy("/", one, record["key"])
    path.unlink()
    assert (
        files.digest(reader.arrays(record["key"])) == files.digest(wanted) and reader.arrays("another") == {}
    )
    store.publish([record["key"]], "paper")
    with h5py.File(path, "r+") as file:
        assert file.attrs["sha256"] == files.digest(wanted)
        file["test/full"][0, 0] += 1
    with pytest.raises(UserError, match="is damaged: copy it again"):
        reader.arrays(record["key"])


def test_a_checkpoint_of_the_first_layout_is_continued_exactly(frames, tmp_path):
    """One file, no checksum, written by torch.save; its optimiser that of torch, with the groups encoder and decoder."""
    config = TINY.replace(epochs=2, test=False, arm="omp", density=0.1)
    ticket, _, _ = runs.arms.start(config, weights.NONE)
    for name, deadline in (("whole", None), ("old", 0)):
        (tmp_path / name).mkdir()
        try:
            train.fit(
                config,
                frames,
                arms.Start(ticket, None),
                tmp_path / name,
                train.Options(deadline=deadline, progress=False),
            )
        except train.Stopped:
            saved = files.read_tensors(tmp_path / name / "checkpoint.pt")
            model = initialise(FCRN("resnet18"), 0)
            model.load_state_dict(saved["model"])
            Masking(ticket, model.encoder)
            groups = [{"params": list(model.encoder.parameters())}, {"params": model.decoder_parameters()}]
            first = torch.optim.SGD(
                groups, lr=0.1, momentum=config.momentum, weight_decay=config.weight_decay
            )
            first.load_state_dict(saved["optimiser"])
            torch.save(
                {"model": model.state_dict(), "optimiser": first.state_dict(), "state": saved["state"]},
                tmp_path / "old" / "checkpoint.pt",
            )
    train.fit(config, frames, arms.Start(ticket, None), tmp_path / "old", train.Options(progress=False))
    wanted, found = (files.read_tensors(tmp_path / name / "weights.pt") for name in ("whole", "old"))
    assert all(torch.equal(found[k], v) for k, v in wanted.items())


def test_a_cache_that_does_not_say_of_which_file_it_was_made_is_converted_again(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DATA_DIR", tmp_path / "data")
    mat, made = tmp_path / "m.mat", []
    mat.write_bytes(b"")
    (tmp_path / "data").mkdir()
    cache_file(data.cache_of(mat))

    def convert(source, cache, **_):
        made.append(source)

    monkeypatch.setattr(data, "convert", convert)
    monkeypatch.setattr(data, "check", lambda source: None)
    frames = data.load(mat, progress=False)
    assert made == [mat] and np.isfinite(frames.depth).all()


def test_a_cache_that_is_there_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DATA_DIR", tmp_path)
    monkeypatch.setattr(data, "check", lambda source: None)
    monkeypatch.setattr(files.os, "open", None)  # no lock can be taken
    (tmp_path / "m.mat").write_bytes(b"")
    cache = data.cache_of(tmp_path / "m.mat")
    cache_file(cache)
    with h5py.File(cache, "r+") as file:
        file.attrs["source"] = data.source_stamp(tmp_path / "m.mat")
    assert len(data.load(tmp_path / "m.mat", progress=False).rgb) == 10


def test_a_sidecar_of_the_first_layout_is_refused_in_a_sentence(tmp_path):
    shutil.copy(OLD / "sidecar.json", tmp_path / "a.json")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="build the paper again"):
        provenance.explain(tmp_path / "a.png", runs.Store(tmp_path, tmp_path))
