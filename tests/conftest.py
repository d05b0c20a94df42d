"""What several test files share. Real data lie in ../shared; tests that need them skip without them."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

# pytest-xdist gives every core a process of its own; those that tests start read it from here.
os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import torch
import torchvision
from hypothesis import settings
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from lthdepth import mask
from lthdepth.config import Config
from lthdepth.data import nyu as data
from lthdepth.data import weights
from lthdepth.data.frames import Frames
from lthdepth.runs import sweep
from lthdepth.runs.run import Store

torch.set_num_threads(1)
settings.register_profile("lthdepth", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("lthdepth")


def pytest_addoption(parser):
    parser.addoption("--site", metavar="FOLDER", help="also look at this built site in a browser")


# Small enough to train in a second, with every augmentation at work.
TINY = Config(backbone="resnet18", height=32, width=32, batch=4, epochs=3, lr_encoder=1e-3, lr_decoder=5e-3)


@pytest.fixture(scope="session")
def shared():
    """Function from a path inside ../shared to the file; skips the test where it is absent."""

    def find(name):
        path = Path(__file__).resolve().parents[2] / "shared" / name
        return path if path.exists() else pytest.skip(f"needs real data: shared/{name} beside the checkout")

    return find


@pytest.fixture(scope="session")
def pqf(shared):
    """Real ImageNet weights with many ties in magnitude: `weights.Initial`."""
    return weights.load(shared("weights/resnet50_imagenet1k_pqf.pth.xz"))


@pytest.fixture(scope="session")
def paper():
    """The committed paper, without runs of this machine."""
    from lthdepth.paper.study import Paper

    root = Path(__file__).resolve().parents[1]
    return Paper("paper", store=Store(root / "no-local-runs", root / "results"))


@pytest.fixture(scope="module")
def browser():
    """A `chromium.Chromium`; one a module, for a test of the build ends all children of its process."""
    import chromium

    if not chromium.program():
        pytest.skip("needs Chromium: `apt-get install chromium`")
    browser = chromium.Chromium()
    yield browser
    browser.close()


def make_frames(n=20, height=40, width=56, seed=0, name="toy"):
    """Frames whose depth follows from their brightness: of 20, 12 train, 4 validation, 4 test; with holes."""
    rng = np.random.default_rng(seed)
    brightness = rng.uniform(0.05, 0.95, n)
    x = np.linspace(-1, 1, width)
    slope = 0.05 * x * rng.uniform(-1, 1, n)[:, None, None]
    shade = brightness[:, None, None] + slope + np.zeros((n, height, width))
    rgb = np.repeat((255 * shade.clip(0, 1)).round().astype(np.uint8)[:, None], 3, axis=1)
    depth = (1 + 5 * shade.clip(0, 1)).astype(np.float32)
    depth[:, :3, :5] = 0
    split = np.array(["train", "train", "validation", "train", "test"])[np.arange(n) % 5]
    return Frames(rgb, depth, split, np.array([f"scene_{i // 5}" for i in range(n)]), name)


@pytest.fixture(scope="session")
def frames():
    return make_frames()


class Narrow(ResNet):
    """A ResNet-18 an eighth as wide: a run of it takes a fraction of the time."""

    def __init__(self, num_classes=1000):
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(64, num_classes)

    def _make_layer(self, block, planes, *rest, **options):
        return super()._make_layer(block, planes // 8, *rest, **options)


def narrow_networks(patch):
    """From now on `FCRN("resnet18")` is built on it; patch: function as `setattr`."""
    real = torchvision.models.get_model

    def get_model(name, weights=None, **options):
        return Narrow(**options) if name == "resnet18" else real(name, weights=weights, **options)

    patch(torchvision.models, "get_model", get_model)


@pytest.fixture(scope="module")
def narrow():
    """`FCRN("resnet18")` is an eighth as wide in this module."""
    with pytest.MonkeyPatch.context() as patch:
        narrow_networks(patch.setattr)
        yield
    sweep.macs.cache_clear()


def packing(net):
    """A network's state dict without `fc`, of values that pack well."""
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}
    for i, (key, value) in enumerate(state.items()):
        if value.is_floating_point():
            value.copy_(((torch.arange(value.numel()) + i) % 11 - 5).view(value.shape) / 64)
        if "running_var" in key:
            value.fill_(1)
    return state


@pytest.fixture(scope="session")
def resnet18_state():
    return packing(torchvision.models.resnet18(weights=None))


@pytest.fixture(scope="module")
def narrow_state(narrow):
    return packing(torchvision.models.get_model("resnet18"))


@pytest.fixture(scope="session")
def resnet18_prunable(resnet18_state):
    return mask.prunable(resnet18_state)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs", tmp_path / "results")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in, with a store of its own; the handler of SIGTERM is put back."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Store.__init__, "__defaults__", (tmp_path / "runs", tmp_path / "results"))
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


class Evil:
    """An object whose unpickling would run a command."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.system, (f"touch {self.flag}",)


@pytest.fixture(autouse=True, scope="session")
def caches(tmp_path_factory):
    """Rendered rooms and converted data of the tests are kept apart from the repository's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "DATA_DIR", tmp_path_factory.mktemp("data"))
        yield
