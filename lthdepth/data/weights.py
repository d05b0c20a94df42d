"""Initial weights of the encoder: where they come from, what they truly are, and their fingerprint."""

import hashlib
import io
import lzma
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torchvision

from .. import versions  # noqa: F401  (refuses a torch that is not safe)
from ..errors import UserError, reason
from ..files import check_zip
from .hdf5 import looks_like_html

# Content fingerprints of weights whose origin is known: name, description.
KNOWN = {
    "a0191640fee0f955": (
        "pqf",
        "ResNet-50, ImageNet-1k supervised, quantised by Permute-Quantize-Finetune and decoded (Martinez et al. 2021); "
        "72.2 % top-1",
    ),
    "4e7ffe9d48255ab9": (
        "ktb",
        "ResNet-50, ImageNet-1k supervised, quantised by And-the-Bit-Goes-Down and decoded (Stock et al. 2020); "
        "68.2 % top-1",
    ),
}
NAMED = re.compile(r"DEFAULT|IMAGENET\w*")  # names of torchvision's weights
LARGEST = 2**30  # bytes of a file of weights, packed or not
MEMORY = 2**28  # bytes that unpacking may take besides


@dataclass(frozen=True, eq=False)
class Initial:
    """Initial weights of an encoder.

    state: torchvision state dict without `fc`, float32, or None for a random encoder drawn from the run's seed.
    classifier: `{"fc.weight", "fc.bias"}` of the same network, or None where the source has none.
    name, description: what they are; fingerprint: hash of names, shapes and values of `state`, independent of the file format.
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
        source: None or "none"; a name of torchvision's weights enum such as "IMAGENET1K_V1" (downloaded by torchvision
            on first use); or a file with a ResNet state dict: `.pth`, `.pt`, `.pth.xz`, `.safetensors`.
        backbone: architecture the weights must have; None takes the one they fit.

    Raises:
        UserError: no such file, not a state dict, another architecture, non-finite values, a failed download.
    """
    check(source)
    if source in (None, "none"):
        return NONE
    if NAMED.fullmatch(str(source)):
        return _torchvision(str(source), backbone or "resnet50")
    path = Path(source)
    state = _read(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    named = isinstance(state, dict) and all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    )
    if not named or not state:
        raise UserError(f"{path} holds no state dict (names and tensors); give a ResNet checkpoint.")
    if (
        sum(v.numel() * v.element_size() for v in state.values()) > LARGEST
    ):  # a tensor may claim more than its file holds
        raise UserError(f"{path} unpacks to more than {LARGEST >> 20} MiB; that is no ResNet.")
    state, classifier = _parts(state)
    found = _architecture(state)
    if found is None:
        raise UserError(
            f"{path} does not fit torchvision's resnet18, resnet34 or resnet50; check what it was saved from."
        )
    if backbone and found != backbone:
        raise UserError(f"{path} holds a {found}, but the backbone is {backbone}; change one of the two.")
    if not all(torch.isfinite(v).all() for v in state.values()):
        raise UserError(f"{path} holds values that are not finite; the file is damaged.")
    state = {k: v.float() if v.is_floating_point() else v for k, v in _ordered(state, found).items()}
    mark = fingerprint(state)
    name, description = KNOWN.get(mark, (path.name.split(".")[0], f"{found} from the file {path.name}"))
    return Initial(state, name, description, mark, found, classifier)


def fitting(sources, backbone):
    """The first of several sources (as `load`) with weights of a backbone, loaded; None where none has."""
    for source in sources:
        found = load(source, backbone if NAMED.fullmatch(str(source)) else None)
        if found.backbone in (None, backbone):
            return found
    return None


def _parts(state):
    """A ResNet's state dict without its classifier, and the classifier, None where there is none that is whole."""
    classifier = {
        k: v.float() for k, v in state.items() if k in ("fc.weight", "fc.bias") and torch.isfinite(v).all()
    }
    encoder = {k: v for k, v in state.items() if not k.startswith("fc.")}
    return encoder, classifier if len(classifier) == 2 else None


def check(source):
    """Refuses a source that is neither a name nor a file. Raises UserError."""
    if not (source in (None, "none") or NAMED.fullmatch(str(source)) or Path(source).is_file()):
        raise UserError(
            f"no weights file {source}; give a ResNet state dict (.pth, .pth.xz, .safetensors) or 'none'."
        )


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
            f"could not download torchvision's {name} for {backbone} ({error}); get {enum.url} by hand and give the file."
        ) from None
    state, classifier = _parts(state)
    top1 = enum.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    description = f"torchvision {backbone} {name}, {top1} % top-1"
    return Initial(state, f"torchvision-{name}", description, fingerprint(state), backbone, classifier)


def _read(path):
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has more than {LARGEST >> 20} MiB; that is no ResNet.")
        data = path.read_bytes()
        if looks_like_html(data[:1024]):
            raise UserError(
                f"{path} is a web page (HTML), not weights: read what the server said, fetch it again."
            )
        if suffix == ".safetensors":
            return safetensors.torch.load(data)
        if suffix == ".xz":
            unpacker = lzma.LZMADecompressor(memlimit=MEMORY)
            data = unpacker.decompress(data, LARGEST + 1)
            if len(data) > LARGEST:
                raise UserError(f"{path} unpacks to more than {LARGEST >> 20} MiB; that is no ResNet.")
            if not unpacker.eof:
                raise EOFError("it is cut short")
        if zipfile.is_zipfile(io.BytesIO(data)):
            check_zip(io.BytesIO(data), path)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is no plain file of tensors; nothing in it was run. Save a state dict instead."
        ) from None
    except Exception as error:  # every library here has its own idea of a damaged file
        raise UserError(f"{path} cannot be read as weights ({reason(error)}); get the file again.") from None


def _ordered(state, backbone):
    """A state dict in torchvision's order, on which the ties of a ticket depend; safetensors gives another every time."""
    with torch.device("meta"):
        names = torchvision.models.get_model(backbone, weights=None).state_dict()
    return {k: state[k] for k in [*names, *state] if k in state}


def _architecture(state):
    """The torchvision ResNet that a state dict fits exactly, or None."""
    shapes = {k: tuple(v.shape) for k, v in state.items() if not k.endswith("num_batches_tracked")}
    for backbone in ("resnet50", "resnet34", "resnet18"):
        with torch.device("meta"):
            model = torchvision.models.get_model(backbone, weights=None)
        wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        wanted = {
            k: v
            for k, v in wanted.items()
            if not k.startswith("fc.") and not k.endswith("num_batches_tracked")
        }
        if shapes == wanted:
            return backbone
    return None
