"""The paper's tables: DataFrames of texts, and how one looks as HTML, Markdown, LaTeX and CSV.

In the cells `**…**` is the best of a column. `table.attrs` may hold `group`, a column whose values become
headings, and `notes`, `{mark: text}`, which belong into the caption.
"""

import re
from html import escape
from pathlib import Path

import pandas as pd

from ..analysis import budget as plan
from ..analysis.postmortem import measured, order
from ..config import ARMS, WHOLE, level
from ..data.augment import smaller
from ..runs.record import label
from ..runs.store import ROOT
from ..runs.studies import SOUND

FOLDER = Path(__file__).parent  # of what others published
DATA = {"nyu": "NYU Depth V2", "rooms": "built-in rooms"}  # data sets by the name in their records
HEADINGS = {"rel": "rel", "rms": "rms (m)", "delta1": "δ1", "delta2": "δ2", "delta3": "δ3"}
MARKS = "ᵃᵇᶜᵈᵉᶠᵍʰ"  # of footnotes
LONG = 16  # rows, beyond which a page folds a table
WIDE = 48  # letters of the longest words of all columns, beyond which a phone shows a row as a list
NUMBER = re.compile(r"(\*\*)?(< ?)?[+−-]?\d|[–-]$|nan$")

# What LaTeX takes for a command, and what pdfLaTeX's fonts do not have.
LATEX = {letter: rf"\{letter}" for letter in "&%$#_{}"} | {"–": "--", "’": "'", "“": "``", "”": "''"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "é": r"\'e"}
MATHS = {"→": r"\rightarrow", "<": "<", ">": ">", "−": "-", "×": r"\times", "±": r"\pm", "≤": r"\le"}
MATHS |= {"≥": r"\ge", "δ": r"\delta", "θ": r"\theta"} | dict(zip(MARKS, map("^{}".format, "abcdefgh")))
LATEX |= {letter: f"${command}$" for letter, command in MATHS.items()}


def _published():
    return pd.read_csv(FOLDER / "published.csv").to_dict("records")


def published_scores():
    """The scores of the paper under test as it published them: `{name: {metric: value}}`."""
    rows = [row for row in _published() if "paper under test" in row["model"]]
    return dict(zip(("published, dense", "published, sparse"), rows, strict=True))


def published_curves():
    """The transfer curves of Chen et al. (2021), read off their figures (how exactly: head of the file)."""
    return pd.read_csv(FOLDER / "chen2021.csv", comment="#")


def others_found():
    """What other studies of pruning found, a row each with its caveat and source (`others.csv`)."""
    return pd.read_csv(FOLDER / "others.csv")


def splits(description):
    """Frames, scenes and depth of each split of a data set (`Summary.description`)."""
    rows = [{"split": name} | part for name, part in description["splits"].items() if part["frames"]]
    table = pd.DataFrame(rows).rename(columns={"depth_mean": "mean depth (m)", "depth_std": "sd (m)"})
    table[["mean depth (m)", "sd (m)"]] = table[["mean depth (m)", "sd (m)"]].map("{:.3f}".format)
    return table[["split", "frames", "scenes", "mean depth (m)", "sd (m)"]]


def spread(values, digits=3):
    """Mean ± sample standard deviation; a single value stands alone."""
    values = pd.Series(values)
    return f"{values.mean():.{digits}f}" + (f" ± {values.std():.{digits}f}" if len(values) > 1 else "")


def protocol(records):
    """How scored records were evaluated, as a short text."""
    r = next(r for r in records if r and r["test"])
    return f"full frame, pooled, {r['test']['frames']} test frames at {r['data']['height']} rows"


def scores(records):
    """One row an arm and density: mean ± sd over seeds of every metric, in the order of the records."""
    table, rows = plan.scores(records), []
    if table.empty:
        return table
    for (arm, density), part in table.groupby(["arm", "density"], sort=False):
        row = {"model": label({"arm": arm, "density": density})}
        rows.append(row | {h: spread(part[m]) for m, h in HEADINGS.items()} | {"n": str(len(part))})
    return pd.DataFrame(rows)


