"""The paper's tables of scores, and how a table of texts looks as HTML, Markdown, LaTeX and CSV.

In the cells `**…**` is the best of a column. `table.attrs` may hold `group`, a column whose values become
headings, and `notes`, `{mark: text}`, which belong into the caption.
"""

import re
from html import escape
from itertools import cycle
from pathlib import Path

import pandas as pd

from ..runs.record import label
from ..runs.studies import study
from . import plots

DATA = {"nyu": "NYU Depth V2", "rooms": "built-in rooms"}  # data sets by the name in their records
HEADINGS = {"rel": "rel", "rms": "rms (m)", "delta1": "δ1", "delta2": "δ2", "delta3": "δ3"}
MARKS = "ᵃᵇᶜᵈᵉᶠᵍʰ"  # of footnotes
LONG = 16  # rows, beyond which a page folds a table
WIDE = 48  # letters of the longest words of all columns, beyond which a phone shows a row as a list
NUMBER = re.compile(r"(\*\*)?(< ?)?[+−-]?\d|[–-]$|nan$|not run yet$")

# What LaTeX takes for a command, and what pdfLaTeX's fonts do not have.
LATEX = {letter: rf"\{letter}" for letter in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {
    "→": r"$\rightarrow$",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}
LATEX |= {"δ": r"$\delta$", "θ": r"$\theta$", "–": "--", "’": "'", "“": "``", "”": "''", "é": r"\'e"}
LATEX |= {mark: f"$^{letter}$" for mark, letter in zip(MARKS, "abcdefgh", strict=True)}


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
    """The paper's table: published rows, then ours by density, the best of ours marked; protocols are notes.

    floor: record of `config.PUBLISHED_FLOOR`, which belongs beside the published rows; None leaves it out.
    """
    rows = []
    for p in published().itertuples():
        values = {h: f"{getattr(p, m):.3f}" for m, h in HEADINGS.items()}
        rows.append({"group": "published", "model": p.model, **values, "n": "–", "protocol": p.protocol})
    if floor:
        row = {"group": "published", "model": "mean depth map, scored as the paper under test was", "n": "1"}
        frames, height = floor["test"]["frames"], floor["data"]["height"]
        row["protocol"] = f"its last {frames} validation frames, pooled, at {height} rows"
        rows.append(scores([floor]).iloc[0].to_dict() | row)
    ours = scores(records).rename(columns={"runs": "n"})
    if not ours.empty:
        for heading in HEADINGS.values():
            value = ours[heading].str.partition(" ")[0].astype(float)
            best = value == (value.max() if heading.startswith("δ") else value.min())
            ours.loc[best, heading] = "**" + ours.loc[best, heading] + "**"
        parts = ours.model.str.extract(r"^(.*?)(?: ([\d.]+ %))?$")
        ours["model"] = parts[0]
        ours["group"] = ("ours, " + parts[1] + " of the prunable weights").fillna("ours, whole")
        ours["protocol"] = protocol(records)
        rows += ours.astype({"n": str}).to_dict("records")
    table = pd.DataFrame(rows)
    protocols = dict(zip(table.protocol.unique(), MARKS, strict=False))
    table["model"] += table.pop("protocol").map(protocols)
    order = {name: i for i, name in enumerate(table.group.unique())}
    table = table.sort_values("group", key=lambda names: names.map(order), kind="stable")
    table.attrs = {"group": "group", "notes": {mark: text for text, mark in protocols.items()}}
    return table[["group", "model", *HEADINGS.values(), "n"]]


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
    """Settings compared on the validation scenes, by density and best first."""
    rows = []
    for r in sorted(
        (r for r in records if r), key=lambda r: (-r["density"], r["validation"]["full"]["pooled"]["rms"])
    ):
        c, score = r["config"], r["validation"]["full"]["pooled"]
        rows.append(
            {
                "group": label(r),
                "input": f"{c['height']}×{c['width']}",
                "epochs": c["epochs"],
                "batch": c["batch"],
                "lr encoder": f"{c['lr_encoder']:g}",
                "augmentation": "full" if c["rotation"] else "mirroring",
                "batch norm": "anew" if c["recalibrate"] else "running",
                "rms (m)": f"{score['rms']:.3f}",
                "rel": f"{score['rel']:.3f}",
                "δ1": f"{score['delta1']:.3f}",
            }
        )
    table = pd.DataFrame(rows)
    table.attrs = {"group": "group"}
    return table


def progress(name, records, lost=0):
    """How much of a study is recorded, what of it has no result, and whether IMP is shortened."""
    done = sum(r is not None for r in records)
    said = f"**{study(name).title}**: {done} of {len(records)} runs recorded."
    if lost:
        said += f" {lost} diverged or follow from one that did, and have no result."
    if done + lost < len(records):
        said += " The others are not run yet."
    short = next((c for c in study(name).configs if c.arm == "imp" and c.round_epochs), None)
    if short and any(r and r["arm"] == "imp" for r in records):
        early = "1 epoch" if short.round_epochs == 1 else f"{short.round_epochs} epochs"
        said += f" IMP is shortened: its earlier rounds last {early}, its last one {short.epochs}."
    return said


def basis(paper, name, records):
    """On what data and from what weights a study's runs were made, as a sentence; "" where there is none."""
    r = next((r for r in records if r and r["arm"] != "floor"), None)
    if r is None:
        return ""
    others = paper.basis(name)[2] if paper.profile == "paper" else 0
    init, data = r["init"], DATA.get(r["data"]["name"], r["data"]["name"])
    weights = f"{init['name']}, {init['description']} (fingerprint {init['fingerprint']})"
    if init["name"] == "none":
        weights = init["description"]
    text = f"Made on {data} (fingerprint {r['data']['fingerprint']}). Initial weights: {weights}."
    return f"{text} Left out: {others} of its runs on other data or weights." if others else text


def markdown(table):
    """A DataFrame of texts as a Markdown table, its notes below."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{rows}\n\n{notes(table)}" if notes(table) else rows


def as_html(table):
    """A DataFrame of texts as an HTML table: groups under headings, deviations small, a long one folded."""
    group = table.attrs.get("group")
    shown = (table.drop(columns=group) if group else table).astype(str)
    columns = cycle(zip(sides(shown), shown.columns, strict=True))

    def cell(match):
        side, name = next(columns)
        label = f' data-column="{escape(name)}"' if match[1] == "td" else ' scope="col"'
        return f'<{match[1]} class="{side}"{label}>'

    words = [" ".join([name, *shown[name]]).replace("*", "").split() for name in shown.columns]
    wide = sum(1 + max(map(len, column)) for column in words) > WIDE
    with pd.option_context("display.max_colwidth", None):
        text = shown.to_html(index=False, border=0, classes="wide" if wide else None)
    text = re.sub(r"<(t[hd])>", cell, text.replace(' style="text-align: right;"', ""))
    text = re.sub(r" ± ([\d.]+)", r" <small>± \1</small>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    if group:
        head, body, rows = text.partition("<tbody>")
        rows, first = rows.split("    <tr>"), ~table[group].duplicated()
        for k in range(len(table)):
            name = f'<th colspan="{len(shown.columns)}">{escape(table[group].iloc[k])}</th>'
            heading = f'<tr class="group">{name}</tr>' if first.iloc[k] else ""
            rows[k + 1] = f"{heading}<tr>{rows[k + 1]}"
        text = head + body + "".join(rows)
    summary = f"<summary>The table: {len(table)} rows</summary>"
    return f'<details class="fold">{summary}{text}</details>' if len(table) > LONG else text


def as_csv(table):
    """A DataFrame of texts as CSV."""
    return table.astype(str).replace(r"\*\*", "", regex=True).to_csv(index=False)


def as_latex(table, caption, name):
    """A DataFrame of texts as a LaTeX `table` with the label `tab:NAME`; it needs booktabs alone."""
    cells = table.astype(str).map(latex).set_axis(map(latex, table.columns), axis=1)
    named = {"caption": latex(caption), "label": f"tab:{name}"}
    columns = "".join(side[0] for side in sides(table))
    text = cells.to_latex(index=False, escape=False, column_format=columns, **named)
    return text.replace("{table}\n", "{table}\n\\centering\n", 1)


def latex(text):
    """Any text as LaTeX; `**…**` is bold."""
    safe = "".join(LATEX.get(letter, letter) for letter in str(text))
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", safe)


def notes(table):
    """The notes of a table as a sentence each; "" where it has none."""
    return " ".join(f"{mark} {text.rstrip('.')}." for mark, text in table.attrs.get("notes", {}).items())


def sides(table):
    """For each column of a DataFrame of texts, "right" where it holds numbers, signed or not, else "left"."""
    return ["right" if all(map(NUMBER.match, column)) else "left" for _, column in table.astype(str).items()]


def plain(text):
    """Markdown of one sentence or more as plain text, without marks."""
    return re.sub(r"<[^>]*>|\*+", "", text)


def speed(folder):
    """The README's account of speed and memory, Markdown, from the benchmarks' tables in a folder."""
    parts = []
    for path in sorted(folder.glob("bench_*.csv")):
        found = pd.read_csv(path, dtype=str, keep_default_na=False)
        parts.append(f"Measured on {found['note'][0]}:")
        parts.append(markdown(found[1:]))
    return "\n\n".join([*parts, markdown(pd.read_csv(folder / "memory.csv", dtype=str))])


def refresh(readme, text, mark="results"):
    """A README with `text` between its marks `<!-- results -->` and `<!-- /results -->`."""
    head, _, rest = readme.partition(f"<!-- {mark} -->\n")
    _, _, tail = rest.partition(f"<!-- /{mark} -->")
    return f"{head}<!-- {mark} -->\n{text}\n<!-- /{mark} -->{tail}"
