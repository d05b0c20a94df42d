"""The Markdown of a notebook as HTML, with mathematics that browsers set without any script."""

import base64
import mimetypes
import re
from pathlib import Path

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer

from ..errors import UserError


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
    return result.replace(bar, bar.replace(">", ' lspace="0" rspace="0">', 1))


class Prose(IPythonRenderer):
    """Markdown with MathML, embedded images and a record of the headings passed.

    Args:
        folder: where relative addresses of pictures start.
        headings: list to which each heading passed is added: level, id, html.
        page: name of the page, for the ids of equations without a label.
    """

    def __init__(self, folder, headings, page=""):
        super().__init__(escape=False, exclude_anchor_links=True, embed_images=True)
        self.folder, self.headings, self.page, self.equations = Path(folder), headings, page, 0

    def inline_math(self, body):
        return mathml(body, "inline")

    def block_math(self, body):
        label = re.search(r"\\label\{(eq-[\w-]+)\}", body)
        self.equations += 1
        name = label[1] if label else f"eq-{self.page}-{self.equations}"
        result = mathml(re.sub(r"\\(?:label|tag)\{[^}]*\}", "", body), "block")
        return f'<span class="equation" id="{name}" tabindex="0">{result}</span>'

    def latex_environment(self, name, body):
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

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
