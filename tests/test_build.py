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
from lthdepth.paper import apidocs, build, pairs, prose, references
from lthdepth.paper import site as pages

ROOT = Path(__file__).parents[1]

SOURCE = """\
# %% [markdown]
# # A small paper
#
# ## Abstract
# We keep $1.80\\\\,\\\\%$ of the weights.

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
""".replace("\\\\", "\\")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(apidocs, "render", lambda site: (site / "api").mkdir())  # it has a test of its own
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    (notebooks / "01_small.py").write_text(SOURCE)
    pairs.write(notebooks)
    return notebooks


def test_the_committed_pairs_agree_and_are_clean():
    assert len(list((ROOT / "notebooks").glob("*.py"))) >= 4
    # Somebody who ran the notebooks in JupyterLab has outputs in them; only a commit must not.
    assert pairs.check(ROOT / "notebooks", clean="CI" in os.environ) == []


def test_a_changed_cell_is_found_and_file_times_do_not_matter(folder):
    source, notebook = folder / "01_small.py", folder / "01_small.ipynb"
    for older, newer in ((source, notebook), (notebook, source)):
        os.utime(older, (1, 1))
        os.utime(newer, (2_000_000_000, 2_000_000_000))
        assert pairs.check(folder, clean=True) == []
    source.write_text(SOURCE.replace('print("profile"', 'print("Profile"'))
    assert pairs.check(folder) == ["01_small.py and 01_small.ipynb differ from cell 3 on."]
    assert pairs.write(folder) == [notebook]
    assert pairs.check(folder, clean=True) == []
    assert pairs.write(folder) == []


def test_tags_count_as_content_and_a_lone_half_is_named(folder):
    source = folder / "01_small.py"
    source.write_text(SOURCE.replace('tags=["index"]', 'tags=["remove-input"]'))
    assert pairs.check(folder) == ["01_small.py and 01_small.ipynb differ from cell 4 on."]
    source.unlink()
    assert pairs.check(folder) == ["01_small.ipynb has no 01_small.py beside it."]


def test_outputs_keep_a_pair_in_step_but_not_clean(folder):
    path = folder / "01_small.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].outputs = [v4.new_output("stream", text="profile paper\n")]
    notebook.cells[2].execution_count = 7
    nbformat.write(notebook, path)
    assert pairs.check(folder) == []
    assert len(pairs.check(folder, clean=True)) == 1


