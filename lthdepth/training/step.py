"""One training step: cut the batch, predict, compare, mask, move."""

import ctypes
import math
import sys
from contextlib import nullcontext

import torch
from torch import nn

from ..errors import reason, warn
from ..loss import LOSSES


def prepare(device):
    """Settings of the process that make steps faster and change no number. Harmless to call again.

    glibc returns the memory of large tensors at every release and asks for it again, up to 28 % of a CPU's
    step; here it keeps it. On a GPU cuDNN times its algorithms, and float32 does not mean TF32.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):  # not in every C library
        for option, value in ((-1, -1), (-4, 0), (-2, 1 << 28)):
            ctypes.CDLL(None).mallopt(option, value)  # trim: never; mmap: nothing; grow by 256 MiB
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # whose streams a recording is made on
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False


def place(model, device):
    """The model on the device, in the memory order that is faster there: NCHW on CPUs, NHWC on GPUs."""
    order = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return model.to(device, memory_format=order)


def autocast(config, device):
    """The context in which the network computes: float32, or bfloat16 products over float32 weights."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)  # a cache cannot be recorded


def optimiser(config, model):
    """SGD, AdamW or Adam over two groups, encoder and decoder, each with its own peak learning rate."""
    groups = [
        {"params": list(model.encoder.parameters()), "peak": config.lr_encoder},
        {"params": model.decoder_parameters(), "peak": config.lr_decoder},
    ]
    shared = {"weight_decay": config.weight_decay, "fused": True}  # fused: one pass over the weights
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, **shared)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
    return kind(groups, betas=(config.momentum, 0.999), **shared)


def restore(opt, saved):
    """Load an optimiser's state that was saved on any device, in the memory order of this one."""
    opt.load_state_dict(saved)
    for p, state in opt.state.items():
        for name, v in state.items():
            if v.shape == p.shape and v.stride() != p.stride():
                state[name] = torch.empty_like(p).copy_(v)


def rate(config, step, steps):
    """Factor of the peak learning rate at a step: linear warm-up, then constant or down to 0 at the end."""
    warm = config.warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    t = (step - warm) / (steps - warm)
    return {"constant": 1.0, "linear": 1 - t, "cosine": (1 + math.cos(math.pi * t)) / 2}[config.schedule]


def recorded(model, x, config):
    """A network whose passes, forward and back, are recorded as CUDA graphs for batches like x and replayed.

    That saves the host the launching of some thousand kernels a step. Where it fails the network itself is
    returned, with a warning. The network's own `forward`, and its values, are left as they were.
    """
    before = [b.clone() for b in model.buffers()]  # statistics of batch norm, which the trial passes move
    try:
        with autocast(config, x.device):
            return torch.cuda.make_graphed_callables(nn.Sequential(model), (x,))
    except RuntimeError as error:
        warn(f"the network is not recorded as a CUDA graph and launched anew each time: {reason(error)}.")
        return model
    finally:
        for buffer, value in zip(model.buffers(), before):
            buffer.copy_(value)


class Step:
    """Takes steps with a model, its mask and its optimiser, on batches of `augment.Views`.

    Nothing in it waits for the device: the losses are summed there, in `total`. On a GPU the network is
    `recorded`. `teacher`: a trained FCRN in evaluation mode whose predictions are distilled
    (`Config.distil`), or None.
    """

    def __init__(self, config, model, masking, opt, views):
        self.config, self.model, self.masking, self.opt, self.views = config, model, masking, opt, views
        self.device, self.teacher, self.network = views.rgb.device, None, None
        self.shape = None
        self.total = torch.zeros((), device=self.device)

    def __call__(self, batch, factor, size=None):
        """One step on tensors as `Views.train` takes them, at `factor` of the peak learning rates."""
        for group in self.opt.param_groups:
            group["lr"] = group["peak"] * factor
        x, y = self.views.train(*batch, size)
        if x.shape != self.shape:
            gpu, self.shape = self.device.type == "cuda", x.shape
            self.network = recorded(self.model, x, self.config) if gpu else self.model
        with autocast(self.config, self.device):
            prediction = self.network(x)
        loss = LOSSES[self.config.loss](prediction[:, 0].float(), y)
        if self.teacher is not None:
            with torch.no_grad(), autocast(self.config, self.device):
                taught = self.teacher(x)
            distance = LOSSES["l1"](prediction[:, 0].float(), taught[:, 0].float().clamp(min=1e-3))
            loss = torch.lerp(loss, distance, self.config.distil)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        self.masking.gradients()
        self.opt.step()
        self.total += loss.detach()
