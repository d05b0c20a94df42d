"""Notebook pairs, the papermill pipeline and the pages it renders."""

import io
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from jupytext import TextFileContentsManager
from nbformat import v4

from lthdepth.errors import UserError
from lthdepth.model import FCRN
from lthdepth.paper import build, site
from lthdepth.paper.study import Paper

ROOT = Path(__file__).parents[2]

SOURCE = """\
# %% [markdown]
# # A small paper
#
# We keep $1.80$ per cent of the weights.

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
    (notebooks / "01_small.py").write_text(SOURCE, encoding="utf-8")
    build.write_pairs(notebooks)
    return notebooks


def test_the_committed_pairs_agree_and_are_clean():
    sources = build.chapters(ROOT / "notebooks")
    assert len(sources) >= 4 and build.differences(ROOT / "notebooks") == []
    if "CI" in os.environ:  # who ran the notebooks in JupyterLab has outputs in them; only a commit must not
        for source in sources:
            text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
            assert text == nbformat.writes(build.read(source)) + "\n"


def test_a_changed_cell_is_found_and_file_times_do_not_matter(folder):
    source, notebook = folder / "01_small.py", folder / "01_small.ipynb"
    for older, newer in ((source, notebook), (notebook, source)):
        os.utime(older, (1, 1))
        os.utime(newer, (2_000_000_000, 2_000_000_000))
        assert build.differences(folder) == []
    source.write_text(SOURCE.replace('print("profile"', 'print("Profile"'), encoding="utf-8")
    (problem,) = build.differences(folder)
    assert "01_small.py and 01_small.ipynb differ" in problem and "3" in problem
    assert build.write_pairs(folder) == [notebook] and build.differences(folder) == []
    assert build.write_pairs(folder) == []


def test_tags_and_added_cells_count_a_lone_half_is_named_and_outputs_do_not_count(folder):
    source, notebook = folder / "01_small.py", folder / "01_small.ipynb"
    content = nbformat.read(notebook, as_version=4)
    content.cells[2].outputs = [v4.new_output("stream", text="profile paper\n")]
    content.cells[2].execution_count = 7
    nbformat.write(content, notebook)
    assert build.differences(folder) == []
    for text in (SOURCE.replace('tags=["index"]', 'tags=["remove-input"]'), SOURCE + "\n# %%\n1 / 1\n"):
        source.write_text(text, encoding="utf-8")
        assert "differ" in build.differences(folder)[0]
    source.rename(folder / "elsewhere")
    assert "01_small.py is missing" in build.differences(folder)[0]
    (folder / "elsewhere").rename(source)
    notebook.write_text("<<<<<<< HEAD", encoding="utf-8")
    assert "cannot be read" in build.differences(folder)[0]


def test_files_that_are_no_chapter_are_left_alone(folder):
    for name in (
        "._01_small.py",
        ".#01_small.py",
        "Untitled.ipynb",
        "01_small-Copy1.ipynb",
        "01_small copy.py",
        "a.py",
    ):
        (folder / name).write_text("\0 no notebook", encoding="utf-8")
    assert build.differences(folder) == [] and build.write_pairs(folder) == []
    assert [path.name for path in build.chapters(folder)] == ["01_small.py"]


def test_an_edit_leaves_the_ids_of_other_cells(folder):
    before = nbformat.read(folder / "01_small.ipynb", as_version=4).cells
    (folder / "01_small.py").write_text(
        SOURCE.replace("# %%\nprint", "# %%\n1 + 1\n\n# %%\n1 + 1\n\n# %%\nprint")
    )
    after = build.read(folder / "01_small.py").cells
    assert len({cell.id for cell in after}) == len(after) == len(before) + 2
    assert {cell.id for cell in before} < {cell.id for cell in after}


def test_saving_in_jupyterlab_keeps_a_pair_in_step(folder):
    """Through the contents manager that JupyterLab saves with."""
    shutil.copy(ROOT / "notebooks" / "jupytext.toml", folder)
    lab = TextFileContentsManager()
    lab.root_dir = str(folder.parent)
    model = lab.get("notebooks/01_small.ipynb")
    cell = model["content"].cells[2]
    cell.source, cell.outputs = "print(2 * 2)", [v4.new_output("stream", text="4\n")]
    cell.metadata["tags"] = ["show-input"]
    lab.save(model, "notebooks/01_small.ipynb")
    edited = SOURCE.replace('# %%\nprint("profile", profile)', '# %% tags=["show-input"]\nprint(2 * 2)')
    assert (folder / "01_small.py").read_text(encoding="utf-8") == edited
    assert build.differences(folder) == []
    # And an edit of the .py is what opens, however old the file says it is.
    (folder / "01_small.py").write_text(SOURCE.replace("one **line**", "two lines"), encoding="utf-8")
    os.utime(folder / "01_small.py", (1, 1))
    assert "two lines" in lab.get("notebooks/01_small.ipynb")["content"].cells[3].source


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FIGURE = (
    f'<figure id="fig-{{0}}"><img src="data:image/png;base64,{DOT}" alt="a dot"><figcaption>'
    '<b data-label="fig-{0}"></b>Words of {0}.<details class="source"><summary>S</summary>'
    '<p class="files"></p></details></figcaption></figure>'
)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A site of three notebooks whose outputs are given, not computed: `{name: text}`; and its folder."""
    out = tmp_path_factory.mktemp("site")
    (out / "figures").mkdir()
    (out / "figures" / "a.pdf").write_bytes(b"%PDF")
    code = v4.new_code_cell("secret = 'a < b'")
    code.outputs = [
        v4.new_output("stream", name="stderr", text="\repoch:  10%|# |\repoch: 100%|##|\nUserWarning: noise"),
        v4.new_output("stream", name="stdout", text="end <5>\n"),
        v4.new_output("display_data", {"text/html": FIGURE.format("a")}),
    ]
    hidden = v4.new_code_cell("data = '/somewhere'", metadata={"tags": ["injected-parameters"]})
    last = v4.new_code_cell("1")
    last.outputs = [v4.new_output("display_data", {"text/html": FIGURE.format("b")})]
    last.outputs += [v4.new_output("display_data", {"text/markdown": "It **holds**: [b](#fig-b)."})]
    title = "# Title: long\nIn short, as Chen et al. (2021) and\nothers (Li & Wu 2020) say: "
    title += "[x](#fig-b), [y](#fig-none), chapter 1."
    text = "# One\nIn `code $x$ Chen et al. (2021)`, $a<b$ and\n\n"
    text += "$$\\frac{x^2}{2c} \\tag{1} \\label{eq-half}$$\n"
    items = "- Chen, Frankle: Tickets. CVPR 2021. arXiv 2012.06908\n- Li & Wu: X. 2020\n"
    end = "# Two\n## Same\nSee [one](01_one.ipynb#same) and [it](#eq-half).\n\n"
    end += f"## References\n\n{items}"
    notebooks = {
        "00_front": v4.new_notebook(cells=[v4.new_markdown_cell(title)]),
        "01_one": v4.new_notebook(cells=[v4.new_markdown_cell(text), hidden, code]),
        "02_two": v4.new_notebook(cells=[v4.new_markdown_cell(end), last]),
    }
    index = site.render(notebooks, out / "html", out / "figures", "A <demonstration>.", "Built today.")
    pages = {path.name: path.read_text(encoding="utf-8") for path in index.parent.glob("*.*")}
    return SimpleNamespace(
        **{name.partition(".")[0]: text for name, text in pages.items()}, folder=index.parent
    )


