"""Save and show the paper's figures and tables, each with a sidecar that says where it came from."""

import base64
import io
from collections import Counter
from html import escape

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle

from ..files import write_atomic
from ..runs.record import Record
from ..runs.run import ROOT
from . import provenance, tables

DPI = 160  # of bitmaps


def style():
    """The one look of all figures, whatever a person's own matplotlibrc says; colour-blind safe."""
    matplotlib.rcdefaults()
    plt.style.use([f"seaborn-v0_8-{part}" for part in ("ticks", "notebook", "colorblind")])
    plt.rcParams["font.sans-serif"] = ["DejaVu Sans"]  # comes with matplotlib: the same on every machine
    for name, size in (("axes.labelsize", 10), ("xtick.labelsize", 9), ("ytick.labelsize", 9)):
        plt.rcParams[name] = size
    plt.rcParams.update({"legend.fontsize": 9, "axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.dpi": 100, "figure.constrained_layout.use": True, "pdf.fonttype": 42})


def say(text):
    """Show a paragraph of the paper, in Markdown, whose numbers come from records."""
    display(Markdown(text))


def of_runs(text, records):
    """A number of a paragraph, such as "0.61 m", that the site shows with the runs it comes from."""
    keys = " ".join(r["key"] for r in records if r)
    return f'<span data-runs="{keys}">{escape(text)}</span>'


def folder(paper):
    """Where the figures of a profile go: the paper's are committed, the others are not."""
    return ROOT / "figures" if paper.profile == "paper" else ROOT / "build" / paper.profile / "figures"


def drop_older(paper, since):
    """Remove figures and tables that no notebook has made since a time (seconds since the epoch)."""
    for path in folder(paper).glob("*.*"):
        if path.stat().st_mtime < since:
            path.unlink()


def show(paper, figure, name, caption, sources=(), alt="", **more):
    """Save a figure as PNG and PDF with its sidecar, and display it with its caption.

    Args:
        paper: where the records came from; a quick profile puts a watermark on everything.
        figure: matplotlib figure; None, where there is nothing to draw, shows nothing.
        name: file name without suffix; `[…](#fig-NAME)` refers to it.
        caption: plain text.
        sources: records that were drawn, and paths of files of the repository that numbers came from.
        alt: the picture in words, for those who cannot see it.
        more: `files`, paths beside `sources`.
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
    forms = {"png": png.getvalue(), "pdf": pdf.getvalue()}
    sidecar = _keep(paper, name, caption, [*sources, *(more.get("files") or ())], forms | {"csv": csv})
    words = escape(alt or f"Figure: {name.replace('_', ' ')}", quote=True)
    source = f"data:image/png;base64,{base64.b64encode(forms['png']).decode()}"
    address = f"data:text/csv;base64,{base64.b64encode(csv.encode()).decode()}"
    link = f'<a download="{name}.csv" href="{address}">CSV</a>'
    text = f"{_caption('fig', name, caption)}{_source(sidecar, link if csv else '')}</figcaption>"
    picture = f'<img src="{source}" width="{width}" height="{height}" alt="{words}">'
    display(HTML(f'<figure id="fig-{name}">{picture}{text}</figure>'))


def show_table(paper, table, name, caption, sources=(), **more):
    """Save a table as CSV and LaTeX with its sidecar, and display it with its caption.

    Args:
        table: pandas DataFrame of texts, as `tables.as_html`; one without rows shows nothing.
        paper, name, caption, sources, more: as `show`; `[…](#tab-NAME)` refers to it.
    """
    if table.empty:
        return
    caption = f"{counted(caption, sources)} {tables.notes(table)}".strip()
    marks = {s["data"]["fingerprint"] for s in sources if isinstance(s, dict)}
    if paper.profile == "quick" and (not marks or paper.frames.fingerprint in marks):
        caption = f"Quick run on {paper.frames.name}, not a result. {caption}"
    forms = {"csv": tables.as_csv(table), "tex": tables.as_latex(table, caption, name)}
    sidecar = _keep(paper, name, caption, [*sources, *(more.get("files") or ())], forms)
    text = f"{_caption('tab', name, caption)}</figcaption>{tables.as_html(table)}{_source(sidecar)}"
    display(HTML(f'<figure id="tab-{name}">{text}</figure>'))


def html(name, fragment, caption=""):
    """Show a piece of HTML with its own styles and script; with a caption it counts as a figure.

    Args:
        name: `[…](#fig-NAME)` refers to it.
        fragment: HTML that loads nothing from a network; its script finds it by the id `fig-NAME`.
        caption: plain text.
    """
    text = f"{_caption('fig', name, caption)}</figcaption>" if caption else ""
    display(HTML(f'<figure id="fig-{name}" class="live">{fragment}{text}</figure>'))


def drawn(figure):
    """The numbers that a figure shows, read off it: CSV of panel, series, x and y; "" for pictures."""
    rows = []
    for k, ax in enumerate(figure.axes, 1):
        panel = f"{k}: {ax.get_ylabel() or 'y'} against {ax.get_xlabel() or 'x'}"
        dots = [c for c in ax.collections if isinstance(c, PathCollection)]
        bars = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        for drawing in (*ax.lines, *dots, *bars):
            if drawing in dots:
                points = np.asarray(drawing.get_offsets(), float)
            elif drawing in bars:
                points = np.array([[drawing.get_center()[0], drawing.get_height()]])
            else:
                points = np.asarray(drawing.get_xydata(), float)
                if drawing.get_transform() != ax.transData:  # a level: it has one coordinate only
                    points = np.where(np.ptp(points, 0) == 0, points, np.nan)[:1]
            rows += [(panel, drawing.get_label(), *point) for point in points.tolist()]
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


def _keep(paper, name, caption, sources, forms):
    """Write the forms of a figure or table, `{suffix: content}`, and last its sidecar, which is returned.

    The CSV of a figure is not kept: the picture's numbers are in the records, and the sidecar has their hash.
    """
    path, content = folder(paper) / name, forms["csv"] or base64.b64encode(forms["png"]).decode()
    sidecar = provenance.sidecar(paper, name, caption, sources, content)
    for kind, text in forms.items():
        if kind != "csv" or "tex" in forms:
            write_atomic(path.with_name(f"{name}.{kind}"), text)
    write_atomic(path.with_name(f"{name}.json"), provenance.text(sidecar))
    return sidecar


def _caption(kind, name, caption):
    """The opening of a caption; the site puts the number into the label."""
    return f'<figcaption><b data-label="{kind}-{name}"></b>{escape(caption)}'


def _source(sidecar, link=""):
    """A fold below a caption: where this comes from; the site adds links to the files."""
    words = " ".join(map(escape, provenance.sentences(sidecar)))
    rows = "".join(f"<li>{escape(provenance.line(r))}</li>" for r in sidecar["runs"])
    runs = f'<ul class="runs">{rows}</ul>' if rows else ""
    fold = f'<p>{words}</p>{runs}<p class="files">{link}</p>'
    return f'<details class="source"><summary>Where this comes from</summary>{fold}</details>'
