"""What training and evaluation cost here, beside public code, the bare hardware and the targets.

    python benchmarks/speed.py [cpu|cuda]

Nothing else should be at work meanwhile. "By arithmetic" says what a number would be if only products took
time, at the rate of a large matrix product. Public code is FCRN and its training as the paper defines them:
frames are read from an HDF5 file of the official layout and transformed one by one, every up-projection
unpools and applies two 5x5 convolutions, and the loss is read after every step. It runs in a process of its
own, as ours changes settings of a whole one.
"""

import functools
import itertools
import multiprocessing
import re
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.benchmark import Timer
from torchvision import tv_tensors
from torchvision.transforms import v2

from lthdepth import mask
from lthdepth.data import augment, weights
from lthdepth.data.frames import Frames
from lthdepth.inference.measure import environment
from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise
from lthdepth.runs.studies import PUBLISHED
from lthdepth.training import arms
from lthdepth.training.evaluate import evaluate
from lthdepth.training.fit import Options, Training, pick_device

SPAWN = multiprocessing.get_context("spawn")  # a fork would share the GPU's state
TRAIN, TEST = 795, 654  # frames of the official split
TURNS = 5  # pairs of turns, ours and the other's, of which the median counts


class Up(nn.Module):
    """Figure 2b of Laina et al. (2016) with the weights of a new `UpProjection`: the same function."""

    def __init__(self, up):
        super().__init__()
        self.conv, self.conv_bn, self.branches = up.conv, up.conv_bn, nn.ModuleList()
        self.register_buffer("unpool", F.pad(torch.ones(up.up.in_channels, 1, 1, 1), (0, 1, 0, 1)))
        kernels = up.up.weight.detach().transpose(0, 1).flip(2, 3)  # a transposed convolution's are mirrored
        for kernel in kernels.chunk(2):
            branch = nn.Conv2d(kernel.shape[1], len(kernel), 5, padding=2, bias=False)
            branch.weight = nn.Parameter(kernel.contiguous())
            self.branches.append(nn.Sequential(branch, nn.BatchNorm2d(len(kernel))))

    def forward(self, x):
        x = F.conv_transpose2d(x, self.unpool, stride=2, groups=x.shape[1])
        main, skip = (branch(x) for branch in self.branches)
        return F.relu(self.conv_bn(self.conv(F.relu(main))) + skip)


def public(model):
    """A new FCRN with the up-projections of the paper, in place."""
    model.ups = nn.ModuleList(map(Up, model.ups))
    return model


