"""The benchmark's other side: network and frames of public code are ours, only written differently."""

import copy
import runpy
import sys
from pathlib import Path
from unittest.mock import MagicMock

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


def test_speeds_stand_beside_what_is_possible(monkeypatch):
    """Three passes of products; weights, gradients and momentum moved 8 times; steps of 0.1 and 0.3 s."""

    pool = MagicMock()
    pool.return_value.__enter__.return_value.submit.return_value.result.return_value = 0.3
    bench = speed.Bench(CPU, [(228, 304, 2)])
    bench.flops, bench.bytes = 1e12, 1e10
    monkeypatch.setattr(speed, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(speed, "Steps", lambda *_: type("Steps", (), {"cut": None}))
    monkeypatch.setattr(speed, "seconds", lambda work, least=0: 0.1 if work else 0.001)
    public, ours, ratio, share, pipeline = (row[1:6] for row in bench.compared(228, 304, 2))
    numbers = [[float(cell) for cell in (row[0], *row[2:4]) if cell] for row in (public, ours, ratio, share)]
    arithmetic, memory = 1e12 / 6 / 17.5e9, 2 * 1e10 / (32 * 63.6e6)
    assert numbers[0] == pytest.approx([2 / 0.3, 1e12 / 6 / 42.7e9, memory], rel=0.01)
    assert numbers[1] == pytest.approx([20, arithmetic, memory], rel=0.01)
    assert numbers[2] == pytest.approx([3, 42.7 / 17.5], rel=0.01) and ratio[4] == "≥ 2.4: met"
    assert numbers[3] == pytest.approx([100 * 20 / arithmetic, 100], rel=0.01)
    assert pipeline[0] == "1" and pipeline[4] == "≤ 5: met"


@pytest.mark.parametrize(
    "target,value,met", [("≥ 2.4", 2.4, "met"), ("≥ 2.4", 2.3, "missed"), ("≤ 2", 1.9, "met")]
)
def test_a_target_is_met_or_missed(target, value, met):
    assert speed.row("m", value, "times", target=target) == (
        "m",
        str(value),
        "times",
        "",
        "",
        f"{target}: {met}",
        "",
    )


def test_the_script_says_what_it_does(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["speed.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(speed.__file__, run_name="__main__")
    assert "FILE.csv" in capsys.readouterr().out
