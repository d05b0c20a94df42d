"""What training and evaluation cost here, beside public code, the bare hardware and the targets.

    python benchmarks/speed.py [--device cuda] [--out FILE.csv]

Nothing else should be at work meanwhile. "By arithmetic" and "by memory" say what a number would be if only
products, or only bytes that cannot be avoided, took time. Public code is FCRN and its training as the paper
defines them: frames are read from an HDF5 file of the official layout and transformed one by one, every
up-projection unpools and applies two 5x5 convolutions, and the loss is read after every step. It runs in a
process of its own.
"""

import argparse
import csv
import functools
import itertools
import multiprocessing
import re
import resource
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.benchmark import Timer
from torchvision import tv_tensors
from torchvision.transforms import v2

from lthdepth import mask
from lthdepth.config import PUBLISHED
from lthdepth.data import augment, weights
from lthdepth.data.frames import Frames
from lthdepth.inference.measure import environment
from lthdepth.loss import berhu
from lthdepth.model import FCRN, initialise
from lthdepth.training import arms
from lthdepth.training.evaluate import evaluate
from lthdepth.training.fit import pick_device
from lthdepth.training.step import Step, optimiser, place, prepare

COLUMNS = ("measure", "value", "unit", "by arithmetic", "by memory", "target", "note")
SPAWN = multiprocessing.get_context("spawn")  # a fork would share the GPU's state
TRAIN, TEST = 795, 654  # frames of the official split
TURNS = 5  # pairs of turns, ours and the other's, of which the median counts
SECONDS = 2  # of a turn at least


class Up(nn.Module):
    """Figure 2b of Laina et al. (2016) with the weights of an `UpProjection`: the same function."""

    def __init__(self, up):
        super().__init__()
        self.conv, self.conv_bn, self.branches = up.conv, up.conv_bn, nn.ModuleList()
        self.register_buffer("unpool", F.pad(torch.ones(up.up.in_channels, 1, 1, 1), (0, 1, 0, 1)))
        kernels = up.up.weight.detach().transpose(0, 1).flip(2, 3)  # a transposed convolution's are mirrored
        for i, kernel in enumerate(kernels.chunk(2)):
            branch = nn.Conv2d(kernel.shape[1], len(kernel), 5, padding=2, bias=False)
            branch.weight, norm = nn.Parameter(kernel.contiguous()), nn.BatchNorm2d(len(kernel))
            state = up.up_bn.state_dict().items()
            norm.load_state_dict({k: v.chunk(2)[i] if v.ndim else v for k, v in state})
            self.branches.append(nn.Sequential(branch, norm))

    def forward(self, x):
        x = F.conv_transpose2d(x, self.unpool, stride=2, groups=x.shape[1])
        main, skip = (branch(x) for branch in self.branches)
        return F.relu(self.conv_bn(self.conv(F.relu(main))) + skip)


def public(model):
    """An FCRN with the up-projections of the paper, in place."""
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


def public_steps(config, device):
    """Train on and on as public code does; yields the loss after every step."""
    with tempfile.TemporaryDirectory() as folder:
        files = Files(f"{folder}/f.h5", noise(max(16, 4 * config.batch)), config)
        how = {"shuffle": True, "drop_last": True}
        if device.type == "cuda":
            how |= {"num_workers": 8, "persistent_workers": True, "pin_memory": True}
        loader = torch.utils.data.DataLoader(files, config.batch, **how)
        model, decay = public(initialise(FCRN(), 0)).to(device).train(), config.weight_decay
        opt = torch.optim.SGD(model.parameters(), config.lr_encoder, config.momentum, weight_decay=decay)
        while True:
            for x, y in loader:
                loss = berhu(model(x.to(device))[:, 0], y.to(device))
                opt.zero_grad()
                loss.backward()
                opt.step()
                yield loss.item()


_public = functools.cache(public_steps)  # in a process of its own, as `prepare` changes the whole of one


def public_turn(config, device, least):
    """Seconds of a step of public code."""
    return seconds(lambda: next(_public(config, device)), least)


class Steps:
    """A network of ours in training, a step a call."""

    def __init__(self, config, frames, device):
        start = arms.start(config, weights.NONE)
        model = place(initialise(FCRN(), 0, start.state), device).train()
        self.views = augment.Views(frames, config.height, config.width, device)
        self.masking = mask.Masking(start.ticket, model.encoder)
        self.step = Step(config, model, self.masking, optimiser(config, model), self.views)
        index = np.arange(len(frames.depth) // config.batch * config.batch)
        plan = self.views.plan(index, augment.draws(0, 0, len(frames.depth))[index], config)
        self.batches = itertools.cycle(zip(*(t.split(config.batch) for t in plan), strict=True))
        for _ in range(5 if self.step.recorded else 1):
            self()

    def __call__(self):
        self.step(next(self.batches), 1.0)

    def cut(self):
        """Only the input of a step."""
        self.views.train(*next(self.batches))


def seconds(work, least=SECONDS):
    """Of a call, the median over as many as fill `least` seconds."""
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=least).median


