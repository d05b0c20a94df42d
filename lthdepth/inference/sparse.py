"""Convolutions that skip zero weights: as sparse matrix products of torch or of `kernel`, chosen layer by layer.

Packed right, the input of every weight is one run of memory: a pixel's neighbour is a fixed distance away once the
padding is written out, and of a strided convolution once the pixels are sorted by their remainders. So a 3x3 convolution
is nine sparse products with shifted views, or one pass of `kernel.product`.
"""

import importlib.util
import time
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .folded import Layer, dense

WORTH = {
    "dense": 1.0,
    "csr": 0.2,
    "compiled": 0.6,
}  # densities above which an execution never pays and is not tried


@dataclass(frozen=True)
class Packing:
    """Where the taps of a kernel find their input, for a picture of one size.

    height, width: of the output, pixels. pitch: positions from one output row to the next. rows: of a plane of equal
    remainders. offsets: where the run of tap (dy, dx), in the order of the kernel, begins within a channel.
    """

    kernel: int
    stride: int
    height: int
    width: int
    pitch: int
    rows: int

    @classmethod
    def of(cls, kernel, stride, height, width):
        """For a convolution with padding kernel // 2 of a `height` x `width` input."""
        height, width = ((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in (height, width))
        reach = (kernel - 1) // stride
        return cls(kernel, stride, height, width, width + reach, height + reach + (reach > 0))

    @property
    def positions(self):
        """Number of positions of a run, those between rows included."""
        return self.height * self.pitch

    @property
    def offsets(self):
        plane, s = self.rows * self.pitch, self.stride
        return [
            ((dy % s) * s + dx % s) * plane + dy // s * self.pitch + dx // s
            for dy in range(self.kernel)
            for dx in range(self.kernel)
        ]

    def pack(self, x):
        """`(C, H, W)` as `(C, floats)`."""
        s, before = self.stride, self.kernel // 2
        if self.kernel == 1:
            return x.contiguous().flatten(1)
        after = (self.pitch * s - x.shape[2] - before, self.rows * s - x.shape[1] - before)
        x = F.pad(x, (before, after[0], before, after[1]))
        return x.view(len(x), self.rows, s, self.pitch, s).permute(0, 2, 4, 1, 3).reshape(len(x), -1)


def as_convolution(layer):
    """An up-convolution as a 3x3 convolution to four times the channels, one for each output pixel of four, to be shuffled."""
    i, o = layer.weight.shape[:2]
    weight = layer.weight.new_zeros(o, 2, 2, i, 3, 3)
    taps = [(a, t, a + 4 - 2 * t) for a in (0, 1) for t in (0, 1, 2) if a + 4 - 2 * t <= 4]
    for a, t, ky in taps:
        for b, u, kx in taps:
            weight[:, a, b, :, t, u] = layer.weight[:, :, ky, kx].T
    return Layer(weight.flatten(0, 2), layer.bias.repeat_interleave(4))


def csr(layer):
    """Executes a layer as `folded.dense` does, by torch's products of sparse (CSR) and dense matrices."""
    base = as_convolution(layer) if layer.up else layer
    with warnings.catch_warnings(action="ignore"):  # torch calls its sparse tensors a beta
        taps = [w.to_sparse_csr() for w in base.weight.permute(2, 3, 0, 1).flatten(0, 1).contiguous()]

    def product(x, packing):
        packed, n = packing.pack(x), packing.positions
        y = base.bias[:, None].expand(-1, n)
        for offset, tap in zip(packing.offsets, taps, strict=True):
            if tap.values().numel():
                y = torch.addmm(y, tap, packed[:, offset : offset + n])
        y = y.reshape(-1, packing.height, packing.pitch)[:, :, : packing.width]
        return y.clone() if y.stride(-1) == 0 else y

    def run(x, shortcut=None, relu=True):
        x, packing = _ready(base, x)
        y = torch.stack([product(picture, packing) for picture in x])
        y = F.pixel_shuffle(y, 2) if layer.up else y
        if shortcut is not None:
            y += shortcut
        return y.relu_() if relu else y

    return run


def compiled(layer):
    """Executes a layer as `folded.dense` does, on the CPU, by `kernel.product`."""
    import numba

    from . import kernel

    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    base = as_convolution(layer) if layer.up else layer
    channels, kernel_size = len(base.bias), base.weight.shape[-1]
    start, value, columns = _fours(base.weight.flatten(1))
    inputs, taps = columns // kernel_size**2, columns % kernel_size**2
    bias, none, offsets = base.bias.numpy(), torch.empty(0, 0).numpy(), {}

    def pack(picture, packing):  # as `Packing.pack`
        if kernel_size == base.stride == 1:
            return picture.contiguous().numpy()
        planes = 1 if kernel_size == 1 else base.stride
        packed = torch.empty(len(picture), planes, planes, packing.rows, packing.pitch).numpy()
        kernel.pack(picture.contiguous().numpy(), kernel_size // 2, base.stride, packed)
        return packed

    def run(x, shortcut=None, relu=True):
        packing = Packing.of(kernel_size, base.stride, *x.shape[2:])
        y = torch.empty(len(x), channels, packing.height, packing.width)
        for i, picture in enumerate(x):
            packed = pack(picture, packing)
            if packing not in offsets:
                offsets[packing] = (torch.tensor(packing.offsets)[taps] + inputs * packed[0].size).numpy()
            added = none if shortcut is None or layer.up else shortcut[i].contiguous().flatten(1).numpy()
            clamp = relu and not (layer.up and shortcut is not None)
            kernel.product(
                packed.ravel(),
                start.numpy(),
                offsets[packing],
                value.numpy(),
                bias,
                added,
                clamp,
                packing.pitch,
                packing.width,
                packing.positions,
                y[i].flatten(1).numpy(),
            )
        if not layer.up:
            return y
        y = F.pixel_shuffle(y, 2)
        if shortcut is not None:
            y += shortcut
            return y.relu_() if relu else y
        return y

    return run


def _fours(matrix):
    """Weights of a matrix that are not zero, row by row: `(where each row starts, values, columns)`.

    Every row is filled up with zeros to a multiple of four, as `kernel.product` wants it.
    """
    rows, columns = matrix.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(matrix))
    start = F.pad(((counts + 3) // 4 * 4).cumsum(0), (1, 0))
    place = start[rows] + torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    value = matrix.new_zeros(int(start[-1])).index_put_((place,), matrix[rows, columns])
    return start, value, columns.new_zeros(len(value)).index_put_((place,), columns)


def _ready(layer, x):
    """The pictures `(B, C, H, W)` that a layer reads, and their packing; of a strided 1x1 only the pixels it reads."""
    kernel, stride = layer.weight.shape[-1], layer.stride
    if kernel == 1:
        x, stride = x[:, :, ::stride, ::stride], 1
    return x, Packing.of(kernel, stride, *x.shape[2:])


def executions(device):
    """The ways to execute a layer on a device: `{name: function of a Layer}`, "dense" first."""
    found = {"dense": dense}
    if device.type == "cuda" or torch.backends.mkl.is_available():
        found["csr"] = csr
    if device.type == "cpu" and importlib.util.find_spec("numba"):
        found["compiled"] = compiled
    return found


@torch.inference_mode()
def choose(folded, x, names, repeats=5):
    """Run each of the layers in the way that is quickest here for inputs like `x`, by measurement; changes `folded`.

    Args:
        folded: `folded.Folded`; names: layers of it; x: RGB `(1, 3, H, W)`; repeats: runs of each, of which the quickest counts.

    Returns:
        A list of dicts, a layer each: its name, density, milliseconds by execution, and which was chosen.
    """
    inputs, plain = {}, dict(folded.run)
    for name in names:

        def noted(*given, name=name, **said):
            inputs[name] = given, said
            return plain[name](*given, **said)

        folded.run[name] = noted
    folded(x)
    folded.run.update(plain)
    rows, ways = [], executions(x.device)
    for name in names:
        layer, (given, said) = folded.layers[name], inputs.pop(name)
        runs = {way: make(layer) for way, make in ways.items() if layer.density <= WORTH[way]}
        times = {
            way: quickest(lambda run=run: run(*given, **said), x.device, repeats) for way, run in runs.items()
        }
        best = min(times, key=times.get)
        folded.run[name] = runs[best]
        rows.append({"name": name, "density": layer.density, "ms": times, "chosen": best})
    return rows


def quickest(work, device, repeats):
    """Least milliseconds of `repeats` calls after a first one that is not counted."""
    work()
    return min(elapsed(work, device) for _ in range(repeats))


def elapsed(work, device):
    """Milliseconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - begun)
