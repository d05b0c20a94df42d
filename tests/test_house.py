"""The house itself: the rule of imports, what its pages say, and the same bytes on every system."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(command, folder=ROOT, **more):
    how = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "check": False} | more
    return subprocess.run(command, cwd=folder, **how)


def test_imports_point_down():
    pytest.importorskip("importlinter")
    command = "from importlinter.cli import lint_imports_command as run; run()"
    done = run([sys.executable, "-X", "utf8", "-c", command, "--no-cache"])
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


def test_a_checkout_for_windows_has_the_same_bytes(tmp_path):
    """Of the commit, not of the working tree; `bash build.sh` of it runs."""
    clone = ["git", "clone", "-q", "--no-hardlinks", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    if run([*clone, str(ROOT), "c"], tmp_path).returncode:
        pytest.skip("this is no git repository")
    names = ["build.sh", ".ci/run", "notebooks/01_data.py", "notebooks/01_data.ipynb", "results/runs.jsonl"]
    assert not [name for name in names if b"\r" in (tmp_path / "c" / name).read_bytes()]
    assert "--profile" in run(["bash", "build.sh", "--help"], tmp_path / "c").stdout
