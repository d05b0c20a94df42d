"""Folded and sparse networks against the dense one, every sparse convolution against torch's own; bytes."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lthdepth import mask, tickets
from lthdepth.data.weights import NONE
from lthdepth.inference import measure, sparse
from lthdepth.model import FCRN


def close(result, truth):
    torch.testing.assert_close(result, truth, rtol=1e-4, atol=1e-4 * float(truth.abs().max()) + 1e-6)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@torch.inference_mode()
def test_every_form_is_the_dense_network(backbone, narrow, monkeypatch):
    """With random batch norms, and layers and channels that are all zero."""
    torch.manual_seed(3)
    model = FCRN(backbone).eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for p in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(p, std=0.5)
            m.running_var.uniform_(0.3, 2)
    for i, weight in enumerate(mask.prunable(model.encoder.state_dict()).values()):
        weight *= torch.rand(weight.shape) < (0.02 if i % 2 else 0.1)
        weight[: len(weight) // 3] = 0
        if i % 7 == 0:
            weight.zero_()
    x = torch.randn(1, 3, 64, 65)
    depth, features = model(x), model.encode(x)
    folded = sparse.fold(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    close(folded(x), depth)
    assert torch.equal(model(x), depth)  # the model that is folded stays as it is
    names = [n for n, m in model.encoder.named_modules() if isinstance(m, nn.Conv2d)]
    monkeypatch.setattr(
        sparse, "milliseconds", lambda form, x: isinstance(form, nn.Conv2d)
    )  # sparse is quicker
    for way, form in [*sparse.WAYS.items()]:
        monkeypatch.setattr(sparse, "WAYS", {way: form})
        network = copy.deepcopy(folded)
        rows = sparse.quicken(network, x)
        assert [r["name"] for r in rows] == names
        assert {r["chosen"] for r in rows} == {"dense", way}  # dense: what is not pruned
        close(network.encode(x), features)
        close(network(x), depth)


@settings(max_examples=40)
@given(
    st.sampled_from([sparse.Compiled, sparse.Csr]),
    st.sampled_from([(1, 1), (1, 2), (3, 1), (3, 2), (3, 3), (5, 1), (7, 2), (5, 3)]),
    st.tuples(st.integers(1, 60), st.integers(1, 60)) | st.just((67, 2500)),  # cut into tiles
    st.tuples(st.integers(1, 6), st.integers(1, 20)),
    st.floats(0, 1),
    st.integers(0, 2**20),
)
@torch.inference_mode()
def test_a_convolution_that_skips_zeros_is_torchs(kind, form, size, channels, density, seed):
    torch.manual_seed(seed)
    kernel, stride = form
    convolution = nn.Conv2d(*channels, kernel, stride, kernel // 2)
    convolution.weight *= torch.rand_like(convolution.weight) < density
    x = torch.randn(2, channels[0], *size)
    y = convolution(x)
    close(kind(convolution)(x), y)
    if kind is sparse.Compiled:
        shortcut = torch.randn_like(y)
        close(kind(convolution)(x, shortcut, relu=True), (y + shortcut).relu())


def test_bytes_are_those_of_values_pattern_and_rest(resnet18_state):
    model = FCRN("resnet18")
    ticket = tickets.random(mask.prunable(resnet18_state), 0.02, 0)
    size = measure.sizes(model, ticket)
    floats = {n: p.nbytes for n, p in model.state_dict().items() if p.is_floating_point()}
    assert size["network"]["dense"] == sum(floats.values())
    assert size["encoder"]["dense"] == sum(n for name, n in floats.items() if name.startswith("encoder."))
    bits = -(0.02 * np.log2(0.02) + 0.98 * np.log2(0.98)) * ticket.size  # the entropy of a random pattern
    for part in size.values():
        pattern = part["packed"] - (part["dense"] - 4 * ticket.size + 4 * round(0.02 * ticket.size))
        assert bits / 8 < pattern < 1.5 * bits / 8


def test_a_network_that_differs_is_told(monkeypatch, narrow):
    def spoilt(model):
        network = sparse.fold(model)
        network.encoder.conv1.bias += 1
        return network

    monkeypatch.setattr(measure, "fold", spoilt)
    with pytest.raises(RuntimeError, match="folded: depth differs"):
        measure.study(NONE, "resnet18", [0.1], (32, 32), torch.device("cpu"), 1)
