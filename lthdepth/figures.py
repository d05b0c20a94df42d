"""Save and show the paper's figures and tables, each with a sidecar that says where it came from."""

import base64
import hashlib
import html
import io
import json
import os
from collections import Counter

import matplotlib.pyplot as plt
from IPython.display import HTML, Markdown, display
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import provenance, tables
from .alttext import describe
from .experiments import study
from .files import write_atomic
from .runs import ROOT

DPI = 160  # of bitmaps


def style():
    """The one look of all figures: seaborn's, without chart junk, colour-blind safe."""
    plt.style.use([f"seaborn-v0_8-{part}" for part in ("ticks", "notebook", "colorblind")])
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 100})
    plt.rcParams.update({"figure.constrained_layout.use": True, "pdf.fonttype": 42})


def say(text):
    """Show a paragraph of the paper whose numbers come from records."""
    display(Markdown(text))


def folder(desk):
    """Where the figures of a profile go: the paper's are committed, the others are not."""
    return ROOT / "figures" if desk.profile == "paper" else ROOT / "build" / desk.profile / "figures"


def drop_older(desk, since):
    """Remove figures and tables that no notebook has made since a time (seconds since the epoch): they tell of other runs."""
    for path in folder(desk).glob("*.*"):
        if path.stat().st_mtime < since:
            path.unlink()


def show(desk, figure, name, caption, records=(), note=None):
    """Save a figure as PNG and PDF with its sidecar, and display it with its caption.

    Args:
        desk: `experiments.Desk`; a quick profile puts a watermark on everything.
        figure: matplotlib figure, or None where there is nothing to draw yet: then only a sentence is shown.
        name: file name without suffix.
        caption: plain text. The alternative text is read off the figure itself.
        records: the records that were drawn, for the sidecar.
        note: overrides the sentence shown for None.
    """
    if figure is None:
        return say(f"*Not run yet.* {note or caption}")
    if desk.profile == "quick":
        figure.text(
            0.5, 0.5, f"QUICK RUN on {desk.frames.name}\nnot a result", ha="center", va="center", rotation=20,
            fontsize=22, color="crimson", alpha=0.22, weight="bold", zorder=1000,
        )  # fmt: skip
    elif studies := {r["study"] for r in records if r and r["arm"] != "floor"} - {desk.study.name}:
        title = "; ".join(study(name).title for name in sorted(studies))
        figure.suptitle(title, x=0.01, ha="left", fontsize=8, color="0.35")
    caption = _counted(caption, records)
    path, png = folder(desk) / name, io.BytesIO()
    figure.savefig(png, dpi=DPI, metadata={"Software": None})
    shown = png.getvalue()
    if sidecar := _keep(path, desk, provenance.source(desk, name, caption, records), shown):
        said, info, pdf = provenance.text(sidecar), PngInfo(), io.BytesIO()
        info.add_text("Description", said, zip=True)
        Image.open(png).convert("RGB").save(png := io.BytesIO(), "PNG", pnginfo=info, dpi=(DPI, DPI), optimize=True)
        write_atomic(path.with_suffix(".png"), png.getvalue())
        about = {"CreationDate": None, "Creator": None, "Producer": None, "Title": name, "Subject": caption, "Keywords": said}
        figure.savefig(pdf, format="pdf", metadata=about)
        write_atomic(path.with_suffix(".pdf"), pdf.getvalue())
        write_atomic(path.with_suffix(".json"), said)
    words = describe(figure)
    plt.close(figure)
    _display(path.with_suffix(".png").read_bytes(), "png", name, caption, words)


def show_animation(desk, gif, name, caption, alt):
    """Save and display an animation (bytes of a GIF) as `show` does a figure; `alt` says what is seen."""
    path = folder(desk) / name
    if sidecar := _keep(path, desk, provenance.source(desk, name, caption, ()), gif):
        write_atomic(path.with_suffix(".gif"), gif)
        write_atomic(path.with_suffix(".json"), provenance.text(sidecar))
    _display(gif, "gif", name, caption, alt)


def show_table(desk, table, name, caption, records=()):
    """Save a table as Markdown, LaTeX, CSV and HTML with its sidecar, and display it with its caption.

    Args:
        desk, name, caption, records: as `show`.
        table: pandas DataFrame of texts, ready to print; its index is not shown.
    """
    caption = _counted(caption, records)
    marked = f"Quick run on {desk.frames.name}, not a result. {caption}" if desk.profile == "quick" else caption
    path = folder(desk) / name
    body = table_html(table, marked, name)
    if sidecar := _keep(path, desk, provenance.source(desk, name, caption, records), body.encode()):
        latex = table.style.hide(axis="index").format(escape="latex")
        write_atomic(path.with_suffix(".md"), f"{tables.markdown(table)}\n\n{marked}\n")
        write_atomic(path.with_suffix(".csv"), table.to_csv(index=False))
        write_atomic(path.with_suffix(".tex"), latex.to_latex(caption=marked, label=f"tab:{name}", hrules=True))
        write_atomic(path.with_suffix(".html"), body + "\n")
        write_atomic(path.with_suffix(".json"), provenance.text(sidecar))
    display(HTML(body))


def table_html(table, caption, name):
    """A DataFrame of texts as an HTML table `tab-NAME`: columns of numbers to the right, of words to the left."""
    texts = table.astype(str)
    sides = ["right" if all(t[:1].isdigit() or t in ("–", "nan") for t in texts[c]) else "left" for c in table]

    def row(kind, cells):
        pairs = zip(cells, sides, strict=True)
        return "<tr>" + "".join(f'<{kind} style="text-align: {side}">{html.escape(c)}</{kind[:2]}>' for c, side in pairs) + "</tr>"

    body = "\n".join(row("td", cells) for cells in texts.values)
    head = row('th scope="col"', table.columns)
    return f'<table id="tab-{name}">\n<caption>{html.escape(caption)}</caption>\n<thead>{head}</thead>\n<tbody>{body}</tbody>\n</table>'


def _keep(path, desk, source, content):
    """Whether the files of `path` already show just this content; else a complete sidecar for new ones, to be written last.

    So a figure that comes out as before keeps its files, and a build leaves no trace in version control.
    """
    digest = hashlib.sha256(content).hexdigest()
    fresh = source | {"content": digest}
    try:
        old = dict(json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError, RecursionError):  # none, or damaged: it is drawn anew
        old = {}
    files = [file for file in path.parent.glob(f"{path.name}.*") if file.suffix != ".tmp"]
    if {k: old.get(k) for k in fresh} == fresh and len(files) > 1:
        for file in files:
            os.utime(file)
        return None
    return fresh | {"drawn": provenance.drawn(desk)}


def _counted(caption, records):
    """The caption with the number of runs behind each arm and density, where it does not say so itself."""
    sizes = Counter((r["arm"], r["density"]) for r in records if r and r["arm"] != "floor").values()
    if not sizes or "n = " in caption or "first seed" in caption:
        return caption
    low, high = min(sizes), max(sizes)
    return f"{caption} n = {low if low == high else f'{low} to {high}'} {'run' if high == 1 else 'runs'} each."


def _display(data, kind, name, caption, alt):
    text, words = html.escape(caption), html.escape(alt, quote=True)
    coded = base64.b64encode(data).decode()
    display(HTML(f'<figure id="fig-{name}"><img src="data:image/{kind};base64,{coded}" alt="{words}"><figcaption>{text}</figcaption></figure>'))
