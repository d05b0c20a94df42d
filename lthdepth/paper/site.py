"""Executed notebooks to HTML pages that open from disk and load nothing from a network."""

import base64
import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import v4

from ..errors import UserError
from . import references
from .prose import Prose

HERE = Path(__file__).parent
HIDDEN = {"parameters", "injected-parameters", "remove-cell"}


def _image(output):
    """The picture in an output as src, alternative text and caption, or None.

    The last two come from the output's metadata:
    `display(figure, metadata={"image/png": {"alt": ..., "caption": ...}})`.
    """
    for kind in ("image/svg+xml", "image/gif", "image/png", "image/jpeg"):
        if kind in output.data:
            data = output.data[kind].replace("\n", "")
            if kind == "image/svg+xml":  # the one kind that a notebook holds as text
                data = base64.b64encode(output.data[kind].encode()).decode()
            said = output.metadata.get(kind, {})
            caption = said.get("caption", "")
            alt = said.get("alt") or re.sub(r"[*_`$]", "", caption) or "Figure"
            return {"src": f"data:{kind};base64,{data}", "alt": alt, "caption": caption}
    return None


class _Clean(Preprocessor):
    """Leaves what a reader should see: no progress bars, warnings, parameters or empty cells."""

    def preprocess(self, nb, resources):
        nb.cells = [cell for cell in nb.cells if not HIDDEN & set(cell.metadata.get("tags", []))]
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if self._kept(output)]
        return nb, resources

    def _kept(self, output):
        if output.output_type == "stream":
            # what a terminal would show in the end: on each line, only what follows the last carriage return
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text.replace("\r\n", "\n"))
            return output.name != "stderr" and bool(output.text.strip())
        return "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def _titles(notebook):
    """The notebook's first-level headings, in order."""
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.MULTILINE | re.DOTALL)
    return [_plain(words) for words in re.findall(r"^# +(.+?) *$", prose, flags=re.MULTILINE)]


def _front(notebooks):
    """The front page's cells: the abstract, then what is tagged `index`: words, pictures, tables, each under its heading.

    Pictures and tables of runs that are missing are left to their chapters.
    """
    front, found = [], {"words": [], "figure": [], "table": []}
    for notebook in notebooks.values():
        heading = ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                heading = (re.findall(r"^##+ +(.+?) *$", cell.source, re.MULTILINE) or [heading])[-1]
                front += [cell] if re.search(r"^(#+ +|\*\*)Abstract\b", cell.source, re.MULTILINE) else []
            elif "index" in cell.metadata.get("tags", []):
                cell = nbformat.from_dict({**cell, "outputs": [o for o in cell.outputs if not _missing(o)]})
                html = "".join(str(output.get("data", {}).get("text/html", "")) for output in cell.outputs)
                kind = "table" if "<table" in html else "figure" if "<figure" in html else "words"
                chapter = (_titles(notebook) or ["Paper"])[-1]
                words = heading if kind == "words" else f"{chapter}: {heading[:1].lower()}{heading[1:]}"
                title = [v4.new_markdown_cell(f"## {words}")] if heading and cell.outputs else []
                found[kind] += [*title, cell]
    return front + found["words"] + found["figure"] + found["table"]


def _missing(output):
    return output.get("data", {}).get("text/markdown", "").startswith("*Not run yet.*")


def render(notebooks, out, images=None, banner="", footer="", links=()):
    """Write the site: `index.html`, one page for each notebook, `style.css`.

    The paper's title is the first `#` heading of the first notebook; a chapter's name is the first of its
    own (in the first notebook the second), or else comes from the file's name. The front page repeats the
    abstract and every cell tagged `index`.

    Args:
        notebooks: mapping of page name to executed notebook, in order.
        out: folder; emptied first, so that no page of an earlier build survives.
        images: folder that relative addresses of pictures in Markdown start from.
        banner: a sentence for the top of every page, or "".
        footer: a sentence for the bottom of every page.
        links: further `(address, title)` of the site for the top of every page.

    Returns:
        Path of the front page.

    Raises:
        UserError: an equation that cannot be set.
    """
    out, names = Path(out), list(notebooks)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(HERE / "html" / "style.css", out)
    first = notebooks[names[0]]
    title, *rest = _titles(first) or ["Paper"]
    chapters = []
    for name in names:
        own = rest if name == names[0] else _titles(notebooks[name])
        chapters.append(
            {"file": f"{name}.html", "title": own[0] if own else name.lstrip("0123456789_").capitalize()}
        )
    shared = {"title": title, "chapters": chapters, "banner": banner, "footer": footer, "links": links}
    front = nbformat.from_dict(dict(first))
    front.cells = _front(notebooks)
    pages = {
        "index.html": _page(
            front, "index", dict(shared, chapter=None, previous=None, next=chapters[0]), images
        )
    }
    for number, name in enumerate(names):
        page = dict(shared, chapter=chapters[number], previous=chapters[number - 1] if number else None)
        page["next"] = chapters[number + 1] if number + 1 < len(names) else None
        pages[f"{name}.html"] = _page(notebooks[name], name, page, images)
    for name, text in references.connect(pages, front="index.html").items():
        (out / name).write_text(text, encoding="utf-8")
    return out / "index.html"


def _plain(markdown):
    return html.escape(re.sub(r"[*`$]", "", markdown), quote=False)


def _page(notebook, name, page, images):
    page["headings"] = []  # filled while the text is rendered, which the template does first
    prose = Prose(images or ".", page["headings"], name)
    template = {
        "template_name": "html",
        "template_file": "page.html.j2",
        "extra_template_basedirs": [str(HERE)],
    }
    exporter = HTMLExporter(**template)
    exporter.register_preprocessor(_Clean, enabled=True)
    exporter.register_filter("markdown", lambda source: MarkdownWithMath(renderer=prose).render(source))
    exporter.register_filter("image", _image)
    exporter.environment.globals["page"] = page
    try:
        return exporter.from_notebook_node(notebook)[0]
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


class _Addresses(HTMLParser):
    """Collects what a browser would fetch to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            loads = name in ("src", "srcset", "poster", "data") or (tag == "link" and name == "href")
            if loads or name in ("style", "xlink:href"):
                self.add(value or "", loads)

    def handle_data(self, data):
        if self.get_starttag_text() and self.get_starttag_text().startswith(("<style", "<script")):
            self.add(data, False)

    def add(self, text, whole):
        address = r"(?:https?:)?//[^\s,\"')]+"
        pattern = address if whole else rf"(?:url\(|@import|import\()\s*[\"']?({address})"
        self.found += [] if text.startswith("data:") else re.findall(pattern, text)


def network_references(page):
    """Addresses outside the disk that a browser would load to show a page; links to follow do not count.

    Args:
        page: the text of an HTML page.
    """
    addresses = _Addresses()
    addresses.feed(page)
    return addresses.found
