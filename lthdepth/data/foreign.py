"""Other people's files: a network's tensors out of what they are wrapped in, and masks as a ticket."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from .. import tickets
from ..errors import UserError, warn
from ..files import LARGEST, existing, read_arrays, read_tensors
from ..mask import Ticket

RIVALS = ("ema", "encoder_k", "momentum", "target", "student")  # of two networks in a file, the one not meant


def masks(path, weights):
    """Read masks that fit `weights` (`{name: tensor}`): a ticket file, or masks of others, `.npz` or torch's.

    Those have a mask of 0 and 1 for every layer, named `<layer>.weight_mask` (Chen et al. 2021; torch's own
    pruning) or as the weights, in whatever `unwrap` takes away; in a `.npz` they may be bit-packed
    (`np.packbits` beside `shape:<key>`). Masks of `fc` and of `conv1` are left out.

    Raises:
        UserError: no such file, unreadable, no masks, other layers, shapes or values, nothing kept.
    """
    content, history, where = _content(path), [{"drawn": "file", "file": Path(path).name}], ""
    if "meta" in content:
        ticket, _ = tickets.load(path)
        masks, history = ticket.masks, ticket.history
    else:
        try:
            masks, where = _masks(content, weights)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise UserError(f"{path} cannot be read as masks ({error}): {tickets.AGAIN}.") from None
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
        return read_arrays(path, tickets.AGAIN)
    content = read_tensors(path, then=tickets.AGAIN)
    return content if isinstance(content, dict) else {type(content).__name__: content}


def _masks(content, weights):
    """`({layer: mask}, where)` as `unwrap`; plain names count where what they name is 0 and 1."""
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


def unwrap(content, names):
    """The tensors of some names, out of the containers and prefixes that a file wraps them in.

    Containers are dictionaries in dictionaries, as "state_dict"; prefixes end with a dot, as "module.". Of
    several networks the one with most of the names is taken, of equals not one of `RIVALS`.

    Args:
        content: what `read_tensors` or `read_arrays` gave; names: set of the names to look for.

    Returns:
        `(tensors, where)`: `{name: tensor}` with all else behind the same prefix, sparse tensors dense, and
        words for where they were, "" for a plain file. `({}, names that are there)` where none is there.
        Raises ValueError for tensors that claim more memory than `LARGEST`.
    """
    parts = dict(_dictionaries(content))
    networks = Counter()  # how many of the names there are at each (container, prefix)
    for where, part in parts.items():
        for key in part:
            starts = [0, *(i + 1 for i, letter in enumerate(key) if letter == ".")]
            if start := [i for i in starts if key[i:] in names][:1]:
                networks[where, key[: start[0]]] += 1
    if not networks:
        keys = list(max(parts.values(), key=len, default={}))
        return {}, ", ".join(keys[:3]) + ", …" * (len(keys) > 3) or f"nothing, in a {type(content).__name__}"
    most = [place for place in networks if networks[place] == max(networks.values())]
    first, *others = sorted(most, key=lambda place: any(rival in "".join(place) for rival in RIVALS))
    where = f"what is taken is under {''.join(first)!r}" if any(first) else ""
    if others:
        where += f", not that under {' or '.join(repr(''.join(place)) for place in others)}"
    part, prefix = parts[first[0]], first[1]
    return _dense({k.removeprefix(prefix): v for k, v in part.items() if k.startswith(prefix)}), where


def _dictionaries(content, where="", depth=4):
    """Yields `(where, dictionary)` for a dictionary and those in it, of each what has a text as its name."""
    if isinstance(content, dict) and depth:
        content = {k: v for k, v in content.items() if isinstance(k, str)}
        yield where, content
        for key, value in content.items():
            yield from _dictionaries(value, f"{where}{key}/", depth - 1)


def _dense(values):
    tensors = {k: v for k, v in values.items() if isinstance(v, torch.Tensor)}
    if sum(v.numel() * v.element_size() for v in tensors.values()) > LARGEST:
        raise ValueError(f"it unpacks to more than {LARGEST >> 20} MiB")
    return {k: v if v.layout == torch.strided else v.to_dense() for k, v in tensors.items()}