def comparison(records, floor=None):
    """The paper's table: published rows with their floor (record of `studies.PUBLISHED_FLOOR`, or None), then
    ours by density, the best of ours marked; protocols are notes.
    """
    rows = []
    for p in _published():
        row = {"group": "published", "model": p["model"], "n": "–", "protocol": p["protocol"]}
        rows.append(row | {h: f"{p[m]:.3f}" for m, h in HEADINGS.items()})
    if floor:
        row = {"group": "published", "model": "mean depth map (scored as theirs)"}
        frames, height = floor["test"]["frames"], floor["data"]["height"]
        row["protocol"] = f"its last {frames} validation frames, pooled, at {height} rows"
        rows.append(scores([floor]).iloc[0].to_dict() | row)
    ours = scores(records)
    if not ours.empty:
        for heading in HEADINGS.values():
            value = ours[heading].str.partition(" ")[0].astype(float)
            best = value == (value.max() if heading.startswith("δ") else value.min())
            ours.loc[best, heading] = "**" + ours.loc[best, heading] + "**"
        parts = ours.model.str.extract(r"^(.*?)(?: ([\d.]+ %))?$")
        ours["model"] = parts[0]
        ours["group"] = ("ours, " + parts[1] + " of the prunable weights").fillna("ours, whole")
        ours["protocol"] = protocol(records)
    table = pd.concat([pd.DataFrame(rows), ours], ignore_index=True)
    protocols = dict(zip(table.protocol.unique(), MARKS, strict=False))
    table["model"] += table.pop("protocol").map(protocols)
    places = {name: i for i, name in enumerate(table.group.unique())}
    table = table.sort_values("group", key=lambda names: names.map(places), kind="stable")
    table.attrs = {"group": "group", "notes": {mark: text for text, mark in protocols.items()}}
    return table[["group", "model", *HEADINGS.values(), "n"]]


def front(paper, floor):
    """The front page's table: what was published, the floor, dense, half the weights, tickets of 1.80 %."""
    tickets = ("omp", level(3)), *((arm, plan.LEVEL) for arm in ("omp", "gradual", "imp", "lrr"))
    shown = [r for r in paper.main if r["arm"] in WHOLE or (r["arm"], r["density"]) in tickets]
    return comparison(shown, floor)[["group", "model", "rel", "rms (m)", "δ1", "n"]]


def densities(records):
    """What each ticket leaves, in the four senses: a row an arm and density, of the first seed."""
    rows = {}
    for r in records:
        if r and (d := r.get("densities")) and label(r) not in rows:
            row = {"ticket": label(r), "weights kept": f"{d['counts']['kept']:,}"}
            row |= {f"of the {part}": f"{100 * d[part]:.2f} %" for part in ("prunable", "encoder", "network")}
            rows[label(r)] = row | {"of the multiply-adds": f"{100 * d['mac']:.2f} %"}
    return pd.DataFrame(rows.values())


def recipe(records):
    """Settings compared on the validation scenes, by density and best first."""
    scored, rows = [(r, r["validation"]["full"]["pooled"]) for r in records if r], []
    for r, score in sorted(scored, key=lambda one: (-one[0]["density"], one[1]["rms"])):
        c = r["config"]
        row = {"group": label(r), "input": f"{c['height']}×{c['width']}", "epochs": c["epochs"]}
        row |= {"batch": c["batch"], "lr encoder": f"{c['lr_encoder']:g}"}
        row["augmentation"] = "full" if c["rotation"] else "mirroring"
        row["batch norm"] = "anew" if c["recalibrate"] else "running"
        small = "×".join(map(str, smaller((c["height"], c["width"]))))
        tricks = ("average", "mean weights of the last {}"), ("progressive", f"first {{}} at {small}")
        used = [words.format(f"{100 * c[name]:.0f} %") for name, words in tricks if c.get(name)]
        row["besides"] = ", ".join(used) or "–"
        rows.append(row | {HEADINGS[m]: f"{score[m]:.3f}" for m in ("rms", "rel", "delta1")})
    table = pd.DataFrame(rows)
    table.attrs = {"group": "group"}
    return table


# The verdict. Without the gate passed the plan shows no test (`budget.Analysis.passed`).


