"""Save and show the paper's figures and tables, each with a sidecar that says where it came from."""

import base64
import hashlib
import html
import io
import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython.display import HTML, Markdown, display

from . import __version__, tables
from .errors import UserError
from .experiments import study
from .files import write_atomic
from .runs import ROOT


def style():
    """The one look of all figures: seaborn's, without chart junk, colour-blind safe."""
    sns.set_theme("notebook", "ticks", "colorblind", rc={"axes.spines.top": False, "axes.spines.right": False})
    plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": 160, "svg.hashsalt": "lthdepth", "figure.constrained_layout.use": True})


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
        caption: plain text; also the alternative text.
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
    source = _source(desk, name, caption, records)
    path, png = folder(desk) / f"{name}.png", io.BytesIO()
    figure.savefig(png, metadata={"Software": None, "Description": json.dumps(source)})
    write_atomic(path, png.getvalue())
    pdf = io.BytesIO()
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    write_atomic(path.with_suffix(".pdf"), pdf.getvalue())
    plt.close(figure)
    write_atomic(path.with_suffix(".json"), source | {"sha256": hashlib.sha256(png.getvalue()).hexdigest()})
    _display(png.getvalue(), "png", name, caption)


def show_animation(desk, gif, name, caption):
    """Save and display an animation (bytes of a GIF) as `show` does a figure."""
    path = folder(desk) / f"{name}.gif"
    write_atomic(path, gif)
    write_atomic(path.with_suffix(".json"), _source(desk, name, caption, ()) | {"sha256": hashlib.sha256(gif).hexdigest()})
    _display(gif, "gif", name, caption)


def show_table(desk, table, name, caption, records=()):
    """Save a table as Markdown, LaTeX, CSV and HTML with its sidecar, and display it with its caption.

    Args:
        desk, name, caption, records: as `show`.
        table: pandas DataFrame of texts, ready to print; its index is not shown.
    """
    marked = f"Quick run on {desk.frames.name}, not a result. {caption}" if desk.profile == "quick" else caption
    path = folder(desk) / name
    body = table_html(table, marked, name)
    write_atomic(path.with_suffix(".md"), f"{tables.markdown(table)}\n\n{marked}\n")
    write_atomic(path.with_suffix(".csv"), table.to_csv(index=False))
    write_atomic(path.with_suffix(".tex"), table.style.hide(axis="index").format(escape="latex").to_latex(caption=marked, hrules=True))
    write_atomic(path.with_suffix(".html"), body + "\n")
    write_atomic(path.with_suffix(".json"), _source(desk, name, caption, records))
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


def explain(path):
    """Say in plain words where a figure or table came from, out of its sidecar.

    Raises:
        UserError: no such file, or no sidecar beside it.
    """
    path = Path(path)
    sidecar = path.with_suffix(".json")
    if not path.exists():
        raise UserError(f"no file {path}.")
    if not sidecar.exists():
        raise UserError(f"{path} has no sidecar {sidecar.name}: it was not made by a build.")
    try:
        s = json.loads(sidecar.read_text())
        s["caption"], s["profile"], s["lthdepth"], s["matplotlib"], s["data"], s["init"], s["runs"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{sidecar} is damaged or of another program; build the paper again.") from None
    lines = [f"{path.name}: {s['caption']}", f"profile {s['profile']}, drawn with lthdepth {s['lthdepth']}, matplotlib {s['matplotlib']}"]
    lines += [f"data {d['name']}, fingerprint {d['fingerprint']}" for d in s["data"]]
    lines += [f"initial weights {i['name']} ({i['description']}), fingerprint {i['fingerprint']}" for i in s["init"]]
    lines += [f"run {r['key']}: {r['study']}, {r['arm']} {100 * r['density']:.2f} %, seed {r['seed']}, commit {r['commit']}"
              f"{' with local changes' if r['dirty'] else ''}, {r['device']}, {r['seconds']:.0f} s" for r in s["runs"]]  # fmt: skip
    lines += ["`python -m lthdepth show KEY` prints a run's whole record." if s["runs"] else "No trained run went into it."]
    return "\n".join(lines)


def _source(desk, name, caption, records):
    records = [r for r in records if r]
    kept = ("key", "study", "arm", "density", "seed", "commit", "dirty", "device", "seconds")
    return {
        "name": name,
        "caption": caption,
        "profile": desk.profile,
        "command": f"./build.sh --profile {desk.profile}",
        "lthdepth": __version__,
        "matplotlib": matplotlib.__version__,
        "data": _distinct([r["data"] for r in records] or [desk.summary().description], ("name", "fingerprint")),
        "init": _distinct([r["init"] for r in records if r["arm"] != "floor"], ("name", "description", "fingerprint")),
        "runs": [{k: r[k] for k in kept} for r in records],
    }


def _distinct(rows, names):
    return pd.DataFrame(rows, columns=list(names)).drop_duplicates().to_dict("records")


def _display(data, kind, name, caption):
    text = html.escape(caption, quote=True)
    coded = base64.b64encode(data).decode()
    display(HTML(f'<figure id="fig-{name}"><img src="data:image/{kind};base64,{coded}" alt="{text}"><figcaption>{text}</figcaption></figure>'))
