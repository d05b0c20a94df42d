"""FCRN: a ResNet encoder and four up-projections (Laina et al. 2016, arXiv 1606.00373)."""

import torch
import torchvision
from torch import nn


class UpProjection(nn.Module):
    """Double the resolution with a residual pair of up-convolutions (Laina et al. 2016, figure 2c).

    The paper unpools to twice the size, zeros between, and applies two 5x5 convolutions. One transposed
    convolution for both is the same function (tests compare them) at a quarter of the multiplications.

    Shapes: `(B, inputs, H, W)` to `(B, outputs, 2H, 2W)`.
    """

    def __init__(self, inputs, outputs):
        super().__init__()
        taps = {"stride": 2, "padding": 2, "output_padding": 1}
        self.up = nn.ConvTranspose2d(inputs, 2 * outputs, 5, **taps, bias=False)
        self.up_bn = nn.BatchNorm2d(2 * outputs)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.conv_bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        main, skip = self.up_bn(self.up(x)).chunk(2, dim=1)
        return torch.relu(self.conv_bn(self.conv(torch.relu(main))) + skip)


class FCRN(nn.Module):
    """Fully convolutional residual network for depth.

    The encoder is torchvision's ResNet without pooling and classifier, under torchvision's own names
    (`encoder.layer1.0.conv1.weight` ...), so any ResNet checkpoint and any mask made for one fits. With
    ResNet-50: 63.6 M parameters.

    Shapes: RGB, normalised, `(B, 3, H, W)` to depth in metres `(B, 1, 16 * ceil(H / 32), 16 * ceil(W / 32))`;
    228x304 gives 128x160. The output is linear and can be negative.
    """

    def __init__(self, backbone="resnet50"):
        super().__init__()
        resnet = torchvision.models.get_model(backbone, weights=None)
        channels = resnet.fc.in_features
        del resnet.avgpool, resnet.fc
        self.encoder = resnet
        self.squeeze = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.squeeze_bn = nn.BatchNorm2d(channels // 2)
        self.ups = nn.ModuleList(UpProjection(channels >> i, channels >> (i + 1)) for i in range(1, 5))
        self.predict = nn.Conv2d(channels >> 5, 1, 3, padding=1)

    def encode(self, x):
        """Features of the last residual stage, `(B, C, ceil(H / 32), ceil(W / 32))`."""
        e = self.encoder
        x = e.maxpool(e.relu(e.bn1(e.conv1(x))))
        return e.layer4(e.layer3(e.layer2(e.layer1(x))))

    def forward(self, x):
        x = self.squeeze_bn(self.squeeze(self.encode(x)))
        for up in self.ups:
            x = up(x)
        return self.predict(x)

    def decoder_parameters(self):
        """Parameters outside the encoder: the second group of the optimiser."""
        return [p for name, p in self.named_parameters() if not name.startswith("encoder.")]


def initialise(model, seed, state=None, bias=0.0):
    """Fill every parameter as a function of `seed`: He-normal convolutions, unit batch norm, one bias.

    The decoder's values do not depend on what the encoder gets, so all arms of one seed share them.

    Args:
        model: an `FCRN`, changed in place; seed: integer.
        state: state dict of torchvision's ResNet (without `fc`) for the encoder, or of a whole FCRN.
        bias: of the last convolution, the only one that has a bias; metres.
    """
    decoder = [m for name, m in model.named_modules() if not name.startswith("encoder")]
    _fill(model.encoder.modules(), 2 * seed + 1, fan_out=True)  # torchvision's choice for its ResNets
    _fill(decoder, 2 * seed, fan_out=False)
    nn.init.constant_(model.predict.bias, bias)
    if state is not None:
        (model if "predict.weight" in state else model.encoder).load_state_dict(state)
    return model


@torch.no_grad()
def _fill(modules, seed, fan_out):
    generator = torch.Generator().manual_seed(seed)
    for m in modules:
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            fan = m.weight[0].numel()
            if fan_out:
                fan = m.weight[:, 0].numel()
            elif isinstance(m, nn.ConvTranspose2d):  # a quarter of its taps meets each output pixel
                fan = m.weight[:, 0].numel() / 4
            m.weight.copy_(torch.empty(m.weight.shape).normal_(0, (2 / fan) ** 0.5, generator=generator))
        elif isinstance(m, nn.BatchNorm2d):
            m.reset_parameters()
