"""One training step: cut the batch, predict, compare, mask, move. On a GPU it is recorded once and replayed."""

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

    glibc returns the memory of large tensors to the system at every release and asks for it again, which took up to
    28 % of a step's time on a CPU; here it keeps it. On a GPU cuDNN times its algorithms once for each shape, and
    float32 means float32, not TF32.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or ignore it
        for option, value in ((-1, -1), (-4, 0), (-2, 1 << 28)) if mallopt else ():
            mallopt(option, value)  # M_TRIM_THRESHOLD: never; M_MMAP_MAX: none; M_TOP_PAD: grow by 256 MiB
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False


def place(model, device):
    """The model on the device, in the memory order that is faster there (measured: NCHW on CPUs, NHWC on GPUs)."""
    return model.to(
        device, memory_format=torch.channels_last if device.type == "cuda" else torch.contiguous_format
    )


def autocast(config, device):
    """The context in which the network computes: float32, or bfloat16 products over float32 weights."""
    return torch.autocast(device.type, torch.bfloat16) if config.precision == "bfloat16" else nullcontext()


def optimiser(config, model):
    """SGD, AdamW or Adam over two groups, encoder and decoder, each with its own peak learning rate.

    SGD passes once over the weights (`fused`), which on a CPU changes no bit; Adam does on a GPU alone, for there it rounds
    otherwise than its plain form. On a GPU the rate is in a tensor, where a recorded step reads it.
    """
    encoder = list(model.encoder.parameters())
    device = encoder[0].device
    groups = [
        {"params": encoder, "peak": config.lr_encoder},
        {"params": model.decoder_parameters(), "peak": config.lr_decoder},
    ]
    gpu = device.type == "cuda"
    for group in groups:
        group["lr"] = torch.tensor(0.0, device=device) if gpu else 0.1
    if config.optimiser in ("adamw", "adam"):
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
        extra = {"fused": True} | ({"capturable": True} if gpu else {})
        return kind(groups, betas=(config.momentum, 0.999), weight_decay=config.weight_decay, **extra)
    return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)


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
    """Factor of the peak learning rate at a step: linear warm-up, then constant or decaying to 0 after the last step."""
    warm = config.warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    t = (step - warm) / (steps - warm)
    return {"constant": 1.0, "linear": 1 - t, "cosine": (1 + math.cos(math.pi * t)) / 2}[config.schedule]


class Step:
    """Takes steps with a model, its mask and its optimiser, on batches of `augment.Views`.

    Nothing in it waits for the device: the losses are summed there, in `total`.

    Args:
        recorded: record the step as a CUDA graph and replay it, which saves the host the launching of some thousand
            kernels a step; by default on a GPU. Where recording fails it goes on without.
        compiled: let torch.compile fuse the network's kernels first.
    """

    def __init__(self, config, model, masking, opt, views, recorded=None, compiled=False):
        self.config, self.masking, self.opt, self.views = config, masking, opt, views
        self.model = torch.compile(model) if compiled else model
        self.device = views.rgb.device
        self.total = torch.zeros((), device=self.device)
        self.recorded = self.device.type == "cuda" if recorded is None else recorded
        self.side = torch.cuda.Stream(self.device) if self.recorded else None
        self.teacher = (
            None  # a trained FCRN in evaluation mode whose predictions are distilled, see `Config.distil`
        )
        self.forget()

    def forget(self):
        """Drop the recorded step, because the mask has been replaced; the next ones are plain until it is recorded anew."""
        self.graph, self.inputs, self.taken = None, None, 0
        self.masks = None  # those in the recording: another ticket needs another

    def __call__(self, batch, factor):
        """Take one step.

        Args:
            batch: tensors as `Views.train` takes them.
            factor: of the peak learning rates, see `rate`.
        """
        for group in self.opt.param_groups:
            if torch.is_tensor(group["lr"]):
                group["lr"].fill_(group["peak"] * factor)
            else:
                group["lr"] = group["peak"] * factor
        if self.recorded and self.taken >= WARM and self.masks is not self.masking.masks:
            self._record(batch)
        if self.graph:
            torch._foreach_copy_(self.inputs, list(batch))
            self.graph.replay()
        elif self.recorded:  # what is to be recorded must have run on a stream of its own before
            self.side.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self.side):
                self._plain(*batch)
            torch.cuda.current_stream(self.device).wait_stream(self.side)
        else:
            self._plain(*batch)
        self.taken += 1

    def _plain(self, *batch):
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
        self.inputs, self.masks, self.graph = [t.clone() for t in batch], self.masking.masks, None
        self.opt.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._plain(*self.inputs)
            self.graph = graph
        except RuntimeError as error:
            torch.cuda.synchronize(self.device)
            self.opt.zero_grad(set_to_none=True)
            self.recorded = False
            warnings.warn(
                f"the step could not be recorded as a CUDA graph and is launched anew each time: {error}",
                stacklevel=2,
            )
