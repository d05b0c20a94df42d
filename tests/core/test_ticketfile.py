"""Ticket files are whole or refused."""

import json

import numpy as np
import pytest
import torch

from lthdepth import tickets
from lthdepth.errors import UserError

NAME = "layer1.0.conv1.weight"
WEIGHTS = {NAME: torch.zeros(8, 8, 3, 3), "layer1.0.conv2.weight": torch.zeros(8, 8, 3, 3)}
WEIGHTS["layer2.0.conv1.weight"] = torch.zeros(16, 8, 3, 3)
TICKET = tickets.shuffled(tickets.random(WEIGHTS, 0.3, 0), 4)


def test_round_trip_keeps_masks_and_says_what_it_is(tmp_path):
    path = tmp_path / "t.npz"
    tickets.save(TICKET, path, "resnet18", "abc")
    ticket, meta = tickets.load(path)
    assert ticket.fingerprint == TICKET.fingerprint and ticket.history == TICKET.history
    assert list(ticket.masks) == list(WEIGHTS)
    assert all(torch.equal(m, TICKET.masks[k]) for k, m in ticket.masks.items())
    assert (meta["backbone"], meta["init"], meta["density"]) == ("resnet18", "abc", TICKET.density)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "lthdepth ticket 9"}, "this version reads"),
        ({"layers": {"a": [2, 2, 1, 1]}}, "damaged"),
        ({"layers": {"a": [-1, 4, 1, 1]}}, "damaged"),
        ({"layers": {"a": [float("inf")]}}, "damaged"),
        ({"layers": 3}, "damaged"),
        ({"fingerprint": "0" * 16}, "damaged"),
    ],
)
def test_a_lying_file_is_refused(tmp_path, changes, words):
    tickets.save(TICKET, tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as file:
        meta, bits = json.loads(file["meta"].tobytes()) | changes, file["bits"]
    np.savez(tmp_path / "t.npz", meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)
    with pytest.raises(UserError, match=words):
        tickets.load(tmp_path / "t.npz")
