"""Folded, compacted and sparse networks against the dense one, every sparse convolution against torch's own;
bytes."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from lthdepth import mask, tickets
from lthdepth.data.weights import NONE
from lthdepth.inference import measure, sparse
from lthdepth.inference.sparse import CONVOLUTIONS, compact, fold
from lthdepth.model import FCRN, UpProjection

KINDS = [kind for kind, _ in sparse.ways(torch.device("cpu")).values()]


class Small(nn.Module):
    """FCRN's structure with a few channels."""

    encode, forward = FCRN.encode, FCRN.forward

    def __init__(self, block, planes):
        super().__init__()
        e = self.encoder = nn.Module()
        e.conv1, e.bn1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
        e.relu, e.maxpool, width = nn.ReLU(), nn.MaxPool2d(3, 2, 1), 4
        for n in (1, 2, 3, 4):
            stride, out = min(n, 2), planes * block.expansion
            shortcut = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            setattr(e, f"layer{n}", nn.Sequential(block(width, planes, stride, shortcut), block(out, planes)))
            width = out
        self.squeeze, self.squeeze_bn = nn.Conv2d(width, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.ups = nn.ModuleList([UpProjection(4, 2)])
        self.predict = nn.Conv2d(2, 1, 3, padding=1)


def pruned(model, seed, density):
    """A model in evaluation mode with random batch norms, sparse encoder, and layers and channels that are
    all zero."""
    g = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for p in (m.weight, m.bias, m.running_mean):
                nn.init.normal_(p, generator=g)
            m.running_var.uniform_(0.3, 2, generator=g)
    weights = mask.prunable(model.encoder.state_dict())
    for i, weight in enumerate(weights.values()):
        weight *= torch.rand(weight.shape, generator=g) < density
        weight[torch.rand(len(weight), generator=g) < 0.3] = 0  # nothing comes in
        weight[:, torch.rand(weight.shape[1], generator=g) < 0.3] = 0  # nobody reads
        if i == seed % len(weights):
            weight.zero_()
    return model.eval()


def close(result, truth):
    torch.testing.assert_close(result, truth, rtol=1e-4, atol=1e-4 * float(truth.abs().max()) + 1e-6)


@settings(max_examples=12)
@given(
    st.sampled_from([BasicBlock, Bottleneck]),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(0, 2**20),
    st.sampled_from(KINDS),
    st.sampled_from([(32, 32), (33, 47), (40, 57)]),
)
@torch.inference_mode()
def test_every_form_is_the_dense_network(block, planes, density, seed, kind, size):
    model = pruned(Small(block, planes), seed, density)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    depth, features = model(x), model.encode(x)
    network = fold(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    close(network(x), depth)
    compact(network)
    close(network.encode(x), features)
    assert torch.equal(model(x), depth)  # the model that is folded stays as it is
    for name, module in list(network.named_modules()):
        if isinstance(module, BasicBlock | Bottleneck):
            network.set_submodule(name, sparse.Block(module))
        elif isinstance(module, CONVOLUTIONS):
            network.set_submodule(name, sparse.sparse(kind, module))
    close(network.encode(x), features)
    close(network(x), depth)


@torch.inference_mode()
def test_fcrn_in_the_ways_that_were_chosen_is_the_dense_network():
    model = pruned(FCRN("resnet18"), 3, 0.02)
    x = torch.randn(1, 3, 64, 65)
    network = fold(model)
    assert compact(network) > 100
    rows = sparse.quicken(network, "encoder.", x, 1)
    names = [n for n, m in model.encoder.named_modules() if isinstance(m, nn.Conv2d)]
    assert [r["name"] for r in rows] == names and len({r["chosen"] for r in rows}) > 1
    assert all(r["ms"][r["chosen"]] == min(r["ms"].values()) for r in rows)
    close(network.encode(x), model.encode(x))
    close(network(x), model(x))


@settings(max_examples=40)
@given(
    st.sampled_from(KINDS),
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


def test_without_a_place_for_a_cache_the_product_is_compiled_all_the_same(tmp_path):
    """numba refuses ("no locator available") where neither the code's folder nor the home can be written."""
    program = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import torch\n"
        "from lthdepth.inference import sparse\n"
        "conv = torch.nn.Conv2d(2, 3, 3, padding=1).requires_grad_(False)\n"
        "x = torch.randn(1, 2, 5, 6)\n"
        "torch.testing.assert_close(sparse.Compiled(conv)(x), conv(x))\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_bytes_are_those_of_values_pattern_and_rest(resnet18_state):
    model = FCRN("resnet18")
    model.encoder.load_state_dict(resnet18_state)
    ticket = tickets.random(mask.prunable(resnet18_state), 0.02, 0)
    size = measure.sizes(model, ticket)
    floats = {n: p for n, p in model.state_dict().items() if p.is_floating_point()}
    assert size["network"]["dense"] == sum(p.nbytes for p in floats.values())
    encoder = size["encoder"]
    assert encoder["dense"] == sum(p.nbytes for n, p in floats.items() if n.startswith("encoder."))
    assert encoder["values"] == 4 * round(0.02 * ticket.size)
    assert encoder["rest"] == encoder["dense"] - 4 * ticket.size
    bits = -(0.02 * np.log2(0.02) + 0.98 * np.log2(0.98)) * ticket.size  # the entropy of a random pattern
    assert bits / 8 < encoder["pattern"] < 1.5 * bits / 8
    assert encoder["packed"] == encoder["values"] + encoder["pattern"] + encoder["rest"]


def test_the_decoder_is_pruned_to_the_density_and_the_rest_is_left():
    model = FCRN("resnet18")
    cut = measure.decoder_pruned(model, 0.1)
    others = ("encoder", "predict")
    names = [n for n, p in model.named_parameters() if p.ndim == 4 and not n.startswith(others)]
    weights = [cut.get_parameter(n) for n in names]
    kept, size = (sum(int(f(w)) for w in weights) for f in (torch.count_nonzero, torch.numel))
    assert kept == round(0.1 * size)
    assert all(torch.equal(p, cut.get_parameter(n)) for n, p in model.named_parameters() if n not in names)


def test_a_network_that_differs_is_told(monkeypatch):
    def spoilt(network):
        network.encoder.conv1.bias += 1
        return 0

    monkeypatch.setattr(measure, "compact", spoilt)
    model, drawn = measure.pruned(NONE, "omp", 0.1, backbone="resnet18")
    with pytest.raises(RuntimeError, match="depth differs"):
        measure.measure(model, drawn, 32, 32, 1, measure.BRIEF)