def test_an_edit_leaves_the_ids_of_other_cells(folder):
    before = nbformat.read(folder / "01_small.ipynb", as_version=4).cells
    (folder / "01_small.py").write_text(SOURCE.replace("# %%\nprint", "# %%\n1 + 1\n\n# %%\nprint"))
    after = pairs.read(folder / "01_small.py").cells
    assert len({cell.id for cell in after}) == len(after) == len(before) + 1
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
    assert (folder / "01_small.py").read_text() == SOURCE.replace(
        '# %%\nprint("profile", profile)', '# %% tags=["show-input"]\nprint(2 * 2)'
    )
    assert pairs.check(folder) == []
    (folder / "01_small.py").write_text(
        SOURCE.replace("one **line**", "two lines")
    )  # and an edit of the .py is what opens
    os.utime(folder / "01_small.py", (1, 1))
    assert "two lines" in lab.get("notebooks/01_small.ipynb")["content"].cells[3].source


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two notebooks whose outputs are given, not computed."""
    out = tmp_path_factory.mktemp("site")
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    code = v4.new_code_cell("secret = 'a < b'")
    code.outputs = [
        v4.new_output("stream", name="stderr", text="\repoch:  10%|# |\repoch: 100%|##|\nUserWarning: noise"),
        v4.new_output("stream", name="stdout", text="step 1\rstep 2\rstep 3\nend <5>\n"),
        v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox()"}
        ),
        v4.new_output(
            "display_data",
            {"image/png": dot, "text/plain": "<Figure>"},
            metadata={"image/png": {"alt": 'a "red" dot', "caption": "**Figure 1.** $n=3$ runs."}},
        ),
    ]
    hidden = v4.new_code_cell("data = '/somewhere'", metadata={"tags": ["injected-parameters"]})
    verdict = v4.new_code_cell("", metadata={"tags": ["index"]})
    verdict.outputs = [v4.new_output("display_data", {"text/markdown": "## Verdict\nIt **holds**."})]
    text = "# Title\n## Abstract\nIn short.\n# One\nIn `code $x$`, $a<b$ and\n\n"
    text += "$$\\frac{x^2}{2c} \\tag{1} \\label{eq-half}$$\n\n![dot](dot.png)"
    first = v4.new_notebook(cells=[v4.new_markdown_cell(text), hidden, code])
    second = v4.new_notebook(cells=[v4.new_markdown_cell("# Two\n## Same\n## Same"), verdict])
    (out / "dot.png").write_bytes(b"\x89PNG")
    pages.render({"01_one": first, "02_two": second}, out / "html", images=out, banner="A demonstration.")
    return {path.stem: path.read_text() for path in (out / "html").glob("*.html")}


def test_pages_load_nothing_from_a_network_and_show_no_progress(site):
    assert set(site) == {"index", "01_one", "02_two"}
    for text in site.values():
        assert pages.network_references(text) == []
        assert "A demonstration." in text
    page = site["01_one"]
    assert "epoch:" not in page and "UserWarning" not in page and "HBox" not in page and "step 1" not in page
    assert "step 3" in page and "end &lt;5&gt;" in page and "/somewhere" not in page


def test_mathematics_is_mathml_and_code_spans_stay(site):
    page = site["01_one"]
    assert page.count("<math") == 3  # inline, displayed, in the caption
    assert "<code>code $x$</code>" in page and "<mfrac>" in page and "$$" not in page
    assert "<mo>&lt;</mo>" in page


def test_code_is_folded_and_pictures_have_words(site):
    page = site["01_one"]
    assert page.count('<details class="code">') == 1
    assert "secret" in page.split("<details")[1].split("</details>")[0]
    assert 'alt="a &quot;red&quot; dot"' in page or "alt='a \"red\" dot'" in page
    assert page.count('src="data:image/png;base64,') == 2 and "<strong>Figure 1.</strong>" in page


def test_front_page_has_title_abstract_tagged_cells_and_chapters(site):
    front = site["index"]
    assert "<title>Title</title>" in front and "In short." in front and "<strong>holds</strong>" in front
    assert 'href="01_one.html">One</a>' in front and 'href="02_two.html">Two</a>' in front
    assert "secret" not in front
    assert 'rel="prev"' in site["02_two"] and 'rel="next"' in site["01_one"]
    assert 'id="same"' in site["02_two"] and 'id="same-2"' in site["02_two"]


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
    tree = ElementTree.fromstring(prose.mathml(latex, "block"))
    assert tree.get("display") == "block" and "\\" not in "".join(tree.itertext())


def test_numbers_run_through_the_pages_and_references_find_them():
    figure = '<figure id="fig-{}"><img><figcaption>Words.</figcaption></figure>'
    table = '<table id="tab-t"><caption>Words.</caption></table>'
    items = "<ul>\n<li>Chen, Frankle: Tickets. CVPR 2021. arXiv 2012.06908</li>\n<li>Li &amp; Wu: X. 2020</li>\n</ul>"
    first = f'<main>{figure.format("a")}<p>See <a href="#fig-c">here</a>, <a href="#fig-none">there</a>.</p>{table}'
    last = f"<main>{figure.format('b')}{figure.format('c')}<p>As Chen et al. (2021), <code>Chen et al. (2021)</code>; chapter 1.</p>"
    last += f'<a href="one.ipynb#x">y</a><h2 id="references">References</h2>{items}'
    pages_ = references.connect(
        {"index.html": f"<main>{figure.format('c')}", "one.html": first, "two.html": last}, "index.html"
    )
    assert (
        "<figcaption><b>Figure 1.</b> Words." in pages_["one.html"]
        and "<caption><b>Table 1.</b> Words." in pages_["one.html"]
    )
    assert 'See <a href="two.html#fig-c">Figure 3</a>, there.' in pages_["one.html"]
    assert "Figure 3." in pages_["index.html"]
    assert (
        'As <a class="cite" href="#ref-chen-2021">Chen et al. (2021)</a>, <code>Chen et al. (2021)</code>'
        in pages_["two.html"]
    )
    assert (
        '<a class="cite" href="one.html">chapter 1</a>' in pages_["two.html"]
        and 'href="one.html#x"' in pages_["two.html"]
    )
    assert '<li id="ref-li-2020">' in pages_["two.html"]


def test_every_citation_of_the_notebooks_is_in_the_references_and_the_reverse():
    text = "\n".join(
        re.sub(r"^# ?", "", path.read_text(), flags=re.MULTILINE)
        for path in sorted((ROOT / "notebooks").glob("*.py"))
    )
    body, _, listed = text.partition("## References")
    listed = {
        (item.split()[0].strip(",:"), re.findall(r"\b(?:19|20)\d\d\b(?!\.\d)", item)[0])
        for item in re.split(r"^- ", listed, flags=re.M)[1:]
    }
    cited = set(re.findall(r"(\w+)(?: et al\.| & \w+) \(?((?:19|20)\d\d)\b", re.sub(r"\s+", " ", body)))
    assert len(listed) > 4 and cited <= listed
    # The first is cited by the records of the runs that start from these weights, the other linked as "one study".
    assert listed - cited <= {("Martinez", "2021"), ("[The", "2023")}


@pytest.mark.parametrize("latex", [r"\frac{1", r"\nosuchcommand x", r"a & b"])
def test_an_equation_that_cannot_be_set_is_named(latex):
    with pytest.raises(UserError, match="equation"):
        prose.mathml(latex, "inline")


@pytest.mark.parametrize(
    "text, found",
    [
        ('<link rel="stylesheet" href="https://a.org/x.css">', ["https://a.org/x.css"]),
        ('<script src="//a.org/x.js"></script>', ["//a.org/x.js"]),
        ("<style>@import url(http://a.org/y.css);</style>", ["http://a.org/y.css"]),
        ('<img src="data:image/png;base64,//xx//"><a href="https://a.org">a</a><img src="figure.png">', []),
    ],
)
def test_network_references_are_what_a_browser_would_load(text, found):
    assert pages.network_references(text) == found


def test_notebooks_run_with_their_parameters_and_become_pages(folder, tmp_path, capsys):
    index = build.build("quick", "rooms:24", notebooks=folder, out=tmp_path / "out")
    page = (index.parent / "01_small.html").read_text()
    assert "profile quick" in page and "Quick build on built-in rooms" in page
    assert "1.80" in index.read_text() and "<strong>line</strong>" in index.read_text()
    assert index.as_uri() in capsys.readouterr().out
    (folder / "01_small.py").write_text(SOURCE + "\n# %%\n1 / 1\n")
    with pytest.raises(UserError, match="5 cells, 01_small.ipynb has 4"):
        build.build("quick", "rooms:24", notebooks=folder, out=tmp_path / "out")


def test_chapters_run_one_by_one_unless_all_they_show_is_there(folder, tmp_path, monkeypatch):
    """Two chapters that wait for each other end only if they run at a time."""
    meet = (
        SOURCE
        + '\n# %%\nimport pathlib, time\nPLACE = pathlib.Path("{place}")\n(PLACE / "{me}").touch()\nend = time.time() + {wait}\n'
    )
    meet += 'while time.time() < end and not (PLACE / "{other}").exists():\n    time.sleep(0.05)\nprint("met:", (PLACE / "{other}").exists())\n'
    pages_ = {"01_small": ("a", "b"), "02_next": ("b", "a")}

    def met(ready, wait):
        place = tmp_path / str(ready)
        place.mkdir()
        for name, (me, other) in pages_.items():
            (folder / f"{name}.py").write_text(meet.format(place=place, me=me, other=other, wait=wait))
        pairs.write(folder)
        monkeypatch.setattr(build, "_ready", lambda *sources: ready)
        html = build.build("paper", notebooks=folder, out=tmp_path / "out").parent
        return ["met: True" in (html / f"{name}.html").read_text() for name in pages_]

    assert met(True, 60) == [True, True]
    assert met(False, 0.2) == [False, True]


def test_a_persons_mistake_in_a_cell_is_one_sentence_and_a_bug_keeps_its_traceback(folder, tmp_path):
    failing = f"{SOURCE}\n# %%\n"
    failing += 'from lthdepth.errors import UserError\n\nraise UserError("no such file x.h5.")\n'
    (folder / "01_small.py").write_text(failing)
    pairs.write(folder)
    with pytest.raises(UserError) as caught:
        build.build("quick", "rooms:24", notebooks=folder, out=tmp_path / "out")
    assert str(caught.value) == "no such file x.h5."
    (folder / "01_small.py").write_text(SOURCE + "\n# %%\n1 / 0\n")
    pairs.write(folder)
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        build.build("quick", "rooms:24", notebooks=folder, out=tmp_path / "out")
    target = tmp_path / "out" / "notebooks" / "01_small.ipynb"
    assert str(target) in caught.value.__notes__[0]
    assert nbformat.read(target, as_version=4).cells[-1].outputs[-1].ename == "ZeroDivisionError"


@pytest.mark.parametrize(
    "wrong", [{"data": "absent.h5"}, {"data": "kitchen"}, {"weights": "absent.pth"}, {"device": "tpu"}]
)
def test_a_mistake_leaves_the_earlier_build_alone(wrong, folder, tmp_path):
    (tmp_path / "out" / "notebooks").mkdir(parents=True)
    (tmp_path / "out" / "notebooks" / "01_small.ipynb").write_text("an earlier build")
    with pytest.raises(UserError):
        build.build("quick", notebooks=folder, out=tmp_path / "out", **wrong)
    assert (tmp_path / "out" / "notebooks" / "01_small.ipynb").read_text() == "an earlier build"


def test_progress_in_a_log_is_the_final_state_of_each_bar(tmp_path):
    with open(tmp_path / "log", "w+", encoding="utf-8") as log:
        progress = build._Progress(log, "01_small")
        for piece in ("\r  0%|  | 0/2", "\r 50%|# | 1/2\r100", "%|##| 2/2\nWarning", ": odd\n\r 1/9\r    \n"):
            progress.write(piece)
        progress.end("3 s")
        log.seek(0)
        assert log.read().split("\n") == ["    100%|##| 2/2", "    Warning: odd", "  01_small       3 s", ""]


def test_the_package_has_a_page_for_every_module(tmp_path):
    apidocs.render(tmp_path)
    modules = {path.stem for path in (ROOT / "lthdepth").glob("[a-z]*.py")}
    found = {path.stem: path.read_text() for path in (tmp_path / "api" / "lthdepth").glob("*.html")}
    assert modules == found.keys()
    for name, text in found.items():
        assert pages.network_references(text) == [] and f"<h1>lthdepth.{name}</h1>" in text
        assert 'href="../../style.css"' in text and "Skip to the text" in text
    assert (
        "count</code>" not in found["mask"]
        and 'id="Ticket.density"' in found["mask"]
        and "lr_encoder" in found["config"]
    )
    top = (tmp_path / apidocs.LINK[0]).read_text()
    assert all(f'href="lthdepth/{name}.html"' in top for name in modules)
