"""The Markdown of a notebook as HTML: mathematics that browsers set by themselves, links to what is cited."""

import re

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..errors import UserError

UNTOUCHED = re.compile(r"(<a .*?</a>|<code.*?</code>|<math.*?</math>|<[^>]+>)", re.DOTALL)


def render(source, page):
    """A piece of Markdown as HTML.

    Args:
        source: text.
        page: dictionary, one for all pieces of a page: `headings` collects level, id and HTML of headings;
            `cited` maps regular expressions of running text to addresses.

    Raises:
        UserError: an equation that cannot be set.
    """
    return MarkdownWithMath(renderer=Renderer(page)).render(source)


def mathml(latex, display):
    r"""LaTeX mathematics as MathML.

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
    return result.replace(bar, bar.replace(">", ' lspace="0" rspace="0">', 1))


def reference(text):
    """The id, author and year of an item under "References", or None."""
    author = re.match(r"[^\W\d_][\w’'-]*", text)
    year = re.search(r"\b(?:19|20)\d\d\b(?!\.\d)", text)
    return (f"ref-{author[0].lower()}-{year[0]}", author[0], year[0]) if author and year else None


class Renderer(IPythonRenderer):
    r"""`render`'s: equations with `\label{eq-…}` and items of "References" get ids, citations are links."""

    def __init__(self, page):
        super().__init__(escape=False, exclude_anchor_links=True)
        self.page = page

    def inline_math(self, body):
        return mathml(body, "inline")

    def block_math(self, body):
        label = re.search(r"\\label\{(eq-[\w-]+)\}", body)
        result = mathml(re.sub(r"\\(?:label|tag)\{[^}]*\}", "", body), "block")
        if not label:
            return f'<div class="equation" tabindex="0">{result}</div>'
        number = f'<span class="number" data-label="{label[1]}"></span>'
        return f'<div class="equation" id="{label[1]}" tabindex="0">{result}{number}</div>'

    def latex_environment(self, name, body):
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def heading(self, text, level, **attrs):
        words = re.sub(r"<[^>]+>|&\w+;", "", text).lower()
        base = re.sub(r"[^\w]+", "-", words).strip("-") or "section"
        same = sum(
            re.fullmatch(re.escape(base) + r"(-\d+)?", h["id"]) is not None for h in self.page["headings"]
        )
        name = f"{base}-{same + 1}" if same else base
        self.page["headings"].append({"level": level, "id": name, "html": text})
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def paragraph(self, text):
        return super().paragraph(self._linked(text))

    def list_item(self, text):
        found = reference(re.sub(r"<[^>]+>", "", text))
        if found and self.page["headings"][-1:] and self.page["headings"][-1]["id"] == "references":
            return f'<li id="{found[0]}">{text}</li>\n'
        return super().list_item(self._linked(text))

    def _linked(self, text):
        if not self.page["cited"]:
            return text
        pattern = re.compile("|".join(f"({words})" for words in self.page["cited"]))
        addresses = list(self.page["cited"].values())
        pieces = UNTOUCHED.split(text)
        pieces[::2] = [
            pattern.sub(lambda m: f'<a href="{addresses[m.lastindex - 1]}">{m[0]}</a>', t)
            for t in pieces[::2]
        ]
        return "".join(pieces)
