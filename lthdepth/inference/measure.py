"""What a ticket buys: milliseconds of the network run densely, folded, compacted and sparsely, and bytes on
disk."""

import copy
import importlib.metadata
import json
import lzma
import platform
import re
import statistics
from pathlib import Path

import numpy as np
import torch

from .. import mask, tickets
from ..errors import UserError
from ..files import write_atomic
from ..model import FCRN, initialise
from ..runs import record
from ..runs.run import ROOT
from ..training.step import prepare
from .sparse import compact, fold, milliseconds, quicken

RECORD = ROOT / "results" / "cost.json"
TOLERANCE = 1e-4  # of the largest depth: how far a depth map may be from the dense one (order of sums)
FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
PRUNED = "sparse, decoder pruned too"
ALL = ("dense", "folded", "compacted", "sparse", PRUNED)
BRIEF = ("folded", "sparse")  # enough for a speed-up at a further density


@torch.inference_mode()
def measure(model, ticket, height, width, repeats=7, names=ALL):
    """Time an FCRN under a ticket: batch 1, float32, on the model's device.

    Dense networks are timed in the quicker of two memory orders. The encoder of the sparse one runs
    convolution by convolution in the quickest way, its decoder as that of the folded one.

    Args:
        model: `FCRN` whose pruned weights are zero. ticket: its `mask.Ticket`. height, width: of the input,
            pixels.
        repeats: rounds, each of which times everything once in turn; the median counts.
        names: some of ALL, "folded" and "sparse" among them.

    Returns:
        dict for JSON: `density`, `fingerprint`, `densities`, channels `removed`, `rows` with milliseconds of
        encoder and network and the largest deviation of their depth (as a part of the largest depth),
        `layers` as `sparse.quicken`.

    Raises:
        RuntimeError: a network's depth differs from the dense one by more than TOLERANCE.
    """
    device = next(model.parameters()).device
    prepare(device)
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    networks, orders = {"dense": copy.deepcopy(model).eval(), "folded": fold(model)}, {}
    networks["compacted"] = copy.deepcopy(networks["folded"])
    removed = compact(networks["compacted"])
    truth = model.eval()(x)
    for name in networks.keys() & {*names}:
        orders[name] = _quickest_order(networks[name], x)
        networks[name].to(memory_format=FORMATS[orders[name]])
    networks["sparse"] = _in_order(copy.deepcopy(networks["compacted"]), FORMATS[orders["folded"]])
    layers = quicken(networks["sparse"], "encoder.", x, min(repeats, 5))
    if PRUNED in names:
        networks[PRUNED] = _in_order(fold(decoder_pruned(model, ticket.density)), torch.contiguous_format)
        compact(networks[PRUNED])
        quicken(networks[PRUNED], "", x, min(repeats, 5))

    times = {(name, part): [] for name in names for part in ("encoder", "network")}
    for _ in range(repeats):
        for (name, part), measured in times.items():
            network = networks[name]
            measured.append(milliseconds(network if part == "network" else network.encode, x))
    rows = []
    for name in names:
        difference = float((networks[name](x) - truth).abs().max() / truth.abs().max())
        if name != PRUNED and not difference <= TOLERANCE:
            raise RuntimeError(f"{name}: depth differs from the dense network's by {difference:.1e} of it")
        row = {part: statistics.median(times[name, part]) for part in ("encoder", "network")}
        row |= {"name": name, "order": orders.get(name, "")}
        rows.append(row | {"difference": None if name == PRUNED else difference})
    about = {"density": ticket.density, "fingerprint": ticket.fingerprint, "removed": removed}
    return about | {"densities": mask.densities(ticket, model, height, width), "rows": rows, "layers": layers}


def _quickest_order(network, x):
    copies = {name: copy.deepcopy(network).to(memory_format=order) for name, order in FORMATS.items()}
    return min(copies, key=lambda name: min(milliseconds(copies[name], x) for _ in range(2)))


def _in_order(network, decoder):
    """A folded network with its decoder in a memory order and its encoder in that of sparse convolutions."""
    network.to(memory_format=decoder).encoder.to(memory_format=torch.contiguous_format)
    network.encoder.conv1.to(memory_format=torch.channels_last)  # torch pools quickest in this order
    return network


