"""Training losses over valid pixels. Depth 0 marks an invalid pixel."""

import torch


def berhu(prediction, target):
    """Reverse Huber loss (Laina et al. 2016, equation 2), averaged over the valid pixels of the batch.

    With x = prediction - target and c = 0.2 max|x| over those pixels: |x| where |x| <= c, else
    (x^2 + c^2) / (2c). c is a constant to the gradient. No valid pixel, or no error at all, gives 0.

    Shapes: both `(B, H, W)`, metres; returns a scalar, metres.
    """
    valid = target > 0
    x = torch.where(valid, prediction - target, 0).abs()
    c = (0.2 * x.detach().amax()).clamp(min=torch.finfo(x.dtype).tiny)
    return torch.where(x <= c, x, (x * x + c * c) / (2 * c)).sum() / valid.sum().clamp(min=1)


def l1(prediction, target):
    """Mean absolute error over the valid pixels of the batch; shapes as `berhu`."""
    valid = target > 0
    return torch.where(valid, prediction - target, 0).abs().sum() / valid.sum().clamp(min=1)


def berhu_published(prediction, target):
    """The loss of the published code, defects and all; shapes as `berhu`. For the post-mortem only.

    With d = |prediction - target| over the valid pixels and c = 0.2 max(prediction - target) over *all*: the
    mean over the d and, once more, the d^2 of those with d > c. No reverse Huber function: c may be negative,
    the loss jumps there, and far errors count as d + d^2, metres and square metres.
    """
    valid = target > 0
    d = torch.where(valid, prediction - target, 0).abs()
    c = 0.2 * (prediction - target).detach().amax()
    far = valid & (d > c)
    return (d.sum() + torch.where(far, d * d, 0).sum()) / (valid.sum() + far.sum()).clamp(min=1)


LOSSES = {"berhu": berhu, "l1": l1, "berhu-published": berhu_published}
