"""Ticket files: whole or refused; masks of others, however they are wrapped, give the same ticket."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import mask, ticketfile, tickets
from lthdepth.config import level
from lthdepth.errors import UserError
from lthdepth.model import FCRN


@pytest.fixture
def drawn(resnet18_prunable, tmp_path):
    ticket = tickets.shuffled(tickets.magnitude(resnet18_prunable, 0.1), 4)
    ticketfile.save(ticket, tmp_path / "t.npz", "resnet18", "abc")
    return ticket, tmp_path / "t.npz", resnet18_prunable


def test_round_trip_keeps_masks_and_says_what_it_is(drawn):
    ticket, path, weights = drawn
    found, meta = ticketfile.load(path)
    assert found.fingerprint == ticket.fingerprint and found.history == ticket.history
    assert list(found.masks) == list(ticket.masks)
    assert all(torch.equal(m, ticket.masks[k]) for k, m in found.masks.items())
    assert (meta["backbone"], meta["init"], meta["density"]) == ("resnet18", "abc", ticket.density)
    assert ticketfile.read(path, weights).fingerprint == ticket.fingerprint


@pytest.mark.parametrize("density", [1.0, 0.5, level(18)])
def test_a_resnet50_ticket_takes_at_most_3_mb(density, tmp_path):
    weights = mask.prunable(FCRN("resnet50").encoder.state_dict())
    ticketfile.save(tickets.random(weights, density, 0), tmp_path / "t.npz")
    assert (tmp_path / "t.npz").stat().st_size <= 3_000_000
    assert ticketfile.load(tmp_path / "t.npz")[0].kept == round(density * 23_445_504)


@given(data=st.data())
def test_a_damaged_file_is_refused_or_says_the_same(data, tmp_path_factory):
    """Cut short or one bit flipped: a sentence, or (where zip does not care for the bit) the same ticket."""
    path = tmp_path_factory.mktemp("damaged") / "t.npz"
    ticket = tickets.random(
        {"a.weight": torch.zeros(3, 5, 3, 3), "b.weight": torch.zeros(7, 3, 1, 1)}, 0.3, 1
    )
    ticketfile.save(ticket, path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found, _ = ticketfile.load(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert found.fingerprint == ticket.fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "lthdepth ticket 9"}, "this version reads"),
        ({"layers": {"a": [2, 2, 1, 1]}}, "damaged"),
        ({"layers": {"a": [10**6, 10**6, 1, 1]}}, "damaged"),
        ({"layers": {"a": [-1, 4, 1, 1]}}, "damaged"),
        ({"layers": 3}, "damaged"),
        ({"fingerprint": "0" * 16}, "damaged"),
    ],
)
def test_a_lying_file_is_refused(drawn, changes, words):
    with np.load(drawn[1]) as file:
        meta, bits = json.loads(file["meta"].tobytes()) | changes, file["bits"]
    np.savez(drawn[1], meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)
    with pytest.raises(UserError, match=words):
        ticketfile.load(drawn[1])


def test_a_ticket_of_another_network_does_not_fit(drawn):
    _, path, weights = drawn
    first = next(iter(weights))
    with pytest.raises(UserError, match="does not have"):
        ticketfile.read(path, {k: v for k, v in weights.items() if k != first})
    with pytest.raises(UserError, match="no mask for"):
        ticketfile.read(path, weights | {"layer9.weight": torch.zeros(1, 1, 1, 1)})
    with pytest.raises(UserError, match="the weights are"):
        ticketfile.read(path, weights | {first: torch.zeros(1, 1, 1, 1)})


def named(masks, prefix="", suffix="_mask"):
    """Float masks as others name them, `conv1` and `fc` among them."""
    masks = masks | {"conv1.weight": torch.ones(64, 3, 7, 7), "fc.weight": torch.ones(10, 512)}
    return {f"{prefix}{k}{suffix}": m.float() for k, m in masks.items()}


WRAPPED = {
    "Chen et al.": lambda m, s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "mask": named(m)},
    "Chen et al., data parallel": lambda m, s: {"state_dict": s, "mask": named(m, "module.")},
    "torch's pruning": lambda m, s: {
        "state_dict": named(m, "module.") | {f"{k}_orig": v for k, v in s.items()}
    },
    "Lightning": lambda m, s: {"epoch": 3, "state_dict": named(m, "model.backbone.")},
    "a network's names": lambda m, s: {"mask": named(m, "module.", "") | {"bn1.weight": torch.ones(64)}},
    "a network's names, plain": lambda m, s: {k: v.to(torch.int8) for k, v in m.items()},
    "sparse": lambda m, s: {k: v.to_sparse() for k, v in named(m).items()},
}


@pytest.mark.parametrize("case", WRAPPED)
def test_masks_as_people_have_them_give_the_same_ticket(drawn, resnet18_state, tmp_path, capsys, case):
    ticket, _, weights = drawn
    torch.save(WRAPPED[case](ticket.masks, resnet18_state), tmp_path / "m.pt")
    assert ticketfile.read(tmp_path / "m.pt", weights).fingerprint == ticket.fingerprint
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == (case not in ("sparse", "a network's names, plain"))


def test_weights_are_no_masks(drawn, resnet18_state, tmp_path):
    torch.save({"model": resnet18_state}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"holds no masks: .* named conv1.weight, bn1.weight, bn1.bias, …\."):
        ticketfile.read(tmp_path / "w.pt", drawn[2])
