"""How large the house is, against what it should be at most: `python benchmarks/house.py`."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lines(files):
    """The number of lines in all of `files`."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def long(files, most=60):
    """Where functions of more than `most` lines begin. Parameters are counted by ruff."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= most:
                yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"


package = sorted((ROOT / "lthdepth").rglob("*.py"))
for what, number, most in (
    ("lthdepth, lines", lines(package), 6000),
    ("lthdepth, modules", sum(file.name != "__init__.py" for file in package), 42),
    ("  core, lines", lines(ROOT.glob("lthdepth/[!_]*.py")), 950),
    *((f"  {room.name}", lines(room.glob("*.py")), "–") for room in sorted(ROOT.glob("lthdepth/[a-z]*/"))),
    ("tests, lines", lines((ROOT / "tests").rglob("*.py")), 5500),
    ("benchmarks, lines", lines((ROOT / "benchmarks").glob("*.py")), 500),
    ("build.sh, lines", lines([ROOT / "build.sh"]), 100),
    ("README.md, lines", lines([ROOT / "README.md"]), 120),
    ("functions over 60 lines", len(list(long(package))), 0),
):
    print(f"{what:25} {number:6,} of {most:6}", "over" if most != "–" and number > most else "")
print(*long(package), sep="\n")
