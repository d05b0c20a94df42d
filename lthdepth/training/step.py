"""One training step: cut the batch, predict, compare, mask, move. On a GPU it is recorded and replayed."""

import ctypes
import math
import sys
import warnings
from contextlib import nullcontext

import torch

from ..loss import LOSSES

WARM = 3  # steps before the recording: the optimiser makes its state in them, cuDNN chooses its algorithms


def prepare(device):
    """Settings of the process that make steps faster and change no number. Harmless to call again.

    glibc returns the memory of large tensors at every release and asks for it again, up to 28 % of a CPU's
    step; here it keeps it. On a GPU cuDNN times its algorithms, and float32 does not mean TF32.
    """
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):  # not in every C library
        for option, value in ((-1, -1), (-4, 0), (-2, 1 << 28)):
            ctypes.CDLL(None).mallopt(option, value)  # trim: never; mmap: nothing; grow by 256 MiB
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False


def place(model, device):
    """The model on the device, in the memory order that is faster there: NCHW on CPUs, NHWC on GPUs."""
    order = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    return model.to(device, memory_format=order)


def autocast(config, device):
    """The context in which the network computes: float32, or bfloat16 products over float32 weights."""
    return torch.autocast(device.type, torch.bfloat16) if config.precision == "bfloat16" else nullcontext()


def optimiser(config, model):
    """SGD, AdamW or Adam over two groups, encoder and decoder, each with its own peak learning rate.

    Fused: one pass over the weights. On a GPU the rate is in a tensor, where a recorded step reads it.
    """
    encoder = list(model.encoder.parameters())
    gpu = encoder[0].device.type == "cuda"
    groups = [
        {"params": encoder, "peak": config.lr_encoder},
        {"params": model.decoder_parameters(), "peak": config.lr_decoder},
    ]
    for group in groups:
        group["lr"] = torch.tensor(0.0, device=encoder[0].device) if gpu else 0.1
    shared = {"weight_decay": config.weight_decay, "fused": True}
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, **shared)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
    return kind(groups, betas=(config.momentum, 0.999), capturable=gpu, **shared)


def restore(opt, saved):
    """Load an optimiser's state that was saved on any device; how it is executed remains this device's."""
    for kept, group in zip(saved["param_groups"], opt.param_groups, strict=True):
        kept |= {k: v for k, v in group.items() if k != "params"}
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


class Step:
    """Takes steps with a model, its mask and its optimiser, on batches of `augment.Views`.

    Nothing in it waits for the device: the losses are summed there, in `total`. On a GPU the step is recorded
    as a CUDA graph and replayed, which saves the host the launching of some thousand kernels; where that
    fails, or with `recorded=False`, they are launched. `teacher`: a trained FCRN in evaluation mode whose
    predictions are distilled (`Config.distil`), or None.
    """

    def __init__(self, config, model, masking, opt, views, recorded=True):
        self.config, self.model, self.masking, self.opt, self.views = config, model, masking, opt, views
        self.device, self.teacher = views.rgb.device, None
        self.total = torch.zeros((), device=self.device)
        self.recorded = recorded and self.device.type == "cuda"
        self.side = torch.cuda.Stream(self.device) if self.recorded else None
        self.graph = self.inputs = self.masks = None  # the recording, its batch, the masks in it

    def __call__(self, batch, factor):
        """One step on tensors as `Views.train` takes them, at `factor` of the peak learning rates."""
        for group in self.opt.param_groups:
            if torch.is_tensor(group["lr"]):
                group["lr"].fill_(group["peak"] * factor)
            else:
                group["lr"] = group["peak"] * factor
        if self.masks is not self.masking.masks:  # a first step, or the first with another ticket
            self.graph, self.masks, self.taken = None, self.masking.masks, 0
        if self.recorded and self.taken == WARM:
            self._record(batch)
        if self.graph:
            torch._foreach_copy_(self.inputs, list(batch))
            self.graph.replay()
        elif self.recorded:  # what is to be recorded must have run on a stream of its own before
            self.side.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self.side):
                self._take(*batch)
            torch.cuda.current_stream(self.device).wait_stream(self.side)
        else:
            self._take(*batch)
        self.taken += 1

    def _take(self, *batch):
        x, y = self.views.train(*batch)
        with autocast(self.config, self.device):
            prediction = self.model(x)
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

    def _record(self, batch):
        self.inputs = [t.clone() for t in batch]
        self.opt.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._take(*self.inputs)
            self.graph = graph
        except RuntimeError as error:
            torch.cuda.synchronize(self.device)
            self.opt.zero_grad(set_to_none=True)
            self.recorded = False
            told = "the step could not be recorded as a CUDA graph and is launched anew each time"
            warnings.warn(f"{told}: {error}", stacklevel=2)
