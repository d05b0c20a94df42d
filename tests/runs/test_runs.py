"""The store of runs: keys, records, publishing."""

import dataclasses
import hashlib
import json
import os
import subprocess

import numpy as np
import pytest
import torch
from conftest import TINY

from lthdepth import files, mask, metrics, ticketfile, tickets
from lthdepth.config import SCIENCE_VERSION, Config, level
from lthdepth.data import weights
from lthdepth.errors import UserError
from lthdepth.model import FCRN
from lthdepth.runs import run as runs
from lthdepth.runs.record import revision, sealed
from lthdepth.training import arms
from lthdepth.training import fit as train

pytestmark = pytest.mark.usefixtures("narrow")

OTHER = {
    "arm": "omp",
    "density": 0.5,
    "round_epochs": 3,
    "rewind": 2,
    "stride": 3,
    "distil": 0.25,
    "recalibrate": 32,
    "seed": 7,
    "backbone": "resnet18",
    "height": 114,
    "width": 152,
    "optimiser": "adamw",
    "lr_encoder": 3e-4,
    "lr_decoder": 1e-3,
    "momentum": 0.8,
    "weight_decay": 1e-4,
    "warmup": 0.05,
    "schedule": "linear",
    "batch": 8,
    "epochs": 5,
    "loss": "l1",
    "precision": "bfloat16",
    "scale": 1.2,
    "rotation": 3.0,
    "flip": False,
    "colour": 0.1,
    "holdout": False,
    "patience": 3,
    "test": False,
    "split": "index",
    "normalise": False,
    "shuffle": False,
    "last_batch": 50,
    "crop": True,
    "bias": 2.8,
}


def test_every_setting_changes_the_key():
    assert OTHER.keys() == {f.name for f in dataclasses.fields(Config)}
    base = Config(arm="imp")
    keys = [runs.key(base, "d", "i")] + [runs.key(base.replace(**{k: v}), "d", "i") for k, v in OTHER.items()]
    assert len(set(keys)) == len(OTHER) + 1


def test_data_weights_and_ticket_change_the_key():
    config = Config(arm="file")
    prints = [("d", "i", "t"), ("D", "i", "t"), ("d", "I", "t"), ("d", "i", "T"), ("d", "i")]
    keys = {runs.key(config, *rest) for rest in prints}
    assert len(keys) == 5


def test_a_default_that_is_given_does_not_change_the_key():
    assert runs.key(Config(seed=0, batch=16, scale=1.5), "d", "i") == runs.key(Config(), "d", "i")


def test_a_key_of_the_past_is_still_found():
    # These may never change: they name runs that took hours and are committed. If this fails, a default or
    # the form of the key was changed; bring it back. Only a deliberate step of SCIENCE_VERSION makes new
    # ones.
    assert SCIENCE_VERSION == 1
    config = Config(arm="omp", density=0.018, seed=2, optimiser="adamw", holdout=False)
    assert runs.key(config, "b3adc48063dbcbce", "a0191640fee0f955") == "d7b58ea002bc23f0"
    text = (
        '{"arm": "omp", "density": 0.018, "holdout": false, "optimiser": "adamw", "seed": 2}\n'
        "b3adc48063dbcbce\na0191640fee0f955\n\n1"
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "d7b58ea002bc23f0"


def test_the_floor_knows_no_weights():
    floor = Config(arm="floor")
    assert runs.key(floor, "d", "i") == runs.key(floor, "d", "none") != runs.key(floor, "D", "i")


def test_a_drawn_ticket_follows_from_arm_density_seed_and_weights():
    initial, start = weights.NONE, train.initialise(FCRN("resnet18"), 5).encoder.state_dict()
    config = Config(arm="omp", density=0.1, seed=5, backbone="resnet18")
    omp, state, _ = arms.start(config, initial)
    assert all(torch.equal(v, start[k]) for k, v in state.items())
    assert omp.fingerprint == tickets.magnitude(mask.prunable(start), 0.1).fingerprint
    dense, _, _ = arms.start(Config(backbone="resnet18"), initial)
    assert dense.kept == dense.size == omp.size


@pytest.fixture(scope="module")
def made(narrow, frames, tmp_path_factory):
    """A store with the floor and one trained ticket: `(store, floor record, ticket record)`."""
    folder = tmp_path_factory.mktemp("store")
    store = runs.Store(folder / "runs", folder / "results")
    configs = TINY.replace(arm="floor"), TINY.replace(arm="omp", density=0.1, epochs=1)
    records = [
        runs.run(c, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False), study="toy")
        for c in configs
    ]
    return store, *records


def plain(record):
    return json.loads(json.dumps(record))


