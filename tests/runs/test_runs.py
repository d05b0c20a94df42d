"""The store of runs: keys, records, publishing."""

import dataclasses
import json
import os
import subprocess

import numpy as np
import pytest
import torch
from conftest import TINY
from making import make, same, saved

from lthdepth import mask, metrics, tickets
from lthdepth.config import SCIENCE_VERSION, Config, level
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.runs import run as runs
from lthdepth.runs.record import revision
from lthdepth.training import arms

pytestmark = pytest.mark.usefixtures("narrow")

OTHER = """arm=imp density=0.5 round_epochs=3 stride=3 distil=0.25 recalibrate=32 seed=7 height=114
width=152 backbone=resnet18 optimiser=adamw lr_encoder=3e-4 lr_decoder=1e-3 momentum=0.8 weight_decay=1e-4
warmup=0.05 schedule=linear batch=8 epochs=5 loss=l1 precision=bfloat16 scale=1.2 rotation=3.0 flip=false
colour=0.1 holdout=false test=false split=index normalise=false shuffle=false last_batch=50
crop=true bias=2.8""".split()


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


def test_a_key_of_the_past_is_still_found():
    # These may never change: they name runs that took hours and are committed. If this fails, a default or
    # the form of the key was changed; bring it back. Only a deliberate step of SCIENCE_VERSION makes new
    # ones.
    assert SCIENCE_VERSION == 1
    config = Config(arm="omp", density=0.018, seed=2, optimiser="adamw", holdout=False)
    assert runs.key(config, "b3adc48063dbcbce", "a0191640fee0f955") == "d7b58ea002bc23f0"


def test_a_committed_record_has_the_key_of_its_configuration():
    """So a record of an older version, whose configuration lacks newer fields, is found and not misread."""
    known = runs.Store(runs.ROOT / "nothing", runs.ROOT / "results").records()
    assert known
    for name, record in known.items():
        ticket = record["ticket"]["fingerprint"] if record["arm"] == "file" else ""
        config = record.config
        assert name == runs.key(config, record["data"]["fingerprint"], record["init"]["fingerprint"], ticket)
        assert (record["arm"], record["density"], record["seed"]) == (config.arm, config.density, config.seed)


@pytest.fixture(scope="module")
def made(narrow, frames, tmp_path_factory):
    """A store with the floor and one trained ticket: `(store, floor record, ticket record)`."""
    folder = tmp_path_factory.mktemp("store")
    store = runs.Store(folder / "runs", folder / "results")
    return store, *(
        make(c, frames, store)
        for c in (TINY.replace(arm="floor"), TINY.replace(arm="omp", density=0.1, epochs=1))
    )


def test_a_record_holds_what_the_paper_needs(made, frames):
    _, floor, record = made
    assert record["key"] == runs.key(Config(**record["config"]), frames.fingerprint, "none")
    assert (record["arm"], record["density"], record["seed"]) == ("omp", 0.1, 0)
    assert record["study"] == "toy" and record["status"] == "finished"
    for split in ("validation", "test"):
        for protocol in ("full", "eigen"):
            for average in ("pooled", "per_image"):
                assert record[split][protocol][average].keys() == set(metrics.METRICS)
    assert record["densities"].keys() == {"prunable", "encoder", "network", "mac", "counts"}
    assert record["densities"]["prunable"] == pytest.approx(0.1, abs=1e-6) and floor["densities"] is None
    assert sum(kept for _, kept, _ in record["ticket"]["layers"]) == record["densities"]["counts"]["kept"]
    assert record["versions"]["torch"] == torch.__version__ and "CPU" in record["device"]
    assert record["seconds"] > 0 and record["images_per_second"] > 0
    assert {"commit", "dirty", "date", "curves", "science_version"} <= record.keys()


def test_a_finished_run_leaves_record_arrays_and_weights_but_no_checkpoint(made, frames):
    store, floor, record = made
    folder = store.local / record["key"]
    assert {p.name for p in folder.iterdir()} == {"record.json", "arrays.npz", "weights.pt", "ticket.npz"}
    assert json.loads((folder / "record.json").read_text()) == record
    arrays = store.arrays(record["key"])
    assert metrics.summarise(arrays["test/eigen"]) == record["test"]["eigen"]
    assert arrays["test/frames"].tolist() == np.flatnonzero(frames.split == "test").tolist()
    assert {p.name for p in (store.local / floor["key"]).iterdir()} == {"record.json", "arrays.npz"}


