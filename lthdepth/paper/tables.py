"""The paper's tables of scores, rendered from records and from the published numbers; `findings` has those of the analysis plan."""

import re
from pathlib import Path

import pandas as pd

from ..config import PUBLISHED_FLOOR
from ..runs.run import label
from ..runs.studies import study
from . import plots

DATA = {"nyu": "NYU Depth V2", "rooms": "built-in rooms"}  # data sets by the name in their records
HEADINGS = {"rel": "rel", "rms": "rms (m)", "delta1": "δ1", "delta2": "δ2", "delta3": "δ3"}


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
        rows.append(
            {
                "model": p.model,
                **{h: f"{getattr(p, m):.3f}" for m, h in HEADINGS.items()},
                "runs": "–",
                "protocol": p.protocol,
            }
        )
    if floor:
        row = scores([floor]).iloc[0].to_dict() | {
            "model": "mean depth map, scored as the paper under test was"
        }
        rows.append(
            {
                **row,
                "protocol": f"its last {floor['test']['frames']} validation frames, pooled, at {floor['data']['height']} rows",
            }
        )
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


def progress(name, records, lost=0):
    """How much of a study is recorded, how many runs have no result (`Desk.lost`) and whether IMP is shortened, in sentences."""
    done = sum(r is not None for r in records)
    said = f"**{study(name).title}**: {done} of {len(records)} runs recorded."
    if lost:
        said += f" {lost} diverged, or {'follows' if lost == 1 else 'follow'} from one that did, and {'has' if lost == 1 else 'have'} no result."
    if done + lost < len(records):
        said += " The others are not run yet."
    short = next((c for c in study(name).configs if c.arm == "imp" and c.round_epochs), None)
    if short and any(r and r["arm"] == "imp" for r in records):
        said += f" IMP is shortened: its earlier rounds last {short.round_epochs} epoch{'s' * (short.round_epochs > 1)}, its last one {short.epochs}."
    return said


def basis(desk, name, records):
    """On what data and from what weights a study's runs were made, as a sentence; "" where there is none."""
    r = next((r for r in records if r and r["arm"] != "floor"), None)
    if r is None:
        return ""
    others = desk.basis(name)[2] if desk.profile == "paper" else 0
    init, name = r["init"], r["data"]["name"]
    weights = (
        init["description"]
        if init["name"] == "none"
        else f"{init['name']}, {init['description']} (fingerprint {init['fingerprint']})"
    )
    text = f"Made on {DATA.get(name, name)} (fingerprint {r['data']['fingerprint']}). Initial weights: {weights}."
    return text + (
        f" {others} more recorded {'run' if others == 1 else 'runs'} of this study, on other data or weights, are left out."
        if others
        else ""
    )


def verdict(desk, analyses):
    """What may be concluded, a paragraph a study (Markdown): the closing words of the paper.

    Args:
        desk: `desk.Desk`; analyses: `{study: verdict.Analysis}`.
    """
    said = [f"{study(name).title}. {analysis.sentence()}" for name, analysis in analyses.items()]
    if desk.profile == "quick":
        said.insert(
            0,
            f"This is a quick build on {DATA.get(desk.frames.name, desk.frames.name)}: a demonstration of the pipeline. It says nothing about the question.",
        )
    return "\n\n".join(said)


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


def sides(table):
    """For each column of a DataFrame of texts, "right" where it holds numbers, signed or not, and "left" where words."""
    number = re.compile(r"(< ?)?[+−-]?\d|[–-]$|nan$|not run yet$")
    return ["right" if all(map(number.match, column)) else "left" for _, column in table.astype(str).items()]


def plain(text):
    """Markdown of one sentence or more as plain text, without marks."""
    return re.sub(r"<[^>]*>|\*+", "", text)


def speed(folder):
    """The README's account of speed and memory, Markdown, from the tables that the benchmarks wrote into a folder."""
    parts = []
    for path in sorted(folder.glob("bench_*.csv")):
        found = pd.read_csv(path, dtype=str, keep_default_na=False)
        parts.append(f"Measured on {found['note'][0]}:")
        parts.append(markdown(found[1:]))
    return "\n\n".join([*parts, markdown(pd.read_csv(folder / "memory.csv", dtype=str))])


def refresh(readme, text, mark="results"):
    """Put `text` between the marks `<!-- results -->` and `<!-- /results -->` of a README; returns the new README."""
    head, _, rest = readme.partition(f"<!-- {mark} -->\n")
    _, _, tail = rest.partition(f"<!-- /{mark} -->")
    return f"{head}<!-- {mark} -->\n{text}\n<!-- /{mark} -->{tail}"
