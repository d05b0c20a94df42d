"""The training step against one written plainly, and its recorded form on a GPU against the one that is
launched.
"""

import copy

import numpy as np
import pytest
import torch
from conftest import TINY

from lthdepth import mask
from lthdepth.data import augment, weights
from lthdepth.loss import berhu
from lthdepth.model import FCRN
from lthdepth.training import arms, step
from lthdepth.training import fit as train

KINDS = {
    "sgd": TINY.replace(arm="omp", density=0.1, weight_decay=0.1),
    "adamw": TINY.replace(arm="omp", density=0.1, optimiser="adamw", weight_decay=0.1),
    "dense": TINY.replace(optimiser="adamw"),
}


def taken(config, frames, device="cpu", steps=5, saved=None, **options):
    """The model, its optimiser and the mean loss after a few steps; `saved`: an optimiser's state to start
    from.
    """
    device = torch.device(device)
    ticket, start, _ = arms.start(config, weights.NONE)
    model = step.place(train.initialise(FCRN(config.backbone), config.seed, start), device).train()
    views = augment.Views(frames, config.height, config.width, device)
    masking, opt = mask.Masking(ticket, model.encoder), step.optimiser(config, model)
    if saved:
        step.restore(opt, copy.deepcopy(saved))
    take = step.Step(config, model, masking, opt, views, **options)
    for i in range(steps):
        index = np.arange(4) + i
        take(views.plan(index, augment.draws(0, i, 20)[index], config), 0.5)
    masking.check(opt)
    return model, opt, take.total.item() / steps


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_equals_one_written_plainly(kind, frames):
    """Masks multiplied into weights and gradients of every layer, before and after every step; one batch at a
    time.
    """
    config = KINDS[kind]
    model, _, mean_loss = taken(config, frames)
    ticket, start, _ = arms.start(config, weights.NONE)
    plain = train.initialise(FCRN(config.backbone), config.seed, start).train()
    masks = {f"encoder.{k}": m.float() for k, m in ticket.masks.items()}
    named, views, losses = dict(plain.named_parameters()), augment.Views(frames, 32, 32, "cpu"), []
    decay = {"weight_decay": config.weight_decay}
    opts = []
    for part, lr in ((True, config.lr_encoder), (False, config.lr_decoder)):
        params = [p for n, p in named.items() if n.startswith("encoder.") == part]
        make = torch.optim.SGD if kind == "sgd" else torch.optim.AdamW
        opts.append(
            make(params, lr=lr / 2, fused=True, **decay, **({"momentum": 0.9} if kind == "sgd" else {}))
        )
    for i in range(5):
        index = np.arange(4) + i
        x, y = views.train(*views.plan(index, augment.draws(0, i, 20)[index], config))
        for name, m in masks.items():
            named[name].data *= m
        loss = berhu(plain(x)[:, 0], y)
        plain.zero_grad()
        loss.backward()
        for name, m in masks.items():
            named[name].grad *= m
        for opt in opts:
            opt.step()
        for name, m in masks.items():
            named[name].data *= m
        losses.append(loss.item())
    assert mean_loss == pytest.approx(np.mean(losses), rel=1e-6)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-6, atol=1e-7)


def test_what_the_process_is_set_to_is_harmless():
    step.prepare(torch.device("cpu"))
    step.prepare(torch.device("cpu"))
    assert torch.ones(1 << 22).sum() == 1 << 22


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_step_equals_one_that_is_launched(kind, precision, frames):
    config, close = KINDS[kind].replace(precision=precision), 1e-3 if precision == "float32" else 0.05
    recorded = taken(config, frames, "cuda", steps=8)
    launched = taken(config, frames, "cuda", steps=8, recorded=False)
    assert recorded[2] == pytest.approx(launched[2], rel=close)
    if precision == "float32":
        assert recorded[2] == pytest.approx(
            taken(config, frames, steps=8)[2], rel=close
        )  # and one on the CPU


@gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_from_one_device_to_the_other(kind, frames):
    for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
        _, opt, _ = taken(KINDS[kind], frames, first)
        _, restored, _ = taken(KINDS[kind], frames, second, saved=opt.state_dict())
        assert all(v.device.type == second for s in restored.state.values() for v in s.values() if v.ndim)
