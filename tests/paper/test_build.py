"""Notebook pairs, the papermill pipeline and the pages it renders."""

import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from jupytext import TextFileContentsManager
from nbformat import v4

from lthdepth.errors import UserError
from lthdepth.model import FCRN
from lthdepth.paper import build, site
from lthdepth.paper.study import Paper
from lthdepth.runs.store import Store

ROOT = Path(__file__).parents[2]

SOURCE = """\
# %% [markdown]
# # A small paper

# %% tags=["parameters"]
profile = "paper"
data = None
weights = None
device = "auto"

# %%
print("profile", profile)

# %% tags=["index"]
from IPython.display import Markdown
Markdown("The verdict in one **line**.")
"""


@pytest.fixture
def folder(tmp_path):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    write(notebooks)
    return notebooks


def write(folder, more="", old="", new=""):
    """The small paper as a pair, with another cell or a changed one."""
    text = SOURCE.replace(old, new) + (more and f"\n# %%\n{more}\n")
    (folder / "01_small.py").write_text(text, encoding="utf-8")
    build.write_pairs(folder)


# Pairs.


def test_the_committed_pairs_agree_and_are_clean():
    sources = build.chapters(ROOT / "notebooks")
    assert len(sources) >= 4 and build.differences(ROOT / "notebooks") == []
    if "CI" in os.environ:  # who ran the notebooks in JupyterLab has outputs in them; only a commit must not
        for source in sources:
            text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
            assert text == nbformat.writes(build.read(source)) + "\n"


def test_a_pair_that_disagrees_is_named_whatever_the_outputs(folder):
    source, notebook = folder / "01_small.py", folder / "01_small.ipynb"
    content = nbformat.read(notebook, as_version=4)
    content.cells[2].outputs = [v4.new_output("stream", text="profile paper\n")]
    nbformat.write(content, notebook)
    for name in ("._01_small.py", "Untitled.ipynb", "01_small-Copy1.ipynb", "01_small copy.py", "a.py"):
        (folder / name).write_text("\0 no notebook", encoding="utf-8")  # no chapters
    assert build.differences(folder) == [] and build.chapters(folder) == [source]
    for text in (SOURCE.replace("print(", "1; print("), SOURCE.replace('["index"]', '["x"]'), SOURCE * 2):
        source.write_text(text, encoding="utf-8")
        assert "01_small.py and 01_small.ipynb differ" in build.differences(folder)[0]
    build.write_pairs(folder)
    assert build.differences(folder) == []
    notebook.write_text("<<<<<<< HEAD", encoding="utf-8")
    assert "JSON" in build.differences(folder)[0]
    source.unlink()
    assert "01_small.py" in build.differences(folder)[0]


def test_saving_in_jupyterlab_keeps_a_pair_in_step(folder):
    """Through the contents manager that JupyterLab saves with."""
    shutil.copy(ROOT / "notebooks" / "jupytext.toml", folder)
    lab = TextFileContentsManager()
    lab.root_dir = str(folder.parent)
    model = lab.get("notebooks/01_small.ipynb")
    cell = model["content"].cells[2]
    cell.source, cell.outputs = "print(2 * 2)", [v4.new_output("stream", text="4\n")]
    lab.save(model, "notebooks/01_small.ipynb")
    edited = SOURCE.replace('print("profile", profile)', "print(2 * 2)")
    assert (folder / "01_small.py").read_text(encoding="utf-8") == edited
    assert build.differences(folder) == []


# Pages.

