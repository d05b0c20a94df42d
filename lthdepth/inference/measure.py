"""What a ticket buys: milliseconds of the network run densely, folded, compacted and sparsely, and bytes on disk."""

import copy
import importlib.metadata
import json
import platform
import re
import statistics
from pathlib import Path

import torch

from .. import mask, tickets
from ..errors import UserError
from ..files import write_atomic
from ..model import FCRN, initialise
from ..runs import record
from ..runs.run import ROOT
from ..training.step import prepare
from . import packed, sparse
from .folded import Folded, compact

RECORD = ROOT / "results" / "cost.json"
TOLERANCE = (
    1e-4  # of the largest depth: how far a sparse depth map may be from the dense one (sums in another order)
)
FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
PRUNED = "sparse, decoder pruned too"
ALL = ("dense", "folded", "compacted", "sparse", PRUNED)
BRIEF = ("folded", "sparse")  # enough for a speed-up at a further density


@torch.inference_mode()
def measure(model, ticket, height, width, repeats=7, names=ALL):
    """Time an FCRN under a ticket: batch 1, float32, on the model's device.

    Dense networks are timed in the quicker of two memory orders. The encoder of the sparse one runs layer by layer in the
    quickest way, its decoder as that of the folded one.

    Args:
        model: `FCRN` whose pruned weights are zero. ticket: its `mask.Ticket`. height, width: of the input, pixels.
        repeats: rounds, each of which times everything once in turn, after a call that is not timed; the median counts.
        names: some of ALL, "folded" and "sparse" among them.

    Returns:
        dict for JSON: `density`, `fingerprint`, `densities`, channels `removed`, `rows` with milliseconds of encoder and
        network and the largest deviation of their depth (as a part of the largest depth), `layers` as `sparse.choose`.

    Raises:
        RuntimeError: a network's depth differs from the dense one by more than TOLERANCE.
    """
    model.eval()
    device = next(model.parameters()).device
    prepare(device)
    x = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    folded, order = _quicker({f: Folded(model).densely(None, m) for f, m in FORMATS.items()}, x)
    networks, orders = {"folded": folded}, {"folded": order}
    if "dense" in names:
        copies = {f: copy.deepcopy(model).to(memory_format=m) for f, m in FORMATS.items()}
        networks["dense"], orders["dense"] = _quicker(copies, x)
    if "compacted" in names:
        copies = {f: compact(Folded(model)).densely(None, m) for f, m in FORMATS.items()}
        networks["compacted"], orders["compacted"] = _quicker(copies, x)
    quick = networks["sparse"] = compact(Folded(model)).densely(folded.decoder, FORMATS[order])
    layers = _sparsely(quick, quick.encoder, x, repeats)
    if PRUNED in names:
        networks[PRUNED] = compact(Folded(decoder_pruned(model, ticket.density)))
        _sparsely(networks[PRUNED], networks[PRUNED].layers, x, repeats)

    truth, differences = model(x), {}
    for name in networks.keys() - {PRUNED}:
        differences[name] = float((networks[name](x) - truth).abs().max() / truth.abs().max())
        if not differences[name] <= TOLERANCE:
            raise RuntimeError(
                f"{name}: depth differs from the dense network's by {differences[name]:.1e} of the largest depth"
            )
    times = {name: ([], []) for name in names}
    for _ in range(repeats):
        for name, found in times.items():
            for part, timed in zip((networks[name].encode, networks[name]), found, strict=True):
                part(x)  # its own, for the caches and threads are as the one before it left them
                timed.append(sparse.elapsed(lambda part=part: part(x), device))
    return {
        "density": ticket.density,
        "fingerprint": ticket.fingerprint,
        "densities": mask.densities(ticket, model, height, width),
        "removed": quick.removed,
        "rows": [
            {
                "name": name,
                "order": orders.get(name, ""),
                "encoder": statistics.median(encoder),
                "network": statistics.median(network),
                "difference": differences.get(name),
            }
            for name, (encoder, network) in times.items()
        ],
        "layers": layers,
    }


