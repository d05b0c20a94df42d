"""FCRN for inference: batch norm folded into the convolutions, and convolutions that skip zeros.

Convolutions that skip zero weights take the place of dense ones where they are quicker. In the right order
the input of every weight is one run of memory: a pixel's neighbour is a fixed distance away once the padding
is written out, and of a strided convolution once the pixels are sorted by their remainders. So a convolution
is a sum of shifted runs, which numba compiles.
"""

import copy
import time
import warnings

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NOTHING = np.empty((0, 0, 0), np.float32)
LONGEST = 2304  # positions of a run summed at a time, by measurement: 9 kB stay in the first-level cache


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


# No NaN or infinity is assumed away: only the order of additions is free.
@numba.njit(parallel=True, fastmath={"contract", "reassoc"})
def product(x, runs, weights, shortcut, low, y):
    """y[o, t] = max(low, bias[o] + sum_i value[i] x[offset[i] + t] + shortcut[o, t]).

    Args:
        x: `(floats,)` float32, the input as `Compiled.ordered` gives it.
        runs: `(offset, pitch)`: where in `x` the run of a weight begins, int64; floats from one row of the
            output to the next.
        weights: `(start, value, bias)`; those of output channel o are `value[start[o]:start[o + 1]]`, a
            multiple of 4.
        shortcut: `(O, height, width)`, or `(0, 0, 0)` for none.
        y: `(O, height, width)`, written.
    """
    (offset, pitch), (start, value, bias) = runs, weights
    channels, height, width = y.shape
    tiles = (height * pitch + LONGEST - 1) // LONGEST
    rows = (height + tiles - 1) // tiles  # of a tile; all alike: what is left over would take nearly as long
    parts = min(channels, 16)  # of the output channels, so that small pictures keep all cores busy too
    for task in numba.prange(tiles * parts):
        top, part = task // parts * rows, task % parts
        bottom = min(height, top + rows)
        a, m = top * pitch, (bottom - top) * pitch
        total = np.empty(max(0, m), np.float32)
        for o in range(part * channels // parts, (part + 1) * channels // parts):
            total[:] = bias[o]
            for i in range(start[o], start[o + 1], 4):
                p, w = a + offset[i : i + 4], value[i : i + 4]
                x0, x1, x2, x3 = x[p[0] :], x[p[1] :], x[p[2] :], x[p[3] :]
                w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
                for j in range(m):
                    total[j] += (w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])
            for row in range(top, bottom):  # without what lies between them
                to, sums = y[o, row], total[row * pitch - a :][:width]
                if len(shortcut):
                    sums += shortcut[o, row]
                for j in range(width):
                    to[j] = max(sums[j], low)


