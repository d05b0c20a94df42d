"""The house itself: the rule of imports, what its pages say, and exact versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_point_down():
    pytest.importorskip("importlinter")
    command = "from importlinter.cli import lint_imports_command as run; run()"
    words, how = (
        [sys.executable, "-X", "utf8", "-c", command, "--no-cache"],
        {"encoding": "utf-8", "check": False},
    )
    done = subprocess.run(words, cwd=ROOT, capture_output=True, **how)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_readme_shows_can_be_run():
    """Its Python needs names that are there, and its pages lead to files."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (from lthdepth.* import .+)$", readme, flags=re.M)
    assert len(lines) >= 3
    for line in lines:
        exec(line, {})
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"\]\((?!http)([^)#]+)\)", text)
        named += re.findall(r"(?:tests|benchmarks|docs)/[\w/]+\.\w+", text)
        assert not [name for name in named if not any((base / name).exists() for base in (page.parent, ROOT))]


def test_every_dependency_has_its_exact_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    exact = {re.sub("[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    assert {re.sub("[-_.]+", "-", re.split("[>=<;[ ]", w)[0]).lower() for w in wanted} <= exact