def test_a_record_holds_what_the_paper_needs(made, frames):
    store, _, record = made
    config = Config(**record["config"])
    assert record["key"] == runs.key(config, frames.fingerprint, "none")
    assert (record["arm"], record["density"], record["seed"]) == ("omp", 0.1, 0)
    assert record["data"]["fingerprint"] == frames.fingerprint and record["init"]["fingerprint"] == "none"
    assert record["study"] == "toy" and record["status"] == "finished"
    for split in ("validation", "test"):
        for protocol in ("full", "eigen"):
            for kind in ("pooled", "per_image"):
                assert record[split][protocol][kind].keys() == set(metrics.METRICS)
    assert record["densities"].keys() == {"prunable", "encoder", "network", "mac", "counts"}
    assert record["densities"]["prunable"] == pytest.approx(0.1, abs=1e-6)
    assert record["curves"].keys() == {"train_loss", "validation_rms"}
    assert record["ticket"]["history"][0]["drawn"] == "one-shot magnitude"
    assert sum(kept for _, kept, _ in record["ticket"]["layers"]) == record["densities"]["counts"]["kept"]
    assert record["versions"]["torch"] == torch.__version__ and "CPU" in record["device"]
    assert record["science_version"] == SCIENCE_VERSION
    assert record["seconds"] > 0 and record["images_per_second"] > 0
    assert {"commit", "dirty", "date"} <= record.keys()


def test_a_finished_run_leaves_record_arrays_and_weights_but_no_checkpoint(made, frames):
    store, floor, record = made
    folder = store.local / record["key"]
    assert {p.name for p in folder.iterdir()} == {"record.json", "arrays.npz", "weights.pt", "ticket.npz"}
    assert json.loads((folder / "record.json").read_text()) == plain(record)
    arrays = store.arrays(record["key"])
    assert metrics.summarise(arrays["test/eigen"]) == record["test"]["eigen"]
    assert arrays["test/frames"].tolist() == np.flatnonzero(frames.split == "test").tolist()
    assert {p.name for p in (store.local / floor["key"]).iterdir()} == {"record.json", "arrays.npz"}
    assert floor["densities"] is None


def test_a_finished_run_is_found_and_not_made_again(made, frames, monkeypatch):
    store, floor, record = made
    monkeypatch.setattr(train, "fit", None)
    monkeypatch.setattr(train, "floor", None)
    for wanted in (floor, record):
        found = runs.run(
            Config(**wanted["config"]), runs.Inputs(frames, weights.NONE), store, study="another"
        )
        assert found == plain(wanted)


def test_a_run_that_was_stopped_is_not_finished_and_continues(frames, store):
    config = TINY.replace(epochs=2, test=False)
    with pytest.raises(train.Stopped):
        runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(deadline=0, progress=False))
    assert store.records() == {}
    record = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False))
    assert record["epochs_run"] == 2 and len(record["curves"]["train_loss"]) == 2
    assert record["test"] is None and store.get(record["key"]) == plain(record)


def test_what_a_process_killed_after_its_record_left_is_removed_when_the_run_is_asked_for(frames, store):
    record = runs.run(TINY, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False))
    folder = store.local / record["key"]
    over = [folder / "checkpoint.pt"]
    for path in over:
        path.touch()
        os.utime(path, (1e9, 1e9))  # before the record
    assert runs.run(TINY, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False)) == record
    assert not any(path.exists() for path in over)
    over[0].touch()  # after it: of a run that is being made again, for its weights
    os.utime(over[0], (2e9, 2e9))
    assert runs.run(TINY, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False)) == record
    assert over[0].exists()


def test_a_record_is_found_by_the_beginning_of_its_key(made):
    store, floor, record = made
    same = 0
    while floor["key"][same] == record["key"][same]:
        same += 1
    for r in (floor, record):
        assert store.get(r["key"])["arm"] == store.get(r["key"][: same + 1])["arm"] == r["arm"]
    assert store.get("0123456789abcdefg") is None
    with pytest.raises(UserError, match="beginning of 2 keys"):
        store.get(record["key"][:same])


@pytest.fixture
def published(made, tmp_path):
    """The two runs published, and a store that sees nothing but what was published."""
    local, floor, record = made
    store = runs.Store(local.local, tmp_path / "results")
    store.publish([floor["key"], record["key"]], "paper")
    return store, runs.Store(tmp_path / "nowhere", tmp_path / "results")


def test_published_runs_are_read_back_without_the_local_ones(made, published):
    local, floor, record = made
    _, reader = published
    assert reader.records().keys() == {floor["key"], record["key"]}
    for r in (floor, record):
        assert reader.get(r["key"]) == plain(r) | {"study": "paper"}
        before, after = local.arrays(r["key"]), reader.arrays(r["key"])
        assert before.keys() == after.keys()
        for name, array in before.items():
            np.testing.assert_allclose(after[name], array, rtol=1e-3 if name == "gallery" else 1e-7)
        rows = after["test/frames"]
        assert np.issubdtype(rows.dtype, np.integer)  # they are indices
        assert metrics.summarise(after["test/full"])["pooled"] == pytest.approx(
            r["test"]["full"]["pooled"], rel=1e-6
        )