def study(networks, about, size, device, repeats=7, out=None):
    """Measure pruned networks one after the other: the first in every form, the others in those that BRIEF names.

    Args:
        networks: iterable of `(arm, model, ticket)`. about: dict that says what network: backbone, weights.
        size: (height, width) of the input, pixels. device: torch device; repeats: as `measure`.
        out: file that gets the measurement, as `add`, after every ticket; None: none.

    Returns:
        A measurement, a dict for JSON: `environment`, `network`, `size`, `repeats`, `tickets` as `measure` with `arm` and `bytes`.
    """
    found = {
        "environment": environment(device),
        "network": about,
        "size": list(size),
        "repeats": repeats,
        "tickets": [],
    }
    for arm, model, ticket in networks:
        row = measure(model, ticket, *size, repeats, BRIEF if found["tickets"] else ALL)
        found["tickets"].append({"arm": arm, **row, "bytes": sizes(model, ticket)})
        if out:
            add(found, out)
    return found


def sizes(model, ticket):
    """Bytes on disk of encoder and network, as `packed.sizes`; the decoder is stored as it is, four bytes a value."""
    encoder = packed.sizes(model.encoder.state_dict(), ticket.masks)
    rest = sum(
        4 * v.numel()
        for k, v in model.state_dict().items()
        if not k.startswith("encoder.") and v.is_floating_point()
    )
    return {
        "encoder": encoder,
        "network": encoder | {k: encoder[k] + rest for k in ("dense", "packed", "rest")},
    }


def decoder_pruned(model, density):
    """A copy whose decoder keeps only this fraction of its convolution weights, by magnitude, all but the last convolution.

    For its time alone: what depth such a network would predict is not known.
    """
    model = copy.deepcopy(model)
    weights = {
        k: p
        for k, p in model.named_parameters()
        if p.ndim == 4 and not k.startswith(("encoder.", "predict."))
    }
    with torch.no_grad():
        for name, m in tickets.magnitude(weights, density).masks.items():
            weights[name] *= m.to(weights[name].device)
    return model


def pruned(initial, arm, density, device="cpu", backbone="resnet50"):
    """A new FCRN under a one-shot ("omp") or "random" ticket of initial weights: `(model, ticket)`; backbone: if they have none."""
    model = initialise(FCRN(initial.backbone or backbone), 0, initial.state)
    weights = mask.prunable(model.encoder.state_dict())
    ticket = tickets.magnitude(weights, density) if arm == "omp" else tickets.random(weights, density, 0)
    mask.Masking(ticket, model.encoder)
    return model.to(device).eval(), ticket


def kept(model):
    """The ticket of a trained FCRN: its encoder weights that are not zero."""
    weights = mask.prunable(model.encoder.state_dict())
    return mask.Ticket({k: v.cpu() != 0 for k, v in weights.items()}, [{"drawn": "not zero"}])


def environment(device):
    """As `record.environment`, with the processor and the libraries that matter here."""
    made = record.environment(device)
    if device.type == "cpu":
        made["device"] = f"{processor()}, {torch.get_num_threads()} threads"
    found = sparse.executions(device)
    made["versions"]["numba"] = importlib.metadata.version("numba") if "compiled" in found else None
    return made | {"executions": list(found)}


def processor():
    """The processor's name."""
    try:
        return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))[1].strip()
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def load(path=RECORD):
    """Recorded measurements, a list; empty where there are none.

    Raises:
        UserError: the file is none of ours.
    """
    if not Path(path).exists():
        return []
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))["measurements"]
        return [m for m in found if m["size"] and m["tickets"] and m["environment"]["device"]]
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        raise UserError(f"{path} is no file of measurements; remove it or name another.") from None


def add(measurement, path=RECORD):
    """Write a measurement into a file of them, a line each, in place of one of the same network, size and device."""

    def of(m):
        return m["environment"]["device"], m["size"], m["network"]

    others = [m for m in load(path) if of(m) != of(measurement)]
    lines = ",\n".join(json.dumps(_short(m), ensure_ascii=False) for m in [*others, measurement])
    write_atomic(path, f'{{"measurements": [\n{lines}\n]}}\n')


def _short(value):
    """With floats to five digits."""
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _sparsely(network, names, x, repeats):
    """Choose the execution of these layers, the dense first one in the order in which torch pools quickest."""
    network.densely(["conv1"], torch.channels_last)
    return sparse.choose(network, x, names, min(repeats, 5))


def _quicker(options, x):
    """Of networks in several memory orders the one that is quickest here: `(network, order)`."""
    order = min(options, key=lambda f: sparse.quickest(lambda: options[f](x), x.device, 2))
    return options[order], order