def test_what_a_process_killed_after_its_record_left_is_removed_when_the_run_is_asked_for(made, frames):
    store, _, record = made
    path, config = store.local / record["key"] / "checkpoint.pt", Config(**record["config"])
    for time, left in ((1e9, False), (2e9, True)):  # before the record; after it: of a run that is made again
        path.touch()
        os.utime(path, (time, time))
        assert make(config, frames, store) == record and path.exists() == left
    path.unlink()


def test_published_runs_are_read_back_without_the_local_ones_and_published_again_unchanged(made, tmp_path):
    local, *records = made
    store = runs.Store(local.local, tmp_path / "results")
    store.publish([r["key"] for r in records], "paper")
    reader = runs.Store(tmp_path / "nowhere", tmp_path / "results")
    assert reader.records().keys() == {r["key"] for r in records}
    for r in records:
        assert reader.get(r["key"]) == r | {"study": "paper"}
        before, after = local.arrays(r["key"]), reader.arrays(r["key"])
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_allclose(after[name], array, rtol=1e-3 if name == "gallery" else 1e-7)
        assert np.issubdtype(after["test/frames"].dtype, np.integer)  # they are indices
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".jsonl", ".npz")}
    store.publish([r["key"] for r in records], "paper")
    assert len(files) == 3 and files == {path: path.read_bytes() for path in files}
    assert {r["study"] for r in store.records().values()} == {"paper"}  # of local ones too
    floor, record = records
    store.publish([record["key"]], "pilot")
    assert reader.get(record["key"])["study"] == "pilot" and reader.get(floor["key"])["study"] == "paper"


def test_a_changed_record_is_noticed_and_another_study_is_no_change(made, store):
    record = made[2]
    path = store.local / record["key"] / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record | {"study": "renamed"}))
    assert store.get(record["key"])["study"] == "renamed"
    path.write_text(json.dumps(record).replace(str(record["test"]["full"]["pooled"]["rms"]), "0.1"))
    with pytest.raises(UserError, match=r"record\.json was changed after it was written"):
        store.records()


def test_inputs_that_do_not_suffice_are_refused(frames, store, narrow_state):
    initial = weights.Initial(narrow_state, "toy", "toy", "0" * 16, "resnet18")
    ticket = tickets.dense(mask.prunable(narrow_state))
    for config, inputs, words in (
        (Config(), runs.Inputs(frames, initial), "needs weights of a resnet50"),
        (TINY.replace(arm="file"), runs.Inputs(frames, initial), "arm file needs a mask file"),
        (TINY, runs.Inputs(frames, initial, ticket=ticket), "only that arm"),
    ):
        with pytest.raises(UserError, match=words):
            runs.run(config, inputs, store)
    assert not store.local.exists()


def test_initial_weights_reach_the_encoder(frames, store, narrow_state):
    initial = weights.Initial(narrow_state, "toy", "toy", "0" * 16, "resnet18")
    config = TINY.replace(arm="omp", density=0.5, epochs=1, lr_encoder=0.0, test=False, holdout=False)
    record = make(config, frames, store, initial)
    state, ticket = saved(store, record), tickets.magnitude(mask.prunable(narrow_state), 0.5)
    assert record["ticket"]["fingerprint"] == ticket.fingerprint and record["init"] == initial.summary()
    for name, keep in ticket.masks.items():
        assert torch.equal(state[f"encoder.{name}"], narrow_state[name] * keep)


def test_imp_draws_each_ticket_from_the_round_before_rewinds_and_trains_none_twice(
    frames, narrow_state, store
):
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
    times = [f.stat().st_mtime_ns for f in folders]
    make(config.replace(density=level(1)), frames, store, initial)
    assert [f.stat().st_mtime_ns for f in folders] == times


def test_the_commit_is_that_of_this_repository_and_of_no_other(tmp_path, monkeypatch):
    """A tarball unpacked below another repository has no commit; nobody knows whether it was changed."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    (tmp_path / "lthdepth").mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *words], check=True)
    commit, dirty = revision(tmp_path)
    assert len(commit) == 12 and dirty is False
    (tmp_path / "lthdepth" / "new.py").touch()
    assert revision(tmp_path) == (commit, True)
    assert revision(tmp_path / "lthdepth") == (None, None)
    monkeypatch.setenv("PATH", "")
    assert revision(tmp_path) == (None, None)
