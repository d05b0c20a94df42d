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

from ..files import write_atomic
from ..runs.record import config_of
from ..runs.run import ROOT
from ..runs.studies import study
from . import latex, provenance, tables
from .alttext import describe

DPI = 160  # of bitmaps


def style():
    """The one look of all figures: seaborn's, without chart junk, colour-blind safe."""
    plt.style.use([f"seaborn-v0_8-{part}" for part in ("ticks", "notebook", "colorblind")])
    plt.rcParams["font.sans-serif"] = [
        "DejaVu Sans"
    ]  # comes with matplotlib: the same picture on every machine
    plt.rcParams.update(
        {"axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9}
    )
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


def show(desk, figure, name, caption, records=(), files=None):
    """Save a figure as PNG and PDF with its sidecar, and display it with its caption.

    Args:
        desk: `desk.Desk`; a quick profile puts a watermark on everything.
        figure: matplotlib figure, or None where there is nothing to draw yet: then only the caption's first sentence is shown.
        name: file name without suffix.
        caption: plain text. The alternative text is read off the figure itself.
        records: the records that were drawn, for the sidecar.
        files: what else it was drawn from, as `provenance.source`.
    """
    if figure is None:
        return _missing(caption)
    if desk.profile == "quick":
        figure.text(
            0.5,
            0.5,
            f"QUICK RUN on {desk.frames.name}\nnot a result",
            ha="center",
            va="center",
            rotation=20,
            fontsize=22,
            color="crimson",
            alpha=0.22,
            weight="bold",
            zorder=1000,
        )
    elif studies := {r["study"] for r in records if r and r["arm"] != "floor"} - {desk.study.name}:
        title = "; ".join(study(name).title for name in sorted(studies))
        figure.suptitle(title, x=0.01, ha="left", fontsize=8, color="0.35")
    caption = _counted(caption, records)
    path, png = folder(desk) / name, io.BytesIO()
    figure.savefig(png, dpi=DPI, metadata={"Software": None})
    pixels = Image.open(png).convert("RGB")
    if sidecar := _keep(path, desk, provenance.source(desk, name, caption, records, files), pixels.tobytes()):
        said, info, pdf = provenance.text(sidecar), PngInfo(), io.BytesIO()
        info.add_text("Description", said, zip=True)
        pixels.save(png := io.BytesIO(), "PNG", pnginfo=info, dpi=(DPI, DPI), optimize=True)
        write_atomic(path.with_suffix(".png"), png.getvalue())
        about = {
            "CreationDate": None,
            "Creator": None,
            "Producer": None,
            "Title": name,
            "Subject": caption,
            "Keywords": said,
        }
        figure.savefig(pdf, format="pdf", metadata=about)
        write_atomic(path.with_suffix(".pdf"), pdf.getvalue())
        write_atomic(path.with_suffix(".json"), said)
    words = describe(figure)
    plt.close(figure)
    width, height = figure.get_size_inches().tolist()
    _display(path.with_suffix(".png").read_bytes(), "png", (96 * width, 96 * height), name, caption, words)


def show_animation(desk, gif, name, caption, alt, records=(), files=None):
    """Save and display an animation (bytes of a GIF, or None) as `show` does a figure; `alt` says what is seen."""
    if gif is None:
        return _missing(caption)
    caption, path = _counted(caption, records), folder(desk) / name
    if sidecar := _keep(path, desk, provenance.source(desk, name, caption, records, files), gif):
        write_atomic(path.with_suffix(".gif"), gif)
        write_atomic(path.with_suffix(".json"), provenance.text(sidecar))
    _display(gif, "gif", Image.open(io.BytesIO(gif)).size, name, caption, alt)


def show_table(desk, table, name, caption, records=(), files=None):
    """Save a table as Markdown, LaTeX, CSV and HTML with its sidecar, and display it with its caption.

    Args:
        desk, name, caption, records, files: as `show`.
        table: pandas DataFrame of texts, ready to print; its index is not shown. Of one without rows only a sentence is shown.
    """
    if table.empty:
        return _missing(caption)
    caption = _counted(caption, records)
    if desk.profile == "quick" and not _elsewhere(desk, records):
        caption = f"Quick run on {desk.frames.name}, not a result. {caption}"
    path, forms = folder(desk) / name, table_forms(table, caption, name)
    sidecar = _keep(
        path, desk, provenance.source(desk, name, caption, records, files), forms["html"].encode()
    )
    for (
        kind,
        text,
    ) in forms.items():  # each, since one form may be written another way now although the table is the same
        write_atomic(path.with_suffix(f".{kind}"), text)
    if sidecar:
        write_atomic(path.with_suffix(".json"), provenance.text(sidecar))
    display(HTML(forms["html"]))


def table_forms(table, caption, name):
    """A DataFrame of texts as HTML, Markdown, LaTeX and CSV: `{suffix: text}`."""
    return {
        "md": f"{tables.markdown(table)}\n\n{caption}\n",
        "csv": table.to_csv(index=False),
        "tex": latex.table(table, caption, name),
        "html": table_html(table, caption, name) + "\n",
    }


def table_html(table, caption, name):
    """A DataFrame of texts as an HTML table `tab-NAME`: columns of numbers to the right, of words to the left."""
    texts, sides = table.astype(str), tables.sides(table)

    def row(kind, cells):
        pairs = zip(cells, sides, strict=True)
        return (
            "<tr>"
            + "".join(
                f'<{kind} style="text-align: {side}">{html.escape(c)}</{kind[:2]}>' for c, side in pairs
            )
            + "</tr>"
        )

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


def _elsewhere(desk, records):
    """Whether all records that are shown come from other data than the desk's: recorded runs in a quick build."""
    marks = {r["data"]["fingerprint"] for r in records if r}
    return bool(marks) and desk.frames.fingerprint not in marks


def _counted(caption, records):
    """The caption with the number of runs (seeds) behind each configuration, where it does not say so itself."""

    def row(r):
        return (
            r["arm"],
            r["density"],
            config_of(r).replace(seed=0),
        )  # early records lack settings that came later

    sizes = Counter(row(r) for r in records if r and r["arm"] != "floor").values()
    if not sizes or "n = " in caption or "first seed" in caption:
        return caption
    low, high = min(sizes), max(sizes)
    return (
        f"{caption} n = {low if low == high else f'{low} to {high}'} {'run' if high == 1 else 'runs'} each."
    )


def _missing(caption):
    """Say that what a caption announces is not there yet."""
    say(f"*Not run yet.* {caption.partition('. ')[0].rstrip('.: ')}.")


def _display(data, kind, size, name, caption, alt):
    """Show a picture (bytes) with its caption, at `size` (width, height) in pixels where there is room."""
    text, words = html.escape(caption), html.escape(alt, quote=True)
    shape = f'width="{size[0]:.0f}" height="{size[1]:.0f}"' + ' class="broad"' * (size[0] > 700)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    display(
        HTML(
            f'<figure id="fig-{name}"><img src="{source}" {shape} alt="{words}"><figcaption>{text}</figcaption></figure>'
        )
    )