def tickets(analysis):
    """Every ticket of a `budget.Analysis` against the dense network, as the plan asks."""
    rows = []
    for r in analysis.tickets.itertuples():
        row = {"ticket": label(r._asdict()), "pairs": str(r.n)}
        row["difference (m)"] = signed(r.difference) + (f" ± {r.sd:.3f}" if r.n > 1 else "")
        row["95 % over seeds"] = interval(r.low, r.high)
        row["95 % over scenes"] = interval(r.scene_low, r.scene_high)
        if analysis.passed:
            row |= {"p non-inferior": p_value(r.holm), "p equivalent": p_value(r.equivalence)}
            row["p sign flip"] = p_value(r.sign_flip)
            row["within 1 sd"] = {None: "–", True: "yes", False: "no"}[r.chen]
            row["outcome"] = analysis.outcome(r)
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "–").any()]  # with one seed most columns are empty


def controls(analysis):
    """How much worse each control is than the primary arm: `Analysis.controls` as text."""
    rows = []
    for r in analysis.controls.itertuples():
        row = {"control": label(r._asdict()), "pairs": r.n, "difference (m)": signed(r.difference)}
        row["95 % over seeds"] = interval(r.low, r.high)
        rows.append(row | ({"p worse": p_value(r.holm)} if analysis.passed else {}))
    return pd.DataFrame(rows)


def break_even(analysis):
    """Down to which density each arm keeps up with the dense network: `Analysis.break_even` as text."""
    rows = []
    for r in analysis.break_even.itertuples():
        row = {"ticket": ARMS[r.arm], "levels": r.levels, "seeds a level": f"{r.seeds} or more"}
        row |= {"break-even density": plan.density(r, r.density), "95 % interval": plan.density_interval(r)}
        if analysis.passed:
            row["non-inferior down to"] = "–" if pd.isna(r.shown) else f"{100 * r.shown:.2f} %"
        rows.append(row)
    return pd.DataFrame(rows)


def movement(verdict):
    """The break-even density at every budget: `Verdict.movement` as text."""
    rows = []
    for r in verdict.movement.itertuples():
        seeds = f"{r.fewest}–{r.seeds}" if r.fewest < r.seeds else r.seeds
        row = {"epochs": r.epochs, "seeds": seeds, "break-even density": plan.density(r, r.density)}
        seeds = "; ".join(f"seed {seed}: {place}" for seed, place in r.by_seed.items())
        rows.append(row | {"95 % interval": plan.density_interval(r), "each seed": seeds})
    return pd.DataFrame(rows)


def closing(verdict):
    """Whether a ticket's loss shrinks as both train for longer: `Verdict.closing` as text."""
    rows = []
    for r in verdict.closing.itertuples():
        row = {"ticket": label(r._asdict()), "pairs": r.n}
        row |= {f"loss after {r.start} epochs (m)": signed(r.first), f"after {r.end}": signed(r.last)}
        rows.append(row | {"change (m)": signed(r.change), "95 % over seeds": interval(r.low, r.high)})
    return pd.DataFrame(rows)


def protocols(analysis):
    """Whether the protocol matters: mean difference in rms (m) from dense under each, a row a ticket."""
    rows = []
    for r in analysis.protocols.to_dict("records"):
        row = {"ticket": label(r), "pairs": r["n"]}
        rows.append(row | {k: signed(v) for k, v in r.items() if k not in ("arm", "density", "n")})
    return pd.DataFrame(rows)


def others():
    """What other studies of pruning found."""
    rows = []
    for r in others_found().fillna("").itertuples():
        numbers = f"{r.metric} {r.dense:g} → {r.sparse:g} ({r.how})" if r.dense else r.how
        row = {"work": r.work, "task, network": r.task, "kept": f"{r.kept:g} %", "found": numbers}
        rows.append(row | {"caveat": r.caveat, "source": r.source})
    return pd.DataFrame(rows)


def simulated():
    """The simulated coverage, size and power of the statistics (`benchmarks/simulate.py`), in part."""
    table = pd.read_csv(ROOT / "benchmarks" / "statistics.csv")
    table = table[table.seeds.isin((1, 3, 6)) & ~table.quantity.str.startswith("power of equivalence")]
    table["should be"] = table.nominal.map("{:.2f}".format, na_action="ignore").fillna("–")
    table["is"] = [f"{v:.3f} ± {e:.3f}" for v, e in zip(table.found, table["standard error"], strict=True)]
    rows = ["quantity", "seeds", "should be"]
    wide = table.pivot_table("is", rows, "differences", "first", sort=False).fillna("–").reset_index()
    names = {"normal": "normal differences", "skewed": "skewed differences"}
    return wide.rename(columns=names).rename_axis(columns=None)


