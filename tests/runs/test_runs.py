"""The store of runs: keys, records, publishing."""

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import TINY
from making import BROKEN, make, same, saved

from lthdepth import files, mask, metrics, tickets
from lthdepth.config import Config, level
from lthdepth.data import weights
from lthdepth.runs import run as runs
from lthdepth.runs.record import revision, sealed
from lthdepth.training import arms
from lthdepth.training.fit import Diverged

pytestmark = pytest.mark.usefixtures("narrow")

OTHER = """arm=imp density=0.5 round_epochs=3 stride=3 distil=0.25 recalibrate=32 seed=7 height=114
width=152 backbone=resnet18 optimiser=adamw lr_encoder=3e-4 lr_decoder=1e-3 momentum=0.8 weight_decay=1e-4
warmup=0.05 schedule=linear batch=8 epochs=5 loss=l1 precision=bfloat16 scale=1.2 rotation=3.0 flip=false
colour=0.1 holdout=false test=false split=index normalise=false shuffle=false last_batch=50
crop=true bias=2.8 average=0.25 progressive=0.5""".split()


def key(*settings):
    return runs.key(Config.parse(settings), "d", "i")


def test_every_setting_changes_the_key_and_its_default_does_not():
    assert {text.partition("=")[0] for text in OTHER} == {f.name for f in dataclasses.fields(Config)}
    assert len({key(), *(key("arm=imp", text) for text in OTHER)}) == len(OTHER) + 1
    assert key("seed=0", "batch=16", "scale=1.5") == key()


def test_data_weights_and_ticket_change_the_key_but_the_floor_knows_no_weights():
    prints = [("d", "i", "t"), ("D", "i", "t"), ("d", "I", "t"), ("d", "i", "T"), ("d", "i")]
    assert len({runs.key(Config(arm="file"), *rest) for rest in prints}) == 5
    floor = Config(arm="floor")
    assert runs.key(floor, "d", "i") == runs.key(floor, "d", "none") != runs.key(floor, "D", "i")


def test_a_committed_record_has_the_key_of_its_configuration():
    """So a record of an older version, whose configuration lacks newer fields, is found and not misread.

    Keys may never change: they name runs that took hours. If this fails, a default or the form of the key was
    changed; bring it back. Only a deliberate step of SCIENCE_VERSION makes new ones.
    """
    known = runs.Store(runs.ROOT / "nothing", runs.ROOT / "results").records()
    assert known
    for name, record in known.items():
        ticket = record["ticket"]["fingerprint"] if record["arm"] == "file" else ""
        config = record.config
        assert name == runs.key(config, record["data"]["fingerprint"], record["init"]["fingerprint"], ticket)
        assert (record["arm"], record["density"], record["seed"]) == (config.arm, config.density, config.seed)


@pytest.fixture(scope="module")
def made(narrow, frames, tmp_path_factory):
    """A store with the floor, a trained ticket and a failed run: `(store, floor record, ticket record)`."""
    folder = tmp_path_factory.mktemp("store")
    store = runs.Store(folder / "runs", folder / "results")
    with pytest.raises(Diverged):
        make(TINY.replace(**BROKEN), frames, store)
    return store, *(
        make(c, frames, store)
        for c in (TINY.replace(arm="floor"), TINY.replace(arm="omp", density=0.1, epochs=1))
    )


def test_a_finished_run_leaves_record_arrays_and_weights_but_no_checkpoint(made, frames):
    store, floor, record = made
    assert record["key"] == runs.key(Config(**record["config"]), frames.fingerprint, "none")
    assert sum(kept for _, kept, _ in record["ticket"]["layers"]) == record["densities"]["counts"]["kept"]
    assert record["densities"]["prunable"] == pytest.approx(0.1, abs=1e-6) and floor["densities"] is None
    assert record["versions"]["torch"] == torch.__version__ and "CPU" in record["device"]
    assert {"commit", "dirty", "date", "curves", "science_version"} <= record.keys()
    folder = store.local / record["key"]
    assert {p.name for p in folder.iterdir()} == {"record.json", "arrays.npz", "weights.pt", "ticket.npz"}
    assert json.loads((folder / "record.json").read_text()) == record
    arrays = store.arrays(record["key"])
    assert metrics.summarise(arrays["test/eigen"]) == record["test"]["eigen"]
    assert arrays["test/frames"].tolist() == np.flatnonzero(frames.split == "test").tolist()
    assert {p.name for p in (store.local / floor["key"]).iterdir()} == {"record.json", "arrays.npz"}