def test_pages_show_no_progress_code_is_folded_and_pictures_are_files(html):
    page = html.__dict__["01_one"]
    for hidden in ("epoch:", "UserWarning", "/somewhere", "data:image/png"):
        assert hidden not in page
    assert "end &lt;5&gt;" in page and "A &lt;demonstration&gt;." in page
    assert page.count('<details class="code">') == 1
    assert "secret" in page.split("<details")[1].split("</details>")[0] and "secret" not in html.index
    assert 'src="files/a.png"' in page
    assert (html.folder / "files" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert '<a download href="files/a.pdf">PDF</a>' in page and (html.folder / "files" / "a.pdf").exists()


def test_mathematics_is_mathml_and_code_spans_stay(html):
    page = html.__dict__["01_one"]
    assert page.count("<math") == 2 and "<mfrac>" in page and "$$" not in page
    assert re.search("<mo>(&lt;|&#x0003C;)</mo>", page)
    assert "<code>code $x$ Chen et al. (2021)</code>" in page


def test_front_page_has_title_chapters_and_citation(html):
    front = html.index
    assert "<title>Title: long</title>" in front and "Built today." in front
    assert 'href="01_one.html">One</a>' in front and 'href="02_two.html">Two</a>' in front
    assert 'name="citation_title" content="Title: long"' in front and '"@type": "ScholarlyArticle"' in front
    assert "@misc{lthdepth," in front and "citation_title" not in html.__dict__["01_one"]
    two = html.__dict__["02_two"]
    assert 'rel="prev"' in two and 'id="same"' in two and "Chapter&nbsp;2" in two


def test_numbers_run_through_the_pages_and_references_find_them(html):
    one, two = html.__dict__["01_one"], html.__dict__["02_two"]
    assert "</b data-label" not in one and 'data-label="fig-a">Figure 1. </b>Words of a.' in one
    assert 'data-label="fig-b">Figure 2. </b>Words of b.' in two
    assert '<a href="02_two.html#fig-b">Figure 2</a>, y, <a href="01_one.html">chapter 1</a>' in html.index
    assert 'data-label="eq-half">(1)</span>' in one and '<a href="01_one.html#eq-half">Equation 1</a>' in two
    assert '<a href="02_two.html#ref-chen-2021">Chen et al. (2021)</a>' in html.index
    assert re.search(r'<a href="02_two.html#ref-li-2020">Li &amp; Wu\s2020</a>\) say', html.index)
    assert '<li id="ref-chen-2021">' in two and '<li id="ref-li-2020">' in two
    assert 'href="01_one.html#same"' in two


def test_previews_hold_what_is_referred_to_and_no_ids(html):
    text = html.previews
    for name in ("fig-a", "fig-b", "eq-half", "ref-chen-2021", "ref-li-2020", "01_one.html", "02_two.html"):
        assert f'"{name}":' in text
    assert "files/a.png" in text and 'id=\\"' not in text and "<details" not in text


def test_all_pages_are_one_for_printing(html):
    text = site.whole(html.folder)
    assert text.count("<main") == 3 and 'href="#fig-b"' in text
    assert text.index("In short") < text.index("secret")


@pytest.mark.parametrize(
    "latex",
    [
        r"\begin{cases}|x| & |x|\le c\\ \dfrac{x^2+c^2}{2c} & |x|>c\end{cases}",
        r"\begin{aligned}a &= b\\ c &= \hat d\end{aligned}",
        r"\max\!\left(\frac{d_i}{\hat d_i},\frac{\hat d_i}{d_i}\right) < 1.25^j",
        r"m \odot \theta_{\text{ImageNet}} \in \mathbb{R}^N",
    ],
)
def test_equations_of_the_paper_are_well_formed(latex):
    tree = ElementTree.fromstring(site.mathml(latex, "block"))
    assert tree.get("display") == "block" and "\\" not in "".join(tree.itertext())


@pytest.mark.parametrize("latex", [r"\frac{a}{b", r"a \unknowncommand b"])
def test_an_equation_that_cannot_be_set_is_named(latex):
    with pytest.raises(UserError, match="the equation"):
        site.mathml(latex, "block")


def test_a_build_runs_renders_and_says_where_and_personal_settings_change_nothing(
    folder, tmp_path, monkeypatch, capsys
):
    own = tmp_path / "ipython" / "profile_default"
    own.mkdir(parents=True)
    (own / "ipython_kernel_config.py").write_text('c.InteractiveShell.ast_node_interactivity = "all"\n')
    monkeypatch.setenv("IPYTHONDIR", str(own.parent))
    (folder / "01_small.py").write_text(SOURCE + '\n# %%\n"twice"\n1 + 1\n', encoding="utf-8")
    build.write_pairs(folder)
    index = build.build("quick", "rooms:24", notebooks=folder)
    said = capsys.readouterr().out
    page = index.read_text(encoding="utf-8")
    assert "profile quick" in page and "<strong>line</strong>" in page
    assert "twice" not in page.split("<footer")[0]
    assert "Quick build on built-in rooms" in page and index.as_uri() in said
    assert re.search(r"The quick paper: \d+ runs are trained on built-in rooms, 1 notebooks run", said)
    (folder / "01_small.py").write_text(SOURCE, encoding="utf-8")
    with pytest.raises(UserError, match="01_small.ipynb differ"):
        build.build("quick", "rooms:24", notebooks=folder)


def test_a_build_from_cold_imports_does_not_deadlock(folder):
    """Two notebooks at a time, in a process that has imported nothing yet."""
    (folder / "02_more.py").write_text(SOURCE, encoding="utf-8")
    build.write_pairs(folder)
    code = f"from lthdepth.paper.build import build; build('paper', notebooks={str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_persons_mistake_in_a_cell_is_one_sentence_and_a_bug_keeps_its_traceback(folder):
    failing = '\n# %%\nfrom lthdepth.errors import UserError\n\nraise UserError("no such file x.h5.")\n'
    (folder / "01_small.py").write_text(SOURCE + failing, encoding="utf-8")
    build.write_pairs(folder)
    with pytest.raises(UserError) as caught:
        build.build("paper", notebooks=folder)
    assert str(caught.value) == "no such file x.h5."
    (folder / "01_small.py").write_text(SOURCE + "\n# %%\n1 / 0\n", encoding="utf-8")
    build.write_pairs(folder)
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        build.build("paper", notebooks=folder)
    target = folder.parent / "build" / "paper" / "notebooks" / "01_small.ipynb"
    assert str(target) in caught.value.__notes__[0]
    assert nbformat.read(target, as_version=4).cells[-1].outputs[-1].ename == "ZeroDivisionError"


@pytest.mark.parametrize(
    "cell, told",
    [("import os\nos._exit(9)", "died"), ("import time\ntime.sleep(600)", "did nothing for 4 s")],
    ids=["dies", "hangs"],
)
def test_a_kernel_that_dies_or_hangs_ends_the_build_with_a_sentence(cell, told, folder, monkeypatch):
    monkeypatch.setattr(build, "IDLE", 4)
    (folder / "01_small.py").write_text(f"{SOURCE}\n# %%\n{cell}\n", encoding="utf-8")
    build.write_pairs(folder)
    with pytest.raises(UserError, match=rf"the kernel of 01_small.py {told}") as caught:
        build.build("paper", notebooks=folder)
    target = folder.parent / "build" / "paper" / "notebooks" / "01_small.ipynb"
    assert str(target) in str(caught.value)
    assert "one **line**" in str(nbformat.read(target, as_version=4).cells[-2].outputs)


def test_the_cells_to_try_out_run_and_are_not_waited_for_in_a_build(folder, capsys):
    """In a build without a browser, widgets may keep a kernel waiting for ever."""
    (folder / "01_small.py").write_text(SOURCE + '\n# %% tags=["remove-cell"]\n1 / 0\n', encoding="utf-8")
    build.write_pairs(folder)
    assert "ZeroDivision" not in build.build("paper", notebooks=folder).read_text(encoding="utf-8")
    for source in build.chapters(ROOT / "notebooks"):
        tried = [c for c in build.read(source).cells if "remove-cell" in c.metadata.get("tags", [])]
        names = {"paper": Paper("paper"), "model": FCRN("resnet18")}
        for cell in (cell for cell in tried if cell.cell_type == "code"):
            imports = re.findall(r"^from lthdepth.*", source.read_text(encoding="utf-8"), re.MULTILINE)
            exec("\n".join([*imports, cell.source]), names)
            assert "density" in cell.source and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"data": "absent.h5"}, {"device": "tpu"}])
