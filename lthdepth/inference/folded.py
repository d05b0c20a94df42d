"""FCRN for inference: batch norm folded into the convolutions, channels that do nothing removed, every layer exchangeable.

Removing channels is exact. A channel inside a residual block is removed where no later weight reads it; where all its
incoming weights are zero, so that it is the constant relu(bias), and the next convolution is 1x1: the constant moves into
that one's bias; and where that constant is 0. A constant that a padded 3x3 convolution reads is not one at the border
(the padding is 0), so such a channel stays. The residual streams between blocks keep their shape.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@dataclass
class Layer:
    """A convolution, or FCRN's up-convolution, with its batch norm in weight and bias.

    weight: `(O, I, k, k)`; of an up-convolution `(I, O, 5, 5)`. bias: `(O,)`.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int = 1
    up: bool = False

    @property
    def density(self):
        """Fraction of the weights that are not zero."""
        return int(torch.count_nonzero(self.weight)) / self.weight.numel()


def dense(layer):
    """Executes a layer densely: a function `(x, shortcut=None, relu=True)` of `(B, I, H, W)` to relu(layer(x) + shortcut).

    A strided 1x1 convolution first takes the pixels it reads, which is quicker than the strided one.
    """
    weight, bias, kernel = layer.weight, layer.bias, layer.weight.shape[-1]

    def run(x, shortcut=None, relu=True):
        if layer.up:
            y = F.conv_transpose2d(x, weight, bias, stride=2, padding=2, output_padding=1)
        elif kernel == 1:
            y = F.conv2d(x[:, :, :: layer.stride, :: layer.stride], weight, bias)
        else:
            y = F.conv2d(x, weight, bias, layer.stride, kernel // 2)
        if shortcut is not None:
            y += shortcut
        return y.relu_() if relu else y

    return run


class Folded:
    """An `FCRN` in evaluation mode as layers by name, each run by a function that can be replaced.

    Attributes:
        layers: `{name: Layer}`, the encoder's under torchvision's names (`layer1.0.conv1`).
        encoder, decoder: the names of their layers, in the order of the network.
        blocks: residual blocks in order: `(names of its convolutions, name of the one in its shortcut or None)`.
        run: `{name: function}`, as `dense` returns. order: memory format of the pictures between them.
        removed: number of channels that `compact` removed.
    """

    def __init__(self, model):
        encoder, self.layers, self.blocks, self.run = model.encoder, {}, [], {}
        self._add("conv1", encoder.conv1, encoder.bn1)
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            for i, block in enumerate(getattr(encoder, stage)):
                numbers = [n for n in "123" if hasattr(block, f"conv{n}")]
                for n in numbers:
                    self._add(f"{stage}.{i}.conv{n}", getattr(block, f"conv{n}"), getattr(block, f"bn{n}"))
                shortcut = f"{stage}.{i}.downsample.0" if block.downsample else None
                if shortcut:
                    self._add(shortcut, *block.downsample)
                self.blocks.append(([f"{stage}.{i}.conv{n}" for n in numbers], shortcut))
        self.encoder = list(self.layers)
        self._add("squeeze", model.squeeze, model.squeeze_bn)
        for i, up in enumerate(model.ups):
            self._add(f"ups.{i}.up", up.up, up.up_bn)
            self._add(f"ups.{i}.conv", up.conv, up.conv_bn)
        self._add("predict", model.predict)
        self.decoder = [name for name in self.layers if name not in self.encoder]
        self.ups, self.removed = len(model.ups), 0
        self.densely()

    @torch.no_grad()
    def _add(self, name, conv, bn=None):
        up = isinstance(conv, nn.ConvTranspose2d)
        weight, bias = conv.weight, conv.bias
        if bn is not None:
            weight, bias = fuse_conv_bn_weights(
                weight, bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose=up
            )
        self.layers[name] = Layer(weight.detach().clone(), bias.detach().clone(), conv.stride[0], up)

    def densely(self, names=None, memory_format=torch.contiguous_format):
        """Run these layers (None: all) densely, with weights in the given memory format; returns self."""
        if names is None:
            self.order = memory_format
        for name in names or self.layers:
            layer = self.layers[name]
            layer.weight = layer.weight.contiguous(memory_format=memory_format)
            self.run[name] = dense(layer)
        return self

    def encode(self, x):
        """As `FCRN.encode`."""
        x = F.max_pool2d(self.run["conv1"](x), 3, 2, 1).contiguous(memory_format=self.order)
        for names, shortcut in self.blocks:
            y, kept = x, self.run[shortcut](x, relu=False) if shortcut else x
            for name in names[:-1]:
                y = self.run[name](y)
            x = self.run[names[-1]](y, kept)
        return x

    def decode(self, x):
        """Depth `(B, 1, h, w)` from what `encode` returned."""
        x = self.run["squeeze"](x, relu=False)
        for i in range(self.ups):
            main, skip = self.run[f"ups.{i}.up"](x, relu=False).chunk(2, dim=1)
            x = self.run[f"ups.{i}.conv"](main.relu(), skip)
        return self.run["predict"](x, relu=False)

    def __call__(self, x):
        """As `FCRN.forward`."""
        return self.decode(self.encode(x))


def compact(folded):
    """Remove the channels inside residual blocks that do nothing, in place; returns the network."""
    for names, _ in folded.blocks:
        pairs = [(folded.layers[a], folded.layers[b]) for a, b in zip(names, names[1:], strict=False)]
        for before, after in pairs + pairs[::-1]:  # constants are found forwards, what nobody reads backwards
            folded.removed += _merge(before, after)
        folded.densely(names)
    return folded


def _merge(before, after):
    """Remove channels between two layers; returns how many."""
    unread = ~after.weight.any((0, 2, 3))
    constant = ~before.weight.any((1, 2, 3))
    value = before.bias.relu()
    drop = unread | (constant & ((value == 0) | (after.weight.shape[-1] == 1)))
    drop[0] &= not drop.all()  # a convolution has at least one channel
    fold = drop & constant & ~unread
    after.bias = after.bias + after.weight[:, fold].sum((2, 3)) @ value[fold]
    before.weight, before.bias = before.weight[~drop], before.bias[~drop]
    after.weight = after.weight[:, ~drop]
    return int(drop.sum())
