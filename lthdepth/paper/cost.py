"""What a ticket buys in time and bytes: the measurements of `inference.measure` as tables and figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from ..config import ARMS
from ..inference.measure import PRUNED, add, environment, load, pruned, study
from ..runs import studies
from ..runs.record import label
from .plots import COLOURS

WAYS = {
    "dense": ("0.35", "dense"),
    "csr": ("#E69F00", "sparse, torch (CSR)"),
    "compiled": ("#0072B2", "sparse, compiled"),
}
PARTS = {
    "weights": ("0.75", "all weights (float32)"),
    "rest": ("0.35", "not pruned: decoder, first convolution, batch norm"),
    "values": ("#0072B2", "kept values (float32)"),
    "pattern": ("#E69F00", "where they stand"),
}
ABOVE = {"frameon": False, "fontsize": 8, "bbox_to_anchor": (1, 1), "loc": "lower right"}


def measured(paper):
    """What there is for a profile: `{study: the last measurement at the size of its input}`.

    The quick profile measures its own, one-shot tickets of its initial weights, once: it takes seconds.
    """
    if paper.profile == "quick":
        return {"quick": kept(paper) or _quick(paper)}
    found = {}
    for name in paper.studies():
        config = next(c for c in studies.study(name).configs if c.arm == "dense")
        same = [m for m in load() if m["size"] == [config.height, config.width]]
        found |= {name: same[-1]} if same else {}
    return found


def kept(paper):
    """What an earlier quick build measured here with the same code, libraries and network, or None."""

    def of(network, size, where):
        return network, list(size), where | {"date": ""}

    _, network, size = _plan(paper)
    here = environment(paper.device)
    if here["dirty"]:  # its code has no name
        return None
    known = load(paper.store.local / "cost.json")
    wanted = of(network, size, here)
    return next((m for m in known if of(m["network"], m["size"], m["environment"]) == wanted), None)


def _quick(paper):
    densities, network, size = _plan(paper)
    drawn = (
        ("omp", *pruned(paper.initial, "omp", density, paper.device, network["backbone"]))
        for density in densities
    )
    path = paper.store.local / "cost.json"
    add(study(drawn, network, size, paper.device, 3), path)
    return load(path)[-1]


def _plan(paper):
    """Densities, network and input size that the quick profile measures."""
    config = paper.study.configs[1]
    densities = sorted({c.density for c in paper.study.configs if c.arm == "omp"})
    return (
        densities,
        {"backbone": config.backbone, "weights": paper.initial.name},
        (config.height, config.width),
    )


def setting(measurement, first=True):
    """Ticket, network, size and device of a measurement, for captions; "" for none."""
    if not measurement:
        return ""
    ticket = f"{named(measurement['tickets'][0])} ticket, " if first else ""
    backbone = measurement["network"]["backbone"].replace("resnet", "ResNet-")
    size = "×".join(map(str, measurement["size"]))
    return f"{ticket}{backbone}, {size}, batch 1, float32, {where(measurement)}"


def milliseconds(ticket, part, row="sparse"):
    """Of a part ("encoder" or "network") of one form of the network under a measured ticket."""
    return next(r for r in ticket["rows"] if r["name"] == row)[part]


def gain(ticket, part, row="sparse", base="folded"):
    """How many times as fast as that of `base` a part ("encoder" or "network") of another form is."""
    return milliseconds(ticket, part, base) / milliseconds(ticket, part, row)


def amdahl(ticket, row="sparse"):
    """By how much the encoder of `row` could speed up the folded network at most (Amdahl 1967)."""
    folded, encoder = (milliseconds(ticket, part, "folded") for part in ("network", "encoder"))
    return folded / (folded - encoder + milliseconds(ticket, "encoder", row))


def free(ticket):
    """Amdahl's bound for an encoder that takes no time."""
    folded, encoder = (milliseconds(ticket, part, "folded") for part in ("network", "encoder"))
    return folded / (folded - encoder)


def table(measurement):
    """A row a form of the network under the first ticket measured; a DataFrame of texts."""
    ticket, rows = measurement["tickets"][0], []
    for r in ticket["rows"]:
        name = r["name"]
        rows.append(
            {
                "network": f"{name}, {r['order']}" if r["order"] else name,
                "encoder (ms)": f"{r['encoder']:.1f}",
                "encoder, × dense": f"{gain(ticket, 'encoder', name, 'dense'):.2f}",
                "× folded": f"{gain(ticket, 'encoder', name):.2f}",
                "end to end (ms)": f"{r['network']:.1f}",
                "end to end, × dense": f"{gain(ticket, 'network', name, 'dense'):.2f}",
                "× folded ": f"{gain(ticket, 'network', name):.2f}",
                "Amdahl allows": "–" if name in ("dense", PRUNED) else f"{amdahl(ticket, name):.2f}",
            }
        )
    return pd.DataFrame(rows)


