"""Tickets on disk: our own format, and mask files of others. Nothing in a file is ever executed.

Our format is a compressed `.npz` of two arrays: `meta`, JSON that says what the ticket is of (backbone,
layers, how it was drawn, from which weights, its fingerprint), and `bits`, all masks in a row, eight to
a byte; at most 3 MB for a ResNet-50. The fingerprint tells damage.
"""

import io
import json
import math
from pathlib import Path

import numpy as np
import torch

from .errors import UserError, warn
from .files import existing, read_arrays, read_tensors, unwrap, write_atomic
from .mask import Ticket

FORMAT = "lthdepth ticket 1"
AGAIN = "get the file again"


def save(ticket, path, backbone="", init=""):
    """Write a `mask.Ticket` into a `.npz`, replaced atomically.

    backbone: architecture it is of; init: fingerprint of the weights it was drawn from.
    """
    bits = np.packbits(np.concatenate([m.numpy().ravel() for m in ticket.masks.values()]))
    meta = {"format": FORMAT, "backbone": backbone, "init": init, "density": ticket.density}
    meta |= {"history": ticket.history, "fingerprint": ticket.fingerprint}
    meta |= {"layers": {k: list(m.shape) for k, m in ticket.masks.items()}}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), bits=bits)
    write_atomic(path, buffer.getvalue())


def load(path):
    """Read what `save` wrote: `(ticket, meta)`. Raises UserError where it is absent, none, or damaged."""
    return _ticket(path, _content(path))


def origin(path):
    """Fingerprint of the weights that a ticket was drawn from, "" for a mask file. Raises as `load`."""
    content = _content(path)
    return _ticket(path, content)[1]["init"] if "meta" in content else ""


def read(path, weights):
    """Read masks that fit `weights` (`{name: tensor}`): a ticket file, or masks of others, `.npz` or torch's.

    Those have a mask of 0 and 1 for every layer, named `<layer>.weight_mask` (Chen et al. 2021; torch's own
    pruning) or as the weights, in whatever `files.unwrap` takes away; in a `.npz` they may be bit-packed
    (`np.packbits` beside `shape:<key>`). Masks of `fc` and of `conv1` are left out.

    Raises:
        UserError: no such file, unreadable, no masks, other layers, shapes or values, nothing kept.
    """
    content, history, where = _content(path), [{"drawn": "file", "file": Path(path).name}], ""
    if "meta" in content:
        ticket, _ = _ticket(path, content)
        masks, history = ticket.masks, ticket.history
    else:
        try:
            masks, where = _masks(content, weights)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise UserError(f"{path} cannot be read as masks ({error}): {AGAIN}.") from None
        if not masks:
            wanted = f"a mask is named {next(iter(weights))}_mask"
            raise UserError(f"{path} holds no masks: {wanted}, what is in it is named {where}.")
    if other := sorted(weights.keys() ^ masks.keys()):
        lacks = "has no mask for" if other[0] in weights else "masks"
        raise UserError(f"{path} {lacks} {other[0]}, unlike this network; it is of another network.")
    for name, weight in weights.items():
        if masks[name].shape != weight.shape:
            shapes = f"{tuple(masks[name].shape)}, the weights are {tuple(weight.shape)}"
            raise UserError(f"{path}: the mask of {name} is {shapes}.")
        if not _binary(masks[name]):
            raise UserError(f"{path}: the mask of {name} has values other than 0 and 1.")
    ticket = Ticket({name: masks[name].bool() for name in weights}, history)
    if not ticket.kept:
        raise UserError(f"{path} keeps no weight at all.")
    if where:
        warn(f"{path}: {where}.")
    return ticket


def _content(path):
    path = existing(path, "ticket or mask file")
    if path.suffix.lower() == ".npz":
        return read_arrays(path, AGAIN)
    content = read_tensors(path, then=AGAIN)
    return content if isinstance(content, dict) else {"": content}


def _ticket(path, arrays):
    if set(arrays) != {"meta", "bits"}:
        raise UserError(f"{path} is no ticket file of this project; `ticket convert` reads mask files.")
    try:
        meta, bits = json.loads(arrays["meta"].tobytes()), arrays["bits"]
        if meta["format"] != FORMAT:
            raise UserError(f"{path} is of the format {meta['format']!r}, this version reads {FORMAT!r}.")
        shapes = {k: tuple(shape) for k, shape in meta["layers"].items()}
        sizes = [math.prod(shape) for shape in shapes.values()]
        if bits.size != -(-sum(sizes) // 8):
            raise ValueError
        flat = np.split(np.unpackbits(bits, count=sum(sizes)).astype(bool), np.cumsum(sizes)[:-1])
        masks = {k: torch.from_numpy(f.reshape(s).copy()) for (k, s), f in zip(shapes.items(), flat)}
        ticket = Ticket(masks, meta["history"])
        if ticket.fingerprint != meta["fingerprint"]:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{path} is damaged, its masks are not those it names: {AGAIN}.") from None
    return ticket, meta


def _masks(content, weights):
    """`({layer: mask}, where)` as `files.unwrap`; plain names count where what they name is 0 and 1."""
    if any(isinstance(v, np.ndarray) for v in content.values()):
        content = {k: _unpacked(k, content) for k in content if not k.startswith("shape:")}
    masks, where = unwrap(content, {f"{name}_mask" for name in weights})
    masks = {k.removesuffix("_mask"): m for k, m in masks.items() if k.endswith("weight_mask")}
    if not masks:
        masks, plain = unwrap(content, set(weights))
        if not masks or not all(_binary(m) for k, m in masks.items() if k in weights):
            return {}, where
        masks, where = {k: m for k, m in masks.items() if m.ndim == 4}, plain
    return {k: m for k, m in masks.items() if not k.startswith(("fc.", "conv1."))}, where


def _unpacked(key, arrays):
    """One array of a `.npz` as a tensor, its bits unpacked where the file gives a shape for them."""
    array = arrays[key]
    if f"shape:{key}" in arrays:
        shape = [int(n) for n in arrays[f"shape:{key}"]]
        array = np.unpackbits(array)[: math.prod(shape)].reshape(shape)
    return torch.as_tensor(array)


def _binary(mask):
    return bool(((mask == 0) | (mask == 1)).all())
