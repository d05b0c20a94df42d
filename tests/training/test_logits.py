"""Tickets of the pre-training function: photos, rounds, and what they depend on."""

import io
import time

import h5py
import numpy as np
import pytest
import torch
import torchvision
from conftest import TINY, make_frames
from PIL import Image

from lthdepth import mask, ticketfile, tickets
from lthdepth.config import Config, level
from lthdepth.data import photos, weights
from lthdepth.errors import UserError
from lthdepth.runs import run as runs
from lthdepth.training import fit as train
from lthdepth.training import logits as pretraining

DRAW = Config(arm="logits", density=level(2), backbone="resnet18", round_epochs=1, seed=3)


@pytest.fixture(scope="module")
def some():
    """Photos of eight colours and some noise."""
    rng = np.random.default_rng(0)
    return photos.Photos(
        (rng.integers(0, 200, (8, 3, 1, 1)) + rng.integers(0, 56, (8, 3, 40, 40))).astype(np.uint8), "colours"
    )


@pytest.fixture(scope="module")
def initial(some):
    """A random ResNet-18 with a classifier of 50 classes, its batch-norm statistics those of the photos."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None, num_classes=50)
    net.fc.weight.data *= 10  # logits of a few units, as those of trained networks
    for _ in range(20):
        net((torch.from_numpy(some.rgb).float() / 255 - 0.45) / 0.225)
    state, classifier = weights._parts(net.state_dict())
    return weights.Initial(state, "toy", "toy", weights.fingerprint(state), "resnet18", classifier)


def draw(config, initial, some, folder, **options):
    return pretraining.draw(config, initial, some, folder, progress=False, **options)


def jpeg(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def test_rounds_are_nested_exact_kept_and_lead_to_the_same_ticket_again(initial, some, tmp_path):
    ticket = draw(DRAW, initial, some, tmp_path / "a")
    one, two = (ticketfile.load(tmp_path / "a" / f"mask-{k}.npz")[0] for k in (1, 2))
    size = sum(w.numel() for w in mask.prunable(initial.state).values())
    assert (one.kept, two.kept) == (round(0.8 * size), round(0.64 * size))
    assert not any((m & ~one.masks[k]).any() for k, m in two.masks.items())
    assert ticket.fingerprint == two.fingerprint == draw(DRAW, initial, some, tmp_path / "b").fingerprint
    assert [step["drawn"] for step in ticket.history] == ["dense", *["magnitude after matching logits"] * 2]
    assert all(0 < step["error"] for step in ticket.history[1:])
    assert draw(DRAW.replace(density=level(1)), initial, some, tmp_path / "c").fingerprint == one.fingerprint
    assert (
        draw(DRAW.replace(seed=4, density=level(1)), initial, some, tmp_path / "d").fingerprint
        != one.fingerprint
    )
    one_shot = tickets.magnitude(mask.prunable(initial.state), level(1))
    assert one.fingerprint != one_shot.fingerprint  # it is the trained weights that are ranked


def test_a_stopped_draw_continues_with_the_round_it_lacks(initial, some, tmp_path, monkeypatch):
    whole = draw(DRAW, initial, some, tmp_path / "whole")
    trained, real = [], pretraining.match

    def counted(*words):
        trained.append(words[-2])
        return real(*words)

    monkeypatch.setattr(pretraining, "match", counted)
    draw(DRAW.replace(density=level(1)), initial, some, tmp_path / "parts")
    with pytest.raises(train.Stopped, match="after round 1"):
        draw(DRAW, initial, some, tmp_path / "parts", deadline=time.monotonic() - 1)
    assert draw(DRAW, initial, some, tmp_path / "parts").fingerprint == whole.fingerprint
    assert trained == [1, 2]


def test_training_brings_the_logits_nearer_and_leaves_pruned_weights_at_zero(initial, some):
    ticket = tickets.magnitude(mask.prunable(initial.state), 0.1)
    errors = []
    for epochs in (1, 20):
        student, teacher = (pretraining._network(initial, "cpu") for _ in range(2))
        before = {k: v.clone() for k, v in teacher.state_dict().items()}
        masking, config = mask.Masking(ticket, student), DRAW.replace(round_epochs=epochs)
        errors.append(
            pretraining.match(student, teacher.eval(), masking, torch.from_numpy(some.rgb), config, 1, False)
        )
        assert all((student.get_parameter(k)[~m] == 0).all() for k, m in ticket.masks.items())
        assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert errors[1] < 0.8 * errors[0]


def test_a_perfect_student_has_no_error(initial, some, monkeypatch):
    """The whole network in evaluation mode is the teacher: error 0, by definition."""
    teacher, student = (pretraining._network(initial, "cpu").eval() for _ in range(2))
    student.train = lambda: student
    masking = mask.Masking(tickets.dense(mask.prunable(initial.state)), student)
    monkeypatch.setattr(pretraining, "LR", 0.0)
    assert pretraining.match(student, teacher, masking, torch.from_numpy(some.rgb), DRAW, 1, False) < 1e-9


def test_the_key_follows_classifier_photos_and_recipe(initial, some, monkeypatch):
    other = weights.Initial(
        **{**vars(initial), "classifier": {k: v + 1 for k, v in initial.classifier.items()}}
    )
    prints = [pretraining.fingerprint(initial, some), pretraining.fingerprint(other, some)]
    prints.append(pretraining.fingerprint(initial, photos.Photos(some.rgb[::-1], "noise")))
    monkeypatch.setattr(pretraining, "LR", 0.02)
    prints.append(pretraining.fingerprint(initial, some))
    assert len(set(prints)) == 4
    chains = {
        pretraining.chain(DRAW.replace(**c), initial, some)
        for c in ({}, {"seed": 1}, {"round_epochs": 2}, {"precision": "bfloat16"})
    }
    assert len(chains) == 4
    assert pretraining.chain(DRAW.replace(density=level(7)), initial, some) in chains


def test_weights_without_a_classifier_and_other_densities_are_refused(
    initial, some, tmp_path, resnet18_state
):
    torch.save(resnet18_state, tmp_path / "headless.pth")
    with pytest.raises(UserError, match="no classifier"):
        draw(DRAW, weights.load(tmp_path / "headless.pth"), some, tmp_path)
    with pytest.raises(UserError, match="0.8"):
        draw(DRAW.replace(density=0.5), initial, some, tmp_path)
    with pytest.raises(UserError, match="backbone"):
        draw(DRAW.replace(backbone="resnet34"), initial, some, tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_the_classifier_is_read_with_the_weights_and_does_not_change_their_name(initial, tmp_path):
    torch.save(initial.state | initial.classifier, tmp_path / "w.pth")
    found = weights.load(tmp_path / "w.pth")
    assert all(torch.equal(v, initial.classifier[k]) for k, v in found.classifier.items())
    assert found.fingerprint == initial.fingerprint


def test_a_run_of_the_arm_takes_photos_or_the_training_frames(initial, some, store):
    config = TINY.replace(arm="logits", density=level(1), round_epochs=1, epochs=1)
    frames = make_frames()
    records = [runs.run(config, frames, initial, store, progress=False, unlabelled=u) for u in (some, None)]
    assert records[0]["key"] != records[1]["key"]
    assert (
        records[0]["ticket"]["history"][1]["photos"] == "colours"
        and records[1]["ticket"]["history"][1]["photos"] == "toy"
    )
    masks = sorted(store.local.glob("logits-*/mask-1.npz"))
    assert {ticketfile.load(m)[0].fingerprint for m in masks} == {r["ticket"]["fingerprint"] for r in records}
    assert store.records().keys() == {r["key"] for r in records}
    # No test frame is looked at: other test frames, the same photos.
    rows = train.rows_of(frames, config)["fit"]
    other = make_frames()
    other.rgb[other.split != "train"] = 0
    assert photos.of_frames(frames, rows).fingerprint == photos.of_frames(other, rows).fingerprint


# Photos


def test_photos_of_a_folder_and_of_a_file_are_central_squares(tmp_path):
    wide = np.zeros((50, 90, 3), np.uint8)
    wide[:, 20:70] = 200  # the central square
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.PNG"):
        (tmp_path / name).write_bytes(jpeg(wide))
    (tmp_path / "notes.txt").write_text("no photo")
    with h5py.File(tmp_path / "p.h5", "w") as file:
        rows = file.create_dataset("images_png", 2, h5py.vlen_dtype(np.uint8))
        for i in range(2):
            rows[i] = np.frombuffer(jpeg(wide), np.uint8)
    for source in (tmp_path, tmp_path / "p.h5"):
        found = photos.load(source, 50, progress=False)
        assert found.rgb.shape == (2, 3, 50, 50) and found.rgb.dtype == np.uint8 and (found.rgb == 200).all()
    assert photos.load(tmp_path, 32, False).rgb[:, :, 8:24, 8:24].min() == 200
    assert (
        photos.load(tmp_path / "p.h5", 32, False).fingerprint == photos.load(tmp_path, 32, False).fingerprint
    )


def test_bad_photos_are_refused_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"<html>")
    with h5py.File(tmp_path / "nyu.h5", "w") as file:
        file["images_jpeg"], file["testNdxs"] = np.zeros(3), np.zeros(3)
    for name, says in (
        ("empty", "no photo"),
        ("bad", "a.jpg"),
        ("nyu.h5", "test frames"),
        ("absent", "no file"),
    ):
        with pytest.raises(UserError, match=says) as error:
            photos.load(tmp_path / name, progress=False)
        assert len(str(error.value).splitlines()) == 1


def test_of_many_photos_evenly_spaced_ones_are_taken(monkeypatch):
    monkeypatch.setattr(photos, "MOST", 4)
    assert photos._some(range(10)) == [0, 2, 5, 7] and photos._some(range(4)) == [0, 1, 2, 3]


def test_real_photos_and_weights(shared, pqf):
    found = photos.load(shared("imagenet/imagenet_sample_256.h5"), progress=False)
    assert found.rgb.shape == (1000, 3, 256, 256)
    net = pretraining._network(pqf, "cpu").eval()
    x = torch.from_numpy(found.rgb[::50, :, 16:240, 16:240]).float() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    with torch.no_grad():
        right = (net(x).argmax(1) == torch.arange(0, 1000, 50)).float().mean()
    assert right > 0.6  # the classifier belongs to these weights: 72 % on ImageNet
