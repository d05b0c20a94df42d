"""FCRN for inference: batch norm folded into the convolutions, channels that do nothing removed.

Removing channels is exact. A channel inside a residual block is removed where no later weight reads it; where
all its incoming weights are zero, so that it is the constant relu(bias), and the next convolution is 1x1: the
constant moves into that one's bias; and where that constant is 0. A constant that a padded 3x3 convolution
reads is not one at the border (the padding is 0), so such a channel stays. The residual streams between
blocks keep their shape.
"""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
BLOCKS = (BasicBlock, Bottleneck)


def fold(model):
    """A copy of an `FCRN` for evaluation, each batch norm in the convolution before it: an `nn.Identity`."""
    network = copy.deepcopy(model).eval().requires_grad_(False)
    for name, module in list(network.named_modules()):
        if isinstance(module, CONVOLUTIONS):
            before = name, module  # registered before the batch norm that follows it
        elif isinstance(module, nn.BatchNorm2d):
            name_before, convolution = before
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            network.set_submodule(name_before, fuse_conv_bn_eval(convolution, module, transposed))
            network.set_submodule(name, nn.Identity())
    return network.requires_grad_(False)


def compact(network):
    """Remove channels of a folded network that do nothing, in place; returns how many."""
    removed = 0
    for block in network.encoder.modules():
        if isinstance(block, BLOCKS):
            convolutions = [m for name, m in block.named_children() if name.startswith("conv")]
            pairs = list(pairwise(convolutions))
            for before, after in (
                pairs + pairs[::-1]
            ):  # constants are found forwards, what nobody reads backwards
                removed += _merge(before, after)
    return removed


@torch.no_grad()
def _merge(before, after):
    """Remove channels between two convolutions; returns how many."""
    unread = ~after.weight.any((0, 2, 3))
    constant = ~before.weight.any((1, 2, 3))
    value = before.bias.relu()
    drop = unread | (constant & ((value == 0) | (after.kernel_size == (1, 1))))
    drop[0] &= not drop.all()  # a convolution has at least one channel
    fold = drop & constant & ~unread
    after.bias += after.weight[:, fold].sum((2, 3)) @ value[fold]
    before.weight, before.bias = (nn.Parameter(p[~drop], False) for p in (before.weight, before.bias))
    after.weight = nn.Parameter(after.weight[:, ~drop], False)
    before.out_channels = after.in_channels = int((~drop).sum())
    return int(drop.sum())