def study(networks, about, size, device, repeats=7, out=None):
    """Measure pruned networks one after the other: the first in every form, the others in those of BRIEF.

    Args:
        networks: iterable of `(arm, model, ticket)`. about: dict that says what network: backbone, weights.
        size: (height, width) of the input, pixels. device: torch device; repeats: as `measure`.
        out: file that gets the measurement, as `add`, after every ticket; None: none.

    Returns:
        A measurement, a dict for JSON: `environment`, `network`, `size`, `repeats`, `tickets` as `measure`
        with `arm` and `bytes`.
    """
    measurement = {"environment": environment(device), "network": about, "size": list(size)}
    measurement |= {"repeats": repeats, "tickets": (rows := [])}
    for arm, model, ticket in networks:
        row = measure(model, ticket, *size, repeats, BRIEF if rows else ALL)
        rows.append({"arm": arm, **row, "bytes": sizes(model, ticket)})
        if out:
            add(measurement, out)
    return measurement


def sizes(model, ticket):
    """Bytes on disk of encoder and network: four a value, without names and shapes.

    Returns:
        `{"encoder": ..., "network": ...}`, each `{"dense", "packed": values + pattern + rest, "values": kept
        ones of the pruned layers, "pattern": one bit a weight, compressed (xz), "rest": all that is not
        pruned}`.
    """
    bits = np.packbits(torch.cat([m.flatten() for m in ticket.masks.values()]).numpy()).tobytes()
    values, pattern = 4 * ticket.kept, len(lzma.compress(bits, preset=1))
    result = {}
    for part, module in (("encoder", model.encoder), ("network", model)):
        dense = sum(4 * v.numel() for v in module.state_dict().values() if v.is_floating_point())
        rest = dense - 4 * ticket.size
        result[part] = {"dense": dense, "packed": values + pattern + rest, "values": values}
        result[part] |= {"pattern": pattern, "rest": rest}
    return result


def decoder_pruned(model, density):
    """A copy whose decoder keeps only this fraction of its convolution weights, by magnitude, all but the
    last one's.

    For its time alone: what depth such a network would predict is not known.
    """
    model = copy.deepcopy(model)
    skipped = ("encoder.", "predict.")
    weights = {k: p for k, p in model.named_parameters() if p.ndim == 4 and not k.startswith(skipped)}
    with torch.no_grad():
        for name, m in tickets.magnitude(weights, density).masks.items():
            weights[name] *= m.to(weights[name].device)
    return model


def pruned(initial, arm, density, device="cpu", backbone="resnet50"):
    """A new FCRN under a one-shot ("omp") or "random" ticket of initial weights: `(model, ticket)`.

    backbone: where the weights (`weights.Initial`) name none.
    """
    model = initialise(FCRN(initial.backbone or backbone), 0, initial.state)
    weights = mask.prunable(model.encoder.state_dict())
    ticket = tickets.magnitude(weights, density) if arm == "omp" else tickets.random(weights, density, 0)
    mask.Masking(ticket, model.encoder)
    return model.to(device).eval(), ticket


def ticket_of(model):
    """The ticket of a trained FCRN: its encoder weights that are not zero."""
    weights = mask.prunable(model.encoder.state_dict())
    return mask.Ticket({k: v.cpu() != 0 for k, v in weights.items()}, [{"drawn": "not zero"}])


def environment(device):
    """As `record.environment`, with the processor and the libraries that matter here."""
    about, info = record.environment(device), Path("/proc/cpuinfo")
    if device.type == "cpu":
        names = re.findall("model name.*: (.+)", info.read_text(encoding="utf-8")) if info.exists() else []
        processor = (names or [platform.processor() or platform.machine()])[0]
        about["device"] = f"{processor}, {torch.get_num_threads()} threads"
    about["versions"]["numba"] = importlib.metadata.version("numba")
    return about


def load(path=RECORD):
    """Recorded measurements, a list; empty where there are none. Raises UserError for a file of others."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))["measurements"]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        raise UserError(f"{path} is no file of measurements; remove it or name another.") from None


def add(measurement, path=RECORD):
    """Write a measurement into a file of them, a line each, floats to five digits, in place of one of the
    same network, size and device."""

    def of(m):
        return m["environment"]["device"], m["size"], m["network"]

    text = json.dumps([*(m for m in load(path) if of(m) != of(measurement)), measurement])
    every = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.5g}"))
    lines = ",\n".join(json.dumps(m, ensure_ascii=False) for m in every)
    write_atomic(path, f'{{"measurements": [\n{lines}\n]}}\n')