FIGURE = (
    '<figure id="fig-{0}"><img src="data:image/png;base64,AAAA" alt="a dot"><figcaption>'
    '<b data-label="fig-{0}"></b>Words of {0}.<details class="source"><summary>S</summary>'
    '<p class="files"></p></details></figcaption></figure>'
)
FRONT = """# Title: long
As [Chen et
al. (2021)](#ref-chen-2021) say: [x](#fig-b), [y](#fig-none)."""
ONE = r"""# One
In `code $x$`, $a<b$ and

$$\frac{x^2}{2c}$$
"""
TWO = """# Two
## Same
See [one](01_one.ipynb#same).

## References

- Chen, Frankle: Tickets. CVPR 2021. arXiv 2012.06908
- Li & Wu: X. 2020
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A site of three notebooks whose outputs are given, not computed: `{file: text}`, and its folder."""
    out = tmp_path_factory.mktemp("site")
    (out / "figures").mkdir()
    for kind in ("png", "pdf"):
        (out / "figures" / f"a.{kind}").write_bytes(b"a")
    code, last = v4.new_code_cell("secret = 'a < b'"), v4.new_code_cell("1")
    bars = "\repoch:  10%|# |\repoch: 100%|##|\nUserWarning: noise"
    code.outputs = [
        v4.new_output("stream", name="stderr", text=bars),
        v4.new_output("stream", name="stdout", text="end <5>\n"),
        v4.new_output("display_data", {"text/html": FIGURE.format("a")}),
    ]
    last.outputs = [v4.new_output("display_data", {"text/html": FIGURE.format("b")})]
    hidden = v4.new_code_cell("data = '/somewhere'", metadata={"tags": ["injected-parameters"]})
    cells = {
        "00_front": [v4.new_markdown_cell(FRONT)],
        "01_one": [v4.new_markdown_cell(ONE), hidden, code],
        "02_two": [v4.new_markdown_cell(TWO), last],
    }
    notebooks = {name: v4.new_notebook(cells=listed) for name, listed in cells.items()}
    index = site.render(notebooks, out / "html", out / "figures", "A <demonstration>.", "Built today.")
    texts = {path.name: path.read_text(encoding="utf-8") for path in index.parent.glob("*.*")}
    return texts | {"folder": index.parent}


def test_pages_show_no_progress_code_is_folded_and_pictures_are_files(pages):
    one, files = pages["01_one.html"], pages["folder"] / "files"
    for hidden in ("epoch:", "UserWarning", "/somewhere", "data:image/png"):
        assert hidden not in one
    assert "end &lt;5&gt;" in one and "A &lt;demonstration&gt;." in one
    (fold,) = re.findall(r'<details class="code">.*?</details>', one, re.DOTALL)
    assert "secret" in fold and "secret" not in one.replace(fold, "")
    assert 'src="files/a.png"' in one and '<a download href="files/a.pdf">PDF</a>' in one
    assert {path.name for path in files.iterdir()} == {"a.png", "a.pdf"}


def test_numbers_run_through_the_pages_and_references_find_and_preview_them(pages):
    front, one, two = pages["index.html"], pages["01_one.html"], pages["02_two.html"]
    assert 'data-label="fig-a">Figure 1. </b>Words of a.' in one
    assert 'data-label="fig-b">Figure 2. </b>Words of b.' in two
    assert ': <a href="02_two.html#fig-b">Figure 2</a>, y.' in front
    assert re.search(r'<a href="02_two.html#ref-chen-2021">Chen et\sal. \(2021\)</a>', front)
    assert '<li id="ref-chen-2021">' in two and 'href="01_one.html#same"' in two
    shown = pages["previews.js"]
    for name in ("fig-a", "fig-b", "ref-chen-2021", "ref-li-2020", "01_one.html", "02_two.html"):
        assert f'"{name}":' in shown
    assert "files/a.png" in shown and 'id=\\"' not in shown and "<details" not in shown
    whole = site.whole(pages["folder"])  # for printing
    assert whole.count("<main") == 3 and 'href="#fig-b"' in whole and "01_one.html#" not in whole


def test_mathematics_is_mathml_and_code_spans_stay(pages):
    one = pages["01_one.html"]
    assert one.count("<math") == 2 and "<mfrac>" in one and "$$" not in one
    assert re.search("<mo>(&lt;|&#x0003C;)</mo>", one) and "<code>code $x$</code>" in one
    sources = "".join(p.read_text(encoding="utf-8") for p in build.chapters(ROOT / "notebooks"))
    equations = re.findall(r"\$\$(.+?)\$\$", sources.replace("\n#", "\n"), re.DOTALL)
    assert len(equations) > 5
    for latex in equations:
        tree = ElementTree.fromstring(site.mathml(re.sub(r"\\(tag|label)\{.*?\}", "", latex), "block"))
        assert tree.get("display") == "block" and "\\" not in "".join(tree.itertext())
    for latex in (r"\left( a", r"a \unknowncommand b"):
        with pytest.raises(UserError, match="the equation"):
            site.mathml(latex, "block")


