"""The benchmark's other side: network and frames of public code are ours, only written differently."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lthdepth.config import PUBLISHED
from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import speed

CPU = torch.device("cpu")


def test_the_network_of_public_code_takes_the_same_steps():
    """Three steps of SGD from the same weights: losses to 1e-5, weights to a hundredth of their way."""
    fast = initialise(FCRN("resnet18"), 0).train()
    slow = speed.public(copy.deepcopy(fast)).train()
    start = {k: v.clone() for k, v in fast.named_parameters()}
    rng, losses = torch.Generator().manual_seed(0), {fast: [], slow: []}
    for _ in range(3):
        x, y = torch.randn(4, 3, 64, 96, generator=rng), 1 + torch.rand(4, 32, 48, generator=rng)
        for model in (fast, slow):
            opt = torch.optim.SGD(model.parameters(), 1e-3)
            loss = berhu(model(x)[:, 0], y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses[model].append(loss.item())
    assert losses[fast] == pytest.approx(losses[slow], rel=1e-5)
    named = dict(slow.named_parameters())
    for name, value in fast.named_parameters():
        if name in named:
            assert (value - named[name]).norm() <= 0.01 * (value - start[name]).norm() + 1e-7, name
    for i, up in enumerate(slow.ups):
        whole = torch.cat([branch[0].weight for branch in up.branches]).flip(2, 3).transpose(0, 1)
        moved = (fast.ups[i].up.weight - start[f"ups.{i}.up.weight"]).norm()
        assert (whole - fast.ups[i].up.weight).norm() <= 0.01 * moved


def test_frames_one_by_one_are_whole_frames_where_nothing_is_drawn(tmp_path):
    frames = speed.noise(4)
    config = PUBLISHED.replace(height=240, width=320, scale=1.0, rotation=0.0, colour=0.0)
    x, y = speed.Files(tmp_path / "f.h5", frames, config)[5]
    assert x.shape == (3, 240, 320) and y.shape == (128, 160)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (speed.augment.MEAN, speed.augment.STD))
    middle = ((x * std + mean) * 255)[:, 4::8, 4::8]  # of the noise's tiles
    truth = torch.from_numpy(frames.rgb[1])[:, 4::8, 4::8].float()
    assert min((middle - t).abs().max() for t in (truth, truth.flip(2))) < 0.6
    assert set(y.unique().tolist()) <= set(np.unique(frames.depth[1]).tolist())


def test_both_take_steps(monkeypatch):
    monkeypatch.setattr(speed, "FCRN", lambda: FCRN("resnet18"))
    config = PUBLISHED.replace(backbone="resnet18", height=32, width=32, batch=2, precision="float32")
    assert 0 < next(speed.public_steps(config, CPU)) < 100
    assert speed.seconds(speed.Steps(config, speed.noise(4), CPU), 0) > 0