def peak(config, device):
    """GB that training takes at most: of the GPU's memory, or of the whole process, which is to be fresh."""
    prepare(device)
    Steps(config, noise(2 * config.batch), device)()
    used = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else used) / 1e9


def images_per_second(config, device, threads, barrier):
    """Of one of several runs that begin together."""
    torch.set_num_threads(threads)
    prepare(device)
    steps = Steps(config, noise(32), device)
    barrier.wait(300)
    return config.batch / seconds(steps, 2 * SECONDS)


def noise(n):
    """`Frames` of smooth noise, at the size of the half-resolution cache."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (n, 3, 30, 40), np.uint8).repeat(8, 2).repeat(8, 3)
    depth = rng.uniform(0.7, 10, (n, 30, 40)).astype(np.float32).repeat(8, 1).repeat(8, 2)
    return Frames(rgb, depth, np.full(n, "train"), np.full(n, "noise"), "noise")


@functools.cache
def counts(height, width, change=lambda model: model):
    """`(multiply-accumulates of one frame, parameters)`, zeros between unpooled pixels included."""
    with torch.device("meta"):
        model = change(FCRN())
    convolutions, uses = mask.positions(model, height, width)
    macs = sum(m.weight.numel() * uses[name] for name, m in convolutions.items())
    return macs, sum(p.numel() for p in model.parameters())


def row(measure, value, unit, best=(None, None), target="", note=""):
    """Texts in the order of `COLUMNS`; best: by arithmetic and by memory; target: as "≥ 8"."""
    if target:
        met = value >= float(target[1:]) if target[0] == "≥" else value <= float(target[1:])
        target += ": met" if met else ": missed"
    number, *best = ("" if v is None else f"{v:.4g}" for v in (value, *best))
    return measure, number, unit, *best, target, note


def spread(values, digits):
    """What a note says of values whose median is the number."""
    return f"median of {len(values)} turns, {min(values):.{digits}f} to {max(values):.{digits}f}"


class Bench:
    """The measurements on a device, which yield rows; sizes: `[(height, width, frames a step)]`."""

    def __init__(self, device, sizes):
        self.device, self.sizes, self.gpu = device, sizes, device.type == "cuda"
        self.config = PUBLISHED.replace(precision="bfloat16" if self.gpu else "float32", arm="dense")
        self.frames = noise(TEST if self.gpu else 16)

    def run(self):
        """Yields all rows."""
        yield from self.limits()
        for size in self.sizes:
            yield from self.compared(*size)
        yield self.masked(*self.sizes[0])
        yield from self.scored(*self.sizes[-1])
        yield from self.shared()

    def limits(self):
        """Rate of a large matrix product in the precision of our steps, and of copying memory."""
        n, kind = (8192, torch.bfloat16) if self.gpu else (2048, torch.float32)
        a, b = (torch.rand(n, n, device=self.device, dtype=kind) for _ in range(2))
        self.flops = 2 * n**3 / min(seconds(lambda: a @ b, 0.1) for _ in range(8))
        note = f"{self.config.precision}, {n} a side, best of 8"
        yield row("matrix product", self.flops / 1e9, "GFLOP/s", note=note)
        source = torch.rand(1 << 26, device=self.device)
        target = torch.empty_like(source)
        self.bytes = 2 * source.nbytes / min(seconds(lambda: target.copy_(source), 0.1) for _ in range(8))
        yield row("copy of 256 MiB", self.bytes / 1e9, "GB/s", note="read and written, best of 8")
        prepare(self.device)

    def bounds(self, height, width, batch):
        """Images/s of training at best: three passes of products; bytes of weights, gradients, momentum."""
        macs, parameters = counts(height, width)
        moved = 32 * parameters  # weights read twice and written, gradients written and read, momentum both
        return self.flops / (6 * macs), self.bytes / moved * batch

    def compared(self, height, width, batch):
        """Our steps and those of public code in turn, and what our input takes of a step."""
        config, size = self.config.replace(height=height, width=width, batch=batch), f"{height}x{width}"
        steps, pairs = Steps(config, self.frames, self.device), []
        with ProcessPoolExecutor(1, SPAWN) as pool:
            for _ in range(TURNS + 1):  # the first, in which public code is made ready, does not count
                theirs = pool.submit(public_turn, config, self.device, SECONDS)
                pairs.append((theirs.result(), seconds(steps)))
        theirs, ours = map(statistics.median, zip(*pairs[1:], strict=True))
        arithmetic, memory = self.bounds(height, width, batch)
        slow = counts(height, width, public)[0] / counts(height, width)[0]
        best, label = (arithmetic / slow, memory), f"training as public code does, {size}, batch {batch}"
        note = "unpool + 5x5, frames read from HDF5 and transformed one by one"
        yield row(label, batch / theirs, "images/s", best, note=note)
        rate, best = batch / ours, (arithmetic, memory)
        yield row(f"training, {size}, batch {batch}", rate, "images/s", best, note=config.precision)
        ratios, target = [t / o for t, o in pairs[1:]], "≥ 8" if self.gpu else "≥ 2.4"
        ratio, note = statistics.median(ratios), spread(ratios, 2)
        yield row(f"ours / public, {size}", ratio, "times", (slow, None), target, note)
        target = "≥ 30" if self.gpu and (height, width) == self.sizes[-1][:2] else ""
        yield row(f"of the matrix rate, {size}", 100 * rate / arithmetic, "%", (100.0, None), target)
        moved = self.frames.rgb[0].nbytes + self.frames.depth[0].nbytes + 4 * 3 * height * width
        share, best = 100 * seconds(steps.cut) / ours, (None, 100 * batch * moved / self.bytes / ours)
        yield row(f"input pipeline, {size}", share, "% of the step", best, "≤ 5")

    def masked(self, height, width, batch):
        """Steps with a mask beside steps without."""
        config = self.config.replace(height=height, width=width, batch=batch)
        dense = Steps(config, self.frames, self.device)
        sparse = Steps(config.replace(arm="omp", density=0.018), self.frames, self.device)
        pairs = [(seconds(sparse), seconds(dense)) for _ in range(TURNS)]
        longer = [100 * (s / d - 1) for s, d in pairs]
        moved = 3 * sum(m.nbytes for m in sparse.masking.masks)  # mask and gradient read, gradient written
        best = None, 100 * moved / self.bytes / statistics.median(d for _, d in pairs)
        label, note = f"masked over dense, {height}x{width}", spread(longer, 1)
        return row(label, statistics.median(longer), "% longer", best, "≤ 2", note)

    def scored(self, height, width, _):
        """Scoring of the test set; peak memory of training."""
        config, n = self.config.replace(height=height, width=width, batch=16), len(self.frames.depth)
        macs, parameters = counts(height, width)
        views = augment.Views(self.frames, height, width, self.device)
        model = place(initialise(FCRN(), 0), self.device)
        spent = TEST / n * seconds(lambda: evaluate(model, views, np.arange(n), config))
        best = 2 * macs * TEST / self.flops, TEST * self.frames.depth[0].nbytes * 2 / self.bytes
        note, target = "" if n == TEST else f"measured on {n} frames and scaled", "≤ 1" if self.gpu else ""
        yield row(f"evaluation of {TEST} frames, {height}x{width}", spent, "s", best, target, note)
        with ProcessPoolExecutor(1, SPAWN) as pool:
            used, best = pool.submit(peak, config, self.device).result(), (None, 12 * parameters / 1e9)
        where = "on the GPU" if self.gpu else "of the whole process"
        note = f"{where}; at least: weights, gradients, momentum"
        yield row(f"peak memory of training, {height}x{width}, batch 16", used, "GB", best, note=note)

    def shared(self):
        """Total speed of several small runs at a time, as `sweep --jobs`."""
        config, alone = self.config.replace(height=60, width=80, batch=8), None
        for jobs in (1, 2, 4) if self.gpu else (1, 2):
            with SPAWN.Manager() as manager, ProcessPoolExecutor(jobs, SPAWN) as pool:
                given = config, self.device, max(1, torch.get_num_threads() // jobs), manager.Barrier(jobs)
                runs = [pool.submit(images_per_second, *given) for _ in range(jobs)]
                total = sum(run.result() for run in runs)
            alone = alone or total
            label, note = f"{jobs} runs at a time, 60x80, batch 8", f"{total / alone:.2f} times one run"
            yield row(label, total, "images/s", self.bounds(60, 80, 8), note=note if jobs > 1 else "")


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="default: benchmarks/bench_<device>.csv")
    args = parser.parse_args()
    device = pick_device(args.device)
    about, batches = environment(device), (16, 16) if device.type == "cuda" else (8, 4)
    name = f"bench_{re.sub('[^a-z0-9]+', '-', about['device'].lower())}.csv"
    versions = [f"{library} {version}" for library, version in about["versions"].items()]
    head = ["machine", *[""] * 5, ", ".join([about["device"], *versions, about["date"]])]
    bench = Bench(device, [(114, 152, batches[0]), (228, 304, batches[1])])
    with (args.out or Path(__file__).with_name(name)).open("w", newline="", encoding="utf-8") as file:
        for cells in itertools.chain([COLUMNS, head], bench.run()):
            csv.writer(file, lineterminator="\n").writerow(cells)
            file.flush()  # a run that is cut off leaves what it has measured
            print("{:46} {:>9} {:13} {:>13} {:>9}  {:14} {}".format(*cells), flush=True)


if __name__ == "__main__":
    main()
