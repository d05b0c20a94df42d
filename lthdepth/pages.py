"""Executed notebooks to HTML pages that open from disk and load nothing from a network."""

import base64
import html
import mimetypes
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor

from .errors import UserError

HERE = Path(__file__).parent
HIDDEN = {"parameters", "injected-parameters", "remove-cell"}


def mathml(latex, display):
    r"""LaTeX mathematics as MathML, which browsers set without any script.

    Args:
        latex: the text between the dollar signs.
        display: "inline" or "block".

    Raises:
        UserError: a command or an alignment that cannot be translated, or unbalanced braces.
    """
    latex = latex.strip()
    bare = re.sub(r"\\[{}\\]", "", latex)
    if bare.count("{") != bare.count("}"):
        raise UserError(f"the equation ${latex}$ has unbalanced braces.")
    known = re.sub(r"(\\(?:begin|end)\{)(?:aligned|gathered)\}", r"\1split}", latex)
    try:
        result = convert(known, display=display)
    except Exception as error:
        raise UserError(f"the equation ${latex}$ cannot be set ({type(error).__name__}: {error}).") from None
    if unknown := re.search(r"<mi>(\\[^<]*|&)</mi>", result):
        raise UserError(f"the equation ${latex}$ cannot be set: {unknown[1]} is not known here.")
    # A bare | is a fence, not a relation between its neighbours: no space around it.
    bar = '<mo stretchy="false">&#x0007C;'
    result = result.replace(bar, bar.replace(">", ' lspace="0" rspace="0">', 1))
    return f'<span class="equation" tabindex="0">{result}</span>' if display == "block" else result


class _Prose(IPythonRenderer):
    """Markdown with MathML, embedded images and a record of the headings passed."""

    def __init__(self, folder, headings):
        super().__init__(escape=False, exclude_anchor_links=True, embed_images=True)
        self.folder, self.headings = Path(folder), headings

    def inline_math(self, body):
        return mathml(body, "inline")

    def block_math(self, body):
        return mathml(body, "block")

    def latex_environment(self, name, body):
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def heading(self, text, level, **attrs):
        words = re.sub(r"<[^>]+>|&\w+;", "", text).lower()
        base = re.sub(r"[^\w]+", "-", words).strip("-") or "section"
        same = [entry for entry in self.headings if re.fullmatch(re.escape(base) + r"(-\d+)?", entry["id"])]
        name = f"{base}-{len(same) + 1}" if same else base
        self.headings.append({"level": level, "id": name, "html": text})
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def _src_to_base64(self, src):
        if re.match(r"[a-z][a-z+.-]*:|//", src):
            return src
        path = self.folder / src
        if not path.is_file():
            raise UserError(f"the text shows a picture {src}, which is not at {path}.")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    def _html_embed_images(self, html):
        # The parser it uses would close a lone opening tag.
        return super()._html_embed_images(html) if "<img" in html else html


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


def _on_front(cell):
    """Whether a cell also stands on the front page: one tagged `index`, or the abstract."""
    if "index" in cell.metadata.get("tags", []):
        return True
    return cell.cell_type == "markdown" and bool(re.search(r"^(#+ +|\*\*)Abstract\b", cell.source, re.MULTILINE))


def render(notebooks, out, images=None, banner="", footer=""):
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
        chapters.append({"file": f"{name}.html", "title": own[0] if own else name.lstrip("0123456789_").capitalize()})
    shared = {"title": title, "chapters": chapters, "banner": banner, "footer": footer}
    for number, name in enumerate(names):
        page = dict(shared, chapter=chapters[number], previous=chapters[number - 1] if number else None)
        page["next"] = chapters[number + 1] if number + 1 < len(names) else None
        _write(notebooks[name], out / f"{name}.html", page, images)
    front = nbformat.from_dict(dict(first))
    front.cells = [cell for name in names for cell in notebooks[name].cells if _on_front(cell)]
    page = dict(shared, chapter=None, previous=None, next=chapters[0])
    _write(front, out / "index.html", page, images)
    return out / "index.html"


def _plain(markdown):
    return html.escape(re.sub(r"[*`$]", "", markdown), quote=False)


def _write(notebook, path, page, images):
    page["headings"] = []  # filled while the text is rendered, which the template does first
    prose = _Prose(images or ".", page["headings"])
    template = {"template_name": "html", "template_file": "page.html.j2", "extra_template_basedirs": [str(HERE)]}
    exporter = HTMLExporter(**template)
    exporter.register_preprocessor(_Clean, enabled=True)
    exporter.register_filter("markdown", lambda source: MarkdownWithMath(renderer=prose).render(source))
    exporter.register_filter("image", _image)
    exporter.environment.globals["page"] = page
    try:
        text, _ = exporter.from_notebook_node(notebook)
    except UserError as error:
        raise UserError(f"{path.stem}: {error}") from None
    path.write_text(text, encoding="utf-8")


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
