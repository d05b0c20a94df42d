"""Folded, compacted and sparse networks against the dense one; packed bytes; the task `cost`."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from lthdepth import __main__, config, mask, ticketfile, tickets
from lthdepth.data.weights import NONE
from lthdepth.inference import latency, packed, sparse
from lthdepth.inference import measure as inference
from lthdepth.inference.folded import Folded, Layer, compact, dense
from lthdepth.model import FCRN, UpProjection

WAYS = sparse.executions(torch.device("cpu"))


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
    """A model in evaluation mode with random batch norms, sparse encoder, and layers and channels that are all zero."""
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


def close(found, truth):
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4 * float(truth.abs().max()) + 1e-6)


@settings(max_examples=20)
@given(
    st.sampled_from([BasicBlock, Bottleneck]),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(0, 2**20),
    st.sampled_from(sorted(WAYS)),
    st.sampled_from([(32, 32), (33, 47), (40, 57)]),
)
@torch.inference_mode()
def test_every_form_is_the_dense_network(block, planes, density, seed, way, size):
    model = pruned(Small(block, planes), seed, density)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))
    folded = Folded(model)
    close(folded.encode(x), model.encode(x))
    compact(folded)
    close(folded.encode(x), model.encode(x))
    for name, layer in folded.layers.items():
        folded.run[name] = WAYS[way](layer)
    close(folded.encode(x), model.encode(x))
    close(folded(x), model(x))


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
@torch.inference_mode()
def test_fcrn_in_the_ways_that_were_chosen_is_the_dense_network(backbone):
    model = pruned(FCRN(backbone), 3, 0.02)
    x = torch.randn(1, 3, 64, 65)
    folded = compact(Folded(model))
    rows = sparse.choose(folded, x, folded.encoder, 1)
    assert folded.removed > 100 and [r["name"] for r in rows] == folded.encoder
    assert all(r["ms"][r["chosen"]] == min(r["ms"].values()) for r in rows)
    close(folded.encode(x), model.encode(x))
    close(folded(x), model(x))


@torch.inference_mode()
def test_a_constant_channel_goes_into_a_1x1_convolution_and_stays_before_a_padded_3x3_one():
    model = pruned(Small(Bottleneck, 3), 0, 1.0)
    block = model.encoder.layer1[0]
    for conv, bn in ((block.conv1, block.bn1), (block.conv2, block.bn2)):
        nn.init.normal_(conv.weight)
        conv.weight[1] = 0
        bn.weight.fill_(1), bn.running_mean.fill_(0), bn.bias.fill_(0.5)
    nn.init.normal_(block.conv3.weight)
    folded = compact(Folded(model))
    shapes = {
        name: tuple(layer.weight.shape)
        for name, layer in folded.layers.items()
        if name.startswith("layer1.0.conv")
    }
    assert shapes == {
        "layer1.0.conv1": (3, 4, 1, 1),
        "layer1.0.conv2": (2, 3, 3, 3),
        "layer1.0.conv3": (12, 2, 1, 1),
    }
    x = torch.randn(1, 3, 40, 40)
    close(folded.encode(x), model.encode(x))
    block.bn1.bias[1] = -0.5  # relu makes it 0, which is 0 at the border too
    folded = compact(Folded(model))
    assert folded.layers["layer1.0.conv1"].weight.shape[0] == 2
    close(folded.encode(x), model.encode(x))


@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("kernel,stride", [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (7, 2), (5, 3)])
def test_a_convolution_by_shifted_runs_is_torchs(way, kernel, stride):
    g = torch.Generator().manual_seed(kernel)
    weight = torch.randn(17, 5, kernel, kernel, generator=g) * (
        torch.rand(17, 5, kernel, kernel, generator=g) < 0.3
    )
    bias = torch.randn(17, generator=g)
    for size in ((9, 31), (24, 50), (1, 1), (2, 3)):
        x = torch.randn(2, 5, *size, generator=g)
        y = F.conv2d(x, weight, bias, stride, kernel // 2)
        shortcut = torch.randn(y.shape, generator=g)
        run = WAYS[way](Layer(weight, bias, stride))
        close(run(x, relu=False), y)
        close(run(x, shortcut), (y + shortcut).relu())


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_up_convolution_by_shifted_runs_is_torchs(way):
    weight = torch.randn(3, 4, 5, 5) * (torch.rand(3, 4, 5, 5) < 0.5)
    bias, x = torch.randn(4), torch.randn(2, 3, 6, 9)
    y = F.conv_transpose2d(x, weight, bias, stride=2, padding=2, output_padding=1)
    run = WAYS[way](Layer(weight, bias, 2, up=True))
    close(run(x, relu=False), y)
    close(run(x, -y + 1), torch.ones_like(y))


def test_the_compiled_product_needs_numba_alone(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "compiled" not in sparse.executions(torch.device("cpu"))


@settings(max_examples=20)
@given(st.integers(0, 2**20), st.floats(0, 1))
def test_packed_weights_come_back_bit_by_bit(seed, density):
    g = torch.Generator().manual_seed(seed)
    state = {
        "conv1.weight": torch.randn(2, 3, 3, 3, generator=g),
        "n": torch.tensor(seed),
        "bias": torch.randn(5, generator=g),
    }
    masks = {name: torch.rand(4, n, 3, 3, generator=g) < density for n, name in enumerate(("a", "b", "c"))}
    state = {name: torch.randn(m.shape, generator=g) * m for name, m in masks.items()} | state
    again = packed.unpack(packed.pack(state, masks))
    assert list(again) == list(state)
    assert all(torch.equal(again[k], v) and again[k].dtype == v.dtype for k, v in state.items())
    state["b"] = state["b"] + 1
    if not masks["b"].all():
        with pytest.raises(ValueError, match="outside its mask"):
            packed.pack(state, masks)


def test_sizes_are_those_of_the_files(tmp_path, resnet18_state):
    ticket = tickets.random(mask.prunable(resnet18_state), 0.02, 0)
    state = {k: v * ticket.masks[k] if k in ticket.masks else v for k, v in resnet18_state.items()}
    torch.save(state, tmp_path / "dense.pt")
    (tmp_path / "packed.npz").write_bytes(packed.pack(state, ticket.masks))
    found = packed.sizes(state, ticket.masks)
    assert found["dense"] == pytest.approx((tmp_path / "dense.pt").stat().st_size, rel=1e-3)
    assert found["packed"] == (tmp_path / "packed.npz").stat().st_size
    assert found["values"] == 4 * ticket.kept and found["pattern"] < 0.2 * ticket.size


def test_the_decoder_is_pruned_to_the_density_and_the_rest_is_left():
    model = FCRN("resnet18")
    found = inference.decoder_pruned(model, 0.1)
    names = [
        n for n, p in model.named_parameters() if p.ndim == 4 and not n.startswith(("encoder", "predict"))
    ]
    left, size = (
        sum(int(f(found.get_parameter(n))) for n in names) for f in (torch.count_nonzero, torch.numel)
    )
    assert left == round(0.1 * size)
    assert all(torch.equal(p, found.get_parameter(n)) for n, p in model.named_parameters() if n not in names)


def ticket(encoder, network, density=0.018):
    rows = [
        {"name": "dense", "order": "NHWC", "encoder": 50.0, "network": 110.0},
        {"name": "folded", "order": "NHWC", "encoder": 40.0, "network": 100.0},
        {"name": "sparse", "order": "", "encoder": encoder, "network": network},
    ]
    return {"arm": "omp", "density": density, "rows": rows}


def test_amdahls_law():
    t = ticket(10.0, 80.0)
    f, s = 0.4, 4.0  # the encoder's share of the folded network, and its speed-up
    assert latency.amdahl(t) == pytest.approx(1 / (1 - f + f / s))
    assert latency.free(t) == pytest.approx(1 / (1 - f))
    assert latency.gain(t, "network") == 1.25 and latency.gain(t, "encoder", base="dense") == 5


def test_a_run_stands_at_the_time_of_its_own_ticket_and_size():
    def run(arm, density, rms, height=228):
        test = {"full": {"pooled": {"rms": rms}}}
        return {"arm": arm, "density": density, "test": test, "config": {"height": height, "width": 304}}

    measured = {"size": [228, 304], "tickets": [ticket(10.0, 80.0), ticket(20.0, 90.0, 0.1)]}
    records = [
        run("dense", 1.0, 0.5),
        run("omp", 0.018, 0.7),
        run("omp", 0.1, 0.6),
        run("random", 0.1, 0.9),
        run("omp", 0.1, 0.3, 114),
        None,
    ]
    figure = latency.tradeoff(records, measured)
    assert sorted(tuple(float(v[0]) for v in line.get_data()) for line in figure.axes[0].lines) == [
        (80, 0.7),
        (90, 0.6),
        (100, 0.5),
    ]
    assert latency.tradeoff(records[:1], measured) is None


def test_the_task_measures_and_adds_to_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state = FCRN("resnet18").encoder.state_dict()
    torch.save(state, "w.pth")
    ticketfile.save(tickets.random(mask.prunable(state), 0.1, 0), "t.npz", "resnet18")
    (tmp_path / "cost.json").write_text(
        json.dumps(
            {"measurements": [{"size": [1, 1], "tickets": [1], "network": 0, "environment": {"device": "x"}}]}
        )
    )
    words = [
        "cost",
        "--weights",
        "w.pth",
        "--size",
        "32",
        "32",
        "--repeats",
        "1",
        "--out",
        "cost.json",
        "--device",
        "cpu",
    ]
    assert __main__.main([*words, "--levels", "6"]) == 0 == __main__.main([*words, "--ticket", "t.npz"])
    old, new = inference.load(tmp_path / "cost.json")  # another machine's stays, one's own is replaced
    assert new["tickets"][0]["arm"] == "file"
    assert (
        old["size"] == [1, 1]
        and new["size"] == [32, 32]
        and new["network"] == {"backbone": "resnet18", "weights": "w"}
    )
    (row,) = new["tickets"]
    assert [r["name"] for r in row["rows"]] == list(inference.ALL) and len(row["layers"]) == 20
    assert all(r["difference"] <= inference.TOLERANCE for r in row["rows"][:-1])
    assert row["bytes"]["encoder"]["packed"] < 0.3 * row["bytes"]["encoder"]["dense"]
    said = capsys.readouterr().out
    assert "Amdahl" in said and "decoder pruned too" in said
    for figure in (latency.layers(new), latency.speedup(new), latency.on_disk(new)):
        assert figure.axes
    assert len(latency.levels(new)) == 1


def test_the_quick_profile_measures_once_with_the_same_code(tmp_path, monkeypatch):
    here, made = (
        {"device": "x", "versions": {"numba": "1"}, "commit": "a", "dirty": False, "date": "today"},
        [],
    )

    def study(networks, about, size, device, repeats):
        made.append(
            {
                "environment": dict(here),
                "network": about,
                "size": list(size),
                "tickets": [len(list(networks))],
            }
        )
        return made[-1]

    monkeypatch.setattr(latency, "environment", lambda device: dict(here))
    monkeypatch.setattr(latency, "study", study)
    configs = [
        config.Config(backbone="resnet18", arm=arm, density=d, height=60, width=80)
        for arm, d in (("floor", 1), ("dense", 1), ("omp", 0.1))
    ]
    desk = SimpleNamespace(
        profile="quick",
        device=torch.device("cpu"),
        study=SimpleNamespace(configs=configs),
        initial=SimpleNamespace(name="none", backbone=None, state=None),
        store=SimpleNamespace(local=tmp_path),
    )
    assert latency.kept(desk) is None
    first = latency.measured(desk)["quick"]
    here["date"] = "tomorrow"
    assert latency.measured(desk)["quick"]["tickets"] == first["tickets"] == [1] and len(made) == 1
    for changed in (
        {"commit": "b"},
        {"versions": {"numba": "2"}},
        {"device": "y"},
        {"dirty": True},
        {"dirty": True},
    ):
        here.update(changed)
        latency.measured(desk)
    assert len(made) == 6  # code with changes that are not committed has no name: measured each time


def test_a_network_that_differs_is_told(monkeypatch):
    def spoilt(folded):
        folded.layers["conv1"].bias += 1
        return folded.densely()

    monkeypatch.setattr(inference, "compact", spoilt)
    model, drawn = inference.pruned(NONE, "omp", 0.1)
    with pytest.raises(RuntimeError, match="depth differs"):
        inference.measure(model, drawn, 32, 32, 1, inference.BRIEF)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "8", "304"], "--size"),
        (["--levels", "-1"], "--levels"),
        (["--repeats", "0"], "--repeats"),
        (["--run", "abc", "--weights", "w.pth"], "--run"),
        (["--run", "nosuchrun"], "no run nosuchrun"),
        (["--ticket", "none.npz"], "none.npz"),
        (["--weights", "none.pth"], "none.pth"),
        (["--out", "cost.csv"], ".json"),
        (["--out", "bad.json"], "bad.json"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("[1, 2")
    assert __main__.main(["cost", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


def test_dense_runs_as_torch_does():
    layer = Layer(torch.randn(4, 3, 3, 3), torch.randn(4), 2)
    x = torch.randn(1, 3, 9, 9)
    assert np.allclose(dense(layer)(x), F.conv2d(x, layer.weight, layer.bias, 2, 1).relu())
