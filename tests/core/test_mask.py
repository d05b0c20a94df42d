"""Tickets: what they leave of a network, and weights that stay pruned."""

import copy
import functools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lthdepth import mask, tickets
from lthdepth.config import level
from lthdepth.model import FCRN


@pytest.fixture(scope="module")
def fcrn50():
    with torch.device("meta"):
        return FCRN("resnet50")


def test_published_densities_of_the_18th_level(fcrn50):
    weights = {k: torch.zeros(v.shape) for k, v in mask.prunable(fcrn50.encoder.state_dict()).items()}
    assert len(weights) == 52 and "conv1.weight" not in weights
    d = mask.densities(tickets.magnitude(weights, level(18)), fcrn50, 228, 304)  # all tie: the first are kept
    assert d["counts"]["kept"] == 422_357 and d["counts"]["prunable"] == 23_445_504
    assert d["counts"]["encoder"] == 23_454_912
    assert d["counts"]["mac"] == macs(fcrn50, 228, 304) and round(d["counts"]["mac"] / 1e9, 1) == 17.5
    assert d["prunable"] == pytest.approx(0.018014, abs=5e-7)
    assert d["encoder"] == pytest.approx(0.018408, abs=5e-7)
    assert d["network"] == pytest.approx(0.637, abs=5e-4)


def macs(model, height, width):
    counter = FlopCounterMode(display=False)
    with counter, torch.device("meta"):
        model.eval()(torch.empty(1, 3, height, width))
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition


def test_densities_of_a_ticket_by_hand():
    with torch.device("meta"):
        model = FCRN("resnet18")
    weights = mask.prunable(model.encoder.state_dict())
    masks = {k: torch.ones(v.shape, dtype=torch.bool) for k, v in weights.items()}
    masks["layer1.0.conv1.weight"][:32] = False  # 32 x 64 kernels of 3x3, used at 16 x 20 positions
    masks["layer4.0.downsample.0.weight"][:] = False  # 512 x 256 of 1x1, at 2 x 3
    gone, work = 32 * 64 * 9 + 512 * 256, 32 * 64 * 9 * 16 * 20 + 512 * 256 * 2 * 3
    d = mask.densities(mask.Ticket(masks), model, 64, 80)
    convolutions = {n: p.numel() for n, p in model.named_parameters() if p.ndim == 4}
    encoder = sum(v for n, v in convolutions.items() if n.startswith("encoder."))
    for name, lost, whole in (
        ("mac", work, macs(model, 64, 80)),
        ("prunable", gone, encoder - 64 * 3 * 49),
        ("encoder", gone, encoder),
        ("network", gone, sum(convolutions.values())),
    ):
        assert d[name] == pytest.approx(1 - lost / whole, rel=1e-12) and d["counts"][name] == whole


# Held while training


def step(net, opt, x, masking=None):
    opt.zero_grad()
    (net(x) ** 2).mean().backward()
    if masking:
        masking.gradients()
    opt.step()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_ticket_that_changes_is_the_same_as_masking_everything_at_every_step(kind):
    """As gradual pruning does: nothing pruned, then half, then others; some weights come back."""
    generator = torch.Generator().manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3)).double()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64)
    plain, w = copy.deepcopy(net), net[2].weight
    make = {"sgd": functools.partial(torch.optim.SGD, momentum=0.9), "adamw": torch.optim.AdamW}[kind]
    opt, plain_opt = (make(n.parameters(), lr=0.05, weight_decay=0.1) for n in (net, plain))
    order = torch.rand(w.shape, generator=generator)
    masking = mask.Masking(mask.Ticket({"2.weight": order < 2}), net)
    for keep in (order < 2, order < 0.5, (order < 0.3) | (order > 0.9)):
        masking.replace(mask.Ticket({"2.weight": keep}), opt)
        hook = plain[2].weight.register_hook(lambda gradient, keep=keep: gradient * keep)
        for _ in range(4):
            x = torch.randn(3, 2, 8, 8, generator=generator, dtype=torch.float64)
            step(net, opt, x, masking)
            for v in (plain[2].weight.data, *plain_opt.state[plain[2].weight].values()):
                v *= keep if v.ndim else 1
            step(plain, plain_opt, x)
            masking.check(opt)
            assert (w[~keep] == 0).all() and (w[keep] != 0).float().mean() > 0.5
        hook.remove()
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    for state in (v for v in opt.state[w].values() if v.ndim):  # and one that is revived is found
        state[~keep] = -1e-30
        with pytest.raises(RuntimeError, match="not zero"):
            masking.check(opt)
        state[~keep] = 0
