"""Frames as the network sees them: resized, augmented and normalised in batches, on the training device.

Randomness is a pure function of (seed, epoch, frame index): no hidden generator state, so a resumed run
continues exactly and paired arms see the same stream.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

# Statistics of ImageNet that torchvision's ResNets were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

CROP = 228 / 250  # of the frame's sides: the published code resized to 250 rows and cut out 228×304
COLUMNS = ("order", "zoom", "rotation", "flip", "x", "y", "red", "green", "blue")


def draws(seed, epoch, n):
    """Uniform numbers of one epoch: float64 `(n, 9)` in [0, 1), a row a frame, a column each of `COLUMNS`."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).random((n, len(COLUMNS)))


def transforms(rows, config, aspect):
    """Turn uniform numbers, `(B, 9)` of `draws`, into what is done to frames of an aspect (width / height).

    config: the largest `scale`, `rotation` (degrees), `colour`, and whether to `flip`.

    Returns, in float32, theta `(B, 2, 3)` for `affine_grid`, from output to input coordinates in [-1, 1];
    zoom s `(B,)`, uniform in [1, scale], which shows a window of 1/s of the frame, inside it before the
    rotation; gain `(B, 3)`, factor of each channel.
    """
    u = dict(zip(COLUMNS, torch.from_numpy(np.ascontiguousarray(rows.T)), strict=True))
    zoom = 1 + (config.scale - 1) * u["zoom"]
    angle = math.radians(config.rotation) * (2 * u["rotation"] - 1)
    mirror = torch.where(u["flip"] < 0.5, -1.0, 1.0) if config.flip else torch.ones_like(zoom)
    cos, sin, room = angle.cos() / zoom, angle.sin() / zoom, 1 - 1 / zoom
    top = torch.stack([cos * mirror, -sin / aspect, room * (2 * u["x"] - 1)], 1)
    bottom = torch.stack([sin * aspect * mirror, cos, room * (2 * u["y"] - 1)], 1)
    theta = torch.stack([top, bottom], 1)
    gain = 1 + config.colour * (2 * torch.stack([u["red"], u["green"], u["blue"]], 1) - 1)
    return theta.float(), zoom.float(), gain.float()


def smaller(size):
    """An input's (height, width) over √2, in whole 32 pixels, the encoder's stride: about half its area."""
    return tuple(max(32, 32 * round(side * 0.5**0.5 / 32)) for side in size)


def target_size(size):
    """Of FCRN's output for an input of (height, width)."""
    return tuple(16 * math.ceil(side / 32) for side in size)


def cropped(depth):
    """Depth `(N, H, W)` that is valid only where a pixel's centre lies in the central crop; 0 elsewhere."""
    inside = [np.abs(2 * (np.arange(n) + 0.5) / n - 1) < CROP for n in depth.shape[1:]]
    return depth * np.outer(*inside)


class Views:
    """All frames of a data set on one device, cut into network inputs and targets.

    height, width: of the network's input, pixels; device: torch's, that holds the frames (uint8 RGB, float32
    depth); normalise: by the statistics of ImageNet, else colours stay in [0, 1]; crop: the network sees only
    the central `CROP` of each frame, and depth outside of it is invalid.
    """

    def __init__(self, frames, height, width, device, normalise=True, crop=False):
        self.size, self.window = (height, width), CROP if crop else 1.0
        self.target_size = target_size(self.size)
        rgb = torch.from_numpy(frames.rgb)
        self.depth = torch.from_numpy(cropped(frames.depth) if crop else frames.depth).to(device)
        # Where the input is much smaller than the frame, squares of pixels are averaged first, as bilinear
        # sampling would alias; only such as tile the frame: what is cut off would shift colour against depth.
        rows, columns = rgb.shape[2:]
        largest = max(1, min(rows // height, columns // width))
        factor = max(f for f in range(1, largest + 1) if rows % f == columns % f == 0)
        if factor > 1:
            parts = (F.avg_pool2d(part.to(device).float(), factor).round() for part in rgb.split(64))
            rgb = torch.cat([part.byte() for part in parts])
        self.rgb = rgb.to(device)
        self.mean = torch.tensor(MEAN if normalise else (0.0,) * 3, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(STD if normalise else (1.0,) * 3, device=device).view(1, 3, 1, 1)

    def plan(self, index, rows, config):
        """What `train` needs to cut frames, on the device: `(index, theta, zoom, gain)`, see `transforms`.

        index: int64 `(B,)`, frames, of a whole epoch at once, so that no step has to wait for a transfer.
        """
        theta, zoom, gain = transforms(rows, config, self.depth.shape[2] / self.depth.shape[1])
        return tuple(t.to(self.rgb.device) for t in (torch.as_tensor(index), self.window * theta, zoom, gain))

    def train(self, index, theta, zoom, gain, size=None):
        """Augmented inputs `(B, 3, H, W)`, targets `(B, h, w)` in metres, 0 = invalid; see `plan`.

        size: of the inputs, (height, width); None: as the views were made.
        """
        size = size or self.size
        x = self._sample(self.rgb[index].float(), theta, size, "bilinear", "border")
        x = (x / 255 * gain[:, :, None, None]).clamp(max=1)
        # Nearest: an average across an object's edge is the depth of nothing.
        y = self._sample(self.depth[index][:, None], theta, target_size(size), "nearest", "zeros")
        return (x - self.mean) / self.std, y[:, 0] / zoom[:, None, None]

    def test(self, index):
        """Plain inputs `(B, 3, H, W)`: the whole frame or its crop, resized and normalised."""
        index = torch.as_tensor(index, device=self.rgb.device)
        x = self._resize(self.rgb[index].float(), self.size, self.window)
        return (x / 255 - self.mean) / self.std

    def enlarge(self, y, size):
        """Outputs `(B, 1, h, w)` as maps of whole frames `(B, *size)`; a crop's border is repeated."""
        return self._resize(y, size, 1 / self.window)[:, 0]

    def _resize(self, images, size, window):
        if window == 1:
            return F.interpolate(images, size, mode="bilinear", align_corners=False)
        theta = window * torch.eye(2, 3, device=images.device)
        return self._sample(images, theta.expand(len(images), 2, 3), size, "bilinear", "border")

    @staticmethod
    def _sample(images, theta, size, mode, padding):
        grid = F.affine_grid(theta, (len(images), 1, *size), align_corners=False)
        return F.grid_sample(images, grid, mode=mode, padding_mode=padding, align_corners=False)
