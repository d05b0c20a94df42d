"""The paper's tables, rendered from records and from the published numbers; and what may be concluded from them."""

from pathlib import Path

import pandas as pd

from . import plots
from .config import PUBLISHED_FLOOR
from .experiments import study
from .runs import label

HEADINGS = {"rel": "rel", "rms": "rms (m)", "delta1": "δ1", "delta2": "δ2", "delta3": "δ3"}
GATE = 0.2  # a dense network must beat the mean depth map's rms by at least this fraction before anything is concluded


def published():
    """Published results as a DataFrame: models, metrics as numbers, protocol and source as text."""
    return pd.read_csv(Path(__file__).with_name("published.csv"))


def spread(values, digits=3):
    """Mean ± sample standard deviation; a single value stands alone."""
    values = pd.Series(values)
    return f"{values.mean():.{digits}f}" + (f" ± {values.std():.{digits}f}" if len(values) > 1 else "")


def protocol(records, average="pooled"):
    """How scored records were evaluated, as a short text."""
    r = next(r for r in records if r and r["test"])
    return f"full frame, {average}, {r['test']['frames']} test frames at {r['data']['height']} rows"


def scores(records, average="pooled", crop="full"):
    """One row an arm and density: mean ± sd over seeds of every metric, in the order of the records."""
    table = plots.tidy(records, crop, average)
    if table.empty:
        return table
    rows = []
    for (arm, density), part in table.groupby(["arm", "density"], sort=False):
        name = label({"arm": arm, "density": density})
        rows.append({"model": name, **{h: spread(part[m]) for m, h in HEADINGS.items()}, "runs": len(part)})
    return pd.DataFrame(rows)


def comparison(records, floor=None):
    """The paper's table: published rows, then ours by arm and density, each with its protocol.

    floor: record of `config.PUBLISHED_FLOOR`, which belongs beside the published rows; None leaves it out.
    """
    rows = []
    for p in published().itertuples():
        rows.append({"model": p.model, **{h: f"{getattr(p, m):.3f}" for m, h in HEADINGS.items()}, "runs": "–", "protocol": p.protocol})
    if floor:
        row = scores([floor]).iloc[0].to_dict() | {"model": "mean depth map, scored as the paper under test was"}
        rows.append({**row, "protocol": f"its last {floor['test']['frames']} validation frames, pooled, at {floor['data']['height']} rows"})
    ours = scores(records)
    if not ours.empty:
        ours["model"], ours["protocol"] = "ours: " + ours.model, protocol(records)
        rows += ours.to_dict("records")
    return pd.DataFrame(rows)


def densities(records):
    """What each ticket leaves, in the four senses: a row an arm and density, of the first seed."""
    rows = {}
    for r in records:
        if r and r.get("densities"):
            d = r["densities"]
            rows.setdefault(
                (r["arm"], r["density"]),
                {
                    "ticket": label(r),
                    "weights kept": f"{d['counts']['kept']:,}",
                    "of the prunable": f"{100 * d['prunable']:.2f} %",
                    "of the encoder": f"{100 * d['encoder']:.2f} %",
                    "of the network": f"{100 * d['network']:.2f} %",
                    "of the multiply-adds": f"{100 * d['mac']:.2f} %",
                },
            )
    return pd.DataFrame(rows.values())


def recipe(records):
    """Settings compared on the validation scenes, best first."""
    rows = []
    for r in sorted((r for r in records if r), key=lambda r: r["validation"]["full"]["pooled"]["rms"]):
        c, s = r["config"], r["validation"]["full"]["pooled"]
        rows.append(
            {
                "optimiser": c["optimiser"],
                "lr encoder": f"{c['lr_encoder']:g}",
                "lr decoder": f"{c['lr_decoder']:g}",
                "weight decay": f"{c['weight_decay']:g}",
                "schedule": c["schedule"],
                "augmentation": "full" if c["rotation"] else "mirroring only",
                "validation rms (m)": f"{s['rms']:.3f}",
                "rel": f"{s['rel']:.3f}",
                "δ1": f"{s['delta1']:.3f}",
            }
        )
    return pd.DataFrame(rows)


