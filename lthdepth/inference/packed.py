"""Pruned weights as bytes: of every pruned layer the kept values and, eight to a byte and compressed, where they stand."""

import io
import json
import lzma

import numpy as np
import torch


def pack(state, masks):
    """A state dict as the bytes of a `.npz`: `values` kept, `pattern` (xz), `rest` (float32 of everything else), `meta`.

    Args:
        state: `{name: tensor}`, float32 and integers.
        masks: `{name: bool tensor}` of some of them; what a mask leaves out must be zero.

    Raises:
        ValueError: it is not.
    """
    for name, mask in masks.items():
        if torch.count_nonzero(state[name][~mask]):
            raise ValueError(f"{name} has weights outside its mask")
    whole = {k: v for k, v in state.items() if k not in masks and v.is_floating_point()}
    meta = {
        "masked": {k: list(m.shape) for k, m in masks.items()},
        "rest": {k: list(v.shape) for k, v in whole.items()},
        "integers": {k: int(v) for k, v in state.items() if not v.is_floating_point()},
        "order": list(state),
    }
    bits = np.packbits(_joined(masks.values(), bool)).tobytes()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        pattern=np.frombuffer(lzma.compress(bits, preset=1), np.uint8),
        values=_joined([state[k][m] for k, m in masks.items()], np.float32),
        rest=_joined(whole.values(), np.float32),
    )
    return buffer.getvalue()


def unpack(content):
    """The state dict that `pack` wrote, bit by bit."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        meta = json.loads(file["meta"].tobytes())
        bits, values, rest = (
            np.frombuffer(lzma.decompress(file["pattern"].tobytes()), np.uint8),
            file["values"],
            file["rest"],
        )
    state, at, used = {}, 0, 0
    size = sum(int(np.prod(shape)) for shape in meta["masked"].values())
    kept = np.unpackbits(bits, count=size).astype(bool)
    for name, shape in meta["masked"].items():
        flat = kept[at : at + int(np.prod(shape))]
        found = np.zeros(flat.size, np.float32)
        found[flat] = values[used : used + int(flat.sum())]
        at, used = at + flat.size, used + int(flat.sum())
        state[name] = torch.from_numpy(found.reshape(shape))
    at = 0
    for name, shape in meta["rest"].items():
        n = int(np.prod(shape))
        state[name] = torch.from_numpy(rest[at : at + n].reshape(shape).copy())
        at += n
    state |= {name: torch.tensor(n) for name, n in meta["integers"].items()}
    return {name: state[name] for name in meta["order"]}


def sizes(state, masks):
    """Bytes on disk: `{"dense": of torch.save, "packed": of pack, "values", "pattern", "rest": the parts of packed}`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = pack(state, masks)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        parts = {name: int(file[name].nbytes) for name in ("values", "pattern", "rest")}
    return {"dense": buffer.tell(), "packed": len(content)} | parts


def _joined(arrays, kind):
    return np.concatenate([np.empty(0, kind), *(np.asarray(a).ravel() for a in arrays)])
