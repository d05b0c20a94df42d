"""What a ticket buys: milliseconds of the network run densely, folded and sparsely, and bytes on disk."""

import copy
import importlib.metadata
import json
import lzma
import platform
import re
from pathlib import Path

import numpy as np
import torch

from .. import mask, tickets
from ..errors import UserError
from ..model import FCRN, initialise
from ..runs import record
from ..runs.run import ROOT
from ..training.step import prepare
from .sparse import fold, milliseconds, quicken

RECORD = ROOT / "results" / "cost.json"
TOLERANCE = 1e-4  # of the largest depth: how far a depth map may be from the dense one (order of sums)
NCHW, NHWC = torch.contiguous_format, torch.channels_last


def study(initial, backbone, densities, size, device, repeats=7):
    """Measure the one-shot magnitude tickets of initial weights.

    Args:
        initial: `weights.Initial`; backbone: of its network. densities: kept fractions.
        size: (height, width) of the input, pixels. device: torch device. repeats: as `measure`.

    Returns:
        A measurement, a dict for JSON: `environment`, `network`, `size`, `repeats`, `tickets` as `measure`.
    """
    measurement = {"environment": environment(device), "size": [*size], "repeats": repeats}
    measurement |= {"network": {"backbone": backbone, "weights": initial.name}, "tickets": []}
    for density in densities:
        model = initialise(FCRN(backbone), 0, initial.state)
        ticket = tickets.magnitude(mask.prunable(model.encoder.state_dict()), density)
        mask.Masking(ticket, model.encoder)
        measurement["tickets"].append(measure(model.to(device), ticket, size, repeats))
    return measurement


@torch.inference_mode()
def measure(model, ticket, size, repeats):
    """Time an FCRN under a ticket: batch 1, float32, on the model's device.

    Dense and folded network each run in the quicker of two memory orders, so that the baselines are fair;
    the sparse one is the folded one with an encoder as `quicken` makes it, unless that is dense. In each of
    `repeats` rounds all are timed once in turn; the least counts, for other work only ever adds to a time.

    Returns:
        dict for JSON: `density`, `fingerprint`; `rows`: of each form its name, milliseconds of encoder and
        network; `layers` as `quicken`; `bytes` as `sizes`.

    Raises:
        RuntimeError: a network's depth differs from the dense one by more than TOLERANCE.
    """
    device = next(model.parameters()).device
    prepare(device)
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    truth = model.eval()(x)
    networks = {"dense": quickest_order(model, x), "folded": quickest_order(fold(model), x)}
    networks["sparse"] = copy.deepcopy(networks["folded"])
    networks["sparse"].encoder.to(memory_format=NCHW)  # that of `Compiled`
    networks["sparse"].encoder.conv1.to(memory_format=NHWC)  # torch pools quickest in this order
    layers = quicken(networks["sparse"], x)
    if all(layer["chosen"] == "dense" for layer in layers):  # nothing to gain: it is the folded network
        networks["sparse"] = networks["folded"]
    times = {(name, part): [] for name in networks for part in ("encoder", "network")}
    for _ in range(repeats):
        for (name, part), measured in times.items():
            network = networks[name]
            measured.append(milliseconds(network if part == "network" else network.encode, x))
    rows = []
    for name, network in networks.items():
        difference = float((network(x) - truth).abs().max() / truth.abs().max())
        if not difference <= TOLERANCE:
            raise RuntimeError(f"{name}: depth differs from the dense network's by {difference:.1e} of it")
        rows.append({"name": name} | {part: min(times[name, part]) for part in ("encoder", "network")})
    about = {"density": ticket.density, "fingerprint": ticket.fingerprint}
    return about | {"rows": rows, "bytes": sizes(model, ticket), "layers": layers}


def quickest_order(network, x):
    """A copy of a network in the memory order in which it runs quickest here."""
    copies = [copy.deepcopy(network).to(memory_format=order) for order in (NCHW, NHWC)]
    return min(copies, key=lambda candidate: min(milliseconds(candidate, x) for _ in range(2)))


def sizes(model, ticket):
    """Bytes on disk of encoder and network: `{part: {"dense": all values, "packed": without the pruned ones,
    but with a bit a prunable weight that says where the kept ones stand, compressed (xz)}}`."""
    bits = np.packbits(torch.cat([m.flatten() for m in ticket.masks.values()]).numpy()).tobytes()
    saved, result = 4 * (ticket.size - ticket.kept) - len(lzma.compress(bits, preset=1)), {}
    for part, module in (("encoder", model.encoder), ("network", model)):
        dense = sum(v.nbytes for v in module.state_dict().values() if v.is_floating_point())
        result[part] = {"dense": dense, "packed": dense - saved}
    return result


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
    """A recorded measurement, or None. Raises UserError for a file of something else."""
    try:
        measurement = json.loads(Path(path).read_text(encoding="utf-8"))
        return measurement if measurement["tickets"] else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        raise UserError(f"{path} is no measurement; remove it or name another.") from None