def test_publishing_again_changes_nothing_and_local_runs_keep_their_study(made, published):
    _, floor, record = made
    store, reader = published
    text = (store.recorded / "runs.jsonl").read_bytes()
    arrays = reader.arrays(record["key"])
    store.publish([record["key"]], "paper")
    assert (store.recorded / "runs.jsonl").read_bytes() == text
    again = reader.arrays(record["key"])
    assert arrays.keys() == again.keys() and all(np.array_equal(arrays[k], again[k]) for k in arrays)
    assert len(text.splitlines()) == 2
    assert {r["study"] for r in store.records().values()} == {"paper"}
    store.publish([record["key"]], "pilot")
    assert reader.get(record["key"])["study"] == "pilot" and reader.get(floor["key"])["study"] == "paper"


def test_only_finished_runs_are_published(store):
    with pytest.raises(UserError, match="no finished run abc"):
        store.publish(["abc"], "paper")


@pytest.mark.parametrize(
    "bad", [b'{"key": "a", "conf', b"[]", b"3", b"<html>", b'{"key": "a"}', b"", b"\xff\xfe{}", b"[" * 10**5]
)
def test_a_damaged_line_is_named_by_its_number(published, bad):
    _, reader = published
    path = reader.recorded / "runs.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], bad, lines[1]]) + b"\n")
    with pytest.raises(UserError, match=r"runs\.jsonl, line 2 is no record"):
        reader.records()


def test_a_damaged_local_record_is_named(store):
    (store.local / "abc").mkdir(parents=True)
    (store.local / "abc" / "record.json").write_text('{"key": "abc", ')
    with pytest.raises(UserError, match=r"abc.record\.json is no record"):
        store.records()


def test_an_empty_store_has_nothing(store):
    assert store.records() == {} and store.get("a") is None and store.arrays("a") == {}


def test_weights_of_another_backbone_and_stray_tickets_are_refused(frames, store, narrow_state):
    initial = weights.Initial(narrow_state, "toy", "toy", "0" * 16, "resnet18")
    with pytest.raises(UserError, match="needs weights of a resnet50"):
        runs.run(Config(), runs.Inputs(frames, initial), store)
    with pytest.raises(UserError, match="arm file needs a mask file"):
        runs.run(TINY.replace(arm="file"), runs.Inputs(frames, weights.NONE), store)
    ticket = tickets.dense(mask.prunable(narrow_state))
    with pytest.raises(UserError, match="only that arm"):
        runs.run(TINY, runs.Inputs(frames, weights.NONE, ticket=ticket), store)
    assert store.records() == {}


def test_initial_weights_reach_the_encoder(frames, store, narrow_state):
    initial = weights.Initial(narrow_state, "toy", "toy", "0" * 16, "resnet18")
    config = TINY.replace(arm="omp", density=0.5, epochs=1, lr_encoder=0.0, test=False, holdout=False)
    record = runs.run(config, runs.Inputs(frames, initial), store, runs.Options(progress=False))
    saved = torch.load(store.local / record["key"] / "weights.pt", weights_only=True)
    ticket = tickets.magnitude(mask.prunable(narrow_state), 0.5)
    assert record["ticket"]["fingerprint"] == ticket.fingerprint
    for name, keep in ticket.masks.items():
        assert torch.equal(saved[f"encoder.{name}"], narrow_state[name] * keep)
    assert record["init"] == initial.summary()


