"""Tickets on disk: our own format, and mask files of others. Nothing in a file is ever executed.

Our format is a compressed `.npz` of two arrays: `meta`, JSON that says what the ticket is of (backbone, layers, how it was
drawn, from which weights, its fingerprint), and `bits`, all masks one after the other, eight to a byte; at most 3 MB for a
ResNet-50. A SHA-256 over both guards against damage.
"""

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import torch

from . import versions  # noqa: F401  (refuses a torch that is not safe)
from .errors import UserError
from .files import check_zip, read_arrays, write_atomic
from .mask import Ticket

FORMAT = "lthdepth ticket 1"
AGAIN = "get the file again"
LARGEST = 10**8  # weights that a file may claim to mask: four ResNet-50s


def save(ticket, path, backbone="", init=""):
    """Write a ticket.

    Args:
        ticket: `mask.Ticket`.
        path: a `.npz`; replaced atomically.
        backbone: architecture it is of; init: fingerprint of the weights it was drawn from.
    """
    bits = np.packbits(np.concatenate([m.numpy().ravel() for m in ticket.masks.values()]))
    meta = {
        "format": FORMAT,
        "backbone": backbone,
        "init": init,
        "density": ticket.density,
        "history": ticket.history,
    }
    meta |= {"fingerprint": ticket.fingerprint, "layers": {k: list(m.shape) for k, m in ticket.masks.items()}}
    meta["sha256"] = _digest(meta, bits)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)
    write_atomic(path, buffer.getvalue())


def load(path):
    """Read what `save` wrote.

    Returns:
        `(ticket, meta)`.

    Raises:
        UserError: no such file, not a ticket file, of another version, or damaged.
    """
    return _ticket(path, read_arrays(_there(path), AGAIN))


def _ticket(path, arrays):
    if set(arrays) != {"meta", "bits"}:
        raise UserError(
            f"{path} is no ticket file of this project; `python -m lthdepth ticket convert` reads mask files."
        )
    try:
        meta, bits = json.loads(arrays["meta"].tobytes()), arrays["bits"]
        if meta["format"] != FORMAT:
            raise UserError(f"{path} is of the format {meta['format']!r}, this version reads {FORMAT!r}.")
        shapes = {str(k): tuple(int(n) for n in shape) for k, shape in meta["layers"].items()}
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        if (
            meta["sha256"] != _digest(meta, bits)
            or min(sizes) < 1
            or sum(sizes) > LARGEST
            or bits.size != -(-sum(sizes) // 8)
        ):
            raise ValueError
        flat = np.split(np.unpackbits(bits, count=sum(sizes)).astype(bool), np.cumsum(sizes)[:-1])
        masks = {
            k: torch.from_numpy(f.reshape(shape).copy())
            for (k, shape), f in zip(shapes.items(), flat, strict=True)
        }
        ticket = Ticket(masks, meta["history"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UserError(
            f"{path} is damaged: its contents do not match its checksum. Copy or draw it again."
        ) from None
    return ticket, meta


def read(path, weights):
    """Read masks for given weights: a ticket file, or masks in the form of Chen et al. 2021.

    Those are `mask-k.pt` with `<layer>.weight_mask` of 0 and 1, or `.npz` with the same keys, plain or bit-packed
    (`np.packbits` beside `shape:<key>`). Masks of `fc` and of `conv1` are left out.

    Args:
        path: the file.
        weights: `{name: tensor}` that the masks must fit.

    Raises:
        UserError: no such file, unreadable, other layers or shapes, values other than 0 and 1, nothing kept.
    """
    path, history = Path(path), [{"drawn": "file", "file": Path(path).name}]
    packed = _there(path).suffix.lower() == ".npz"
    content = read_arrays(path, AGAIN) if packed else _tensors(path)
    if packed and "meta" in content:
        ticket, _ = _ticket(path, content)
        found, history = ticket.masks, ticket.history
    else:
        found = {
            k.removesuffix("_mask"): v
            for k, v in _masks(path, content).items()
            if not k.startswith(("fc.", "conv1."))
        }
    if missing := sorted(weights.keys() - found.keys()):
        raise UserError(
            f"{path} has no mask for {missing[0]} ({len(missing)} layers missing); it fits another network."
        )
    if extra := sorted(found.keys() - weights.keys()):
        raise UserError(
            f"{path} masks {extra[0]}, which this network does not have; it fits another network."
        )
    for name, weight in weights.items():
        if found[name].shape != weight.shape:
            shapes = f"{tuple(found[name].shape)}, the weights are {tuple(weight.shape)}"
            raise UserError(f"{path}: the mask of {name} is {shapes}.")
        if not ((found[name] == 0) | (found[name] == 1)).all():
            raise UserError(f"{path}: the mask of {name} has values other than 0 and 1.")
    ticket = Ticket({name: found[name].bool() for name in weights}, history)
    if not ticket.kept:
        raise UserError(f"{path} keeps no weight at all.")
    return ticket


def origin(path):
    """Fingerprint of the weights that a ticket was drawn from; "" for a mask file, which does not say. Raises as `load`."""
    path = Path(path)
    content = read_arrays(_there(path), AGAIN) if path.suffix.lower() == ".npz" else {}
    return _ticket(path, content)[1]["init"] if "meta" in content else ""


def _there(path):
    if not path.is_file():
        raise UserError(f"no ticket or mask file {path}.")
    return path


def _tensors(path):
    try:
        if zipfile.is_zipfile(path):
            check_zip(path, path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # torch has many ideas of a damaged file
        raise _unreadable(path, error) from None


def _masks(path, found):
    try:
        masks = {k: v for k, v in found.items() if k.endswith("weight_mask") and not k.startswith("shape:")}
        for key in masks:
            if f"shape:{key}" in found:
                shape = tuple(int(n) for n in found[f"shape:{key}"])
                if masks[key].size > LARGEST // 8:
                    raise ValueError("it claims more weights than a network has")
                masks[key] = np.unpackbits(masks[key])[: math.prod(shape)].reshape(shape)
        return {k: torch.as_tensor(v) for k, v in masks.items()}
    except Exception as error:  # torch and numpy have their own ideas of what is no mask
        raise _unreadable(path, error) from None


def _unreadable(path, error):
    kind = (
        "no plain mask file; nothing in it was run"
        if "nsupported" in str(error)
        else "damaged or of another kind"
    )
    return UserError(f"{path} cannot be read as masks: it is {kind}.")


def _digest(meta, bits):
    text = json.dumps({k: v for k, v in meta.items() if k != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode() + bits.tobytes()).hexdigest()
