"""Initial weights of the encoder: where they come from, what they truly are, and their fingerprint."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from ..errors import UserError, warn
from ..files import read_tensors, unwrap

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
RESNET = re.compile(r"(conv|bn|layer)\d|fc\.")  # not heads beside it


@dataclass(frozen=True, eq=False)
class Initial:
    """Initial weights of an encoder.

    state: torchvision state dict without `fc`, float32, or None: a random encoder, drawn from the seed.
    classifier: `{"fc.weight", "fc.bias"}` of the same network, or None where the source has none.
    name, description: what they are.
    fingerprint: hash of names, shapes and values of `state`, independent of the file format.
    """

    state: dict | None
    name: str
    description: str
    fingerprint: str
    backbone: str | None  # the architecture they fit; None: any
    classifier: dict | None = None

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
            `files.unwrap` takes away: `.pth`, `.pt`, `.ckpt`, `.safetensors`, packed by xz or not.
        backbone: architecture the weights must have; None takes the one they fit.

    Raises:
        UserError: no such file, no ResNet, another architecture, values that are not finite floating-point
            numbers, a failed download.
    """
    check(source)
    if source in (None, "none"):
        return NONE
    if NAMED.fullmatch(str(source)):
        return _torchvision(str(source), backbone or "resnet50")
    path = Path(source)
    state, where = _network(path)
    if odd := [k for k, v in state.items() if not (v.is_floating_point() or k.endswith(COUNTER))]:
        kind = _type(state[odd[0]])
        raise UserError(f"{path} holds {odd[0]} as {kind}: give floating-point numbers, not quantised.")
    found = _architecture(state, path)
    if backbone and found != backbone:
        raise UserError(f"{path} holds a {found}, but the backbone is {backbone}; change one of the two.")
    encoder, classifier = _parts(state)
    if not all(torch.isfinite(v).all() for v in encoder.values()):
        raise UserError(f"{path} holds values that are not finite; the file is damaged.")
    types = {_type(v) for v in state.values() if v.is_floating_point()} - {"float32"}
    said = [where] * bool(where) + [f"{' and '.join(sorted(types))} is read as float32"] * bool(types)
    if said:
        warn(f"{path}: {'; '.join(said)}.")
    encoder = {k: encoder[k] for k in _expected(found)}  # ties of a ticket depend on the order
    mark = fingerprint(encoder)
    name, description = KNOWN.get(mark, (path.name.split(".")[0], f"{found} from the file {path.name}"))
    return Initial(encoder, name, description, mark, found, classifier)


def fitting(sources, backbone):
    """The first of several sources (as `load`) with weights of a backbone, loaded; None where none has."""
    for source in sources:
        found = load(source, backbone if NAMED.fullmatch(str(source)) else None)
        if found.backbone in (None, backbone):
            return found
    return None


def check(source):
    """Refuses a source that is neither a name nor a file. Raises UserError."""
    if not (source in (None, "none") or NAMED.fullmatch(str(source)) or Path(source).is_file()):
        raise UserError(
            f"no weights file {source}; give a ResNet state dict (.pth, .pth.xz, .safetensors) or 'none'."
        )


def _network(path):
    """The encoder and the classifier in a file, as they are there, and where, as `files.unwrap`."""
    content = read_tensors(path, then="get the file again")
    if isinstance(content, dict) and any("embedder.embedder." in str(k) for k in content):
        content = {_torchvision_name(str(k)): v for k, v in content.items()}
    try:
        state, where = unwrap(content, set(_expected("resnet50")))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read as weights ({error}): get the file again.") from None
    if not state:
        raise UserError(
            f"{path} does not fit torchvision's ResNets (conv1.weight …): what is in it is named {where}."
        )
    return {k: v for k, v in state.items() if RESNET.match(k)}, where


def _parts(state):
    """A ResNet's encoder, float32, its counters 0; and its classifier, None where none is whole."""
    encoder = {k: v.float() for k, v in state.items() if not k.startswith("fc.") and not k.endswith(COUNTER)}
    norms = [k.removesuffix("running_mean") for k in encoder if k.endswith("running_mean")]
    encoder |= {f"{k}{COUNTER}": torch.tensor(0) for k in norms}
    classifier = {
        k: v.float() for k, v in state.items() if k in ("fc.weight", "fc.bias") and torch.isfinite(v).all()
    }
    return encoder, classifier if len(classifier) == 2 else None


def _torchvision(name, backbone):
    try:
        enum = torchvision.models.get_model_weights(backbone)[name]
    except KeyError:
        names = ", ".join(torchvision.models.get_model_weights(backbone).__members__)
        raise UserError(f"torchvision has no weights {name} for {backbone}; it has {names}.") from None
    try:
        state = enum.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # a RuntimeError where the file is not what it should be
        raise UserError(
            f"could not download torchvision's {name} for {backbone} ({error}); "
            f"get {enum.url} by hand and give the file."
        ) from None
    state, classifier = _parts(state)
    state = {k: state[k] for k in _expected(backbone)}
    top1 = enum.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    description = f"torchvision {backbone} {name}, {top1} % top-1"
    return Initial(state, f"torchvision-{name}", description, fingerprint(state), backbone, classifier)


def _expected(backbone):
    """Names and shapes of torchvision's encoder, in its order."""
    with torch.device("meta"):
        state = torchvision.models.get_model(backbone, weights=None).state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if not k.startswith("fc.")}


def _architecture(state, path):
    """The torchvision ResNet that a state dict fits exactly. Raises UserError with what does not."""

    def comparable(shapes):
        return {(k, s) for k, s in shapes.items() if not k.endswith(COUNTER) and not k.startswith("fc.")}

    have = comparable({k: tuple(v.shape) for k, v in state.items()})
    differences = {b: have ^ comparable(_expected(b)) for b in BACKBONES}
    best = min(BACKBONES, key=lambda b: len(differences[b]))
    if not differences[best]:
        return best
    name = min(k for k, _ in differences[best])
    wanted, shape = _expected(best).get(name), dict(have).get(name)
    raise UserError(
        f"{path} does not fit torchvision's {', '.join(BACKBONES)}, of which {best} is nearest: {name} is "
        f"{shape or 'absent'} there, and {wanted or 'absent'} in torchvision's."
    )


def _torchvision_name(key):
    """torchvision's name of what Hugging Face's ResNetForImageClassification calls `key`."""
    key = key.replace("embedder.embedder.convolution", "conv1").replace(
        "embedder.embedder.normalization", "bn1"
    )
    key = key.replace("shortcut.convolution", "downsample.0").replace(
        "shortcut.normalization", "downsample.1"
    )
    key = re.sub(r"encoder\.stages\.(\d)\.layers\.", lambda m: f"layer{int(m[1]) + 1}.", key)
    key = re.sub(r"layer\.(\d)\.convolution", lambda m: f"conv{int(m[1]) + 1}", key)
    key = re.sub(r"layer\.(\d)\.normalization", lambda m: f"bn{int(m[1]) + 1}", key)
    return key.replace("classifier.1.", "resnet.fc.")


def _type(value):
    return str(value.dtype).removeprefix("torch.")
