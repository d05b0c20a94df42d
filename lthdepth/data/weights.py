"""Initial weights of the encoder: where they come from, what they truly are, and their fingerprint."""

import hashlib
import re
from dataclasses import dataclass

import torch
import torchvision

from ..errors import UserError, warn
from ..files import existing, read_tensors
from .foreign import unwrap

# Content fingerprints of weights whose origin is known: name, description.
KNOWN = {
    "a0191640fee0f955": (
        "pqf",
        "ResNet-50, ImageNet-1k supervised, quantised by Permute-Quantize-Finetune and decoded "
        "(Martinez et al. 2021); 72.2 % top-1",
    ),
    "4e7ffe9d48255ab9": (
        "ktb",
        "ResNet-50, ImageNet-1k supervised, quantised by And-the-Bit-Goes-Down and decoded "
        "(Stock et al. 2020); 68.2 % top-1",
    ),
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
    """Initial weights of an encoder.

    state: torchvision state dict without `fc`, float32, or None: a random encoder, drawn from the seed.
    name, description: what they are.
    fingerprint: hash of names, shapes and values of `state`, independent of the file format.
    """

    state: dict | None
    name: str
    description: str
    fingerprint: str
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
    """Read initial encoder weights.

    Args:
        source: None or "none"; a name of torchvision's weights enum such as "IMAGENET1K_V1" (downloaded on
            first use); or a file of a ResNet with torchvision's or Hugging Face's names, in whatever
            `foreign.unwrap` takes away: `.pth`, `.pt`, `.ckpt`, `.safetensors`, packed by xz or not.
        backbone: architecture the weights must have; None takes the one they fit.

    Raises:
        UserError: no such file, no ResNet, another architecture, values that are not finite floating-point
            numbers, a failed download.
    """
    if source in (None, "none"):
        return NONE
    if NAMED.fullmatch(str(source)):
        return _torchvision(str(source), backbone or "resnet50")
    path = existing(source, "weights file")
    state, where = _read(path)
    types = {k: str(v.dtype).removeprefix("torch.") for k, v in state.items()}
    if odd := [k for k, v in state.items() if not v.is_floating_point()]:
        kind = types[odd[0]]
        raise UserError(f"{path} holds {odd[0]} as {kind}: give floating-point numbers, not quantised.")
    fits = _architecture(state, path)
    if backbone and fits != backbone:
        raise UserError(f"{path} holds a {fits}, but the backbone is {backbone}; change one of the two.")
    if not all(torch.isfinite(v).all() for v in state.values()):
        raise UserError(f"{path} holds values that are not finite; the file is damaged.")
    if lower := sorted({*types.values()} - {"float32"}):
        where = "; ".join(filter(None, [where, f"{' and '.join(lower)} is read as float32"]))
    if where:
        warn(f"{path}: {where}.")
    return _initial(state, fits, path.name.split(".")[0], f"{fits} from the file {path.name}")


def _read(path):
    """The encoder's tensors in a file, without counters, and where they were, as `foreign.unwrap`."""
    content = read_tensors(path, then="get the file again")
    if isinstance(content, dict) and any("embedder.embedder." in str(k) for k in content):
        for theirs, ours in HUGGING_FACE.items():
            content = {str(k).replace(theirs, ours): v for k, v in content.items()}
    try:
        state, where = unwrap(content, {*_shapes("resnet50")})
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read as weights ({error}): get the file again.") from None
    if not state:
        there = f"what is in it is named {where}"
        raise UserError(f"{path} does not fit torchvision's ResNets (conv1.weight …): {there}.")
    return {k: v for k, v in state.items() if RESNET.match(k) and not k.endswith(COUNTER)}, where


def _initial(state, backbone, name, description):
    """`Initial` of the tensors of a ResNet: float32, counters 0, in torchvision's order, on which ties of a
    ticket depend."""
    encoder = {k: torch.tensor(0) if k.endswith(COUNTER) else state[k].float() for k in _shapes(backbone)}
    mark = fingerprint(encoder)
    return Initial(encoder, *KNOWN.get(mark, (name, description)), mark, backbone)


def _torchvision(name, backbone):
    names = torchvision.models.get_model_weights(backbone)
    if name not in names.__members__:
        known = ", ".join(names.__members__)
        raise UserError(f"torchvision has no weights {name} for {backbone}; it has {known}.")
    weights = names[name]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # a RuntimeError where the file is not what it should be
        by_hand = f"get {weights.url} by hand and give the file"
        raise UserError(f"could not download {name} for {backbone} ({error}); {by_hand}.") from None
    top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return _initial(state, backbone, f"torchvision-{name}", f"torchvision {backbone} {name}, {top1} % top-1")


def _shapes(backbone):
    """Names and shapes of torchvision's encoder, in its order."""
    with torch.device("meta"):
        state = torchvision.models.get_model(backbone, weights=None).state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if not k.startswith("fc.")}


def _architecture(state, path):
    """The torchvision ResNet that a state dict fits exactly. Raises UserError with what does not."""
    have = {k: tuple(v.shape) for k, v in state.items()}
    wanted = {b: {k: s for k, s in _shapes(b).items() if not k.endswith(COUNTER)} for b in BACKBONES}
    best = min(BACKBONES, key=lambda b: len(have.items() ^ wanted[b].items()))
    if wrong := have.items() ^ wanted[best].items():
        name = min(name for name, _ in wrong)
        raise UserError(
            f"{path} does not fit torchvision's {', '.join(BACKBONES)}, of which {best} is nearest: {name} "
            f"is {have.get(name, 'absent')} there, and {wanted[best].get(name, 'absent')} in torchvision's."
        )
    return best