def levels(measurement):
    """A row a ticket: what its sparse form gains over the folded network, and bytes; a DataFrame of texts."""
    rows = []
    for t in measurement["tickets"]:
        rows.append(
            {
                "ticket": named(t),
                "multiply-adds": f"{100 * t['densities']['mac']:.1f} %",
                "encoder (ms)": f"{milliseconds(t, 'encoder'):.1f}",
                "encoder, ×": f"{gain(t, 'encoder'):.2f}",
                "end to end (ms)": f"{milliseconds(t, 'network'):.1f}",
                "end to end, ×": f"{gain(t, 'network'):.2f}",
                "Amdahl allows": f"{amdahl(t):.2f}",
                "dense layers": sum(layer["chosen"] == "dense" for layer in t["layers"]),
                "encoder on disk (MB)": f"{t['bytes']['encoder']['packed'] / 1e6:.1f}",
                "network on disk (MB)": f"{t['bytes']['network']['packed'] / 1e6:.1f}",
            }
        )
    return pd.DataFrame(rows)


def reading(measurement):
    """What the measurement says of its first ticket, in sentences."""
    t = measurement["tickets"][0]
    ways = [layer["chosen"] for layer in t["layers"]]
    counts = "; ".join(f"{ways.count(way)} {words}" for way, (_, words) in WAYS.items() if way in ways)
    name, size = named(t), "×".join(map(str, measurement["size"]))
    mb = {(part, form): n / 1e6 for part in ("encoder", "network") for form, n in t["bytes"][part].items()}
    compacted, bound = gain(t, "encoder", "compacted"), f"Amdahl's law allows {amdahl(t):.2f}"
    return (
        f"{name[0].upper()}{name[1:]}, batch 1, {size}, float32, {where(measurement)}: the encoder takes "
        f"{milliseconds(t, 'encoder'):.1f} ms instead of {milliseconds(t, 'encoder', 'dense'):.1f} ms, "
        f"{gain(t, 'encoder', base='dense'):.1f} times as fast as dense and {gain(t, 'encoder'):.1f} times "
        f"as fast as dense with batch norm folded. End to end that is {gain(t, 'network'):.2f} times as fast "
        f"as folded, where {bound}; an encoder that took no time would give {free(t):.2f}. "
        f"Of its {len(ways)} convolutions run: {counts}. Compaction removes {t['removed']:,} channels and "
        f"alone makes the encoder {compacted:.2f} times as fast. On disk the encoder takes "
        f"{mb['encoder', 'packed']:.1f} MB instead of {mb['encoder', 'dense']:.1f} MB, the network "
        f"{mb['network', 'packed']:.1f} MB instead of {mb['network', 'dense']:.1f} MB."
    )


def where(measurement):
    """Device and version of torch, in words."""
    about = measurement["environment"]
    return f"{about['device']}, torch {about['versions']['torch'].partition('+')[0]}"


def named(ticket):
    """A measured ticket in words."""
    return f"{ARMS.get(ticket['arm'], ticket['arm'])} {100 * ticket['density']:#.3g} %"


def layers(measurement):
    """Milliseconds of every convolution of the encoder under the first ticket: dense, and as it is run."""
    if not measurement:
        return None
    rows = measurement["tickets"][0]["layers"]
    figure, ax = plt.subplots(figsize=(9, 3.6))
    places, dense = range(len(rows)), [r["ms"]["dense"] for r in rows]
    ax.bar(places, dense, width=0.8, color="0.85")
    ax.bar(
        places, [r["ms"][r["chosen"]] for r in rows], width=0.8, color=[WAYS[r["chosen"]][0] for r in rows]
    )
    names = [r["name"].removesuffix(".0") for r in rows]
    ax.set_xticks(places, names, rotation=90, fontsize=6 if len(rows) > 30 else 8)
    top = 1.5 * float(np.percentile(dense, 90))
    offset = {"xytext": (0, -9), "textcoords": "offset points", "ha": "center", "fontsize": 7}
    for place, ms in enumerate(dense):
        if ms > top:  # a disturbed measurement, which must not flatten the others
            ax.annotate(f"{ms:.0f}", (place, top), **offset)
    ax.set(ylabel="time (ms)", xlim=(-0.7, len(rows) - 0.3), ylim=(0, min(top, 1.05 * max(dense))))
    used = {r["chosen"] for r in rows}
    chosen = [
        Patch(color=colour, label=f"run {words}") for way, (colour, words) in WAYS.items() if way in used
    ]
    ax.legend(handles=[Patch(color="0.85", label="if dense"), *chosen], ncols=4, **ABOVE)
    return figure