def test_published_runs_are_read_back_without_the_local_ones_and_published_again_unchanged(made, tmp_path):
    local, floor, record = made
    store = runs.Store(local.local, tmp_path / "results")
    keys = [*local.records(), *local.failed()]
    store.publish(keys, "paper")
    reader = runs.Store(tmp_path / "nowhere", tmp_path / "results")
    assert reader.failed().keys() == local.failed().keys()
    for r in (floor, record):
        assert reader.get(r["key"]) == r | {"study": "paper"}
        before, after = local.arrays(r["key"]), reader.arrays(r["key"])
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_allclose(after[name], array, rtol=1e-3 if name == "gallery" else 1e-7)
        assert np.issubdtype(after["test/frames"].dtype, np.integer)  # they are indices
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".jsonl", ".npz")}
    store.publish(keys, "paper")
    assert len(files) == 4 and files == {path: path.read_bytes() for path in files}
    assert {r["study"] for r in store.records().values()} == {"paper"}  # of local ones too


def test_a_published_run_that_is_made_once_more_does_not_replace_its_first_result(made, tmp_path):
    local, _, record = made
    store = runs.Store(tmp_path / "runs", tmp_path / "results")
    shutil.copytree(local.local, store.local)
    store.publish([record["key"]], "paper")
    first, arrays = store.get(record["key"]), (store.recorded / "arrays").glob("*")
    before = {path: path.read_bytes() for path in arrays}
    other = json.loads(json.dumps(record))
    other["test"]["full"]["pooled"]["rms"] += 0.01
    files.write_atomic(store.local / record["key"] / "record.json", json.dumps(sealed(other)))
    for _ in range(2):  # and is filed once
        store.publish([record["key"]], "paper")
        reader = runs.Store(tmp_path / "nowhere", store.recorded)
        assert reader.get(record["key"]) == first and {p: p.read_bytes() for p in before} == before
        assert [r["test"] for r in reader.reruns()] == [other["test"]]


def test_initial_weights_reach_the_encoder(frames, store, narrow_state):
    initial = weights.Initial(narrow_state, "toy", "toy", "0" * 16, "resnet18")
    config = TINY.replace(arm="omp", density=0.5, epochs=1, lr_encoder=0.0, test=False, holdout=False)
    record = make(config, frames, store, initial)
    state, ticket = saved(store, record), tickets.magnitude(mask.prunable(narrow_state), 0.5)
    assert record["ticket"]["fingerprint"] == ticket.fingerprint and record["init"] == initial.summary()
    for name, keep in ticket.masks.items():
        assert torch.equal(state[f"encoder.{name}"], narrow_state[name] * keep)


def test_imp_draws_each_ticket_from_the_round_before_and_rewinds(frames, narrow_state, store):
    initial = weights.Initial(narrow_state, "toy", "toy", "toy", "resnet18")
    config = TINY.replace(arm="imp", density=level(2), epochs=1)
    record = make(config, frames, store, initial)
    made = {r["density"]: r for r in store.records().values()}
    assert [made[level(k)]["arm"] for k in range(3)] == ["dense", "imp", "imp"] and len(made) == 3
    folders = [store.local / made[level(k)]["key"] for k in range(3)]
    masks = [tickets.load(folder / "ticket.npz")[0] for folder in folders]
    for k in (1, 2):
        trained = saved(store, made[level(k - 1)])
        encoder = {name: trained[f"encoder.{name}"] for name in masks[k].masks}
        assert masks[k].fingerprint == tickets.iterate(masks[k - 1], encoder, level(k)).fingerprint
    ticket, start, _ = arms.start(config, initial, None, {"trained": folders[1]})
    assert ticket.fingerprint == masks[-1].fingerprint == record["ticket"]["fingerprint"]
    assert same(start, narrow_state)  # rewound


def test_the_commit_is_that_of_this_repository_and_of_no_other(tmp_path, monkeypatch):
    """A tarball unpacked below another repository has no commit; nobody knows whether it was changed."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    (tmp_path / "lthdepth").mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    commit, dirty = revision(tmp_path)
    assert len(commit) == 12 and dirty is False
    (tmp_path / "lthdepth" / "new.py").touch()
    assert revision(tmp_path) == (commit, True) and revision(tmp_path / "lthdepth") == (None, None)
    monkeypatch.setenv("PATH", "")
    assert revision(tmp_path) == (None, None)
