"""Notebook pairs: `notebooks/NN_name.py` (percent format, the source) beside `NN_name.ipynb` (no outputs).

The two are compared by content, never by file time, because a checkout gives files whatever time it likes.
"""

import hashlib
from pathlib import Path

import jupytext
import nbformat

# Constant, so that no machine's Python version or kernel name gets into a commit; without a kernel name
# JupyterLab would stop to ask for one.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read(source):
    """The notebook that a percent-format file stands for.

    Args:
        source: path of a `.py` file in jupytext's percent format.

    Returns:
        An `nbformat` notebook without outputs, whose cell ids depend on the cells' text alone, so that an
        edit changes one cell of the `.ipynb` and leaves the others as they were.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    seen = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _text(notebook):
    return nbformat.writes(notebook) + "\n"


def _cells(notebook):
    return [(cell.cell_type, cell.source.strip(), cell.metadata.get("tags", [])) for cell in notebook.cells]


def _difference(source, notebook):
    """One sentence on the first difference between the `.py` and the `.ipynb`, or None."""
    try:
        ours, theirs = _cells(read(source)), _cells(nbformat.read(notebook, as_version=4))
    except Exception as error:  # whatever a parser makes of a half-merged file, the person needs its name
        return f"{source.stem}: one of the pair cannot be read as a notebook ({error})."
    for number, (here, there) in enumerate(zip(ours, theirs), start=1):
        if here != there:
            return f"{source.name} and {notebook.name} differ from cell {number} on."
    if len(ours) != len(theirs):
        return f"{source.name} has {len(ours)} cells, {notebook.name} has {len(theirs)}."
    return None


def check(folder, clean=False):
    """Compares every pair in a folder.

    Args:
        folder: where the pairs are.
        clean: also ask of each `.ipynb` that it is exactly what `write` makes, as a commit should have it: no
            outputs, execution counts or machine's metadata. Without it, a notebook that somebody ran and
            saved in JupyterLab is in step with its `.py`.

    Returns:
        One sentence for each problem; empty if all is well.
    """
    folder = Path(folder)
    problems = []
    for stem in sorted({path.stem for path in folder.iterdir() if path.suffix in (".py", ".ipynb")}):
        source, notebook = folder / f"{stem}.py", folder / f"{stem}.ipynb"
        if not source.exists() or not notebook.exists():
            missing, there = (source, notebook) if notebook.exists() else (notebook, source)
            problems.append(f"{there.name} has no {missing.name} beside it.")
        elif difference := _difference(source, notebook):
            problems.append(difference)
        elif clean and notebook.read_text(encoding="utf-8") != _text(read(source)):
            problems.append(f"{notebook.name} holds outputs or metadata that do not belong in a commit.")
    return problems


def write(folder):
    """Makes every `.ipynb` in a folder anew from its `.py`, without outputs.

    Args:
        folder: where the pairs are; an `.ipynb` without a `.py` is left alone.

    Returns:
        The paths of the notebooks that changed.
    """
    changed = []
    for source in sorted(Path(folder).glob("*.py")):
        notebook, text = source.with_suffix(".ipynb"), _text(read(source))
        if not notebook.exists() or notebook.read_text(encoding="utf-8") != text:
            notebook.write_text(text, encoding="utf-8")
            changed.append(notebook)
    return changed
