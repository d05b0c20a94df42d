"""What a ticket buys in time and bytes: the measurements of `inference.measure` in words and figures."""

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.patches import Patch

from ..config import level
from ..inference.measure import load, study
from . import tables
from .plots import COLOURS

WAYS = {  # of `sparse.WAYS`: colour and words
    "dense": ("0.35", "dense"),
    "csr": ("#E69F00", "sparse, torch (CSR)"),
    "compiled": ("#0072B2", "sparse, compiled"),
}


def measured(paper):
    """The recorded measurement, `results/cost.json`.

    The quick profile measures one-shot tickets of its initial weights here, which takes seconds.
    """
    if paper.profile == "paper":
        return load()
    config = next(c for c in paper.study.configs if c.arm == "dense")
    size = config.height, config.width
    densities = sorted({c.density for c in paper.study.configs if c.arm == "omp"})
    return study(paper.initial, config.backbone, densities, size, paper.device, 3)


def setting(measurement):
    """Ticket, network, size and device of a measurement, for captions."""
    about, size = measurement["environment"], "×".join(map(str, measurement["size"]))
    return (
        f"one-shot magnitude {100 * measurement['tickets'][0]['density']:#.3g} %, "
        f"{measurement['network']['backbone'].replace('resnet', 'ResNet-')}, {size}, batch 1, float32, "
        f"{about['device']}, torch {about['versions']['torch'].partition('+')[0]}"
    )


def speeds(ticket):
    """A row a form of the network under a measured ticket, by name.

    Columns: `encoder` and `network` in milliseconds; `gain` and `end_to_end`: how many times as fast as
    folded; `amdahl`: by how much the encoder alone could speed up the network at most (Amdahl 1967), `free`:
    if it took no time.
    """
    rows = pd.DataFrame(ticket["rows"]).set_index("name")
    folded = rows.loc["folded"]
    rows["gain"], rows["end_to_end"] = folded.encoder / rows.encoder, folded.network / rows.network
    rows["amdahl"] = folded.network / (folded.network - folded.encoder + rows.encoder)
    rows["free"] = folded.network / (folded.network - folded.encoder)
    return rows


def table(measurement):
    """A row a form of the network under the first ticket measured; a DataFrame of texts."""
    rows = speeds(measurement["tickets"][0])
    ms, times = rows.map("{:.1f}".format), rows.map("{:.2f}".format)
    columns = {"network": rows.index, "encoder (ms)": ms.encoder, "encoder, × folded": times.gain}
    columns |= {"end to end (ms)": ms.network, "end to end, × folded": times.end_to_end}
    return pd.DataFrame(columns).reset_index(drop=True)


def beside_loss(measurement, analysis):
    """What every measured ticket gains in time, in bytes, and what it loses of depth at the main budget.

    analysis: the `budget.Analysis` whose one-shot tickets are looked up.
    """
    rows = []
    for t in sorted(measurement["tickets"], key=lambda t: -t["density"]):
        times, k = speeds(t).loc["sparse"], round(math.log(t["density"]) / math.log(0.8))
        found = analysis.row("omp", level(k))  # the densities of measurements are rounded
        row = {"one-shot magnitude": f"{100 * t['density']:#.3g} %", "encoder, × folded": f"{times.gain:.2f}"}
        row |= {"end to end, × folded": f"{times.end_to_end:.2f}"}
        row["network (MB)"] = f"{t['bytes']['network']['packed'] / 1e6:.0f}"
        loss = (tables.signed(found.difference), found.n) if found else ("–", 0)
        rows.append(row | dict(zip(("loss of rms (m)", "pairs"), loss, strict=True)))
    return pd.DataFrame(rows)


def reading(measurement):
    """What the measurement says of its first ticket, in sentences."""
    t = measurement["tickets"][0]
    rows, name, chosen = speeds(t), setting(measurement), [layer["chosen"] for layer in t["layers"]]
    dense, sparse = rows.loc["dense"], rows.loc["sparse"]
    counts = "; ".join(f"{chosen.count(way)} {words}" for way, (_, words) in WAYS.items() if way in chosen)
    encoder, network = t["bytes"]["encoder"], t["bytes"]["network"]
    return (
        f"{name[0].upper()}{name[1:]}: the encoder takes {sparse.encoder:.1f} ms instead of "
        f"{dense.encoder:.1f} ms, {dense.encoder / sparse.encoder:.1f} times as fast as dense and "
        f"{sparse.gain:.1f} times as fast as dense with batch norm folded. End to end that is "
        f"{sparse.end_to_end:.2f} times as fast as folded, where Amdahl's law predicts {sparse.amdahl:.2f}; "
        f"an encoder that took no time would give {sparse.free:.2f}. Of its {len(chosen)} convolutions run: "
        f"{counts}. On disk the encoder takes {encoder['packed'] / 1e6:.1f} MB instead of "
        f"{encoder['dense'] / 1e6:.1f} MB, the network {network['packed'] / 1e6:.1f} MB instead of "
        f"{network['dense'] / 1e6:.1f} MB."
    )


def layers(measurement):
    """Milliseconds of every convolution of the encoder under the first ticket: dense, and as it is run."""
    rows = measurement["tickets"][0]["layers"]
    figure, ax = plt.subplots(figsize=(9, 3.6))
    ax.bar(range(len(rows)), [r["ms"]["dense"] for r in rows], color="0.85")
    colours = [WAYS[r["chosen"]][0] for r in rows]
    ax.bar(range(len(rows)), [r["ms"][r["chosen"]] for r in rows], color=colours)
    names = [r["name"].removesuffix(".0") for r in rows]
    ax.set_xticks(range(len(rows)), names, rotation=90, fontsize=6)
    ax.set(ylabel="time (ms)", xlim=(-0.7, len(rows) - 0.3))
    handles = [Patch(color=colour, label=f"run {words}") for colour, words in WAYS.values()]
    ax.legend(handles=[Patch(color="0.85", label="if dense"), *handles], frameon=False, fontsize=8)
    return figure


def speedup(measurement):
    """Speed-up over the folded network against density: encoder, end to end, and what Amdahl predicts."""
    tickets = sorted(measurement["tickets"], key=lambda t: t["density"])
    kept = [100 * t["density"] for t in tickets]
    rows = pd.DataFrame([speeds(t).loc["sparse"] for t in tickets])
    figure, ax = plt.subplots(figsize=(5.6, 3.7))
    colour, limit = COLOURS["omp"], rows.free.iloc[0]
    ax.plot(kept, rows.gain, "o-", color=colour, ms=4, label="encoder")
    ax.plot(kept, rows.end_to_end, "s--", color=colour, ms=4, label="end to end")
    ax.plot(kept, rows.amdahl, "_", color=colour, ms=11, label="end to end, by Amdahl's law")
    ax.axhline(limit, color="0.45", ls=":", label=f"end to end, free encoder: {limit:.2f}")
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xscale="log", xlabel="remaining prunable encoder weights (%)", ylabel="speed-up over folded")
    ax.set_xticks(kept, [f"{k:.3g}" for k in kept])
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(frameon=False, fontsize=8)
    return figure
