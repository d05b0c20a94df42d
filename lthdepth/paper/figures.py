"""Save, show and explain the paper's figures and tables, each with a sidecar that says where it came from."""

import base64
import hashlib
import io
import json
from collections import Counter
from html import escape
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from IPython.display import HTML, Markdown, display
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle

from ..errors import UserError
from ..files import write_atomic
from ..runs.record import Record
from ..runs.run import ROOT, Store
from . import tables

DPI = 160  # of bitmaps
NUMBERS = ("test", "validation", "curves", "densities", "ticket")  # what of a record a figure can show


def style():
    """The one look of all figures, whatever a person's own matplotlibrc says; colour-blind safe."""
    matplotlib.rcdefaults()
    seaborn.set_theme("notebook", "ticks", "colorblind")
    plt.rcParams["font.sans-serif"] = ["DejaVu Sans"]  # comes with matplotlib: the same on every machine
    for name, size in (("axes.labelsize", 10), ("xtick.labelsize", 9), ("ytick.labelsize", 9)):
        plt.rcParams[name] = size
    plt.rcParams.update({"legend.fontsize": 9, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.dpi": 100, "figure.constrained_layout.use": True, "pdf.fonttype": 42})


def say(text):
    """Show a paragraph of the paper, in Markdown, whose numbers come from records."""
    display(Markdown(text))


def folder(paper):
    """Where the figures of a profile go: the paper's are committed, the others are not."""
    return ROOT / "figures" if paper.profile == "paper" else ROOT / "build" / paper.profile / "figures"


def drop_older(paper, since):
    """Remove figures and tables that no notebook has made since a time (seconds since the epoch)."""
    for path in folder(paper).glob("*.*"):
        if path.stat().st_mtime < since:
            path.unlink()


def show(paper, figure, name, caption, sources=(), alt=""):
    """Save a figure as PNG and PDF with its sidecar, and display it with its caption.

    Args:
        paper: `study.Paper`; a quick profile puts a watermark on everything.
        figure: of matplotlib; None, where there is nothing to draw, shows nothing.
        name: file name without suffix; `[…](#fig-NAME)` refers to it.
        caption: plain text; alt: the picture in words, for those who cannot see it.
        sources: records that were drawn, and paths of files of the repository that numbers came from.
    """
    if figure is None:
        return
    if paper.profile == "quick":
        words, look = f"QUICK RUN on {paper.frames.name}\nnot a result", {"color": "crimson", "alpha": 0.22}
        look |= {"ha": "center", "va": "center", "rotation": 20, "fontsize": 22, "weight": "bold"}
        figure.text(0.5, 0.5, words, zorder=1000, **look)
    caption, png, pdf, csv = counted(caption, sources), io.BytesIO(), io.BytesIO(), drawn(figure)
    figure.savefig(png, dpi=DPI, metadata={"Software": None})
    undated = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    figure.savefig(pdf, format="pdf", metadata=undated | {"Title": name, "Subject": caption})
    width, height = (96 * figure.get_size_inches()).round().astype(int)
    plt.close(figure)
    coded = base64.b64encode(png.getvalue()).decode()
    forms = {"png": png.getvalue(), "pdf": pdf.getvalue()}
    said = _keep(paper, name, caption, sources, forms, csv or coded)
    address = f"data:text/csv;base64,{base64.b64encode(csv.encode()).decode()}"
    link = f'<a download="{name}.csv" href="{address}">CSV</a>' if csv else ""
    words = escape(alt or f"Figure: {name.replace('_', ' ')}", quote=True)
    picture = f'<img src="data:image/png;base64,{coded}" width="{width}" height="{height}" alt="{words}">'
    _display("fig", name, f"{picture}{_caption('fig', name, caption, _source(said, link))}")


def show_table(paper, table, name, caption, sources=()):
    """Save a DataFrame of texts as CSV and LaTeX, and display it, as `show` does a figure.

    Without rows it shows nothing; `[…](#tab-NAME)` refers to it.
    """
    if table.empty:
        return
    if not {"n", "pairs", "seeds", "seeds a level"} & {*table.columns}:  # then it says so row by row
        caption = counted(caption, sources)
    caption = f"{caption} {tables.notes(table)}".strip()
    marks = {s["data"]["fingerprint"] for s in sources if isinstance(s, dict)}
    if paper.profile == "quick" and (not marks or paper.frames.fingerprint in marks):
        caption = f"Quick run on {paper.frames.name}, not a result. {caption}"
    csv = tables.as_csv(table)
    forms = {"csv": csv, "tex": tables.as_latex(table, caption, name)}
    said = _keep(paper, name, caption, sources, forms, csv)
    _display("tab", name, f"{_caption('tab', name, caption)}{tables.as_html(table)}{_source(said)}")


def html(name, fragment, caption):
    """Show HTML with its own styles and script, which loads nothing, as a figure; caption: plain text."""
    _display("fig", name, f"{fragment}{_caption('fig', name, caption)}", ' class="live"')


def drawn(figure):
    """The numbers that a figure shows, read off it: CSV of panel, series, x and y; "" for pictures."""
    rows = []
    for k, ax in enumerate(figure.axes, 1):
        panel = f"{k}: {ax.get_ylabel() or 'y'} against {ax.get_xlabel() or 'x'}"
        points = [(drawing, drawing.get_xydata()) for drawing in ax.lines]
        points += [(c, c.get_offsets()) for c in ax.collections if isinstance(c, PathCollection)]
        bars = [bar for bar in ax.patches if isinstance(bar, Rectangle)]
        points += [(bar, [(bar.get_center()[0], bar.get_height())]) for bar in bars]
        for drawing, values in points:
            values = np.asarray(values, float)
            if drawing in ax.lines and drawing.get_transform() != ax.transData:  # a level has one coordinate
                values = np.where(np.ptp(values, 0) == 0, values, np.nan)[:1]
            rows += [(panel, drawing.get_label(), *point) for point in values.tolist()]
    table = pd.DataFrame(rows, columns=["panel", "series", "x", "y"])
    return table.to_csv(index=False, float_format="%.5g") if rows else ""


def counted(caption, sources):
    """The caption with the number of runs behind each configuration, unless it says so itself."""
    rows = [s for s in sources if isinstance(s, dict) and s["arm"] != "floor"]
    sizes = Counter((r["arm"], r["density"], Record(r).config.replace(seed=0)) for r in rows).values()
    if not sizes or "n = " in caption or "first seed" in caption:
        return caption
    low, high = min(sizes), max(sizes)
    count = low if low == high else f"{low} to {high}"
    return f"{caption} n = {count} {'run' if high == 1 else 'runs'} each."


def numbers(record):
    """Hash of what a figure can show of a record: with one digit changed it is another."""
    return short_hash(json.dumps([record.get(k) for k in NUMBERS], sort_keys=True).encode())


def fingerprint(path):
    """Hash of a file of the repository; "" where it is gone."""
    return short_hash((ROOT / path).read_bytes()) if (ROOT / path).is_file() else ""


def short_hash(content):
    """The first 12 hex digits of the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()[:12]


def sentences(sidecar):
    """Where a figure or table came from, a sentence each: runs, files, data, weights, commit and command."""
    used, lines = sidecar["runs"], []
    if used:
        minutes, devices = sum(r["seconds"] for r in used) / 60, sorted({r["device"] for r in used})
        spent = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.0f} hours"
        lines.append(f"Recorded runs shown: {len(used)}, {spent} of computing ({'; '.join(devices)}).")
        lines.append(f"Recorded at commit {', '.join(sorted(set(map(commit, used))))}.")
    elif sidecar["data"]:
        lines.append("No trained run went into it, only the data.")
    lines += [f"Numbers come from {path} (SHA-256 {mark}…)." for path, mark in sidecar["files"].items()]
    lines += [f"Data: {d['name']}, fingerprint {d['fingerprint']}." for d in sidecar["data"]]
    for w in sidecar["weights"]:
        lines.append(f"Initial weights: {w['name']} ({w['description']}), fingerprint {w['fingerprint']}.")
    return [*lines, f"Drawn by {sidecar['command']}; the numbers shown have the hash {sidecar['numbers']}."]


def explain(path, store=None):
    """Where a figure or table came from; which of its runs are not here, which of its files have changed.

    Raises UserError: it has no sidecar, or a damaged one.
    """
    beside, known = Path(path).with_suffix(".json"), (store or Store()).records()
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
        lines = [said["caption"], "", *sentences(said), ""]
        lines += [line(r) + ("" if r["key"] in known else ", not recorded here") for r in said["runs"]]
        changed = [file for file, mark in said["files"].items() if fingerprint(file) != mark]
    except (OSError, ValueError, KeyError, TypeError):
        where = "those of the paper are in figures/, those of a quick build in build/quick/figures/"
        raise UserError(f"{path} has no readable sidecar {beside.name}; {where}.") from None
    return "\n".join([*lines, *(f"{file} has changed since: build the paper again." for file in changed)])


def line(used):
    """A run of a sidecar in one line."""
    kept = f"{100 * used['density']:.4g} %"
    return f"{used['key']}  {used['study']}  {used['arm']} {kept}, seed {used['seed']}, commit {commit(used)}"


def commit(made):
    """A run's commit, with a + where there were changes that it does not hold."""
    return f"{made['commit']}{'+' if made['dirty'] else ''}" if made["commit"] else "unknown"


def _keep(paper, name, caption, sources, forms, content):
    """Write the forms of a figure or table, `{suffix: content}`, and last its sidecar, which is returned.

    sources: as `show`; without any it shows the data alone. content: text of the numbers shown, of which the
    sidecar keeps a hash. The same inputs give the same bytes.
    """
    records = [s for s in sources if isinstance(s, dict)]
    files = [s for s in sources if isinstance(s, str)]
    data = [r["data"] for r in records]
    if not records and not files:
        data = [paper.summary.description]
        files = ["results/nyu_summary.h5"] if paper.profile == "paper" else []
    weights = [r["init"] for r in records if r["arm"] != "floor"]
    kept = ("key", "study", "arm", "density", "seed", "commit", "dirty", "device", "seconds")
    said = {
        "name": name,
        "caption": caption,
        "command": f"./build.sh --profile {paper.profile}",
        "data": _distinct(data, ("name", "fingerprint")),
        "weights": _distinct(weights, ("name", "description", "fingerprint")),
        "files": {path: fingerprint(path) for path in files},
        "numbers": short_hash(content.encode()),
    }
    used = [{k: r[k] for k in kept} | {"numbers": numbers(r)} for r in records]
    rows = ",".join(f"\n  {json.dumps(r)}" for r in used)  # a line a run
    head = json.dumps(said, indent=1).removesuffix("\n}")
    for kind, text in (forms | {"json": f'{head},\n "runs": [{rows}]\n}}\n'}).items():
        write_atomic(folder(paper) / f"{name}.{kind}", text)
    return said | {"runs": used}


def _display(kind, name, content, look=""):
    display(HTML(f'<figure id="{kind}-{name}"{look}>{content}</figure>'))


def _caption(kind, name, caption, fold=""):
    """A caption; the site puts the number into the label."""
    return f'<figcaption><b data-label="{kind}-{name}"></b>{escape(caption)}{fold}</figcaption>'


def _source(sidecar, link=""):
    """A fold below a caption: where this comes from; the site adds links to the files."""
    rows = "".join(f"<li>{escape(line(r))}</li>" for r in sidecar["runs"])
    runs = f'<ul class="runs">{rows}</ul>' if rows else ""
    fold = f'<p>{escape(" ".join(sentences(sidecar)))}</p>{runs}<p class="files">{link}</p>'
    return f'<details class="source"><summary>Where this comes from</summary>{fold}</details>'


def _distinct(rows, names):
    return pd.DataFrame(rows, columns=list(names)).drop_duplicates().to_dict("records")
