"""Measurements of `inference` as tables, sentences and figures: what a ticket buys in time and bytes, beside Amdahl's bound."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from ..config import ARMS
from ..paper.plots import COLOURS
from ..runs import studies as experiments
from ..runs.run import label
from .measure import PRUNED, add, environment, load, pruned, study

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


def measured(desk):
    """What there is for a profile: `{study: measurement at the size of its input}`, where several the last recorded.

    The quick profile measures its own, one-shot tickets of its initial weights, once: it takes seconds.
    """
    if desk.profile == "quick":
        return {"quick": kept(desk) or _quick(desk)}
    found = {}
    for m in load():
        for name in desk.studies():
            config = next(c for c in experiments.study(name).configs if c.arm == "dense")
            if m["size"] == [config.height, config.width]:
                found[name] = m
    return {name: found[name] for name in desk.studies() if name in found}


def kept(desk):
    """What an earlier quick build measured with the same code, libraries and network on this machine, or None."""
    here, (_, about, size) = environment(desk.device) | {"date": ""}, _plan(desk)
    same = {"environment": here, "network": about, "size": list(size)}
    if here["dirty"]:  # its code has no name
        return None
    found = [m | {"environment": m["environment"] | {"date": ""}} for m in load(_file(desk))]
    return next((m for m in found if same.items() <= m.items()), None)


def _quick(desk):
    wanted, about, size = _plan(desk)
    networks = (
        ("omp", *pruned(desk.initial, "omp", density, desk.device, about["backbone"])) for density in wanted
    )
    add(study(networks, about, size, desk.device, 3), _file(desk))
    return load(_file(desk))[-1]


def _plan(desk):
    """Densities, network and input size that the quick profile measures."""
    config = desk.study.configs[1]
    wanted = sorted({c.density for c in desk.study.configs if c.arm == "omp"})
    return wanted, {"backbone": config.backbone, "weights": desk.initial.name}, (config.height, config.width)


def _file(desk):
    return desk.store.local / "cost.json"


def setting(measurement, first=True):
    """Ticket, network, size and device of a measurement, for captions; "" for none."""
    if not measurement:
        return ""
    size = "×".join(map(str, measurement["size"]))
    ticket = f"{named(measurement['tickets'][0])} ticket, " if first else ""
    return f"{ticket}{measurement['network']['backbone'].replace('resnet', 'ResNet-')}, {size}, batch 1, float32, {where(measurement)}"


def amdahl(ticket, row="sparse"):
    """By how much the encoder of `row` could speed up the folded network at most, all else unchanged (Amdahl 1967)."""
    folded, other = _row(ticket, "folded"), _row(ticket, row)
    return folded["network"] / (folded["network"] - folded["encoder"] + other["encoder"])


def free(ticket):
    """Amdahl's bound for an encoder that takes no time."""
    folded = _row(ticket, "folded")
    return folded["network"] / (folded["network"] - folded["encoder"])


