"""The network against the paper's definitions (Laina et al. 2016), torchvision's ResNets and public code."""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from lthdepth.loss import berhu
from lthdepth.model import FCRN, UpProjection, initialise
from lthdepth.runs.run import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import speed

BACKBONES = ["resnet18", "resnet34", "resnet50"]


def unpool(x):
    """Twice the size: each value in the top left of a 2x2 cell, zeros in the rest."""
    b, c, h, w = x.shape
    out = x.new_zeros(b, c, 2 * h, 2 * w)
    out[:, :, ::2, ::2] = x
    return out


def kernels(block):
    """The block's two 5x5 kernels `(outputs, inputs, 5, 5)`, which it holds mirrored."""
    return block.up.weight.transpose(0, 1).flip(2, 3).chunk(2)


def slow(block, x):
    """The up-projection as the paper draws it (figure 2c, with batch norm), from the block's parameters."""

    def norm(x, scale, shift):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
        return (x - mean) / (var + 1e-5).sqrt() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)

    affine = zip(block.up_bn.weight.chunk(2), block.up_bn.bias.chunk(2))
    main, skip = (norm(F.conv2d(unpool(x), k, padding=2), *a) for k, a in zip(kernels(block), affine))
    main = F.conv2d(F.relu(main), block.conv.weight, padding=1)
    return F.relu(norm(main, block.conv_bn.weight, block.conv_bn.bias) + skip)


def test_the_up_projection_and_its_gradients_equal_the_papers():
    how = {"generator": torch.Generator().manual_seed(5), "dtype": torch.float64}
    block = UpProjection(6, 4).double()
    for p in block.parameters():
        p.data = torch.randn(p.shape, **how)
    x, weight = torch.randn(3, 6, 5, 7, **how).requires_grad_(), torch.randn(3, 4, 10, 14, **how)
    fast, plain = block(x), slow(block, x)
    torch.testing.assert_close(fast, plain)
    leaves = [x, *block.parameters()]
    for a, b in zip(*(torch.autograd.grad((y * weight).sum(), leaves) for y in (fast, plain)), strict=True):
        torch.testing.assert_close(a, b)


def test_fcrn_has_the_papers_63_6_million_parameters():
    with torch.device("meta"):
        assert round(sum(p.numel() for p in FCRN("resnet50").parameters()) / 1e6, 1) == 63.6


@pytest.mark.parametrize("backbone", BACKBONES)
def test_output_size_and_torchvisions_encoder_key_for_key(backbone):
    with torch.device("meta"):
        model, resnet = FCRN(backbone), torchvision.models.get_model(backbone, weights=None)
        for size, out in (((228, 304), (128, 160)), ((114, 152), (64, 80)), ((32, 33), (16, 32))):
            assert model(torch.empty(2, 3, *size)).shape == (2, 1, *out)
    wanted = {k: v.shape for k, v in resnet.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in model.encoder.state_dict().items()} == wanted


def test_encoder_computes_what_torchvisions_resnet_computes():
    model = initialise(FCRN("resnet18"), 3).eval()
    resnet = torchvision.models.resnet18(weights=None).eval()
    resnet.load_state_dict(model.encoder.state_dict(), strict=False)
    resnet.avgpool = resnet.fc = nn.Identity()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x).flatten(1), resnet(x))


def test_initialise_is_a_function_of_the_seed_whatever_was_there_before():
    used = FCRN("resnet18")
    for p in used.parameters():
        p.data.fill_(7)
    fresh = (FCRN("resnet18"), 1), (used, 1), (FCRN("resnet18"), 2)
    a, b, c = (initialise(*pair).state_dict() for pair in fresh)
    assert all(torch.equal(a[k], b[k]) for k in a)
    convolutions = [k for k, v in a.items() if v.ndim == 4]
    assert len(convolutions) == 20 + 1 + 8 + 1  # ResNet-18, squeeze, two an up-projection, the last
    assert not any(torch.equal(a[k], c[k]) for k in convolutions)
    initialise(used, 2**63 - 1)  # the largest seed that a configuration takes


def test_the_decoder_does_not_depend_on_the_encoders_weights(resnet18_state):
    random, given = initialise(FCRN("resnet18"), 4), initialise(FCRN("resnet18"), 4, resnet18_state)
    assert all(torch.equal(given.encoder.state_dict()[k], v) for k, v in resnet18_state.items())
    assert len(given.decoder_parameters()) == 2 + 4 * 6 + 2 + 1
    for a, b in zip(random.decoder_parameters(), given.decoder_parameters(), strict=True):
        assert torch.equal(a, b)


def test_initialise_gives_each_layer_the_variance_of_he():
    """He et al. 2015: fed with noise of unit variance, a layer answers with variance 2, which ReLU halves."""
    model = initialise(FCRN("resnet18"), 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in (model.squeeze, *(layer for up in model.ups[:2] for layer in (up.up, up.conv))):
            x = torch.randn(4, layer.in_channels, 24, 24, generator=generator)
            assert layer(x)[:, :, 4:-4, 4:-4].var().item() == pytest.approx(2, rel=0.1)
    for name, weight in model.encoder.named_parameters():  # torchvision's own choice there: fan out
        if weight.ndim == 4 and weight.numel() > 30_000:
            fan = weight.shape[0] * weight.shape[2] * weight.shape[3]
            assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.03), name


def test_the_network_of_public_code_has_our_loss_and_gradients():
    ours = initialise(FCRN("resnet18"), 0).train()
    theirs, rng = speed.public(copy.deepcopy(ours)).train(), torch.Generator().manual_seed(0)
    x, y = torch.randn(4, 3, 64, 96, generator=rng), 1 + torch.rand(4, 32, 48, generator=rng)
    losses = [berhu(model(x)[:, 0], y) for model in (ours, theirs)]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    gradients = [(p.grad, dict(theirs.named_parameters()).get(k)) for k, p in ours.named_parameters()]
    pairs = [(g, other.grad) for g, other in gradients if other is not None]
    for one, other in zip(ours.ups, theirs.ups, strict=True):
        kernels = torch.cat([branch[0].weight.grad for branch in other.branches])
        pairs.append((one.up.weight.grad, kernels.flip(2, 3).transpose(0, 1)))
    assert len(pairs) > 60
    for gradient, other in pairs:
        assert (gradient - other).norm() <= 0.01 * gradient.norm() + 1e-7
