"""FCRN and its training as the paper defines them and public re-implementations run them: what `bench` measures against.

Frames are read one by one from an HDF5 file of the official layout and transformed one by one; every up-projection
unpools and applies two 5x5 convolutions; the loss is read after every step.
"""

import math
import shutil

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.transforms import functional as T

from ..data.augment import MEAN, STD
from ..loss import berhu
from ..model import UpProjection


class Unpool(nn.Module):
    """Double the resolution, zeros between the pixels: a grouped transposed convolution with a one and three zeros."""

    def __init__(self, channels):
        super().__init__()
        kernel = torch.zeros(channels, 1, 2, 2)
        kernel[:, :, 0, 0] = 1
        self.register_buffer("kernel", kernel)

    def forward(self, x):
        return F.conv_transpose2d(x, self.kernel, stride=2, groups=x.shape[1])


class PlainUp(nn.Module):
    """The up-projection of figure 2b of Laina et al. (2016), with the weights of an `UpProjection`: the same function."""

    def __init__(self, up):
        super().__init__()
        inputs, outputs = up.up.in_channels, up.conv.out_channels
        weights = (
            up.up.weight.detach().transpose(0, 1).flip(2, 3).chunk(2)
        )  # a transposed convolution's kernel is mirrored
        self.unpool, self.conv, self.conv_bn = Unpool(inputs), up.conv, up.conv_bn
        self.branches, self.norms = nn.ModuleList(), nn.ModuleList()
        for i, weight in enumerate(weights):
            branch, norm = nn.Conv2d(inputs, outputs, 5, padding=2, bias=False), nn.BatchNorm2d(outputs)
            branch.weight = nn.Parameter(weight.contiguous())
            norm.load_state_dict(
                {k: v.chunk(2)[i] if v.ndim else v for k, v in up.up_bn.state_dict().items()}
            )
            self.branches.append(branch)
            self.norms.append(norm)

    def forward(self, x):
        x = self.unpool(x)
        main, skip = (norm(branch(x)) for branch, norm in zip(self.branches, self.norms, strict=True))
        return F.relu(self.conv_bn(self.conv(F.relu(main))) + skip)


def plain(model):
    """An FCRN with the up-projections of the paper, in place."""
    model.ups = nn.ModuleList(PlainUp(up) if isinstance(up, UpProjection) else up for up in model.ups)
    return model


def write(path, frames):
    """Write frames as the official file has them: `images` (N, 3, 640, 480), `depths` (N, 640, 480), a chunk a frame."""
    with h5py.File(path, "w") as file:
        for name, images in (("images", frames.rgb), ("depths", frames.depth)):
            images = images.repeat(2, axis=-2).repeat(2, axis=-1).swapaxes(-2, -1)
            file.create_dataset(
                name, data=images, chunks=(1, *images.shape[1:]), compression="gzip", shuffle=True
            )


class Files(torch.utils.data.Dataset):
    """A frame at a time: read, zoom, rotate, crop, mirror, colour, normalise.

    Args:
        path: of `write`; n: frames of an epoch, those of the file again and again; config: size and strength of the augmentation.
    """

    def __init__(self, path, n, config):
        self.path, self.n, self.config, self.file = path, n, config, None

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if self.file is None:  # in the worker
            self.file = h5py.File(self.path)
        c, rng, i = self.config, np.random.default_rng(i), i % len(self.file["depths"])
        rgb = Image.fromarray(self.file["images"][i].transpose(2, 1, 0))
        depth = Image.fromarray(self.file["depths"][i].T)
        zoom, angle, x, y = rng.uniform(1, c.scale), rng.uniform(-c.rotation, c.rotation), *rng.random(2)
        width, height = round(rgb.width / zoom), round(rgb.height / zoom)
        box = (round(y * (rgb.height - height)), round(x * (rgb.width - width)), height, width)
        mirror, gain = rng.random() < 0.5, rng.uniform(1 - c.colour, 1 + c.colour, 3)
        small, made = (16 * math.ceil(c.height / 32), 16 * math.ceil(c.width / 32)), []
        for image, size, mode in ((rgb, (c.height, c.width), "BILINEAR"), (depth, small, "NEAREST")):
            mode = T.InterpolationMode[mode]
            image = T.resized_crop(T.rotate(image, angle, mode), *box, size, mode)
            made.append(T.to_tensor(T.hflip(image) if mirror else image))
        coloured = (made[0] * torch.tensor(gain, dtype=torch.float32).view(3, 1, 1)).clamp(max=1)
        return T.normalize(coloured, MEAN, STD), made[1][0] / zoom


def steps(model, path, n, config, device):
    """Train on and on: yields the loss after every step. Beside a GPU eight workers prepare the batches, where memory is shared."""
    workers = (
        {"num_workers": 8, "pin_memory": True, "persistent_workers": True} if device.type == "cuda" else {}
    )
    if workers and shutil.disk_usage("/dev/shm").free < 2**29:
        workers = {"pin_memory": True}
    loader = torch.utils.data.DataLoader(
        Files(path, n, config), config.batch, shuffle=True, drop_last=True, **workers
    )
    opt = torch.optim.SGD(
        model.parameters(), config.lr_encoder, config.momentum, weight_decay=config.weight_decay
    )
    model.to(device).train()
    while True:
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            loss = berhu(model(x)[:, 0], y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            yield loss.item()