# Files that are whole or absent


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.json"
    files.write_atomic(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="cannot write .*No space left"):
        files.write_atomic(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_what_is_written_is_read_back(tmp_path):
    files.write_atomic(tmp_path / "t", "text")
    files.write_atomic(tmp_path / "b", b"\x00\xff")
    files.write_atomic(tmp_path / "w.pt", {"w": torch.arange(3)})
    assert (tmp_path / "t").read_text() == "text" and (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert torch.load(tmp_path / "w.pt", weights_only=True)["w"].tolist() == [0, 1, 2]


def test_imp_runs_its_rounds_keeps_their_tickets_and_rewinds(frames, narrow_state, tmp_path):
    """Two rounds on the toy data: nested tickets, each from the weights of the round before, none trained
    twice.
    """
    state = {k: v for k, v in narrow_state.items() if not k.startswith("fc.")}
    initial = weights.Initial(state, "toy", "toy", "toy", "resnet18")
    store = runs.Store(tmp_path / "runs", tmp_path / "results")
    config = TINY.replace(arm="imp", density=level(2), epochs=1, test=True)
    record = runs.run(config, runs.Inputs(frames, initial), store, runs.Options(progress=False))
    made = {(r["arm"], r["density"]): r for r in store.records().values()}
    assert made.keys() == {("dense", 1.0), ("imp", level(1)), ("imp", level(2))}
    folders = [store.local / made[k]["key"] for k in (("dense", 1.0), ("imp", level(1)), ("imp", level(2)))]
    masks = [ticketfile.load(f / "ticket.npz")[0] for f in folders]
    for before, after, folder in zip(masks, masks[1:], folders, strict=False):
        trained = torch.load(folder / "weights.pt", weights_only=True)
        magnitudes = {k: trained[f"encoder.{k}"].abs() for k in after.masks}
        smallest_kept = min(float(magnitudes[k][m].min()) for k, m in after.masks.items() if m.any())
        gone = [magnitudes[k][before.masks[k] & ~m] for k, m in after.masks.items()]
        assert max(float(g.max()) for g in gone if len(g)) <= smallest_kept
        assert not any((m & ~before.masks[k]).any() for k, m in after.masks.items())
    assert record["ticket"]["fingerprint"] == masks[-1].fingerprint
    ticket, start, _ = arms.start(config, initial, None, {"trained": folders[1]})
    assert ticket.fingerprint == masks[-1].fingerprint
    assert all(torch.equal(start[k], v) for k, v in state.items())  # rewound
    times = [f.stat().st_mtime_ns for f in folders]
    runs.run(
        config.replace(density=level(1)), runs.Inputs(frames, initial), store, runs.Options(progress=False)
    )
    assert [f.stat().st_mtime_ns for f in folders] == times


def test_imp_makes_a_round_again_whose_weights_are_gone(frames, tmp_path):
    store = runs.Store(tmp_path / "runs", tmp_path / "results")
    config = TINY.replace(arm="imp", density=level(1), epochs=1)
    first = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False))
    dense = next(r for r in store.records().values() if r["arm"] == "dense")
    (store.local / dense["key"] / "weights.pt").unlink()
    (store.local / first["key"] / "record.json").unlink()
    again = runs.run(config, runs.Inputs(frames, weights.NONE), store, runs.Options(progress=False))
    assert again["test"] == first["test"] and again["ticket"]["fingerprint"] == first["ticket"]["fingerprint"]


# Damage


def test_a_changed_record_is_noticed_and_another_study_is_no_change(made, tmp_path):
    _, floor, record = made
    folder = tmp_path / "runs" / record["key"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record | {"study": "renamed"}))
    assert runs.Store(tmp_path / "runs", tmp_path / "none").get(record["key"])["study"] == "renamed"
    rms = str(record["test"]["full"]["pooled"]["rms"])
    (folder / "record.json").write_text(json.dumps(record).replace(rms, "0.1"))
    with pytest.raises(UserError, match=r"record\.json was changed after it was written"):
        runs.Store(tmp_path / "runs", tmp_path / "none").records()


@pytest.mark.parametrize("change", [{"arm": "of the future"}, {"science_version": 99}])
def test_a_record_of_a_later_version_is_refused(made, tmp_path, change):
    record = sealed(made[1] | change)
    (tmp_path / "runs.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(UserError, match=r"line 1 is of a later version"):
        runs.Store(tmp_path / "none", tmp_path).records()


def test_a_committed_record_has_the_key_of_its_configuration():
    """So a record that an older version wrote, whose configuration lacks newer fields, is found and not
    misread.
    """
    store = runs.Store(runs.ROOT / "nothing", runs.ROOT / "results")
    assert store.records()
    for name, record in store.records().items():
        ticket = record["ticket"]["fingerprint"] if record["arm"] == "file" else ""
        config = Config(**record["config"])
        assert name == runs.key(config, record["data"]["fingerprint"], record["init"]["fingerprint"], ticket)
        assert (record["arm"], record["density"], record["seed"]) == (config.arm, config.density, config.seed)


def test_damaged_arrays_are_told_in_a_sentence(made, published, tmp_path):
    local, _, record = made
    _, reader = published
    path = reader.recorded / "arrays" / f"{record['key']}.npz"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{record['key']}\.npz cannot be read"):
        reader.arrays(record["key"])
    folder = tmp_path / "runs" / record["key"]
    folder.mkdir(parents=True)
    whole = (local.local / record["key"] / "arrays.npz").read_bytes()
    for damaged in (b"", whole[:1000], whole[:500] + bytes(200) + whole[700:]):
        (folder / "arrays.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"arrays\.npz cannot be read"):
            runs.Store(tmp_path / "runs", tmp_path / "none").arrays(record["key"])


def test_the_commit_is_that_of_this_repository_and_of_no_other(tmp_path, monkeypatch):
    """A tarball that was unpacked below another repository has no commit, and nobody knows whether it was
    changed.
    """
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
