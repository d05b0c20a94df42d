"""Executed notebooks to HTML pages that open from disk and load nothing from a network.

The first notebook is the front page, `index.html`; the others are the chapters, by their names' numbers.
"""

import base64
import json
import re
import shutil
from html import escape
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader
from nbconvert.filters import Highlight2HTML, ansi2html

from ..errors import UserError
from ..runs import run as runs
from . import markdown, provenance, references

HTML = Path(__file__).parent / "html"
HIDDEN = {"parameters", "injected-parameters", "remove-cell"}


def render(notebooks, out, figures, banner="", footer=""):
    """Write the site: a page for each notebook, styles, scripts and files.

    Args:
        notebooks: mapping of page name to executed notebook, in order.
        out: folder; emptied first, so that no page of an earlier build survives.
        figures: folder of the pictures and tables that the notebooks saved, to download from the pages.
        banner: a sentence for the top of every page, or ""; footer: one for the bottom.

    Returns:
        Path of the front page.

    Raises:
        UserError: an equation that cannot be set.
    """
    out, names = Path(out), list(notebooks)
    shutil.rmtree(out, ignore_errors=True)
    (out / "files").mkdir(parents=True)
    files = {name: "index.html" if name == names[0] else f"{name}.html" for name in names}
    chapters = [
        {"file": files[name], "title": _title(notebooks[name], name), "number": int(name[:2])}
        for name in names
    ]
    paper = {"front": chapters[0], "chapters": chapters[1:], "banner": banner, "footer": footer}
    paper |= {"citation": citation(), "title": chapters[0]["title"]}
    cited, pages = references.cited(notebooks, files), {}
    for k, name in enumerate(names):
        page = paper | {"chapter": chapters[k], "headings": [], "cited": cited}
        page |= {"previous": chapters[k - 1] if k else None, "next": (chapters + [None])[k + 1]}
        pages[files[name]] = _page(name, notebooks[name], page)
    pages = {
        name: _files(text, Path(figures), out / "files") for name, text in references.connect(pages).items()
    }
    for name, text in pages.items():
        (out / name).write_text(text, encoding="utf-8")
    known, shown = runs.Store().records(), references.previews(pages)
    for key in re.findall(r"\w+", " ".join(re.findall(r'data-runs="([^"]*)"', "".join(pages.values())))):
        shown[key] = escape(provenance.line(known[key])) if key in known else key
    data = json.dumps(shown).replace("<", "\\u003c")
    (out / "previews.js").write_text(f"const PREVIEWS = {data};\n", encoding="utf-8")
    for name in ("style.css", "paper.js"):
        shutil.copy(HTML / name, out)
    return out / "index.html"


def citation():
    """What `CITATION.cff` says, with `bibtex` and `json` (JSON-LD) made from it: a dictionary."""
    cff = yaml.safe_load((runs.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = [a.get("name") or f"{a['given-names']} {a['family-names']}" for a in cff["authors"]]
    date = str(cff.get("date-released", ""))
    fields = {"title": cff["title"], "author": " and ".join(f"{{{a}}}" for a in authors), "year": date[:4]}
    fields |= {"version": cff["version"], "url": cff.get("repository-code", "")}
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    ld = {"@context": "https://schema.org", "@type": "ScholarlyArticle", "headline": cff["title"]}
    ld |= {"author": [{"@type": "Person", "name": a} for a in authors], "datePublished": date}
    ld |= {"version": cff["version"], "license": cff["license"]}
    made = {"authors": authors, "date": date, "bibtex": f"@misc{{lthdepth,\n{lines}\n}}"}
    return cff | made | {"json": json.dumps(ld).replace("<", "\\u003c")}


def _cells(notebook):
    """What a reader should see of a notebook: no progress bars, warnings, parameters."""
    for cell in notebook.cells:
        if HIDDEN & set(cell.metadata.get("tags", [])):
            continue
        if cell.cell_type == "code":
            cell = cell | {"outputs": [output for output in map(_clean, cell.outputs) if output]}
        yield cell


def _clean(output):
    """An output without what only a terminal shows; None for nothing."""
    if output.output_type == "stream":  # on each line only what follows the last carriage return
        text = re.sub(r"[^\n]*\r(?!\n)", "", output.text.replace("\r\n", "\n"))
        return None if output.name == "stderr" or not text.strip() else output | {"text": text}
    return None if "application/vnd.jupyter.widget-view+json" in output.get("data", {}) else output


def _title(notebook, name):
    """The first first-level heading of a notebook; else its name."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^# +(.+?) *$", text, re.MULTILINE)
    return re.sub(r"[*`$]", "", found[1]) if found else name[3:].replace("_", " ").capitalize()


def _page(name, notebook, page):
    jinja = Environment(loader=FileSystemLoader(HTML))
    jinja.filters |= {"ansi2html": ansi2html, "highlight_code": Highlight2HTML(pygments_lexer="python")}
    jinja.filters["markdown"] = lambda source: markdown.render(source, page)
    try:
        return jinja.get_template("page.html.j2").render(cells=list(_cells(notebook)), page=page)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _files(text, figures, out):
    """A page whose pictures are files of the site, each figure and table with links to its own."""

    def place(match):
        name, figure = match[1], match[0]
        if picture := re.search(r'src="data:image/png;base64,([^"]+)"', figure):
            (out / f"{name}.png").write_bytes(base64.b64decode(picture[1]))
            figure = figure.replace(picture[0], f'src="files/{name}.png"')
        links = ""
        for kind, words in (("pdf", "PDF"), ("csv", "CSV"), ("tex", "LaTeX")):
            if (figures / f"{name}.{kind}").exists():
                shutil.copy(figures / f"{name}.{kind}", out)
                links += f'<a download href="files/{name}.{kind}">{words}</a> '
        return figure.replace('<p class="files">', f'<p class="files">{links}')

    return re.sub(r'<figure id="(?:fig|tab)-([\w-]+)".*?</figure>', place, text, flags=re.DOTALL)


def whole(site):
    """All pages of a site as one, for printing: the front page, then the main parts of the others."""
    files = [site / "index.html", *sorted(site.glob("[0-9]*.html"))]
    pages = {file.name: file.read_text(encoding="utf-8") for file in files}
    mains = [re.search(r"<main.*?</main>", text, re.DOTALL)[0] for text in pages.values()]
    links = re.compile(rf'href="(?:{"|".join(map(re.escape, pages))})#')
    return pages["index.html"].replace(mains[0], links.sub('href="#', "\n".join(mains)))
