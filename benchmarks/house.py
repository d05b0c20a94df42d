"""How large the house is, against what it should be at most: `python benchmarks/house.py`."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def lines(files):
    """The number of lines in all of `files`."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def functions(files):
    """Yields (where, lines, parameters without self) of each function."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTION):
                a = node.args
                names = [p.arg for p in a.posonlyargs + a.args + a.kwonlyargs if p.arg not in ("self", "cls")]
                where = f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
                yield where, node.end_lineno - node.lineno + 1, len(names)


def table():
    """Yields (what, how many, at most); the last is None where nothing is fixed; both for large functions."""
    package = sorted((ROOT / "lthdepth").rglob("*.py"))
    rooms = sorted({file.parent for file in package} - {ROOT / "lthdepth"})
    core = [file for file in package if file.parent == ROOT / "lthdepth" and file.name != "__main__.py"]
    yield "lthdepth, lines", lines(package), 6000
    yield "lthdepth, modules", sum(file.name != "__init__.py" for file in package), 42
    yield "  core", lines(core), 950
    for room in rooms:
        yield f"  {room.name}", lines(room.rglob("*.py")), None
    yield "tests, lines", lines((ROOT / "tests").rglob("*.py")), 5500
    yield "benchmarks, lines", lines((ROOT / "benchmarks").glob("*.py")), 500
    yield "build.sh, lines", lines([ROOT / "build.sh"]), 100
    yield "README.md, lines", lines([ROOT / "README.md"]), 120
    sizes = list(functions(package))
    yield "functions over 60 lines", sum(size > 60 for _, size, _ in sizes), 0
    yield "functions with more than 6 parameters", sum(count > 6 for _, _, count in sizes), 0
    for where, size, count in sizes:
        if size > 60 or count > 6:
            yield f"  {where}: {size} lines, {count} parameters", None, None


for what, number, most in table():
    limit = "" if most is None else f"  of {most:6,}{'' if number <= most else '  over'}"
    print(what if number is None else f"{what:40} {number:6,}{limit}")
