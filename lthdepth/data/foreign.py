"""Other people's files: a network's tensors out of what they are wrapped in, and masks as a ticket."""

import math
from collections import Counter

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

    Raises UserError: no such file, unreadable, no masks, other layers, shapes or values.
    """
    path = existing(path, "ticket or mask file")
    history, where = [{"drawn": "file", "file": path.name}], ""
    npz = path.suffix.lower() == ".npz"
    content = read_arrays(path, tickets.AGAIN) if npz else read_tensors(path, then=tickets.AGAIN)
    if npz and "meta" in content:
        ticket, _ = tickets.load(path)
        masks, history = ticket.masks, ticket.history
    else:
        try:
            if npz:
                content = {k: _unpacked(k, content) for k in content if not k.startswith("shape:")}
            masks, where = _masks(content, weights)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            wanted = f"a mask is named {next(iter(weights))}_mask"
            raise UserError(f"{path} holds no masks that can be read ({error}): {wanted}.") from None
    if wrong := misfits(masks, weights):
        raise UserError(f"{path} is of another network: {wrong[0]}.")
    for name, mask in masks.items():
        if not ((mask == 0) | (mask == 1)).all():
            raise UserError(f"{path} is no mask file: its {name} has values other than 0 and 1.")
    if where:
        warn(f"{path}: {where}.")
    return Ticket({name: masks[name].bool() for name in weights}, history)


def misfits(tensors, wanted):
    """What two dicts of tensors do not share, in words: a text for each name of another shape in one."""
    have, wanted = ({name: tuple(v.shape) for name, v in part.items()} for part in (tensors, wanted))
    names = sorted({name for name, _ in have.items() ^ wanted.items()})
    return [f"{k} is {have.get(k, 'absent')} there, and {wanted.get(k, 'absent')} here" for k in names]


def _masks(content, weights):
    """`({layer: mask}, where)` as `unwrap`; names as the weights' count where nothing is named a mask."""
    named = any(k.endswith("weight_mask") for _, part in _dictionaries(content) for k in part)
    ending = "_mask" if named else ""
    masks, where = unwrap(content, {name + ending for name in weights})
    masks = {k.removesuffix(ending): m for k, m in masks.items() if k.endswith(f"weight{ending}")}
    return {k: m for k, m in masks.items() if m.ndim == 4 and not k.startswith(("fc.", "conv1."))}, where


def _unpacked(key, arrays):
    """One array of a `.npz` as a tensor, its bits unpacked where the file gives a shape for them."""
    array = arrays[key]
    if f"shape:{key}" in arrays:
        shape = [int(n) for n in arrays[f"shape:{key}"]]
        array = np.unpackbits(array)[: math.prod(shape)].reshape(shape)
    return torch.as_tensor(array)


def unwrap(content, names):
    """The tensors of some names, out of the containers and prefixes that a file wraps them in.

    Containers are dictionaries in dictionaries, as "state_dict"; prefixes end with a dot, as "module.". Of
    several networks the one with most of the names is taken, of equals not one of `RIVALS`.

    content: what `read_tensors` or `read_arrays` gave. Returns `(tensors, where)`: `{name: tensor}` with all
    else behind the same prefix, sparse tensors dense, and words for where they were, "" for a plain file.
    Raises ValueError where none of the names is there, or tensors claim more memory than `LARGEST`.
    """
    parts = dict(_dictionaries(content))
    networks = Counter()  # how many of the names there are at each (container, prefix)
    for where, part in parts.items():
        for key in part:
            starts = [0, *(i + 1 for i, letter in enumerate(key) if letter == ".")]
            if start := [i for i in starts if key[i:] in names][:1]:
                networks[where, key[: start[0]]] += 1
    if not networks:
        keys = list(max(parts.values(), key=len, default={})) or [f"nothing, in a {type(content).__name__}"]
        raise ValueError(f"what is in it is named {', '.join(keys[:3])}{', …' * (len(keys) > 3)}")
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