def against_floor(floor):
    """The published rows of the paper under test beside the mean depth map on their frames, its record."""
    rows = published_scores()
    if floor:
        rows["mean depth map, over all pixels"] = floor["test"]["full"]["pooled"]
        rows["mean depth map, averaged over images"] = floor["test"]["full"]["per_image"]
    return pd.DataFrame(
        [{"model": k} | {h: f"{s[m]:.3f}" for m, h in HEADINGS.items()} for k, s in rows.items()]
    )


def postmortem(rows):
    """A line a row of a grid that has runs (`Paper.postmortem`): mean ± sd over seeds, and how far it is from
    the sound network to the floor.
    """
    runs, lines = measured(rows), []
    for row in order(rows):
        part = runs[runs.row == row] if len(runs) else runs
        if part.empty:
            continue
        sound, here = runs[runs.row == SOUND]["rms/floor"].mean(), part["rms/floor"].mean()
        way = (here - sound) / (1 - sound)
        line = {"defect": row} | {HEADINGS[m]: spread(part[m]) for m in ("rms", "rel", "delta1")}
        line |= {"floor's rms (m)": f"{part.floor.mean():.3f}", "rms / floor's": f"{here:.3f}"}
        line["way to the floor"] = "–" if pd.isna(way) else f"{100 * way:.0f} %"
        lines.append(line | {"runs": len(part)})
    return pd.DataFrame(lines)


def speed(folder):
    """The account of speed and memory in `docs/speed.md`, from the benchmarks' tables in a folder."""
    parts = []
    for path in sorted(folder.glob("bench_*.csv")):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        parts += [f"Measured on {table['note'][0]}:", markdown(table[1:])]
    return "\n\n".join([*parts, markdown(pd.read_csv(folder / "memory.csv", dtype=str))])


def signed(value):
    """A difference in metres."""
    return f"{round(value, 3) + 0.0:+.3f}"  # no -0.000


def interval(low, high):
    """An interval of a difference in metres; a dash for none."""
    return "–" if pd.isna(low) else f"{signed(low)} to {signed(high)}"


def p_value(p):
    """A p value; a dash for none."""
    return "–" if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def markdown(table):
    """A DataFrame of texts as a Markdown table, its notes below."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).values.tolist()]
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{rows}\n\n{notes(table)}" if notes(table) else rows


def as_html(table):
    """A DataFrame of texts as an HTML table: groups under headings, deviations small, a long one folded."""
    group = table.attrs.get("group")
    shown = (table.drop(columns=group) if group else table).astype(str)
    columns = list(zip(shown.columns, sides(shown), strict=True))
    words = [" ".join([name, *shown[name]]).replace("*", "").split() for name in shown.columns]
    wide = sum(1 + max(map(len, column)) for column in words) > WIDE
    head = "".join(f'<th scope="col" class="{side}">{escape(name)}</th>' for name, side in columns)
    rows = [f'<table class="dataframe{" wide" if wide else ""}"><thead><tr>{head}</tr></thead><tbody>']
    headings = table[group].mask(table[group].duplicated()).tolist() if group else [None] * len(table)
    for heading, texts in zip(headings, shown.values.tolist(), strict=True):
        if isinstance(heading, str):
            rows.append(f'<tr class="group"><th colspan="{len(columns)}">{escape(heading)}</th></tr>')
        cells = ""
        for (name, side), text in zip(columns, texts, strict=True):
            text = re.sub(r"(\d) %", r"\1&nbsp;%", escape(text))
            text = re.sub(r" ± ([\d.]+)", r" <small>± \1</small>", text)
            text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
            cells += f'<td class="{side}" data-column="{escape(name)}">{text}</td>'
        rows.append(f"<tr>{cells}</tr>")
    text = "\n".join([*rows, "</tbody></table>"])
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
