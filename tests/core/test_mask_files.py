"""Mask files of others: read where they fit, refused in a sentence otherwise, never executed."""

import pickle

import numpy as np
import pytest
import torch
from conftest import Evil

from lthdepth import mask, ticketfile, tickets
from lthdepth.errors import UserError
from lthdepth.model import FCRN

NAME = "layer1.0.conv1.weight"
WEIGHTS = {
    NAME: torch.zeros(8, 8, 3, 3),
    "layer1.0.conv2.weight": torch.zeros(8, 8, 3, 3),
    "layer2.0.conv1.weight": torch.zeros(16, 8, 3, 3),
}
TICKET = tickets.random(WEIGHTS, 0.3, 0)
# What a file of Chen et al. holds: one float mask a layer, and one of the classifier.
CHEN = {f"{k}_mask": m.float() for k, m in TICKET.masks.items()} | {"fc.weight_mask": torch.ones(10, 16)}


def test_a_file_of_chens_form_is_read_back(tmp_path):
    other = {"module.step": torch.tensor(3.0), "bn1.weight": torch.ones(64)}  # what is no mask is passed over
    torch.save(CHEN | other, tmp_path / "mask-18.pt")
    read = ticketfile.read(tmp_path / "mask-18.pt", WEIGHTS)
    assert read.fingerprint == TICKET.fingerprint and list(read.masks) == list(WEIGHTS)
    assert read.history == [{"drawn": "file", "file": "mask-18.pt"}]


@pytest.mark.parametrize("bits", [False, True])
def test_npz_files_are_read_back(tmp_path, bits):
    arrays = {k: v.numpy().astype(np.uint8) for k, v in CHEN.items()}
    if bits:
        shapes = {f"shape:{k}": np.array(v.shape) for k, v in arrays.items()}
        arrays = {k: np.packbits(v) for k, v in arrays.items()} | shapes
    np.savez(tmp_path / "m.npz", **arrays)
    assert ticketfile.read(tmp_path / "m.npz", WEIGHTS).fingerprint == TICKET.fingerprint
    if bits:
        np.savez(tmp_path / "m.npz", **{k: v[:-4] if v.dtype == np.uint8 else v for k, v in arrays.items()})
        with pytest.raises(UserError, match="m.npz"):
            ticketfile.read(tmp_path / "m.npz", WEIGHTS)


@pytest.mark.parametrize("sparsity", ["0.8", "0.98"])
def test_real_masks_of_gale(shared, sparsity):
    path = shared(f"masks/extended_magnitude_pruning_{sparsity}.npz")
    with torch.device("meta"):
        weights = mask.prunable(FCRN("resnet50").encoder.state_dict())
    read = ticketfile.read(path, weights)
    assert read.density == pytest.approx(1 - float(sparsity), abs=2e-3)
    name = "layer2.1.conv1.weight"
    with np.load(path) as file:
        bits = np.unpackbits(file[f"{name}_mask"]).astype(bool)
    assert np.array_equal(read.masks[name].numpy().ravel(), bits)


FULL = torch.ones(8, 8, 3, 3)
BAD = {
    "empty": {},
    "a layer is missing": {k: v for k, v in CHEN.items() if "conv2" not in k},
    "another layer": CHEN | {"layer9.0.conv1.weight_mask": torch.ones(2)},
    "transposed": CHEN | {"layer2.0.conv1.weight_mask": torch.ones(8, 16, 3, 3)},
    "two": CHEN | {f"{NAME}_mask": 2 * FULL},
    "one half": CHEN | {f"{NAME}_mask": FULL / 2},
    "nan": CHEN | {f"{NAME}_mask": FULL * float("nan")},
    "nothing kept": {k: torch.zeros_like(v) for k, v in CHEN.items()},
    "a tensor": torch.ones(3),
    "a list": [1, 2],
    "numbered": {0: torch.ones(3)},
    "text": CHEN | {f"{NAME}_mask": "yes"},
}


@pytest.mark.parametrize("case", BAD)
def test_masks_that_do_not_fit_are_refused_in_a_sentence(tmp_path, case):
    torch.save(BAD[case], tmp_path / "m.pt")
    with pytest.raises(UserError, match="m.pt") as error:
        ticketfile.read(tmp_path / "m.pt", WEIGHTS)
    assert len(str(error.value).splitlines()) == 1


def test_damaged_files_are_refused_in_a_sentence(tmp_path):
    torch.save(CHEN, tmp_path / "good.pt")
    np.savez_compressed(tmp_path / "good.npz", **{k: v.numpy().astype(bool) for k, v in CHEN.items()})
    for suffix in (".pt", ".npz"):
        whole, path = (tmp_path / f"good{suffix}").read_bytes(), tmp_path / f"bad{suffix}"
        for bad in (b"", b"<!DOCTYPE html><html></html>", whole[: len(whole) // 2], whole[:100]):
            path.write_bytes(bad)
            with pytest.raises(UserError, match=f"bad{suffix}"):
                ticketfile.read(path, WEIGHTS)
    with pytest.raises(UserError, match="no ticket or mask file"):
        ticketfile.read(tmp_path / "absent.pt", WEIGHTS)


def test_a_pickle_that_would_run_a_command_does_not(tmp_path):
    flag = tmp_path / "ran"
    evil = {f"{NAME}_mask": Evil(flag)}
    torch.save(evil, tmp_path / "zip.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(evil, protocol=2))
    np.savez(tmp_path / "object.npz", **{f"{NAME}_mask": np.array([Evil(flag)], dtype=object)})
    for name in ("zip.pt", "raw.pt", "object.npz"):
        with pytest.raises(UserError, match=name):
            ticketfile.read(tmp_path / name, WEIGHTS)
        assert not flag.exists()
