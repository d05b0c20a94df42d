"""Speed of one training step and of inference, fast up-projection against the paper's own form."""

import platform
import time

import torch
from torch import nn

from . import mask, tickets
from .loss import berhu
from .model import FCRN, UpProjection, initialise


class Unpool(nn.Module):
    """The up-convolution as Laina et al. (2016) define it: zeros between the pixels, then a 5x5 convolution.

    Same function and parameter count as the transposed convolution in `UpProjection`, at four times the products.
    """

    def __init__(self, up):
        super().__init__()
        self.weight = nn.Parameter(up.weight.detach().transpose(0, 1).flip(2, 3).contiguous())

    def forward(self, x):
        b, c, h, w = x.shape
        spread = x.new_zeros(b, c, h, 2, w, 2)
        spread[:, :, :, 0, :, 0] = x
        return nn.functional.conv2d(spread.view(b, c, 2 * h, 2 * w), self.weight, padding=2)


def plain(model):
    """Replace the transposed convolutions of an FCRN by the paper's form, in place."""
    for module in model.modules():
        if isinstance(module, UpProjection):
            module.up = Unpool(module.up)
    return model


def bench(device, height, width, batch, repeats=5):
    """Print images per second (median of `repeats` after one warm-up) and the ratio to the paper's form."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.processor() or 'CPU'}"
    print(f"FCRN-ResNet-50, {height}x{width}, batch {batch}, float32, {where}, torch {torch.__version__}")
    x = torch.rand(batch, 3, height, width, device=device)
    y = 1 + torch.rand(FCRN().to("meta")(x[:2].to("meta")).shape[2:], device=device).expand(batch, -1, -1)
    rates = {}
    for name, form in (("plain", plain), ("fast", lambda m: m), ("fast, 1.80 % ticket", lambda m: m)):
        model = form(initialise(FCRN(), 0)).to(device)
        opt = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
        weights = mask.prunable(model.encoder.state_dict())
        ticket = tickets.magnitude({k: v.cpu() for k, v in weights.items()}, 0.018)
        masking = mask.Masking(ticket, model.encoder) if "ticket" in name else None

        def step(model=model, opt=opt, masking=masking):
            opt.zero_grad(set_to_none=True)
            berhu(model(x)[:, 0], y).backward()
            if masking:
                masking.gradients()
            opt.step()
            if masking:
                masking.weights()

        def infer(model=model):
            with torch.no_grad():
                model(x)

        for task, work in (("training", step), ("inference", infer)):
            model.train(task == "training")
            rates[name, task] = batch / _median(work, device, repeats)
    print(f"{'network':22} {'training':>12} {'inference':>12}   images/s (ratio to plain)")
    for name in ("plain", "fast", "fast, 1.80 % ticket"):
        cells = [f"{rates[name, t]:7.2f} {rates[name, t] / rates['plain', t]:4.2f}x" for t in ("training", "inference")]
        print(f"{name:22} {cells[0]:>12} {cells[1]:>12}")


def _median(work, device, repeats):
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]
