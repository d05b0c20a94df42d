"""Initial weights of the encoder: where they come from, what they truly are, and their fingerprint."""

import hashlib
import re
from dataclasses import dataclass

import torch
import torchvision

from ..errors import UserError, warn
from ..files import AGAIN, existing, read_tensors
from .foreign import misfits, unwrap

QUANTISED = "ResNet-50, ImageNet-1k supervised, quantised by {} and decoded ({}); {} % top-1"
KNOWN = {  # content fingerprints of weights whose origin is known: name, description
    "a0191640fee0f955": ("pqf", QUANTISED.format("Permute-Quantize-Finetune", "Martinez et al. 2021", 72.2)),
    "4e7ffe9d48255ab9": ("ktb", QUANTISED.format("And-the-Bit-Goes-Down", "Stock et al. 2020", 68.2)),
}
NAMED = re.compile(r"DEFAULT|IMAGENET\w*")  # names of torchvision's weights
BACKBONES = ("resnet50", "resnet34", "resnet18")
COUNTER = "num_batches_tracked"  # of batch norm: nothing that is computed depends on it
RESNET = re.compile(r"(conv1|bn1|layer\d)\.")  # not a head or decoder beside it
HUGGING_FACE = {  # parts of names, and torchvision's
    "embedder.embedder.convolution": "conv1",
    "embedder.embedder.normalization": "bn1",
    "shortcut.convolution": "downsample.0",
    "shortcut.normalization": "downsample.1",
    **{f"encoder.stages.{i}.layers.": f"layer{i + 1}." for i in range(4)},
    **{f"layer.{i}.convolution": f"conv{i + 1}" for i in range(3)},
    **{f"layer.{i}.normalization": f"bn{i + 1}" for i in range(3)},
}


@dataclass(frozen=True, eq=False)
class Initial:
    """Initial weights of an encoder."""

    state: dict | None  # torchvision's without `fc`, float32, or None: a random encoder, drawn from the seed
    name: str
    description: str
    fingerprint: str  # of names, shapes and values of `state`, independent of the file format
    backbone: str | None  # the architecture they fit; None: any

    def summary(self):
        """The part that goes into a record."""
        return {"name": self.name, "description": self.description, "fingerprint": self.fingerprint}


NONE = Initial(None, "none", "no pre-training: random weights drawn from the seed", "none", None)


def fingerprint(state):
    """First 16 hex digits of the SHA-256 over sorted names, shapes and float32 values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().float().contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


def load(source, backbone=None):
    """Read `Initial` weights of an encoder.

    source: None or "none"; a name of torchvision's weights enum such as "IMAGENET1K_V1" (downloaded on first
    use); or a file of a ResNet with torchvision's or Hugging Face's names, in whatever `foreign.unwrap` takes
    away. backbone: architecture that they must have; None takes the one they fit.

    Raises UserError: no such file, another architecture, values that are not finite, a failed download.
    """
    if source in (None, "none"):
        return NONE
    if NAMED.fullmatch(str(source)):
        return _torchvision(str(source), backbone or "resnet50")
    path = existing(source, "weights file")
    state, where = _read(path)
    for name, value in state.items():
        if not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise UserError(f"{path} holds {name} as {kind}: give floating-point numbers, not quantised.")
        if not torch.isfinite(value).all():
            raise UserError(f"{path} is damaged: {name} is not finite; get the file again.")
    fits = _architecture(state, path)
    if backbone and fits != backbone:
        raise UserError(f"{path} holds a {fits}, but the backbone is {backbone}; change one of the two.")
    if where:
        warn(f"{path}: {where}.")
    return _initial(state, fits, path.name.split(".")[0], f"{fits} from the file {path.name}")


def _read(path):
    """The encoder's tensors in a file, without counters, and where they were, as `foreign.unwrap`."""
    content = read_tensors(path, then=AGAIN)
    if isinstance(content, dict) and any("embedder.embedder." in str(k) for k in content):
        for theirs, ours in HUGGING_FACE.items():
            content = {str(k).replace(theirs, ours): v for k, v in content.items()}
    try:
        state, where = unwrap(content, {*_encoder("resnet50")})
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} does not fit torchvision's ResNets (conv1.weight …): {error}.") from None
    return {k: v for k, v in state.items() if RESNET.match(k) and not k.endswith(COUNTER)}, where


def _initial(state, backbone, name, description):
    """`Initial` of a ResNet's tensors: float32, in torchvision's order, on which ties of a ticket depend."""
    encoder = {k: torch.tensor(0) if k.endswith(COUNTER) else state[k].float() for k in _encoder(backbone)}
    mark = fingerprint(encoder)
    return Initial(encoder, *KNOWN.get(mark, (name, description)), mark, backbone)


def _torchvision(name, backbone):
    names = torchvision.models.get_model_weights(backbone).__members__
    if name not in names:
        raise UserError(f"torchvision has no weights {name} for {backbone}; it has {', '.join(names)}.")
    weights = names[name]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # a RuntimeError where the file is not what it should be
        by_hand = f"get {weights.url} by hand and give the file"
        raise UserError(f"could not download {name} for {backbone} ({error}); {by_hand}.") from None
    top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return _initial(state, backbone, f"torchvision-{name}", f"torchvision {backbone} {name}, {top1} % top-1")


def _encoder(backbone):
    """torchvision's encoder, in its order, as tensors without values."""
    with torch.device("meta"):
        state = torchvision.models.get_model(backbone, weights=None).state_dict()
    return {k: v for k, v in state.items() if not k.startswith("fc.")}


def _architecture(state, path):
    """The torchvision ResNet that a state dict fits exactly. Raises UserError with what does not."""
    wanted = {b: {k: v for k, v in _encoder(b).items() if not k.endswith(COUNTER)} for b in BACKBONES}
    best = min(BACKBONES, key=lambda backbone: len(misfits(state, wanted[backbone])))
    if wrong := misfits(state, wanted[best]):
        theirs = f"torchvision's {', '.join(BACKBONES)}, of which {best} is nearest"
        raise UserError(f"{path} does not fit {theirs}: {wrong[0]}.")
    return best
