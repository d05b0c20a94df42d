"""Notebook pairs: `notebooks/NN_name.py` (percent format, the source) beside `NN_name.ipynb` (no outputs).

The two are compared by content, never by file time, because a checkout gives files whatever time it likes.
"""

import hashlib
from pathlib import Path

import jupytext
import nbformat
from jupytext.compare import NotebookDifference, compare_notebooks

# Constant, so that no machine's Python version or kernel name gets into a commit; without a kernel name
# JupyterLab would stop to ask for one.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def chapters(folder, suffix=".py"):
    """The files `NN_*` of a folder in their order; others, such as `Untitled.ipynb`, are nobody's chapter."""
    return sorted(Path(folder).glob(f"[0-9][0-9]_*{suffix}"))


def read(source):
    """The notebook that a percent-format file stands for, without outputs.

    Its cell ids depend on the cells' text alone, so that an edit changes one cell of the `.ipynb` only.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        before = sum(other.id.startswith(digest) for other in notebook.cells[:number])
        cell.id = f"{digest}-{before + 1}" if before else digest
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def check(folder):
    """Compares every pair of a folder; a sentence for each problem. Outputs do not count as a difference."""
    problems = []
    for stem in sorted({path.stem for kind in (".py", ".ipynb") for path in chapters(folder, kind)}):
        source, notebook = Path(folder, f"{stem}.py"), Path(folder, f"{stem}.ipynb")
        if not source.exists() or not notebook.exists():
            missing, there = (source, notebook) if notebook.exists() else (notebook, source)
            problems.append(f"{there.name} has no {missing.name} beside it.")
            continue
        try:
            theirs = nbformat.read(notebook, as_version=4)
            theirs.metadata = nbformat.from_dict(METADATA)
            compare_notebooks(theirs, read(source), "py:percent", raise_on_first_difference=False)
        except NotebookDifference as difference:
            problems.append(f"{source.name} and {notebook.name} differ: {difference}.")
        except Exception as error:  # whatever a parser makes of a half-merged file, the person needs its name
            problems.append(f"{stem}: one of the pair cannot be read as a notebook ({error}).")
    return problems


def write(folder):
    """Makes every `.ipynb` of a folder anew from its `.py`, without outputs; returns those that changed."""
    changed = []
    for source in chapters(folder):
        notebook, text = source.with_suffix(".ipynb"), nbformat.writes(read(source)) + "\n"
        if not notebook.exists() or notebook.read_text(encoding="utf-8") != text:
            notebook.write_text(text, encoding="utf-8")
            changed.append(notebook)
    return changed