def speedup(measurement):
    """Speed-up over the folded network against density: encoder, end to end, and what Amdahl's law allows."""
    if not measurement:
        return None
    figure, ax = plt.subplots(figsize=(5.6, 3.7))
    tickets, values = measurement["tickets"], []
    arms = list(dict.fromkeys(t["arm"] for t in tickets))
    for arm in arms:
        own = sorted((t for t in tickets if t["arm"] == arm), key=lambda t: t["density"])
        x, name, style = (
            [100 * t["density"] for t in own],
            ARMS.get(arm, arm),
            {"color": COLOURS[arm], "ms": 4},
        )
        encoder, network = ([gain(t, part) for t in own] for part in ("encoder", "network"))
        ax.plot(x, encoder, "o-", label=f"encoder, {name}", **style)
        ax.plot(x, network, "s--", label=f"end to end, {name}", **style)
        ax.plot(x, [amdahl(t) for t in own], "_", label=f"Amdahl, {name}", mew=1.5, **style | {"ms": 11})
        values += encoder + network
    limit = free(tickets[0])
    ax.axhline(limit, color="0.45", lw=1.2, ls=":", label=f"end to end, free encoder: {limit:.2f}")
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xscale="log", xlabel="remaining prunable encoder weights (%)")
    ax.set(yscale="log", ylabel="speed-up over dense, folded")
    densities = sorted({100 * t["density"] for t in tickets})
    ax.set_xticks(densities, [f"{d:.3g}" for d in densities])
    low, high = min(values), max(*values, limit)
    marks = [m for m in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8) if low / 1.2 <= m <= 1.2 * high]
    ax.set_yticks(marks, [f"{m:g}×" for m in marks])
    ax.set_ylim(min(0.9, low / 1.1), 1.15 * high)
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(frameon=False, fontsize=8, ncols=len(arms))
    return figure


def on_disk(measurement):
    """Megabytes of encoder and network, dense and with the pruned layers stored as values and pattern."""
    if not measurement:
        return None
    size, names = measurement["tickets"][0]["bytes"], []
    figure, ax = plt.subplots(figsize=(6.2, 2.9))
    for part in ("network", "encoder"):
        dense = {"weights": size[part]["dense"]}
        for form, pieces in (
            ("sparse", {p: size[part][p] for p in ("rest", "values", "pattern")}),
            ("dense", dense),
        ):
            left = 0
            for piece, n in pieces.items():
                ax.barh(len(names), n / 1e6, left=left / 1e6, color=PARTS[piece][0])
                left += n
            offset = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            ax.annotate(f"{left / 1e6:.1f} MB", (left / 1e6, len(names)), **offset)
            names.append(f"{part}, {form}")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="size on disk (MB)", xlim=(0, 1.15 * size["network"]["dense"] / 1e6))
    handles = [Patch(color=c, label=words) for c, words in PARTS.values()]
    ax.legend(handles=handles, ncols=2, **ABOVE | {"bbox_to_anchor": (0, 1), "loc": "lower left"})
    return figure


def timed(records, measurement):
    """The scored runs whose time was measured: `[record]`."""
    return [r for r in records if r and _time(r, measurement)]


def tradeoff(records, measurement):
    """Test rms against milliseconds end to end; a dot a run whose ticket was measured at its input size."""
    runs = timed(records, measurement)
    if not {r["arm"] for r in runs} - {"dense"}:
        return None
    figure, ax = plt.subplots(figsize=(5.6, 3.7))
    shown = set()
    for r in runs:
        x, y = _time(r, measurement), r["test"]["full"]["pooled"]["rms"]
        ax.plot(x, y, "o", color=COLOURS[r["arm"]])
        if label(r) not in shown:
            ax.annotate(label(r), (x, y), (6, 4), textcoords="offset points", fontsize=7)
            shown.add(label(r))
    ax.margins(x=0.25)
    ax.set(xlabel="time for one picture, end to end (ms)", ylabel="test rms (m), pooled")
    return figure


def _time(record, measurement):
    """Milliseconds end to end of a record's network, sparse, or folded if dense; None where not measured."""
    size = [record["config"][k] for k in ("height", "width")]
    if record["arm"] == "floor" or not record["test"] or size != measurement["size"]:
        return None
    if record["arm"] == "dense":
        return milliseconds(measurement["tickets"][0], "network", "folded")
    for t in measurement["tickets"]:
        if t["arm"] == record["arm"] and abs(t["density"] / record["density"] - 1) < 1e-3:
            return milliseconds(t, "network")
    return None
