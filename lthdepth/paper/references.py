"""Numbers, cross references and previews of the site.

What can be pointed at carries an id: `fig-NAME` and `tab-NAME` from `figures`, `eq-NAME` from a label in a
displayed equation, `ref-surname-year` of the items under a heading "References". In the text a plain Markdown
link such as `[the curves](#fig-curves)` is enough: it becomes "Figure 7", on whichever page that is; text
where there is no such figure. "Chen et al. (2021)" and "chapter 4" are linked as they stand.
"""

import re

from .markdown import reference

KINDS = {"fig": "Figure", "tab": "Table", "eq": "Equation"}
# What a preview leaves out: where it comes from, scripts, folds, and what must not be twice on a page.
DROPPED = (
    r'<details class="source".*?</details>|<(script|style)\b.*?</\1>|<summary>.*?</summary>|</?details[^>]*>'
)
DROPPED += r'| (?:id|tabindex|width|height)="[^"]*"'


def cited(notebooks, files):
    """What running text may mention, as regular expressions, and where that leads: `{pattern: address}`.

    Args:
        notebooks: mapping of name to notebook; files: mapping of name to page.
    """
    patterns = {rf"[Cc]hapter {int(name[:2])}\b": file for name, file in files.items()}
    for name, notebook in notebooks.items():
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        listed = re.split(r"^#+ .*\n", text.partition("## References\n")[2], maxsplit=1, flags=re.MULTILINE)[
            0
        ]
        for item in re.split(r"^- +", listed, flags=re.MULTILINE)[1:]:
            if found := reference(item):
                label, author, year = found
                others = r"(?:,?\s+et\s+al\.|\s+&amp;\s+[^\W\d_]\w+)?"
                patterns[rf"{author}{others}\s+(?:{year}|\({year}\))"] = f"{files[name]}#{label}"
    return patterns


def connect(pages):
    """Number figures, tables and equations in the order in which they are met; references become links.

    Args:
        pages: mapping of file name to HTML, in reading order.

    Returns:
        The mapping with changed pages.
    """
    labels, counts = {}, dict.fromkeys(KINDS, 0)
    for name, text in pages.items():
        for label, kind in re.findall(r'data-label="((fig|tab|eq)-[\w-]+)"', text):
            counts[kind] += 1
            labels.setdefault(label, (name, f"{KINDS[kind]} {counts[kind]}"))

    def number(match):
        words = labels[match[1]][1]
        return f"{match[0]}({words.split()[-1]})" if match[1].startswith("eq") else f"{match[0]}{words}. "

    def cross(match):
        page, words = labels.get(match[1], (None, None))
        return f'<a href="{page}#{match[1]}">{words}</a>' if page else match[2]

    for name, text in pages.items():
        text = re.sub(r'data-label="([\w-]+)">', number, text)
        text = re.sub(r'<a href="#((?:fig|tab|eq)-[\w-]+)">(.*?)</a>', cross, text, flags=re.DOTALL)
        text = re.sub(
            r'(<a href="\w+)\.ipynb((?:#[\w-]*)?")', r"\1.html\2", text
        )  # as JupyterLab follows them
        pages[name] = text
    return pages


def previews(pages):
    """What each reference shows in small: HTML by the id that it leads to, or by the page for a chapter."""
    found = {}
    for name, text in pages.items():
        title, first = (
            re.search(r"<h1[^>]*>(.*?)</h1>", text, re.DOTALL),
            re.search(r"<p>.*?</p>", text, re.DOTALL),
        )
        found[name] = f"<b>{title[1]}</b>{first[0] if first else ''}"
        for tag in ("figure", "li", "div"):
            pattern = rf'<{tag}\b[^>]* id="((?:fig|tab|eq|ref)-[\w-]+)"[^>]*>(.*?)</{tag}>'
            for label, body in re.findall(pattern, text, re.DOTALL):
                found[label] = re.sub(DROPPED, "", body, flags=re.DOTALL)
    return found