class Files(torch.utils.data.Dataset):
    """Frames of an HDF5 file like the official one, read and transformed one by one, again and again."""

    def __init__(self, path, frames, config):
        self.path, self.file = path, None
        self.size = 16 * -(-config.height // 32), 16 * -(-config.width // 32)
        window = v2.RandomResizedCrop((config.height, config.width), (config.scale**-2, 1), (4 / 3, 4 / 3))
        colour = v2.ColorJitter(config.colour, config.colour, config.colour)
        shape = [v2.RandomRotation(config.rotation), window, v2.RandomHorizontalFlip(), colour]
        scale = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
        self.transform = v2.Compose([*shape, scale, v2.Normalize(augment.MEAN, augment.STD)])
        with h5py.File(path, "w") as file:
            for name, images in (("images", frames.rgb), ("depths", frames.depth)):
                images = images.repeat(2, axis=-2).repeat(2, axis=-1).swapaxes(-2, -1)
                chunks = (1, *images.shape[1:])
                file.create_dataset(name, data=images, chunks=chunks, compression="gzip", shuffle=True)

    def __len__(self):
        return TRAIN

    def __getitem__(self, i):
        self.file = self.file or h5py.File(self.path)  # in the worker
        i %= len(self.file["images"])
        rgb, depth = (torch.tensor(self.file[name][i]).mT for name in ("images", "depths"))
        rgb, depth = self.transform(tv_tensors.Image(rgb), tv_tensors.Mask(depth))
        return rgb.as_subclass(torch.Tensor), F.interpolate(depth[None, None], self.size)[0, 0]


@functools.cache
def public_steps(config, device):
    """Train on and on as public code does; yields the loss after every step."""
    with tempfile.TemporaryDirectory() as folder:
        files = Files(f"{folder}/f.h5", noise(max(16, 4 * config.batch)), config)
        how = {"num_workers": 8, "persistent_workers": True, "pin_memory": True}
        how = {"shuffle": True, "drop_last": True} | (how if device.type == "cuda" else {})
        loader = torch.utils.data.DataLoader(files, config.batch, **how)
        model = public(initialise(FCRN(config.backbone), 0)).to(device).train()
        opt = torch.optim.SGD(model.parameters(), config.lr_encoder, config.momentum, 0, config.weight_decay)
        while True:
            for x, y in loader:
                loss = berhu(model(x.to(device))[:, 0], y.to(device))
                opt.zero_grad()
                loss.backward()
                opt.step()
                yield loss.item()


def public_turn(config, device):
    """Seconds of a step of public code."""
    return seconds(lambda: next(public_steps(config, device)))


class Steps:
    """A network of ours in training, a step a call, on its first epoch again and again."""

    def __init__(self, config, frames, device):
        start, options = arms.start(config, weights.NONE), Options(device=device)
        self.run = Training(config, frames, start, Path("no-checkpoint"), options)
        self.batches = itertools.cycle([batch for _, batch in self.run.batches()])
        for _ in range(5 if device.type == "cuda" else 1):  # the first are slow
            self()

    def __call__(self):
        self.run.step(next(self.batches), 1.0)


def seconds(work, least=2):
    """Of a call, the median over as many as fill `least` seconds."""
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=least).median


def peak(config, device):
    """GB that training takes at most: of the GPU's memory, or of the whole process, which is to be fresh."""
    Steps(config, noise(2 * config.batch), device)
    used = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else used) / 1e9