class Compiled(nn.Module):
    """A convolution with padding k // 2 of a k x k kernel, on the CPU, by `product`.

    Shapes: as the `nn.Conv2d` it is made of; shortcut, if any, as its output.
    """

    def __init__(self, convolution):
        super().__init__()
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        (self.kernel, _), (self.stride, _) = convolution.kernel_size, convolution.stride
        start, value, columns = fours(convolution.weight.detach().flatten(1))
        self.weights = start.numpy(), value.numpy(), convolution.bias.detach().numpy()
        self.inputs = columns // self.kernel**2
        self.dy, self.dx = columns // self.kernel % self.kernel, columns % self.kernel
        self.offsets = {}  # by size of the input

    def forward(self, x, shortcut=None, relu=False):
        k, s = self.kernel, self.stride
        if k == 1:
            x, s = x[:, :, ::s, ::s], 1
        height, width = ((side - 1) // s + 1 for side in x.shape[2:])
        reach = (k - 1) // s
        rows, pitch = height + reach + (reach > 0), width + reach  # of a plane of equal remainders
        if x.shape not in self.offsets:
            plane = (self.inputs * s + self.dy % s) * s + self.dx % s
            self.offsets[x.shape] = ((plane * rows + self.dy // s) * pitch + self.dx // s).numpy()
        y = torch.empty(len(x), len(self.weights[2]), height, width)
        low = np.float32(0 if relu else -np.inf)
        for i, picture in enumerate(x.contiguous().numpy()):
            added = NOTHING if shortcut is None else shortcut[i].contiguous().numpy()
            picture = self.ordered(picture, s, rows, pitch)
            product(picture, (self.offsets[x.shape], pitch), self.weights, added, low, y[i].numpy())
        return y

    def ordered(self, picture, s, rows, pitch):
        """A picture (C, H, W) as one run of floats: padded, and its pixels sorted by their remainders.

        Pixel (s row + a, s column + b), counted from the padding's corner, is at [c, a, b, row, column] of
        (C, s, s, rows, pitch). In numpy, for torch's threads wait for work at full speed for a while.
        """
        (channels, height, width), before = picture.shape, self.kernel // 2
        if before:
            padded = np.zeros((channels, rows * s, pitch * s), np.float32)
            inside = padded[:, before : before + height, before : before + width]
            inside[:] = picture[:, : inside.shape[1], : inside.shape[2]]
            picture = padded.reshape(channels, rows, s, pitch, s).transpose(0, 2, 4, 1, 3)
        return np.ascontiguousarray(picture).ravel()


class Block(nn.Module):
    """A residual block of a folded network whose compiled convolutions add and rectify at once.

    Else torch's threads and numba's, which wait for work at full speed for a while, take turns and get in
    each other's way.
    """

    def __init__(self, block):
        super().__init__()
        for name, module in block.named_children():
            self.add_module(name, module)

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        *others, last = (module for name, module in self.named_children() if name.startswith("conv"))
        for convolution in others:
            x = convolution(x, relu=True) if isinstance(convolution, Compiled) else convolution(x).relu_()
        if isinstance(last, Compiled):
            return last(x, shortcut, relu=True)
        return last(x).add_(shortcut).relu_()


class Csr(nn.Module):
    """A convolution as torch's product of its sparse (CSR) matrix with the patches of the input."""

    def __init__(self, convolution):
        super().__init__()
        with warnings.catch_warnings(action="ignore"):  # torch calls its sparse tensors a beta
            self.matrix = convolution.weight.detach().flatten(1).to_sparse_csr()
        self.bias, self.kernel, self.stride = convolution.bias, convolution.kernel_size, convolution.stride

    def forward(self, x):
        patches = F.unfold(x, self.kernel, padding=self.kernel[0] // 2, stride=self.stride)
        y = torch.stack([self.matrix @ one for one in patches]) + self.bias[:, None]
        return y.unflatten(2, [(side - 1) // self.stride[0] + 1 for side in x.shape[2:]])


def fours(matrix):
    """Weights of a matrix that are not zero, row by row: `(where each row starts, values, columns)`.

    Every row is filled up with zeros to a multiple of four, as `product` wants it.
    """
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(matrix))
    start = F.pad(((counts + 3) // 4 * 4).cumsum(0), (1, 0))
    place = start[rows] + torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    value = matrix.new_zeros(int(start[-1])).index_put_((place,), matrix[rows, columns])
    return start, value, columns.new_zeros(len(value)).index_put_((place,), columns)


WAYS = {"csr": (Csr, 0.2), "compiled": (Compiled, 0.6)}  # with the density above which it never pays


@torch.inference_mode()
def quicken(network, x):
    """Have each convolution of a folded network's encoder run in the way that is quickest here on RGB `x`.

    Returns a list of dicts, a convolution each: its name, density, milliseconds by way (the quickest of five
    runs), and which was chosen.
    """
    encoder, rows = network.encoder, []
    modules = list(encoder.named_modules())
    for name, module in modules:
        if isinstance(module, BasicBlock | Bottleneck):
            encoder.set_submodule(name, Block(module))
    for name, convolution in modules:
        if not isinstance(convolution, nn.Conv2d):
            continue
        inputs = []
        hook = convolution.register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.extend(given))
        network.encode(x)
        hook.remove()
        density, forms = float(convolution.weight.count_nonzero() / convolution.weight.numel()), {}
        for way, (kind, most) in WAYS.items():
            if density <= most and not (x.is_cuda and kind is Compiled):
                forms[way] = kind(convolution)
        forms["dense"] = convolution
        times = {way: min(milliseconds(form, *inputs) for _ in range(5)) for way, form in forms.items()}
        chosen = min(times, key=times.get)
        encoder.set_submodule(name, forms[chosen])
        rows.append({"name": name, "density": density, "ms": times, "chosen": chosen})
    return rows


def milliseconds(function, x):
    """Of one call, after two that are not counted; waits for the device."""
    for _ in range(3):
        started = time.perf_counter()
        function(x)
        if x.device.type == "cuda":
            torch.cuda.synchronize()
    return round(1e3 * (time.perf_counter() - started), 4)
