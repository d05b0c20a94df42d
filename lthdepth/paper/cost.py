"""What a ticket buys in time and bytes: the measurements of `inference.measure` as tables and figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from ..config import ARMS
from ..errors import UserError
from ..inference.measure import PRUNED, RECORD, load, pruned, study
from .plots import COLOURS

WAYS = {
    "dense": ("0.35", "dense"),
    "csr": ("#E69F00", "sparse, torch (CSR)"),
    "compiled": ("#0072B2", "sparse, compiled"),
}
PARTS = {
    "dense": ("0.75", "all weights (float32)"),
    "rest": ("0.35", "not pruned: decoder, first convolution, batch norm"),
    "values": ("#0072B2", "kept values (float32)"),
    "pattern": ("#E69F00", "where they stand"),
}
ABOVE = {"frameon": False, "fontsize": 8, "bbox_to_anchor": (1, 1), "loc": "lower right"}


def measured(paper):
    """The last recorded measurement at the input size of the paper's study, or else of another size.

    The quick profile measures one-shot tickets of its initial weights here, which takes seconds.

    Raises:
        UserError: nothing is recorded.
    """
    config = next(c for c in paper.study.configs if c.arm == "dense")
    size = config.height, config.width
    if paper.profile == "paper":
        if not (recorded := load()):
            raise UserError(f"{RECORD} has no measurement; `python -m lthdepth cost --out FILE` makes one.")
        return next((m for m in reversed(recorded) if m["size"] == [*size]), recorded[-1])
    network = {"backbone": config.backbone, "weights": paper.initial.name}
    densities = sorted({c.density for c in paper.study.configs if c.arm == "omp"})
    drawn = (("omp", *pruned(paper.initial, "omp", d, paper.device, config.backbone)) for d in densities)
    return study(drawn, network, size, paper.device, 3)


def setting(measurement, first=True):
    """Ticket, network, size and device of a measurement, for captions."""
    ticket = f"{named(measurement['tickets'][0])} ticket, " if first else ""
    backbone = measurement["network"]["backbone"].replace("resnet", "ResNet-")
    return f"{ticket}{backbone}, {where(measurement)}"


def where(measurement):
    """Input size, device and version of torch, in words."""
    about, size = measurement["environment"], "×".join(map(str, measurement["size"]))
    return (
        f"{size}, batch 1, float32, {about['device']}, torch {about['versions']['torch'].partition('+')[0]}"
    )


def named(ticket):
    """A measured ticket in words."""
    return f"{ARMS.get(ticket['arm'], ticket['arm'])} {100 * ticket['density']:#.3g} %"


def speeds(ticket):
    """A row a form of the network under a measured ticket, by name.

    Columns: `encoder` and `network` in milliseconds; `encoder/dense`, `network/folded` ...: how many times as
    fast as that form; `amdahl`: by how much the encoder alone could speed up the folded network at most
    (Amdahl 1967), `free`: if it took no time.
    """
    rows = pd.DataFrame(ticket["rows"]).set_index("name")
    for part in ("encoder", "network"):
        for base in ("dense", "folded"):
            rows[f"{part}/{base}"] = rows[part].get(base, np.nan) / rows[part]
    folded = rows.loc["folded"]
    rows["amdahl"] = folded.network / (folded.network - folded.encoder + rows.encoder)
    rows["free"] = folded.network / (folded.network - folded.encoder)
    return rows


def table(measurement):
    """A row a form of the network under the first ticket measured; a DataFrame of texts."""
    rows = speeds(measurement["tickets"][0])
    texts = rows.drop(columns="order").map("{:.2f}".format)
    ms = rows[["encoder", "network"]].map("{:.1f}".format)
    columns = {
        "network": [f"{name}, {order}" if order else name for name, order in rows.order.items()],
        "encoder (ms)": ms.encoder,
        "encoder, × dense": texts["encoder/dense"],
        "× folded": texts["encoder/folded"],
        "end to end (ms)": ms.network,
        "end to end, × dense": texts["network/dense"],
        "× folded ": texts["network/folded"],
        "Amdahl allows": texts.amdahl.where(~rows.index.isin(["dense", PRUNED]), "–"),
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def levels(measurement):
    """A row a ticket: what its sparse form gains over the folded network, and bytes; a DataFrame of texts."""
    rows = []
    for t in measurement["tickets"]:
        s = speeds(t).loc["sparse"]
        row = {"ticket": named(t), "multiply-adds": f"{100 * t['densities']['mac']:.1f} %"}
        row |= {"encoder (ms)": f"{s.encoder:.1f}", "encoder, ×": f"{s['encoder/folded']:.2f}"}
        row |= {"end to end (ms)": f"{s.network:.1f}", "end to end, ×": f"{s['network/folded']:.2f}"}
        row |= {"Amdahl allows": f"{s.amdahl:.2f}"}
        row["dense layers"] = sum(layer["chosen"] == "dense" for layer in t["layers"])
        for part in ("encoder", "network"):
            row[f"{part} on disk (MB)"] = f"{t['bytes'][part]['packed'] / 1e6:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def reading(measurement):
    """What the measurement says of its first ticket, in sentences."""
    t = measurement["tickets"][0]
    rows, name = speeds(t), named(t)
    sparse, chosen = rows.loc["sparse"], [layer["chosen"] for layer in t["layers"]]
    counts = "; ".join(f"{chosen.count(way)} {words}" for way, (_, words) in WAYS.items() if way in chosen)
    mb = {(part, form): n / 1e6 for part in ("encoder", "network") for form, n in t["bytes"][part].items()}
    return (
        f"{name[0].upper()}{name[1:]}, {where(measurement)}: the encoder takes {sparse.encoder:.1f} ms "
        f"instead of {rows.encoder['dense']:.1f} ms, {sparse['encoder/dense']:.1f} times as fast as dense "
        f"and {sparse['encoder/folded']:.1f} times as fast as dense with batch norm folded. End to end that "
        f"is {sparse['network/folded']:.2f} times as fast as folded, where Amdahl's law allows "
        f"{sparse.amdahl:.2f}; an encoder that took no time would give {sparse.free:.2f}. Of its "
        f"{len(chosen)} convolutions run: {counts}. Compaction removes {t['removed']:,} channels and alone "
        f"makes the encoder {rows['encoder/folded']['compacted']:.2f} times as fast. On disk the encoder "
        f"takes {mb['encoder', 'packed']:.1f} MB instead of {mb['encoder', 'dense']:.1f} MB, the network "
        f"{mb['network', 'packed']:.1f} MB instead of {mb['network', 'dense']:.1f} MB."
    )


def layers(measurement):
    """Milliseconds of every convolution of the encoder under the first ticket: dense, and as it is run."""
    rows = measurement["tickets"][0]["layers"]
    figure, ax = plt.subplots(figsize=(9, 3.6))
    places, dense = range(len(rows)), [r["ms"]["dense"] for r in rows]
    ax.bar(places, dense, width=0.8, color="0.85")
    colours = [WAYS[r["chosen"]][0] for r in rows]
    ax.bar(places, [r["ms"][r["chosen"]] for r in rows], width=0.8, color=colours)
    names = [r["name"].removesuffix(".0") for r in rows]
    ax.set_xticks(places, names, rotation=90, fontsize=6 if len(rows) > 30 else 8)
    top = 1.5 * float(np.percentile(dense, 90))
    offset = {"xytext": (0, -9), "textcoords": "offset points", "ha": "center", "fontsize": 7}
    for place, ms in enumerate(dense):
        if ms > top:  # a disturbed measurement, which must not flatten the others
            ax.annotate(f"{ms:.2g}", (place, top), **offset)
    ax.set(ylabel="time (ms)", xlim=(-0.7, len(rows) - 0.3), ylim=(0, min(top, 1.05 * max(dense))))
    used = [WAYS[way] for way in WAYS if way in {r["chosen"] for r in rows}]
    handles = [Patch(color=colour, label=f"run {words}") for colour, words in used]
    ax.legend(handles=[Patch(color="0.85", label="if dense"), *handles], ncols=4, **ABOVE)
    return figure


def speedup(measurement):
    """Speed-up over the folded network against density: encoder, end to end, and what Amdahl's law allows."""
    rows = [{"arm": t["arm"], "kept": 100 * t["density"]} for t in measurement["tickets"]]
    table = pd.DataFrame(
        [r | speeds(t).loc["sparse"].to_dict() for r, t in zip(rows, measurement["tickets"])]
    )
    figure, ax = plt.subplots(figsize=(5.6, 3.7))
    for arm, curve in table.sort_values("kept").groupby("arm", sort=False):
        name, style = ARMS.get(arm, arm), {"color": COLOURS[arm]}
        ax.plot(curve.kept, curve["encoder/folded"], "o-", ms=4, label=f"encoder, {name}", **style)
        ax.plot(curve.kept, curve["network/folded"], "s--", ms=4, label=f"end to end, {name}", **style)
        ax.plot(curve.kept, curve.amdahl, "_", ms=11, mew=1.5, label=f"Amdahl, {name}", **style)
    limit, values = table.free[0], table[["encoder/folded", "network/folded"]].to_numpy()
    ax.axhline(limit, color="0.45", lw=1.2, ls=":", label=f"end to end, free encoder: {limit:.2f}")
    ax.axhline(1, color="black", lw=0.8)
    ax.set(xscale="log", xlabel="remaining prunable encoder weights (%)")
    ax.set(yscale="log", ylabel="speed-up over dense, folded")
    ax.set_xticks(densities := sorted(set(table.kept)), [f"{d:.3g}" for d in densities])
    low, high = values.min(), max(values.max(), limit)
    marks = [m for m in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8) if low / 1.2 <= m <= 1.2 * high]
    ax.set_yticks(marks, [f"{m:g}×" for m in marks])
    ax.set_ylim(min(0.9, low / 1.1), 1.15 * high)
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend(frameon=False, fontsize=8, ncols=table.arm.nunique())
    return figure


def on_disk(measurement):
    """Megabytes of encoder and network, dense and with the pruned layers stored as values and pattern."""
    bars = [("sparse", ("rest", "values", "pattern")), ("dense", ("dense",))]
    bars = [(part, *bar) for part in ("network", "encoder") for bar in bars]
    size = measurement["tickets"][0]["bytes"]
    figure, ax = plt.subplots(figsize=(6.2, 2.9))
    for y, (part, _, pieces) in enumerate(bars):
        left = 0
        for piece in pieces:
            ax.barh(y, size[part][piece] / 1e6, left=left, color=PARTS[piece][0])
            left += size[part][piece] / 1e6
        offset = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        ax.annotate(f"{left:.1f} MB", (left, y), **offset)
    ax.set_yticks(range(len(bars)), [f"{part}, {form}" for part, form, _ in bars])
    ax.set(xlabel="size on disk (MB)", xlim=(0, 1.15 * size["network"]["dense"] / 1e6))
    handles = [Patch(color=c, label=words) for c, words in PARTS.values()]
    ax.legend(handles=handles, ncols=2, **ABOVE | {"bbox_to_anchor": (0, 1), "loc": "lower left"})
    return figure