def progress(name, records):
    """How much of a study is recorded, as a sentence."""
    done = sum(r is not None for r in records)
    return f"**{study(name).title}**: {done} of {len(records)} runs recorded." + (" The others are not run yet." if done < len(records) else "")


def basis(desk, name, records):
    """On what data and from what weights a study's runs were made, as a sentence; "" where there is none."""
    r = next((r for r in records if r and r["arm"] != "floor"), None)
    if r is None:
        return ""
    others = desk.basis(name)[2] if desk.profile == "paper" else 0
    text = f"Made on {r['data']['name']} (fingerprint {r['data']['fingerprint']}) from the weights {r['init']['name']} ({r['init']['fingerprint']})."
    return text + (f" {others} more recorded {'run' if others == 1 else 'runs'} of this study, on other data or weights, are left out." if others else "")


def gate(records):
    """Whether the dense network is good enough for a claim about pruning: `(passed, sentence)`; None without both rows."""
    table = plots.tidy(records)
    if table.empty or not {"floor", "dense"} <= set(table.arm):
        return None
    dense, floor = (table[table.arm == arm].rms.mean() for arm in ("dense", "floor"))
    passed = dense < (1 - GATE) * floor
    text = f"dense rms {dense:.3f} m against {floor:.3f} m of the mean depth map, {100 * (1 - dense / floor):.0f} % below it"
    if passed:
        return True, f"Gate passed: {text}."
    return False, (
        f'<span style="color:#c00">**Gate not passed: {text}; at least {100 * GATE:.0f} % is asked for. '
        "No conclusion about pruning is drawn from these runs.**</span>"
    )


def verdict(desk, found):
    """The closing paragraph of the paper, from what is recorded and no more.

    Args:
        desk: `experiments.Desk`; found: `{study: records}`, the profile's own study first.
    """
    records = next(iter(found.values()))
    paragraphs = []
    for name, rows in found.items():
        table = plots.tidy(rows)
        if table.empty:
            continue
        means = table.groupby(["arm", "density"], sort=False).rms.agg(["mean", "size"])
        parts = [f"{label({'arm': a, 'density': d})} {m:.3f} m (n = {int(n)})" for (a, d), (m, n) in means.iterrows()]
        paragraphs.append(f"**{name.capitalize()} runs**, pooled test rms: " + ", ".join(parts) + ".")
        if checked := gate(rows):
            paragraphs.append(checked[1])
    if desk.profile == "quick":
        text = f"This is a quick build on {desk.frames.name}: a demonstration of the pipeline. It says nothing about the question."
    elif all(r is None for r in records):
        text = "No run of the full study is recorded yet, so the question is **open** and no conclusion is drawn here."
    elif any(r is None for r in records):
        text = "The full study is not complete; what is recorded stands above, and no conclusion is drawn before it is."
    else:
        text = "The full study is complete; the tests of the analysis plan decide."
    return "\n\n".join([text, *paragraphs])


def results(desk):
    """The README's account of the results, Markdown, rendered from the recorded runs."""
    parts = []
    for name in ("paper", "pilot"):
        records = desk.records(name)
        parts.append(progress(name, records))
        if any(r and r["arm"] != "floor" for r in records):
            parts.append(markdown(comparison(records, desk.find(PUBLISHED_FLOOR))))
    return "\n\n".join(parts)


def markdown(table):
    """A DataFrame of texts as a Markdown table."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def refresh(readme, text):
    """Put `text` between the marks `<!-- results -->` and `<!-- /results -->` of a README; returns the new README."""
    head, _, rest = readme.partition("<!-- results -->\n")
    _, _, tail = rest.partition("<!-- /results -->")
    return f"{head}<!-- results -->\n{text}\n<!-- /results -->{tail}"