def test_a_mistake_leaves_the_earlier_build_alone(wrong, folder):
    earlier = folder.parent / "build" / "quick" / "notebooks" / "01_small.ipynb"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("an earlier build", encoding="utf-8")
    with pytest.raises(UserError):
        build.build("quick", notebooks=folder, **wrong)
    assert earlier.read_text(encoding="utf-8") == "an earlier build"


def test_progress_in_a_log_is_the_final_state_of_each_bar():
    log = io.StringIO()
    progress = build.Progress(log)
    for piece in ("\r  0%|  | 0/2", "\r 50%|# | 1/2\r100", "%|##| 2/2\nWarning", ": odd\n\r 1/9\r    \n"):
        progress.write(piece)
    progress.end("01_small 3 s")
    assert log.getvalue().split("\n") == ["    100%|##| 2/2", "    Warning: odd", "  01_small 3 s", ""]


def test_the_time_left_follows_from_the_speed_so_far(tmp_path, monkeypatch):
    """Runs of 4 and 2 epochs and a notebook, which counts as 2: after the first half of the work is done."""
    now = [0.0]
    monkeypatch.setattr(build.time, "monotonic", lambda: now[0])
    progress = build.Progress(io.StringIO(), {tmp_path / "one": 4, tmp_path / "two": 2}, 1)
    assert progress.where() == "run 1 of 2"
    (tmp_path / "one").touch()
    now[0] = 600.0
    assert progress.where() == "run 2 of 2, about 10 min left"
    (tmp_path / "two").touch()
    now[0] = 1200.0
    assert progress.where() == "notebook 1 of 1, about 7 min left"
