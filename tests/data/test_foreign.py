"""Masks of others, however they are wrapped, give the same ticket; ticket files are whole or refused."""

import json

import numpy as np
import pytest
import torch

from lthdepth import tickets
from lthdepth.data import foreign
from lthdepth.errors import UserError

NAME = "layer1.0.conv1.weight"
WEIGHTS = {NAME: torch.zeros(8, 8, 3, 3), "layer1.0.conv2.weight": torch.zeros(8, 8, 3, 3)}
WEIGHTS["layer2.0.conv1.weight"] = torch.zeros(16, 8, 3, 3)
TICKET = tickets.shuffled(tickets.random(WEIGHTS, 0.3, 0), 4)
FULL = torch.ones(8, 8, 3, 3)


def named(prefix="", suffix="_mask"):
    """Float masks as others name them (Chen et al. 2021), `conv1` and `fc` among them."""
    masks = TICKET.masks | {"conv1.weight": torch.ones(64, 3, 7, 7), "fc.weight": torch.ones(10, 16)}
    return {f"{prefix}{k}{suffix}": m.float() for k, m in masks.items()}


LIES = {"format": "lthdepth ticket 9", "layers": {"a": [float("inf")]}, "fingerprint": "0" * 16}


@pytest.mark.parametrize("name", LIES)
def test_a_ticket_file_is_read_like_masks_and_one_that_lies_is_refused(tmp_path, name):
    path = tmp_path / "t.npz"
    tickets.save(TICKET, path, "resnet18", "abc")
    read = foreign.masks(path, WEIGHTS)
    assert read.history == TICKET.history and read.fingerprint == TICKET.fingerprint
    with np.load(path) as file:
        meta, bits = json.loads(file["meta"].tobytes()) | {name: LIES[name]}, file["bits"]
    np.savez(path, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)
    with pytest.raises(UserError, match="damaged or of a later version"):
        foreign.masks(path, WEIGHTS)


STATE = {k: v + 0.5 for k, v in WEIGHTS.items()} | {"bn1.weight": torch.ones(64)}
WRAPPED = {
    "plain": named() | {"module.step": torch.tensor(3.0), "bn1.weight": torch.ones(64)},
    "Chen et al.": {"state_dict": {f"module.{k}": v for k, v in STATE.items()}, "mask": named()},
    "Chen et al., data parallel": {"state_dict": STATE, "mask": named("module.")},
    "torch's pruning": {"state_dict": named("module.") | {f"{k}_orig": v for k, v in STATE.items()}},
    "a network's names": {"mask": named("module.", "") | {"bn1.weight": torch.ones(64)}},
    "a network's names, plain": {k: v.to(torch.int8) for k, v in TICKET.masks.items()},
    "sparse": {k: v.to_sparse() for k, v in named().items()},
}


@pytest.mark.parametrize("case", WRAPPED)
def test_masks_as_people_have_them_give_the_same_ticket(tmp_path, capsys, case):
    torch.save(WRAPPED[case], tmp_path / "m.pt")
    ticket = foreign.masks(tmp_path / "m.pt", WEIGHTS)
    assert ticket.fingerprint == TICKET.fingerprint and list(ticket.masks) == list(WEIGHTS)
    assert ticket.history == [{"drawn": "file", "file": "m.pt"}]
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == (case not in ("plain", "sparse", "a network's names, plain"))


@pytest.mark.parametrize("bits", [False, True])
def test_npz_files_are_read_back(tmp_path, bits):
    arrays = {k: v.numpy().astype(np.uint8) for k, v in named().items()}
    if bits:
        shapes = {f"shape:{k}": np.array(v.shape) for k, v in arrays.items()}
        arrays = {k: np.packbits(v) for k, v in arrays.items()} | shapes
    np.savez(tmp_path / "m.npz", **arrays)
    assert foreign.masks(tmp_path / "m.npz", WEIGHTS).fingerprint == TICKET.fingerprint


BAD = {
    "no masks .* named net.0, net.1, net.2, …": {f"net.{i}": FULL for i in range(9)},
    "holds no masks .* in a list": [1, 2],
    "layer1.0.conv2.weight is absent there": {k: v for k, v in named().items() if "conv2" not in k},
    "layer9.0.conv1.weight is .* absent here": named() | {"layer9.0.conv1.weight_mask": FULL},
    "layer2.0.conv1.weight is .8, 16": named() | {"layer2.0.conv1.weight_mask": torch.ones(8, 16, 3, 3)},
    "other than 0 and 1": named() | {f"{NAME}_mask": 2 * FULL},
    "layer1.0.conv1.weight is absent there": named() | {f"{NAME}_mask": "yes"},
}


@pytest.mark.parametrize("says", BAD)
def test_masks_that_do_not_fit_are_refused_in_a_sentence(tmp_path, says):
    torch.save(BAD[says], tmp_path / "m.pt")
    with pytest.raises(UserError, match=f"m.pt.*{says}") as error:
        foreign.masks(tmp_path / "m.pt", WEIGHTS)
    assert len(str(error.value).splitlines()) == 1
