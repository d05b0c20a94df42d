"""Numbers and cross references of the site: figures, tables, equations, chapters and citations.

Everything here works on finished pages. What can be pointed at carries an id: `fig-NAME` and `tab-NAME` from `figures`,
`eq-NAME` from `\\label{eq-NAME}` in a displayed equation, and each item of the list under a heading "References" gets
`ref-surname-year`. In the text a plain Markdown link such as `[the curves](#fig-curves_pilot)` is enough: it becomes
"Figure 7", on whichever page that is, and stays plain text where that figure does not exist yet. "Chen et al. (2021)"
and "chapter 4" are linked as they stand.
"""

import re

KINDS = {"fig": "Figure", "tab": "Table", "eq": "Equation"}
# What numbers and references may change: text between tags. Inside these elements it is left alone.
CLOSED = (
    "a",
    "code",
    "pre",
    "script",
    "style",
    "math",
    "title",
    "summary",
    "h1",
    "h2",
    "h3",
    "h4",
    "button",
    "option",
)


def connect(pages, front=None):
    """Number what has an id, in the order of the pages, and turn references into links.

    Args:
        pages: mapping of file name to HTML, in reading order.
        front: name of the page that only repeats the others' content, under the same numbers.

    Returns:
        The mapping with changed pages.
    """
    labels = {}
    for name, text in pages.items():
        if name != front:
            _collect(name, text, labels)
    cited = _bibliography(pages)
    chapters = [name for name in pages if name != front]
    return {name: _link(name, _number(text, labels), labels, cited, chapters) for name, text in pages.items()}


def _collect(name, text, labels):
    """Every id of the page in its order: `{id: (page, words)}`, counted on from the pages before."""
    for kind, label in re.findall(r' id="(fig|tab|eq)-([\w-]+)"', text):
        if f"{kind}-{label}" not in labels:
            number = 1 + sum(known.startswith(f"{kind}-") for known in labels)
            labels[f"{kind}-{label}"] = (name, f"{KINDS[kind]} {number}")


def _number(text, labels):
    def mark(match):
        words = labels.get(match["id"], (None, None))[1]
        return match[0] + (f"<b>{words}.</b> " if words else "")

    text = re.sub(
        r'<(?:figure|table|div) id="(?P<id>(?:fig|tab)-[\w-]+)".*?<(?:figcaption|caption)>',
        mark,
        text,
        flags=re.DOTALL,
    )
    number = r'(<span class="equation" id="(eq-[\w-]+)".*?</math>)'
    return re.sub(
        number,
        lambda m: f'{m[1]}<span class="number">({labels[m[2]][1].split()[-1]})</span>',
        text,
        flags=re.DOTALL,
    )


def _bibliography(pages):
    """`{id: (page, first author, year)}` of the items under "References", which get their ids in place."""
    cited = {}
    for name, text in pages.items():
        head, heading, tail = text.partition('<h2 id="references">')
        if not heading:
            continue
        listed, end, rest = tail.partition("</ul>")

        def anchor(match, name=name):
            words = re.sub(r"<[^>]+>", "", match[1])
            author, years = (
                re.match(r"[^\W\d_][\w’'-]*", words),
                re.findall(r"\b(?:19|20)\d\d\b(?!\.\d)", words),
            )
            if not author or not years:
                return match[0]
            label = f"ref-{author[0].lower()}-{years[0]}"
            while label in cited:
                label += "b"
            cited[label] = (name, author[0], years[0])
            return f'<li id="{label}">{match[1]}</li>'

        pages[name] = head + heading + re.sub(r"<li>(.*?)</li>", anchor, listed, flags=re.DOTALL) + end + rest
    return cited


def _link(name, text, labels, cited, chapters):
    def address(page, label):
        return f"#{label}" if page == name else f"{page}#{label}"

    def cross(match):
        page, words = labels.get(match["id"], (None, None))
        return f'<a href="{address(page, match["id"])}">{words}</a>' if page else match["words"]

    text = re.sub(
        r'<a href="#(?P<id>(?:fig|tab|eq)-[\w-]+)">(?P<words>.*?)</a>', cross, text, flags=re.DOTALL
    )
    # Links between notebooks, as JupyterLab follows them.
    text = re.sub(r'(<a href=")([\w]+)\.ipynb((?:#[\w-]*)?")', lambda m: f"{m[1]}{m[2]}.html{m[3]}", text)
    names = [
        (rf"{author}(?:,? et al\.| &amp; [^\W\d_]\w+)? (?:{year}|\({year}\))", address(page, label))
        for label, (page, author, year) in cited.items()
    ]
    names += [(rf"[Cc]hapter {n}\b", page) for n, page in enumerate(chapters, 1)]
    return _outside(text, names)


def _outside(text, names):
    """Link each pattern of `names` in running text of the page's main part."""
    if not names:
        return text
    head, start, main = text.partition("<main")
    pattern = re.compile("|".join(f"({words})" for words, _ in names))
    pieces, depth = re.split(r"(<[^>]+>)", main), 0
    for i, piece in enumerate(pieces):
        if tag := re.match(r"<(/?)(\w+)", piece):
            depth += (-1 if tag[1] else 1) * (tag[2] in CLOSED)
        elif not depth:
            pieces[i] = pattern.sub(
                lambda m: f'<a class="cite" href="{names[m.lastindex - 1][1]}">{m[0]}</a>', piece
            )
        elif piece and depth < 0:
            depth = 0
    return head + start + "".join(pieces)
