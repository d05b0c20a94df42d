"""Executed notebooks to HTML pages that open from disk and load nothing from a network.

The first notebook is the front page, `index.html`; the others are the chapters, by their names' numbers.
What can be pointed at has an id: `fig-NAME` and `tab-NAME` from `figures`, `ref-surname-year` of the items
under "References". In the text a Markdown link such as `[the curves](#fig-curves)` becomes "Figure 7", on
whichever page that is; `[Chen (2021)](#ref-chen-2021)` keeps its words. Where there is nothing of that name
it becomes text.
"""

import json
import re
import shutil
from html import escape
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader
from latex2mathml.converter import convert
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..errors import UserError
from ..runs import run as runs
from . import figures

HTML = Path(__file__).parent / "html"
KINDS = {"fig": "Figure", "tab": "Table"}
FORMS = {"png": "PNG", "pdf": "PDF", "csv": "CSV", "tex": "LaTeX"}  # files of a figure or table
# What a preview leaves out: where it comes from, scripts, folds, and what must not be twice on a page.
UNSEEN = (
    r'<details class="source".*?</details>|<(script|style)\b.*?</\1>|<summary>.*?</summary>|</?details[^>]*>'
    r'| (?:id|tabindex|width|height)="[^"]*"'
)


def render(notebooks, out, folder, banner="", footer=""):
    """Write a page for each of `{name: executed notebook}`; returns the front page's path.

    Args:
        out: folder; emptied first, so that no page of an earlier build survives.
        folder: of the pictures and tables that the notebooks saved.
        banner: a sentence for the top of every page, or ""; footer: one for the bottom.
    """
    shutil.rmtree(out, ignore_errors=True)
    (out / "files").mkdir(parents=True)
    chapters = [{"file": f"{k}.html", "title": _title(v), "number": int(k[:2])} for k, v in notebooks.items()]
    front, *others = chapters
    front["file"] = "index.html"
    paper = {"title": front["title"], "front": front, "chapters": others, "banner": banner, "footer": footer}
    paper["cite"] = yaml.safe_load((runs.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    jinja = Environment(loader=FileSystemLoader(HTML))
    jinja.filters |= {"ansi2html": ansi2html, "highlight_code": Highlight2HTML(pygments_lexer="python")}
    jinja.filters |= {"markdown": markdown, "headings": re.compile('<h2 id="(.*?)">(.*?)</h2>').findall}
    template, pages = jinja.get_template("page.html.j2"), {}
    turns = zip(chapters, notebooks.values(), [None, *chapters], [*others, None])
    for chapter, notebook, previous, following in turns:
        page = paper | {"chapter": chapter, "previous": previous, "next": following}
        pages[chapter["file"]] = template.render(cells=notebook.cells, page=page)
    pages = connect({name: _files(text, folder, out / "files") for name, text in pages.items()})
    shown = json.dumps(previews(pages, runs.Store().records())).replace("<", "\\u003c")
    for name, text in (pages | {"previews.js": f"const PREVIEWS = {shown};\n"}).items():
        (out / name).write_text(text, encoding="utf-8")
    for name in ("style.css", "paper.js"):
        shutil.copy(HTML / name, out)
    return out / "index.html"


def _title(notebook):
    """The first first-level heading of a notebook."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"[*`$]", "", re.search(r"^# +(.+?) *$", text + "\n# Untitled", re.MULTILINE)[1])


def markdown(source):
    """A piece of Markdown as HTML."""
    source = re.sub(r"(?<=\d) (?=%|m\b)", "\u00a0", source)  # a number stays with its unit
    text = MarkdownWithMath(renderer=Renderer(escape=False, exclude_anchor_links=True)).render(source)
    before, heading, items = text.partition('<h2 id="references">')
    item = r"<li>(?=(?:<p>)?([\w’'-]+).*?\b((?:19|20)\d\d)\b(?!\.\d))"  # its first author and year
    items = re.sub(item, lambda m: f'<li id="ref-{m[1].lower()}-{m[2]}">', items, flags=re.S)
    return before + heading + items


class Renderer(IPythonRenderer):
    """Sets mathematics as MathML; headings get ids."""

    def inline_math(self, body):
        return mathml(body, "inline")

    def block_math(self, body):
        return f'<div class="equation" tabindex="0">{mathml(body, "block")}</div>'

    def heading(self, text, level, **attrs):
        name = re.sub(r"\W+", "-", re.sub(r"<[^>]+>|&\w+;", "", text).lower()).strip("-")
        return f'<h{level} id="{name}">{text}</h{level}>\n'


def mathml(latex, display):
    """LaTeX as MathML, "inline" or "block". Raises UserError: something in it cannot be translated."""
    try:
        result = convert(latex.strip(), display=display)
        if unknown := re.search(r"<mi>(\\[^<]*|&)</mi>", result):
            raise ValueError(f"{unknown[1]} is not known here")
    except Exception as error:  # the library has many
        raise UserError(f"the equation ${latex}$ cannot be set ({type(error).__name__}: {error}).") from None
    # A bare | is a fence, not a relation between its neighbours: no space around it.
    return result.replace(
        '<mo stretchy="false">&#x0007C;', '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;'
    )


def _files(text, folder, out):
    """A page whose pictures are files of the site, each figure and table with links to its own."""

    def place(match):
        name, links = match[1], ""
        for kind, words in FORMS.items():
            if (folder / f"{name}.{kind}").exists():
                shutil.copy(folder / f"{name}.{kind}", out)
                links += f'<a download href="files/{name}.{kind}">{words}</a> '
        large = rf'<a href="files/{name}.png"><img src="files/{name}.png"\1></a>'  # to zoom in, on a phone
        figure = re.sub(r'<img src="data:image/png;base64,[^"]+"([^>]*)>', large, match[0])
        return figure.replace('<p class="files">', f'<p class="files">{links}')

    return re.sub(r'<figure id="(?:fig|tab)-([\w-]+)".*?</figure>', place, text, flags=re.DOTALL)


def connect(pages):
    """Pages, `{file name: HTML}` in reading order, with figures and tables numbered in the order in which
    they are met, and references to them as links.
    """
    labels, counts = {}, dict.fromkeys(KINDS, 0)
    for page, text in pages.items():
        for label, kind in re.findall(r'(?:data-label|<li id)="((fig|tab|ref)-[\w-]+)"', text):
            words = None
            if kind in KINDS:
                counts[kind] += 1
                words = f"{KINDS[kind]} {counts[kind]}"
            labels.setdefault(label, (page, words))

    def number(match):
        return f"{match[0]}{labels[match[1]][1]}. "

    def cross(match):
        page, words = labels.get(match[1], (None, None))
        return f'<a href="{page}#{match[1]}">{words or match[2]}</a>' if page else match[2]

    for page, text in pages.items():
        text = re.sub(r'data-label="([\w-]+)">', number, text)
        text = re.sub(r'<a href="#((?:fig|tab|ref)-[\w-]+)">(.*?)</a>', cross, text, flags=re.S)
        # JupyterLab follows links from notebook to notebook, a browser from page to page.
        pages[page] = re.sub(r'(<a href="\w+)\.ipynb((?:#[\w-]*)?")', r"\1.html\2", text)
    return pages


def previews(pages, records):
    """What each reference shows in small: HTML by the id, page or run that it leads to."""
    found = {}
    for name, text in pages.items():
        title, first = re.search(r"<h1.*?>(.*?)</h1>", text, re.S), re.search(r"<p>.*?</p>", text, re.S)
        found[name] = f"<b>{title[1]}</b>{first[0] if first else ''}"
        for tag in ("figure", "li"):
            pattern = rf'<{tag}\b[^>]* id="((?:fig|tab|ref)-[\w-]+)"[^>]*>(.*?)</{tag}>'
            for label, body in re.findall(pattern, text, re.S):
                found[label] = re.sub(UNSEEN, "", body, flags=re.S)
        for key in " ".join(re.findall(r'data-runs="([^"]*)"', text)).split():
            found[key] = escape(figures.line(records[key])) if key in records else key
    return found


def whole(site):
    """All pages of a site as one, for printing: the front page, then the main parts of the others."""
    files = [site / "index.html", *sorted(site.glob("[0-9]*.html"))]
    pages = {file.name: file.read_text(encoding="utf-8") for file in files}
    mains = [re.search(r"<main.*?</main>", text, re.DOTALL)[0] for text in pages.values()]
    links = re.compile(rf'href="(?:{"|".join(map(re.escape, pages))})#')
    return pages["index.html"].replace(mains[0], links.sub('href="#', "\n".join(mains)))
