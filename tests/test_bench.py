"""The benchmark's other side: the network and the frames of public code are those of ours, only written differently."""

import copy

import pytest
import torch

from lthdepth import bench, plain
from lthdepth.config import PUBLISHED
from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise
from lthdepth.tasks import bench as task

SMALL = PUBLISHED.replace(height=64, width=96, batch=4)


def test_the_plain_network_takes_the_same_steps():
    """Three steps of SGD in float32 from the same weights: losses to 1 in 100 000, weights to a hundredth of how far they moved."""
    fast = initialise(FCRN("resnet18"), 0).train()
    slow = plain.plain(copy.deepcopy(fast)).train()
    start = {k: v.clone() for k, v in fast.named_parameters()}
    rng, losses = torch.Generator().manual_seed(0), {}
    batches = [(torch.randn(4, 3, 64, 96, generator=rng), 1 + torch.rand(4, 32, 48, generator=rng)) for _ in range(3)]
    for model in (fast, slow):
        opt = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
        for x, y in batches:
            loss = berhu(model(x)[:, 0], y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.setdefault(model, []).append(loss.item())
    assert losses[fast] == pytest.approx(losses[slow], rel=1e-5)
    named = dict(slow.named_parameters())
    for name, value in fast.named_parameters():
        if name in named:
            assert (value - named[name]).norm() <= 0.01 * (value - start[name]).norm() + 1e-7, name
    for i, up in enumerate(slow.ups):
        whole = torch.cat([branch.weight for branch in up.branches]).flip(2, 3).transpose(0, 1)
        moved = (fast.ups[i].up.weight - start[f"ups.{i}.up.weight"]).norm()
        assert (whole - fast.ups[i].up.weight).norm() <= 0.01 * moved


def test_frames_one_by_one_are_whole_frames_where_nothing_is_drawn(tmp_path):
    frames = bench.noise(4)
    plain.write(tmp_path / "f.h5", frames)
    files = plain.Files(tmp_path / "f.h5", 4, PUBLISHED.replace(height=240, width=320, scale=1.0, rotation=0.0, colour=0.0))
    x, y = files[1]
    assert x.shape == (3, 240, 320) and y.shape == (128, 160)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (plain.MEAN, plain.STD))
    seen, truth = ((x * std + mean) * 255)[:, 4::8, 4::8], torch.from_numpy(frames.rgb[1])[:, 4::8, 4::8].float()
    assert min((seen - t).abs().max() for t in (truth, truth.flip(2))) < 0.6  # in the middle of the noise's tiles
    loss = next(plain.steps(plain.plain(FCRN("resnet18")), tmp_path / "f.h5", 4, SMALL, torch.device("cpu")))
    assert 0 < loss < 100
    assert set(y.unique().tolist()) <= set(torch.from_numpy(frames.depth[1]).unique().tolist())


def test_speeds_are_measured_beside_what_is_possible():
    """Arithmetic: three passes of products. Memory: weights, gradients and momentum eight times."""
    device = torch.device("cpu")
    found = bench.Bench(device, "float32", [(32, 32, 2)], 1, 1.0)
    found.flops, found.bytes = 1e12, 1e10
    by_name = {row.measure: row for row in found.step(32, 32, 2)}
    training = by_name["training, 32x32, batch 2"]
    assert training.arithmetic == pytest.approx(found.flops / 6 / 0.26e9, rel=0.2)  # 17.5 GMAC at 228x304
    assert training.memory == pytest.approx(2 * found.bytes / (32 * 63.6e6), rel=0.01)
    public = by_name["training as public code does, 32x32, batch 2"]
    assert by_name["ours / public, 32x32"].value == pytest.approx(training.value / public.value)
    assert 0 < by_name["input pipeline, 32x32"].value < 100


@pytest.mark.parametrize(("target", "value", "said"), [("≥ 2.4", 2.4, "met"), ("≥ 2.4", 2.3, "missed"), ("≤ 2", 1.9, "met")])
def test_a_target_is_met_or_missed(target, value, said):
    assert task._cells(bench.Row("m", value, "times", target=target))[5] == f"{target}: {said}"