def gain(ticket, part, row="sparse", base="folded"):
    """How many times as fast as the network `base` a part ("encoder" or "network") of another is."""
    return _row(ticket, base)[part] / _row(ticket, row)[part]


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
    """A row a ticket: what its sparse execution gains over the folded network, and bytes; a DataFrame of texts."""
    rows = []
    for t in measurement["tickets"]:
        rows.append(
            {
                "ticket": named(t),
                "multiply-adds": f"{100 * t['densities']['mac']:.1f} %",
                "encoder (ms)": f"{_row(t, 'sparse')['encoder']:.1f}",
                "encoder, ×": f"{gain(t, 'encoder'):.2f}",
                "end to end (ms)": f"{_row(t, 'sparse')['network']:.1f}",
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
    size = {part: t["bytes"][part] for part in ("encoder", "network")}
    return (
        f"{named(t)[0].upper()}{named(t)[1:]}, batch 1, {measurement['size'][0]}×{measurement['size'][1]}, float32, {where(measurement)}: the encoder "
        f"takes {_row(t, 'sparse')['encoder']:.1f} ms instead of {_row(t, 'dense')['encoder']:.1f} ms, {gain(t, 'encoder', base='dense'):.1f} times "
        f"as fast as dense and {gain(t, 'encoder'):.1f} times as fast as dense with batch norm folded. End to end that is "
        f"{gain(t, 'network'):.2f} times as fast as folded, where Amdahl's law allows {amdahl(t):.2f}; an encoder that took no time would give "
        f"{free(t):.2f}. Of its {len(ways)} convolutions run: {counts}. Compaction removes {t['removed']:,} channels and alone makes the "
        f"encoder {gain(t, 'encoder', 'compacted'):.2f} times as fast. On disk the encoder takes {size['encoder']['packed'] / 1e6:.1f} MB "
        f"instead of {size['encoder']['dense'] / 1e6:.1f} MB, the network {size['network']['packed'] / 1e6:.1f} MB instead of "
        f"{size['network']['dense'] / 1e6:.1f} MB."
    )


def where(measurement):
    """Device and version of torch, in words."""
    made = measurement["environment"]
    return f"{made['device']}, torch {made['versions']['torch'].partition('+')[0]}"


def named(ticket):
    """A measured ticket in words."""
    return f"{ARMS.get(ticket['arm'], ticket['arm'])} {100 * ticket['density']:#.3g} %"


def layers(measurement):
    """Milliseconds of every convolution of the encoder under the first ticket: dense, and in the way it is run."""
    if not measurement:
        return None
    found = measurement["tickets"][0]["layers"]
    figure, ax = plt.subplots(figsize=(9, 3.6))
    places = range(len(found))
    ax.bar(places, [r["ms"]["dense"] for r in found], width=0.8, color="0.85", label="if dense")
    ax.bar(
        places,
        [r["ms"][r["chosen"]] for r in found],
        width=0.8,
        label="as it is run",
        color=[WAYS[r["chosen"]][0] for r in found],
    )
    ax.set_xticks(
        places,
        [r["name"].removesuffix(".0") for r in found],
        rotation=90,
        fontsize=6 if len(found) > 30 else 8,
    )
    top = 1.5 * float(np.percentile([r["ms"]["dense"] for r in found], 90))
    for place, r in enumerate(found):
        if r["ms"]["dense"] > top:  # a disturbed measurement, which must not flatten the others
            ax.annotate(
                f"{r['ms']['dense']:.0f}",
                (place, top),
                (0, -9),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
    ax.set(
        ylabel="time (ms)",
        xlim=(-0.7, len(found) - 0.3),
        ylim=(0, min(top, 1.05 * max(r["ms"]["dense"] for r in found))),
    )
    used = {r["chosen"] for r in found}
    chosen = [
        Patch(color=colour, label=f"run {words}") for way, (colour, words) in WAYS.items() if way in used
    ]
    ax.legend(
        handles=[Patch(color="0.85", label="if dense"), *chosen],
        frameon=False,
        fontsize=8,
        ncols=4,
        loc="lower right",
        bbox_to_anchor=(1, 1),
    )
    return figure


def speedup(measurement):
    """Speed-up over the folded network against density: encoder, end to end, and what Amdahl's law makes of the encoder's."""
    if not measurement:
        return None
    figure, ax = plt.subplots(figsize=(5.6, 3.7))
    arms = list(dict.fromkeys(t["arm"] for t in measurement["tickets"]))
    for arm in arms:
        found = sorted((t for t in measurement["tickets"] if t["arm"] == arm), key=lambda t: t["density"])
        x, name, colour = [100 * t["density"] for t in found], ARMS.get(arm, arm), COLOURS[arm]
        ax.plot(x, [gain(t, "encoder") for t in found], "o-", ms=4, color=colour, label=f"encoder, {name}")
        ax.plot(
            x, [gain(t, "network") for t in found], "s--", ms=4, color=colour, label=f"end to end, {name}"
        )
        ax.plot(x, [amdahl(t) for t in found], "_", ms=11, mew=1.5, color=colour, label=f"Amdahl, {name}")
    limit = free(measurement["tickets"][0])
    ax.axhline(limit, color="0.45", lw=1.2, ls=":", label=f"end to end, free encoder: {limit:.2f}")
    ax.axhline(1, color="black", lw=0.8)
    ticks = sorted({100 * t["density"] for t in measurement["tickets"]})
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="remaining prunable encoder weights (%)",
        ylabel="speed-up over dense, folded",
    )
    ax.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
    low, high = (
        f(gain(t, part) for t in measurement["tickets"] for part in ("encoder", "network"))
        for f in (min, max)
    )
    marks = [m for m in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8) if low / 1.2 <= m <= 1.2 * max(high, limit)]
    ax.set_yticks(marks, [f"{m:g}×" for m in marks])
    ax.set_ylim(min(0.9, low / 1.1), 1.15 * max(high, limit))
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(frameon=False, fontsize=8, ncols=len(arms))
    return figure


def on_disk(measurement):
    """Megabytes of encoder and network, dense and with the pruned layers stored as values and pattern."""
    if not measurement:
        return None
    size = measurement["tickets"][0]["bytes"]
    figure, ax = plt.subplots(figsize=(6.2, 2.9))
    rows = [
        (f"{part}, {form}", size[part], form)
        for part in ("network", "encoder")
        for form in ("sparse", "dense")
    ]
    for y, (_, s, form) in enumerate(rows):
        parts = (
            {"weights": s["dense"]}
            if form == "dense"
            else {part: s[part] for part in ("rest", "values", "pattern")}
        )
        left = 0
        for part, n in parts.items():
            ax.barh(y, n / 1e6, left=left / 1e6, color=PARTS[part][0])
            left += n
        ax.annotate(
            f"{left / 1e6:.1f} MB",
            (left / 1e6, y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ax.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    ax.set(xlabel="size on disk (MB)", xlim=(0, 1.15 * size["network"]["dense"] / 1e6))
    ax.legend(
        handles=[Patch(color=c, label=words) for c, words in PARTS.values()],
        frameon=False,
        fontsize=8,
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(0, 1),
    )
    return figure


def timed(records, measurement):
    """The scored runs whose time was measured: `[record]`."""
    return [r for r in records if r and _time(r, measurement)]


def tradeoff(records, measurement):
    """Test rms against milliseconds end to end; a dot a run whose arm and density were measured at its input size."""
    found = timed(records, measurement)
    if not {r["arm"] for r in found} - {"dense"}:
        return None
    figure, ax = plt.subplots(figsize=(5.6, 3.7))
    shown = set()
    for r in found:
        x, y = _time(r, measurement), r["test"]["full"]["pooled"]["rms"]
        ax.plot(x, y, "o", color=COLOURS[r["arm"]])
        if label(r) not in shown:
            ax.annotate(label(r), (x, y), (6, 4), textcoords="offset points", fontsize=7)
            shown.add(label(r))
    ax.margins(x=0.25)
    ax.set(xlabel="time for one picture, end to end (ms)", ylabel="test rms (m), pooled")
    return figure


def _time(record, measurement):
    """Milliseconds end to end of a record's network, sparse or, where it is dense, folded; None where not measured."""
    if (
        record["arm"] == "floor"
        or not record["test"]
        or [record["config"][k] for k in ("height", "width")] != measurement["size"]
    ):
        return None
    if record["arm"] == "dense":
        return _row(measurement["tickets"][0], "folded")["network"]
    same = [
        t
        for t in measurement["tickets"]
        if t["arm"] == record["arm"] and abs(t["density"] / record["density"] - 1) < 1e-3
    ]
    return _row(same[0], "sparse")["network"] if same else None


def _row(ticket, name):
    return next(r for r in ticket["rows"] if r["name"] == name)
