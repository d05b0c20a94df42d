"""A ResNet-18 an eighth as wide, for tests of what happens around a network: a run of it takes a fraction of
the time.
"""

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class Narrow(ResNet):
    def __init__(self, num_classes=1000):
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(64, num_classes)

    def _make_layer(self, block, planes, *rest, **options):
        return super()._make_layer(block, planes // 8, *rest, **options)


def narrow(patch):
    """From now on `FCRN("resnet18")` is built on it; patch: function as `setattr`."""
    real = torchvision.models.get_model

    def get_model(name, weights=None, **options):
        return Narrow(**options) if name == "resnet18" else real(name, weights=weights, **options)

    patch(torchvision.models, "get_model", get_model)
