"""Ticket files: whole or refused."""

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
def drawn(resnet18_state, tmp_path):
    weights = mask.prunable(resnet18_state)
    ticket = tickets.shuffled(tickets.magnitude(weights, 0.1), 4)
    ticketfile.save(ticket, tmp_path / "t.npz", "resnet18", "abc")
    return ticket, tmp_path / "t.npz", weights


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
    """Truncated anywhere or one bit flipped: a sentence, or (where zip does not care for the bit) the same ticket."""
    folder = tmp_path_factory.mktemp("damaged")
    ticket = tickets.random(
        {"a.weight": torch.zeros(3, 5, 3, 3), "b.weight": torch.zeros(7, 3, 1, 1)}, 0.3, 1
    )
    ticketfile.save(ticket, folder / "t.npz")
    content = bytearray((folder / "t.npz").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "t.npz").write_bytes(content)
    try:
        found, _ = ticketfile.load(folder / "t.npz")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert found.fingerprint == ticket.fingerprint


def rewrite(path, **changes):
    """The file again with another `meta`, its checksum recomputed: a foreign or lying file, not a damaged one."""
    with np.load(path) as file:
        meta, bits = json.loads(file["meta"].tobytes()), file["bits"]
    meta |= changes
    meta["sha256"] = ticketfile._digest(meta, bits)
    np.savez(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "lthdepth ticket 9"}, "this version reads"),
        ({"layers": {"a": [2, 2, 1, 1]}}, "damaged"),
        ({"layers": {"a": [10**6, 10**6, 1, 1]}}, "damaged"),
        ({"layers": {"a": [-1, 4, 1, 1]}}, "damaged"),
        ({"layers": 3}, "damaged"),
    ],
)
def test_a_lying_file_is_refused(drawn, changes, words):
    rewrite(drawn[1], **changes)
    with pytest.raises(UserError, match=words):
        ticketfile.load(drawn[1])


def test_other_files_are_refused_in_a_sentence(drawn, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "page.npz").write_text("<html>")
    np.savez(tmp_path / "evil.npz", meta=np.array([{}], dtype=object), bits=np.zeros(3, np.uint8))
    for name in ("other.npz", "page.npz", "evil.npz", "absent.npz"):
        with pytest.raises(UserError):
            ticketfile.load(tmp_path / name)


def test_a_ticket_of_another_network_does_not_fit(drawn):
    _, path, weights = drawn
    first = next(iter(weights))
    with pytest.raises(UserError, match="does not have"):
        ticketfile.read(path, {k: v for k, v in weights.items() if k != first})
    with pytest.raises(UserError, match="no mask for"):
        ticketfile.read(path, weights | {"layer9.weight": torch.zeros(1, 1, 1, 1)})
    with pytest.raises(UserError, match="the weights are"):
        ticketfile.read(path, weights | {first: torch.zeros(1, 1, 1, 1)})
