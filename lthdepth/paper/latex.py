r"""A table of texts as LaTeX that pdfLaTeX, XeLaTeX and LuaLaTeX read with `\usepackage{booktabs}` and nothing else."""

from . import tables

# What LaTeX takes for a command, and what pdfLaTeX's fonts do not have.
SPOKEN = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "δ": r"$\delta$",
    "θ": r"$\theta$",
    "–": "--",
    "’": "'",
    "“": "``",
    "”": "''",
    "é": r"\'e",
}


def escape(text):
    """Any text as LaTeX."""
    return "".join(SPOKEN.get(letter, letter) for letter in str(text))


def table(frame, caption, name):
    """A DataFrame as a `table` with the label `tab:NAME`; columns of numbers to the right."""
    rows = [" & ".join(map(escape, cells)) + r" \\" for cells in (frame.columns, *frame.values)]
    columns = "".join(side[0] for side in tables.sides(frame))
    head = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
    ]
    return "\n".join(
        [
            *head,
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
