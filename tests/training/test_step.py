"""The training step against one written plainly, on a GPU and on a CPU."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import TINY
from hypothesis import given
from hypothesis import strategies as st

from lthdepth import mask
from lthdepth.config import Config
from lthdepth.data import augment, weights
from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise
from lthdepth.training import arms, step

pytestmark = pytest.mark.usefixtures("narrow")

KINDS = {
    "sgd": TINY.replace(arm="omp", density=0.1, weight_decay=0.1),
    "adam": TINY.replace(arm="omp", density=0.1, optimiser="adam", weight_decay=0.1),
    "adamw": TINY.replace(arm="omp", density=0.1, optimiser="adamw", weight_decay=0.1),
    "dense": TINY.replace(optimiser="adamw"),
}


def taken(config, frames, device="cpu", steps=5, saved=None):
    """Model, optimiser and mean loss after a few steps; `saved`: an optimiser's state to start from."""
    device = torch.device(device)
    ticket, start, _ = arms.start(config, weights.NONE)
    model = step.place(initialise(FCRN(config.backbone), config.seed, start), device).train()
    views = augment.Views(frames, config.height, config.width, device)
    masking, opt = mask.Masking(ticket, model.encoder), step.optimiser(config, model)
    if saved:
        step.restore(opt, copy.deepcopy(saved))
    take = step.Step(config, model, masking, opt, views)
    for i in range(steps):
        index = np.arange(4) + i
        take(views.plan(index, augment.draws(0, i, 20)[index], config), 0.5)
    masking.check(opt)
    return model, opt, take.total.item() / steps


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_equals_one_written_plainly(kind, frames):
    """Masks multiplied into all weights and gradients, before and after every step; one batch at a time."""
    config = KINDS[kind]
    model, _, mean_loss = taken(config, frames)
    ticket, start, _ = arms.start(config, weights.NONE)
    plain = initialise(FCRN(config.backbone), config.seed, start).train()
    masks = {f"encoder.{k}": m.float() for k, m in ticket.masks.items()}
    named, views, losses = dict(plain.named_parameters()), augment.Views(frames, 32, 32, "cpu"), []
    opts, how = [], {"weight_decay": config.weight_decay, "fused": True}
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    kind, more = kinds.get(kind, torch.optim.AdamW), {"momentum": 0.9} if kind == "sgd" else {}
    for part, lr in ((True, config.lr_encoder), (False, config.lr_decoder)):
        parameters = [p for n, p in named.items() if n.startswith("encoder.") == part]
        opts.append(kind(parameters, lr=lr / 2, **how, **more))

    def mask_all(tensor):
        for name, m in masks.items():
            tensor(named[name]).mul_(m)

    for i in range(5):
        index = np.arange(4) + i
        x, y = views.train(*views.plan(index, augment.draws(0, i, 20)[index], config))
        mask_all(lambda p: p.data)
        loss = berhu(plain(x)[:, 0], y)
        plain.zero_grad()
        loss.backward()
        mask_all(lambda p: p.grad)
        for opt in opts:
            opt.step()
        mask_all(lambda p: p.data)
        losses.append(loss.item())
    assert mean_loss == pytest.approx(np.mean(losses), rel=1e-6)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-6, atol=1e-7)


@given(
    st.integers(1, 500),
    st.floats(0, 0.99),
    st.sampled_from(["constant", "linear", "cosine"]),
    st.floats(0, 0.999),
)
def test_the_learning_rate_follows_its_closed_form(steps, warmup, schedule, at):
    config, i, warm = Config(warmup=warmup, schedule=schedule), int(at * steps), warmup * steps
    rate = step.rate(config, i, steps)
    t = (i - warm) / (steps - warm)
    decayed = {"constant": 1, "linear": 1 - t, "cosine": math.cos(math.pi * t / 2) ** 2}[schedule]
    assert rate == pytest.approx((i + 1) / (warm + 1) if i < warm else decayed, abs=1e-12)
    assert 0 < rate <= 1


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_on_a_gpu_are_those_on_a_cpu(kind, precision, frames, capsys):
    config, close = KINDS[kind].replace(precision=precision), 1e-3 if precision == "float32" else 0.05
    model, _, loss = taken(config, frames, "cuda", steps=8)
    plain, _, wanted = taken(config, frames, steps=8)
    assert loss == pytest.approx(wanted, rel=close) and not capsys.readouterr().err
    mean, other = model.encoder.bn1.running_mean.cpu(), plain.encoder.bn1.running_mean
    torch.testing.assert_close(mean, other, rtol=10 * close, atol=10 * close)


@gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_from_one_device_to_the_other(kind, frames):
    for first, second in (("cpu", "cuda"), ("cuda", "cpu")):
        _, opt, _ = taken(KINDS[kind], frames, first)
        _, restored, _ = taken(KINDS[kind], frames, second, saved=opt.state_dict())
        assert all(v.device.type == second for s in restored.state.values() for v in s.values() if v.ndim)