# The pipeline.


def test_a_build_runs_renders_and_says_where_and_personal_settings_change_nothing(
    folder, tmp_path, monkeypatch, capsys
):
    own = tmp_path / "ipython" / "profile_default"
    own.mkdir(parents=True)
    every = 'c.InteractiveShell.ast_node_interactivity = "all"\n'
    (own / "ipython_kernel_config.py").write_text(every, encoding="utf-8")
    monkeypatch.setenv("IPYTHONDIR", str(own.parent))
    write(folder, '"twice"\n1 + 1')
    trained = []  # in this test nothing is, and no run of this folder counts
    monkeypatch.setattr(build, "train", lambda paper, values, progress: trained.append(values["data"]))
    monkeypatch.setattr(Store.__init__, "__defaults__", (tmp_path / "runs", tmp_path / "results"))
    index = build.build("quick", "rooms:24", notebooks=folder)
    said, page = capsys.readouterr().out, index.read_text(encoding="utf-8")
    assert "profile quick" in page and "<strong>line</strong>" in page
    assert "twice" not in page.split("<footer")[0]
    assert "Quick build on built-in rooms" in page and index.as_uri() in said
    assert "The quick paper: 8 runs are trained on built-in rooms, 1 notebooks run" in said
    assert trained == ["rooms:24"]
    (folder / "01_small.py").write_text(SOURCE, encoding="utf-8")
    with pytest.raises(UserError, match="01_small.ipynb differ"):
        build.build("quick", "rooms:24", notebooks=folder)


@pytest.mark.parametrize(
    "cell, told",
    [
        ('from lthdepth.errors import UserError\n\nraise UserError("no file x.h5.")', "^no file x.h5.$"),
        ("1 / 0", "ZeroDivisionError"),
        ("import os\nos._exit(9)", "the kernel of 01_small.py died.*01_small.ipynb"),
        ("import time\ntime.sleep(600)", "the kernel of 01_small.py.*timed out.*01_small.ipynb"),
    ],
    ids=["mistake", "bug", "dies", "hangs"],
)
def test_a_cell_that_fails_ends_the_build_and_what_ran_is_kept(cell, told, folder, monkeypatch):
    """A person's mistake and a lost kernel in one sentence, a bug with its traceback."""
    monkeypatch.setattr(build, "LONGEST", 9)
    write(folder, cell)
    with pytest.raises(Exception, match=told) as caught:
        build.build("paper", notebooks=folder)
    assert isinstance(caught.value, UserError) == (cell != "1 / 0")
    target = folder.parent / "build" / "paper" / "notebooks" / "01_small.ipynb"
    assert "one **line**" in str([c.get("outputs") for c in nbformat.read(target, as_version=4).cells])


def test_the_cells_to_try_out_run_and_are_not_waited_for_in_a_build(folder, capsys):
    """In a build without a browser, widgets may keep a kernel waiting for ever."""
    (folder / "01_small.py").write_text(SOURCE + '\n# %% tags=["remove-cell"]\n1 / 0\n', encoding="utf-8")
    build.write_pairs(folder)
    assert "ZeroDivision" not in build.build("paper", notebooks=folder).read_text(encoding="utf-8")
    for source in build.chapters(ROOT / "notebooks"):
        tried = [c for c in build.read(source).cells if "remove-cell" in c.metadata.get("tags", [])]
        imports = re.findall(r"^from lthdepth.*", source.read_text(encoding="utf-8"), re.MULTILINE)
        names = {"paper": Paper("paper"), "model": FCRN("resnet18")}
        for cell in (cell for cell in tried if cell.cell_type == "code"):
            exec("\n".join([*imports, cell.source]), names)
            assert "density" in cell.source and "Traceback" not in capsys.readouterr().err


def test_a_mistake_leaves_the_earlier_build_alone(folder):
    earlier = folder.parent / "build" / "quick" / "notebooks" / "01_small.ipynb"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("an earlier build", encoding="utf-8")
    with pytest.raises(UserError):
        build.build("quick", data="absent.h5", notebooks=folder)
    assert earlier.read_text(encoding="utf-8") == "an earlier build"
