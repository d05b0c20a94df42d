"""The benchmark's other side: the network of public code is ours, only written differently."""

import copy
import sys
from pathlib import Path

import pytest
import torch

from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise
from lthdepth.runs.studies import PUBLISHED

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import speed


def test_the_network_of_public_code_has_our_loss_and_gradients():
    ours = initialise(FCRN("resnet18"), 0).train()
    theirs, rng = speed.public(copy.deepcopy(ours)).train(), torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 3, 64, 96, generator=rng), 1 + torch.rand(4, 32, 48, generator=rng)
    losses = [berhu(model(x)[:, 0], y) for model in (ours, theirs)]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    gradients = [(p.grad, dict(theirs.named_parameters()).get(k)) for k, p in ours.named_parameters()]
    pairs = [(g, other.grad) for g, other in gradients if other is not None]
    for one, other in zip(ours.ups, theirs.ups, strict=True):
        kernels = torch.cat([branch[0].weight.grad for branch in other.branches])
        pairs.append((one.up.weight.grad, kernels.flip(2, 3).transpose(0, 1)))
    assert len(pairs) > 60
    for gradient, other in pairs:
        assert (gradient - other).norm() <= 0.01 * gradient.norm() + 1e-7


def test_both_take_steps(frames):
    config = PUBLISHED.replace(backbone="resnet18", height=32, width=32, batch=2, precision="float32")
    device = torch.device("cpu")
    assert 0 < next(speed.public_steps(config, device)) < 100
    assert speed.seconds(speed.Steps(config, frames, device), 0) > 0
