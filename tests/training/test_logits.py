"""Tickets of the pre-training function: rounds, and what they depend on."""

import dataclasses
import time

import numpy as np
import pytest
import torch
import torchvision
from conftest import TINY, make_frames
from making import QUIET

from lthdepth import mask, tickets
from lthdepth.config import Config, level
from lthdepth.data import photos, weights
from lthdepth.runs import run as runs
from lthdepth.training import fit as train
from lthdepth.training import logits

pytestmark = pytest.mark.usefixtures("narrow")

DRAW = Config(arm="logits", density=level(2), backbone="resnet18", round_epochs=1, seed=3)
ONE = DRAW.replace(density=level(1))


@pytest.fixture(scope="module")
def some():
    """Photos of eight colours and some noise."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 200, (8, 3, 1, 1)) + rng.integers(0, 56, (8, 3, 40, 40))
    return photos.Photos(rgb.astype(np.uint8), "colours")


@pytest.fixture(scope="module")
def initial(some, narrow):
    """A random small ResNet with a classifier, its batch-norm statistics those of the photos."""
    torch.manual_seed(0)
    net = torchvision.models.get_model("resnet18", num_classes=50)
    net.fc.weight.data *= 10  # logits of a few units, as those of trained networks
    for _ in range(20):
        net((torch.from_numpy(some.rgb).float() / 255 - 0.45) / 0.225)
    state = net.state_dict()
    classifier = {k: state.pop(k) for k in ("fc.weight", "fc.bias")}
    return weights.Initial(state, "toy", "toy", weights.fingerprint(state), "resnet18", classifier)


@pytest.fixture
def draw(initial, some, tmp_path):
    """Function that draws a ticket in a folder of `tmp_path`."""
    return lambda config, folder="a", options=QUIET: logits.draw(
        config, initial, some, tmp_path / folder, options
    )


def test_rounds_are_nested_exact_kept_and_lead_to_the_same_ticket_again(initial, draw, tmp_path):
    ticket = draw(DRAW)
    one, two = (tickets.load(tmp_path / "a" / f"mask-{k}.npz")[0] for k in (1, 2))
    size = sum(w.numel() for w in mask.prunable(initial.state).values())
    assert (one.kept, two.kept) == (round(0.8 * size), round(0.64 * size))
    assert not any((m & ~one.masks[k]).any() for k, m in two.masks.items())
    assert [step["drawn"] for step in ticket.history] == ["dense", *["magnitude after matching logits"] * 2]
    assert all(0 < step["error"] for step in ticket.history[1:])
    assert draw(ONE.replace(seed=4), "c").fingerprint != one.fingerprint
    one_shot = tickets.magnitude(mask.prunable(initial.state), level(1))
    assert one.fingerprint != one_shot.fingerprint  # it is the trained weights that are ranked
    # A draw that is stopped after a round continues with the one it lacks.
    assert draw(ONE, "b").fingerprint == one.fingerprint
    first = (tmp_path / "b" / "mask-1.npz").stat().st_mtime_ns
    with pytest.raises(train.Stopped, match="after round 1"):
        draw(DRAW, "b", dataclasses.replace(QUIET, deadline=time.monotonic() - 1))
    assert draw(DRAW, "b").fingerprint == two.fingerprint == ticket.fingerprint
    assert (tmp_path / "b" / "mask-1.npz").stat().st_mtime_ns == first


def test_training_brings_the_logits_nearer_and_leaves_pruned_weights_at_zero(initial, some):
    ticket = tickets.magnitude(mask.prunable(initial.state), 0.1)
    errors, rgb = [], torch.from_numpy(some.rgb)
    for epochs in (1, 20):
        teacher = logits.classifier(initial, "cpu")
        student, error = logits.match(teacher, ticket, rgb, DRAW.replace(round_epochs=epochs), 1, False)
        errors.append(error)
        assert all((student.get_parameter(k)[~m] == 0).all() for k, m in ticket.masks.items())
        for name, value in (initial.state | initial.classifier).items():
            assert torch.equal(teacher.state_dict()[name], value)
    assert errors[1] < 0.8 * errors[0]


def test_a_student_that_is_its_teacher_has_no_error(initial, some, monkeypatch):
    """Without batch statistics and learning rate the whole network gives its own logits."""
    monkeypatch.setattr(logits, "LR", 0.0)
    monkeypatch.setattr(torch.nn.Module, "train", lambda self, mode=True: self)
    teacher = logits.classifier(initial, "cpu")
    for m in teacher.modules():
        m.training = False
    ticket = tickets.dense(mask.prunable(initial.state))
    assert logits.match(teacher, ticket, torch.from_numpy(some.rgb), DRAW, 1, False)[1] < 1e-9


def test_the_key_follows_classifier_photos_and_recipe(initial, some, monkeypatch):
    other = dataclasses.replace(initial, classifier={k: v + 1 for k, v in initial.classifier.items()})
    prints = {logits.fingerprint(initial, some), logits.fingerprint(other, some)}
    prints.add(logits.fingerprint(initial, photos.Photos(some.rgb[::-1], "noise")))
    monkeypatch.setattr(logits, "LR", 0.02)
    assert len(prints | {logits.fingerprint(initial, some)}) == 4
    changes = ({}, {"seed": 1}, {"round_epochs": 2}, {"precision": "bfloat16"})
    chains = {logits.chain(DRAW.replace(**c), initial, some) for c in changes}
    assert len(chains) == 4
    assert logits.chain(DRAW.replace(density=level(7)), initial, some) in chains


def test_a_run_of_the_arm_takes_photos_or_the_training_frames(frames, initial, some, store):
    config = TINY.replace(arm="logits", density=level(1), round_epochs=1, epochs=1)
    records = [
        runs.run(config, runs.Inputs(frames, initial, photos=given), store, QUIET) for given in (some, None)
    ]
    assert records[0]["key"] != records[1]["key"]
    assert [r["ticket"]["history"][1]["photos"] for r in records] == ["colours", "toy"]
    masks = sorted(store.local.glob("logits-*/mask-1.npz"))
    assert {tickets.load(m)[0].fingerprint for m in masks} == {r["ticket"]["fingerprint"] for r in records}
    # No test frame is looked at: other test frames, the same photos.
    rows, other = train.rows_of(frames, config)["fit"], make_frames()
    other.rgb[other.split != "train"] = 0
    assert photos.of_frames(frames, rows).fingerprint == photos.of_frames(other, rows).fingerprint


def test_real_photos_and_weights(shared, pqf):
    real = photos.load(shared("imagenet/imagenet_sample_256.h5"))
    assert real.rgb.shape == (1000, 3, 256, 256)
    net = torchvision.models.resnet50(weights=None).eval()
    net.load_state_dict(pqf.state | pqf.classifier)
    x = torch.from_numpy(real.rgb[::50, :, 16:240, 16:240]).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        right = (net((x - mean) / std).argmax(1) == torch.arange(0, 1000, 50)).float().mean()
    assert right > 0.6  # the classifier belongs to these weights: 72 % on ImageNet