def noise(n):
    """`Frames` of smooth noise, at the size of the half-resolution cache."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (n, 3, 30, 40), np.uint8).repeat(8, 2).repeat(8, 3)
    depth = rng.uniform(0.7, 10, (n, 30, 40)).astype(np.float32).repeat(8, 1).repeat(8, 2)
    return Frames(rgb, depth, np.full(n, "train"), np.full(n, "noise"), "noise")


def products(model, config):
    """Multiply-accumulates of one frame, zeros between unpooled pixels included."""
    convolutions, uses = mask.positions(model, config.height, config.width)
    return sum(m.weight.numel() * uses[name] for name, m in convolutions.items())


def row(measure, value, unit, best=None, target="", note=""):
    """A row of texts; value: a number, or one a turn; best: by arithmetic; target: such as "≥ 8"."""
    if np.ndim(value):
        note = f"median of {len(value)} turns, {min(value):.3g} to {max(value):.3g}"
        value = np.median(value)
    if target:
        met = value >= float(target[1:]) if target[0] == "≥" else value <= float(target[1:])
        target += ": met" if met else ": missed"
    best = f"{best:.4g}" if best else ""
    row = {"measure": measure, "value": f"{value:.4g}", "unit": unit, "by arithmetic": best}
    return row | {"target": target, "note": note}


class Bench:
    """The measurements on a device, which yield rows; configs: of two input sizes, the small one first."""

    def __init__(self, device, configs):
        self.device, self.configs, self.gpu = device, configs, device.type == "cuda"
        self.frames = noise(32)
        with torch.device("meta"):
            self.ours, self.theirs = FCRN(), public(FCRN())

    def run(self):
        n, kind = (8192, torch.bfloat16) if self.gpu else (2048, torch.float32)
        a, b = (torch.rand(n, n, device=self.device, dtype=kind) for _ in range(2))
        self.flops = 2 * n**3 / min(seconds(lambda: a @ b, 0.1) for _ in range(8))
        yield row("matrix product", self.flops / 1e9, "GFLOP/s", note=f"{n} a side, best of 8")
        for config in self.configs:
            yield from self.compared(config)
        yield self.masked(self.configs[0])
        yield from self.scored(self.configs[-1].replace(batch=16))

    def compared(self, config):
        """Our steps and those of public code in turn, and what our input takes of a step."""
        size, batch = f"{config.height}x{config.width}", config.batch
        steps, pairs = Steps(config, self.frames, self.device), []
        with ProcessPoolExecutor(1, SPAWN) as pool:
            for _ in range(TURNS + 1):  # the first, in which public code is made ready, does not count
                turn = pool.submit(public_turn, config, self.device)
                pairs.append((turn.result(), seconds(steps)))
        theirs, ours = np.array(pairs[1:]).T
        slow = products(self.theirs, config) / products(self.ours, config)
        best, rate = self.flops / (6 * products(self.ours, config)), batch / np.median(ours)  # three passes
        label, note = f"training as public code does, {size}, batch {batch}", "unpool + 5x5, frames from HDF5"
        yield row(label, batch / np.median(theirs), "images/s", best / slow, note=note)
        yield row(f"training, {size}, batch {batch}", rate, "images/s", best, note=config.precision)
        yield row(f"ours / public, {size}", theirs / ours, "times", slow, "≥ 8" if self.gpu else "≥ 2.4")
        target = "≥ 30" if self.gpu and config is self.configs[-1] else ""
        yield row(f"of the matrix rate, {size}", 100 * rate / best, "%", 100, target)
        share = seconds(lambda: steps.run.views.train(*next(steps.batches))) / np.median(ours)
        yield row(f"input pipeline, {size}", 100 * share, "% of the step", target="≤ 5")

    def masked(self, config):
        """Steps with a mask beside steps without."""
        dense = Steps(config, self.frames, self.device)
        sparse = Steps(config.replace(arm="omp", density=0.018), self.frames, self.device)
        longer = [100 * (seconds(sparse) / seconds(dense) - 1) for _ in range(TURNS)]
        return row(f"masked over dense, {config.height}x{config.width}", longer, "% longer", target="≤ 2")

    def scored(self, config):
        """Scoring of the test set; peak memory of training."""
        size, n = f"{config.height}x{config.width}", len(self.frames.depth)
        run = Steps(config, self.frames, self.device).run
        spent = TEST / n * seconds(lambda: evaluate(run.model, run.views, np.arange(n), config))
        best = 2 * products(self.ours, config) * TEST / self.flops
        note, target = f"measured on {n} frames and scaled", "≤ 1" if self.gpu else ""
        yield row(f"evaluation of {TEST} frames, {size}", spent, "s", best, target, note)
        with ProcessPoolExecutor(1, SPAWN) as pool:
            used = pool.submit(peak, config, self.device).result()
        note = "on the GPU" if self.gpu else "of the whole process"
        yield row(f"peak memory of training, {size}, batch {config.batch}", used, "GB", note=note)


def main():
    device = pick_device(*sys.argv[1:])
    gpu, about = device.type == "cuda", environment(device)
    plain = PUBLISHED.replace(arm="dense", holdout=False, test=False)
    plain = plain.replace(precision="bfloat16" if gpu else "float32")
    small = plain.replace(height=114, width=152, batch=16 if gpu else 8)
    bench = Bench(device, [small, plain.replace(height=228, width=304, batch=16 if gpu else 4)])
    versions = [f"{library} {version}" for library, version in about["versions"].items()]
    rows = [{"measure": "machine", "note": ", ".join([about["device"], *versions, about["date"]])}]
    for measured in bench.run():
        rows.append(measured)
        print("{:46} {:>9} {:13} {:>13}  {:14} {}".format(*measured.values()), flush=True)
    name = f"bench_{re.sub('[^a-z0-9]+', '-', about['device'].lower())}.csv"
    pd.DataFrame(rows).to_csv(Path(__file__).with_name(name), index=False)


if __name__ == "__main__":
    main()
