"""What the paper shows: tables, figures, README and the pruning schematic, against records and definitions."""

import functools
import hashlib
import io
import json
import operator
import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lthdepth.analysis import postmortem, verdict
from lthdepth.config import PUBLISHED_FLOOR
from lthdepth.data import nyu as data
from lthdepth.data import summary
from lthdepth.errors import UserError
from lthdepth.paper import animation, curves, figures, latex, plots, provenance, tables
from lthdepth.paper import postmortem as report
from lthdepth.paper.study import Desk
from lthdepth.runs import run as runs
from lthdepth.runs import studies as experiments

RECORDED = runs.Store(runs.ROOT / "no-local-runs", runs.ROOT / "results")


def record(arm="dense", density=1.0, seed=0, rms=0.6, study="paper"):
    scores = dict(
        zip(
            ("rel", "rms", "log10", "delta1", "delta2", "delta3"),
            (0.17, rms, 0.07, 0.77, 0.94, 0.98),
            strict=True,
        )
    )
    both = {"pooled": scores, "per_image": {**scores, "rms": rms - 0.05}}
    return {
        "key": f"{arm}{seed}{density}",
        "study": study,
        "arm": arm,
        "density": density,
        "seed": seed,
        "validation": None,
        "config": {"arm": arm, "density": density, "seed": seed},
        "test": {"full": both, "eigen": both, "frames": 654},
        "data": {"name": "nyu", "fingerprint": "d", "height": 240},
        "init": {"name": "w", "description": "weights", "fingerprint": "i"},
        "commit": "abc",
        "dirty": False,
        "device": "CPU",
        "seconds": 10.0,
        "curves": {"train_loss": [1.0, 0.5], "validation_rms": []},
        "ticket": {"layers": [["layer1.0.conv1.weight", 10, 100], ["layer1.0.conv2.weight", 50, 100]]},
    }


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    frames = SimpleNamespace(name="rooms", fingerprint="d")
    fake = SimpleNamespace(profile="quick", frames=frames, device="cpu", study=SimpleNamespace(name="quick"))
    fake.summary = lambda: SimpleNamespace(description={"name": "rooms", "fingerprint": "f"})
    return fake


def test_readme_says_what_the_committed_records_say():
    readme = (runs.ROOT / "README.md").read_text()
    assert tables.refresh(readme, tables.results(Desk("paper", store=RECORDED))) == readme
    assert tables.refresh(readme, tables.speed(runs.ROOT / "benchmarks"), "speed") == readme


def test_committed_tables_and_pictures_follow_from_committed_records():
    known = RECORDED.records()
    sidecars = sorted((runs.ROOT / "figures").glob("*.json"))
    assert sidecars, "the paper's figures are committed"
    for sidecar in sidecars:
        source = json.loads(sidecar.read_text())
        for used in source["runs"]:  # every number that a figure can show, by its hash
            shown = known[used["key"]]
            assert {
                **{k: shown[k] for k in used.keys() - {"numbers"}},
                "numbers": provenance.numbers(shown),
            } == used, sidecar.name
        for path, mark in source["files"].items():
            assert provenance.fingerprint(path) == mark, f"{path} has changed since {sidecar.name} was made"
        assert source["runs"] or source["files"] or sidecar.stem == "pruning_schematic"
        if (png := sidecar.with_suffix(".png")).exists():
            assert Image.open(png).text["Description"] == sidecar.read_text(), png.name
            content = Image.open(png).tobytes()
            assert sidecar.with_suffix(".pdf").exists()
        elif (page := sidecar.with_suffix(".html")).exists():
            content = page.read_bytes()
            table = pd.read_csv(sidecar.with_suffix(".csv"), dtype=str, keep_default_na=False)
            for kind, text in figures.table_forms(table, source["caption"], source["name"]).items():
                assert sidecar.with_suffix(f".{kind}").read_text() == text, f"{sidecar.stem}.{kind}"
        else:
            content = sidecar.with_suffix(".gif").read_bytes()
        assert hashlib.sha256(content).hexdigest() == source["content"], sidecar.name
    for name in ("paper", "pilot"):
        desk = Desk("paper", store=RECORDED)
        records, floor = desk.records(name), desk.find(PUBLISHED_FLOOR)
        made = {
            f"comparison_table_{name}": tables.comparison(records, floor),
            f"density_table_{name}": tables.densities(records),
        }
        made |= {"settings_table_recipe": tables.recipe(desk.records("recipe"))}
        made |= {"postmortem_small_table": report.table(postmortem.grid(desk, "postmortem-small"))}
        for stem, table in made.items():  # also of runs that were recorded after it was made
            if len(table):
                text = (runs.ROOT / "figures" / f"{stem}.md").read_text()
                assert text.startswith(tables.markdown(table) + "\n"), f"{stem}: build the paper again"


@pytest.mark.parametrize(
    "path", ["test full pooled delta3", "curves train_loss", "ticket layers", "densities mac"]
)
def test_a_digit_changed_in_a_record_shows_against_the_sidecar(path):
    made = next(r for r in RECORDED.records().values() if r["test"] and r["ticket"] and r["arm"] != "floor")
    changed = json.loads(json.dumps(made))
    *folders, name = path.split()
    place = functools.reduce(operator.getitem, folders, changed)
    text = json.dumps(place[name])
    digit = re.search(r"\d", text)
    place[name] = json.loads(text[: digit.start()] + str((int(digit[0]) + 1) % 10) + text[digit.end() :])
    assert provenance.numbers(changed) != provenance.numbers(made)
    assert provenance.numbers(json.loads(json.dumps(made))) == provenance.numbers(made)


def test_every_study_has_distinct_runs_and_a_floor_that_all_share():
    floors = set()
    for name in experiments.STUDIES:
        configs = experiments.study(name).configs
        keys = [runs.key(c, "data", "init") for c in configs]
        assert len(set(keys)) == len(keys)
        found = {k for k, c in zip(keys, configs, strict=True) if c.arm == "floor"}
        floors |= set() if name in experiments.POSTMORTEMS else found
    assert len(floors) == 1


def test_a_quick_network_departs_from_about_the_mean_depth():
    """Of what a quick build is trained on: the rooms, of which 24 stand for all, and the recorded NYU Depth V2."""
    frames = data.load("rooms:24")
    counts = np.array(
        summary.load(runs.ROOT / "results" / "nyu_summary.h5").description["splits"]["train"]["histogram"],
        float,
    )
    means = [
        frames.depth[frames.split != "test"].mean(),
        (counts * np.arange(0.05, 10, 0.1)).sum() / counts.sum(),
    ]
    networks = [c for c in experiments.study("quick", "resnet18").configs if c.arm != "floor"]
    assert all(abs(c.bias - mean) < 0.3 for c in networks for mean in means)


def test_no_run_of_the_recipe_search_looks_at_test_frames():
    assert all(c.holdout and not c.test for c in experiments.study("recipe").configs)


def test_the_tuned_setting_is_the_best_recorded_on_validation():
    recorded = [r for r in Desk("paper", store=RECORDED).records("recipe") if r]
    best = min(recorded, key=lambda r: r["validation"]["full"]["pooled"]["rms"])["config"]
    assert len(recorded) > 1 and all(r["test"] is None for r in recorded)
    for name in ("optimiser", "lr_encoder", "lr_decoder", "weight_decay", "schedule", "warmup"):
        assert best[name] == getattr(experiments.TUNED, name)


def test_scores_are_mean_and_sample_deviation_over_seeds():
    values = [0.61, 0.64, 0.60]
    row = tables.scores([record(seed=s, rms=v) for s, v in enumerate(values)]).iloc[0]
    assert row["rms (m)"] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert row["runs"] == 3


def test_comparison_keeps_the_published_rows_and_names_every_protocol():
    table = tables.comparison([record()])
    assert list(table["rms (m)"][:3]) == ["0.573", "1.239", "1.407"]
    assert "pooled" in table.protocol.iloc[-1] and table.protocol.str.len().min() > 10


@pytest.mark.parametrize(
    ("study", "short"),
    [("quick", "last 1 epoch, its last one 4"), ("pilot", "last 1 epoch, its last one 6"), ("paper", "")],
)
def test_shortened_imp_is_said_so_where_it_is_shown(study, short):
    shown, hidden = (tables.progress(study, [record(arm)]) for arm in ("imp", "omp"))
    assert ("shortened" in shown) == bool(short) and short in shown and "shortened" not in hidden


def test_the_floor_of_the_published_rows_stands_right_behind_them():
    table = tables.comparison([record()], record("floor", rms=1.26))
    assert list(table["rms (m)"][:4]) == ["0.573", "1.239", "1.407", "1.260"]
    assert "mean depth map" in table.model[3] and "last 654 validation frames" in table.protocol[3]


@pytest.mark.parametrize(("dense", "passed"), [(0.95, True), (0.97, False), (1.3, False)])
def test_gate_asks_the_dense_network_to_be_a_fifth_below_the_floor(dense, passed):
    found = verdict.gate([record("floor", rms=1.2), record(rms=dense)])
    assert found[0] is passed
    assert ("No conclusion" in found[1]) is not passed


def test_refresh_replaces_only_what_stands_between_the_marks():
    old = "a\n<!-- results -->\nold\n<!-- /results -->\nz\n"
    new = tables.refresh(old, "new")
    assert new == "a\n<!-- results -->\nnew\n<!-- /results -->\nz\n"
    assert tables.refresh(new, "new") == new


def test_a_figure_of_a_quick_run_is_marked_and_knows_its_runs(desk, tmp_path, capsys):
    figure, _ = plt.subplots()
    figures.show(desk, figure, "try", "A caption.", [record(), None])
    assert any("QUICK RUN" in t.get_text() for t in figure.texts)
    folder = tmp_path / "build" / "quick" / "figures"
    image = Image.open(folder / "try.png")
    assert "dense01.0" in image.text["Description"]
    assert [r["key"] for r in json.loads((folder / "try.json").read_text())["runs"]] == ["dense01.0"]
    assert (folder / "try.pdf").read_bytes().startswith(b"%PDF")
    text = provenance.explain(folder / "try.png")
    assert (
        "dense01.0" in text
        and "A caption." in text
        and "weights" in text
        and "build.sh --profile quick" in text
    )
    assert (
        image.text["Description"] == (folder / "try.json").read_text()
    )  # the file says of itself what its sidecar says
    sidecar = json.loads((folder / "try.json").read_text())
    assert {"device", "versions", "commit", "dirty", "date"} <= sidecar["drawn"].keys()
    (folder / "try.json").unlink()
    assert provenance.explain(folder / "try.png") == text


def test_what_comes_out_as_before_keeps_its_files_and_anything_new_replaces_them(desk, tmp_path, monkeypatch):
    folder = tmp_path / "build" / "quick" / "figures"

    def draw(rms=0.6, caption="Same.", table="0.6"):
        figures.show(desk, plots.strip([record(rms=rms)]), "one", caption, [record(rms=rms)])
        figures.show_table(desk, pd.DataFrame([{"rms": table}]), "tab", caption)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    monkeypatch.setattr(
        runs,
        "environment",
        lambda device: {"versions": {}, "commit": "first", "dirty": False, "device": "", "date": ""},
    )
    first = draw()
    monkeypatch.setattr(
        runs,
        "environment",
        lambda device: {"versions": {}, "commit": "later", "dirty": False, "device": "", "date": ""},
    )
    os.utime(folder / "one.png", (1, 1))
    assert (
        draw() == first and (folder / "one.png").stat().st_mtime > 1
    )  # touched, or it would be dropped as an old one
    assert {name for name, content in draw(rms=0.7).items() if content != first[name]} == {
        "one.png",
        "one.pdf",
        "one.json",
    }
    assert {
        name.partition(".")[0]
        for name, content in draw(rms=0.7, table="0.7").items()
        if content != first[name]
    } == {"one", "tab"}
    assert json.loads((folder / "tab.json").read_text())["drawn"]["commit"] == "later"


def test_captions_state_how_many_runs_stand_behind_a_point():
    rows = [record(seed=s) for s in range(3)] + [record("omp", 0.5), record("floor")]
    assert figures._counted("A caption.", rows) == "A caption. n = 1 to 3 runs each."
    assert figures._counted("A caption.", rows[:3]) == "A caption. n = 3 runs each."
    assert figures._counted("A caption.", [record("floor"), None]) == "A caption."
    settings = [
        record(seed=s) | {"config": {"lr_encoder": lr, "seed": s}} for lr in (1, 2, 3) for s in (0, 1)
    ]
    assert (
        figures._counted("A caption.", settings) == "A caption. n = 2 runs each."
    )  # of three settings, not six of one
    early = record() | {"config": {"seed": 0}}, record(seed=1) | {"config": {"seed": 1, "bias": 0.0}}
    assert figures._counted("A caption.", early) == "A caption. n = 2 runs each."


def test_a_change_of_code_is_told_from_a_change_of_comments():
    was = 'def f(x):\n    """Old."""\n    return x  # one\n'
    assert provenance._code(was) == provenance._code('def f(x):\n    """New."""\n    return x\n')
    assert provenance._code(was) != provenance._code("def f(x):\n    return -x\n")


def test_code_newer_than_the_runs_is_told(monkeypatch):
    monkeypatch.setattr(provenance, "_differ", lambda commit: {"train.py"} if commit == "old" else set())
    used = [record() | {"commit": c} for c in ("old", "old", "new")]
    said, files = provenance._changed(used)
    assert "since 2 of the 3 runs" in said and len(said) < 150 and files == ["train.py"]
    assert provenance._changed(used[2:]) == ("", []) and provenance._changed([]) == ("", [])


def test_data_newer_than_the_runs_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "_differ", lambda commit: set())

    def sidecar(name, mark, runs=()):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"data": [{"fingerprint": mark}], "runs": list(runs)})
        )

    sidecar("frames", "new")
    assert provenance.banner(tmp_path) == ""  # nothing was trained yet
    sidecar("curves", "old", [record()])
    assert "fingerprint new" in provenance.banner(tmp_path) and "(old)" in provenance.banner(tmp_path)
    sidecar("frames", "old")
    assert provenance.banner(tmp_path) == ""


def test_every_file_that_decides_a_result_counts_as_science():
    """Those that a training step passes through, but for what only keeps, finds or shows results."""
    assert all((runs.ROOT / "lthdepth" / f"{name}.py").exists() for name in provenance.SCIENCE)
    kept = {
        "checkpoint",
        "errors",
        "files",
        "hdf5",
        "versions",
        "record",
        "runs",
        "store",
        "ticketfile",
        "photos",
        "__init__",
    }
    seen, todo = set(), ["train", "arms", "data", "weights", "pretraining"]
    while todo:
        name = todo.pop()
        seen.add(name)
        text = (runs.ROOT / "lthdepth" / f"{name}.py").read_text()
        found = {
            word
            for line in re.findall(r"^from \. import (.+)$", text, re.M)
            for word in re.findall(r"\w+", line.partition("#")[0])
        }
        found |= set(re.findall(r"^from \.(\w+) import", text, re.M))
        todo += found - seen - set(todo)
    assert seen - kept == set(provenance.SCIENCE)


def test_the_command_of_a_record_makes_a_run_of_the_same_key():
    for made in RECORDED.records().values():
        settings = [word for word in provenance.command(made).split() if "=" in word]
        config = experiments.Config.parse(settings, experiments.TUNED)
        assert runs.key(config, made["data"]["fingerprint"], made["init"]["fingerprint"]) == made["key"]


def test_the_same_figure_is_written_twice_as_the_same_bytes(desk, tmp_path):
    for name in ("one", "two"):
        figures.show(desk, plots.strip([record(), record(seed=1, rms=0.7)]), name, "Same.", [])
    folder = tmp_path / "build" / "quick" / "figures"
    one, two = (np.asarray(Image.open(folder / f"{n}.png")) for n in ("one", "two"))
    assert np.array_equal(one, two) and one.std() > 0


def test_a_pilot_figure_of_the_paper_is_titled_as_such(desk):
    desk.profile, desk.study.name = "paper", "paper"
    figure, _ = plt.subplots()
    figures.show(desk, figure, "try", "A caption.", [record(study="pilot")])
    assert figure._suptitle.get_text() == experiments.study("pilot").title


def test_figures_of_earlier_builds_are_dropped(desk, tmp_path):
    folder = tmp_path / "build" / "quick" / "figures"
    folder.mkdir(parents=True)
    for name, age in (("old.png", 100), ("new.png", 300)):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (age, age))
    figures.drop_older(desk, 200)
    assert [p.name for p in folder.iterdir()] == ["new.png"]


def test_tables_come_in_four_forms_with_the_same_cells(desk, tmp_path):
    figures.show_table(desk, pd.DataFrame([{"model": "a & b <c>", "rms (m)": "0.600"}]), "tab", "Cap.")
    folder = tmp_path / "build" / "quick" / "figures"
    assert "a & b <c>" in (folder / "tab.md").read_text() and "Quick run" in (folder / "tab.md").read_text()
    assert r"a \& b" in (folder / "tab.tex").read_text()
    assert "a &amp; b &lt;c&gt;" in (folder / "tab.html").read_text()
    assert list(pd.read_csv(folder / "tab.csv").loc[0]) == ["a & b <c>", 0.6]


def test_every_form_of_a_table_is_as_it_would_be_written_now(desk, tmp_path):
    path = tmp_path / "build" / "quick" / "figures" / "tab.tex"
    for _ in range(2):  # the second time with the same cells and a .tex of an older kind
        figures.show_table(desk, pd.DataFrame([{"rms (m)": "0.600"}]), "tab", "Cap.")
        made, _ = path.read_text(), path.write_text("older")
        assert "0.600" in made


def test_a_table_of_recorded_runs_is_not_called_a_quick_run(desk, tmp_path):
    theirs = record() | {"data": {"name": "nyu", "fingerprint": "other", "height": 240}}
    for name, used in (("own", [record()]), ("theirs", [theirs]), ("none", [])):
        figures.show_table(desk, pd.DataFrame([{"rms (m)": "0.600"}]), name, "Cap.", used)
        said = json.loads((tmp_path / "build" / "quick" / "figures" / f"{name}.json").read_text())["caption"]
        assert said.startswith("Quick run") == (name != "theirs")


def test_what_is_not_there_yet_is_said_by_the_first_sentence_of_its_caption(desk, capsys, tmp_path):
    caption = "Rounds (paper runs): 228×304. Dots are runs."
    figures.show(desk, None, "one", caption)
    figures.show_table(desk, pd.DataFrame(), "two", caption)
    figures.show_animation(desk, None, "three", caption, "")
    assert not (tmp_path / "build").exists() and capsys.readouterr().out.count("Markdown") == 3


def test_latex_escapes_everything_that_it_would_take_for_a_command():
    """By definition of the language: outside of commands no special character, braces that close, as many & as columns."""
    frame = pd.DataFrame(
        [{"95 % over #1": "+0.3 ± 0.1", "δ1_a": "−2 × 10^3", "words": r"a & b {c} $d ~ \e <f"}]
    )
    text = latex.table(frame, "50 % of R&D_2, “δ1” ≥ 0.5", "tab_name")
    bare = re.sub(r"\$\\?[a-z<>-]+\$|\\[%&#_{}$]|\\text[a-z]+\{\}|\\label\{[^}]*\}", "", text)
    assert not re.search(r"[%#_^~$]", bare) and bare.count("{") == bare.count("}")
    rows = [line for line in bare.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") for row in rows] == [2, 2] and r"\begin{tabular}{rrl}" in text
    assert text.isascii() and r"95 \% over \#1 & $\delta$1\_a & words \\" in text


def test_the_committed_tables_are_latex_of_plain_letters():
    for path in (runs.ROOT / "figures").glob("*.tex"):
        odd = {letter for letter in path.read_text() if not letter.isascii()}
        assert not odd, f"{path.name}: {odd}"


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_sets_the_committed_tables(tmp_path):
    sources = sorted((runs.ROOT / "figures").glob("*.tex"))
    body = "\n".join(rf"\input{{{path}}}\clearpage" for path in sources)
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and f"({len(sources)} pages" in done.stdout, done.stdout


def test_columns_of_signed_numbers_stand_on_the_right():
    frame = pd.DataFrame(
        [
            {"a": "+0.3", "b": "−2.0 to 1", "c": "–", "d": "10 % more", "e": "x", "f": "< 0.001"},
            dict.fromkeys("abcdef", "1"),
        ]
    )
    assert tables.sides(frame) == ["right"] * 4 + ["left", "right"]


def test_nothing_to_draw_gives_no_figure():
    for draw in (plots.learning_curves, curves.transfer, plots.layers, plots.strip):
        assert draw([None, None]) is None


def test_transfer_draws_the_mean_over_seeds_at_every_density():
    rows = [record()] + [record("omp", d, s, 0.7 + s / 10) for d in (0.5, 0.018) for s in (0, 1)]
    ax = curves.transfer(rows).axes[0]
    line = next(line for line in ax.lines if line.get_label() == "one-shot magnitude")
    assert np.allclose(line.get_xdata(), [1.8, 50, 100]) and np.allclose(line.get_ydata(), [0.75, 0.75, 0.6])


def test_explain_refuses_a_file_without_a_sidecar(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(UserError, match="no sidecar"):
        provenance.explain(tmp_path / "x.png")
    for wrong in (tmp_path, tmp_path / "y.png"):
        with pytest.raises(UserError, match="no file"):
            provenance.explain(wrong)
    for text in ("garbage", "{}", "3"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UserError, match="damaged"):
            provenance.explain(tmp_path / "x.png")


def test_explain_says_from_which_files_numbers_came_and_whether_they_have_changed(desk, tmp_path):
    folder = tmp_path / "build" / "quick" / "figures"
    figures.show_table(desk, pd.DataFrame([{"ms": "1"}]), "tab", "Cap.", files=["results/cost.json"])
    said = provenance.explain(folder / "tab.csv")
    assert "Numbers from results/cost.json" in said and "as it is now" in said and "no data set" in said
    sidecar = json.loads((folder / "tab.json").read_text())
    sidecar["files"]["results/cost.json"] = "0"
    (folder / "tab.json").write_text(json.dumps(sidecar))
    assert "has changed since" in provenance.explain(folder / "tab.csv")
    figures.show_table(desk, pd.DataFrame([{"m": "1"}]), "own", "Cap.")
    assert "only the data" in provenance.explain(folder / "own.csv")


def test_the_readme_explains_a_figure_that_is_there():
    named = re.findall(r"figures/[\w.]+\.png", (runs.ROOT / "README.md").read_text())
    assert named and all((runs.ROOT / name).exists() for name in named)


def test_the_schematic_prunes_the_smallest_fifth_and_rewinds():
    steps = animation.pruning(rounds=6)
    theta, size = steps[0][1], len(steps[0][1])
    for k in range(1, 7):
        (_, trained, kept, _), (_, _, _, marked), (title, weights, left, _) = steps[3 * k - 2 : 3 * k + 1]
        assert left.sum() == round(0.8**k * size) and not (left & ~kept).any()
        assert np.abs(trained[marked]).max() <= np.abs(trained[left]).min()
        assert np.array_equal(weights, theta) and "rewind" in title
    image = Image.open(io.BytesIO(animation.gif(steps[:4])))
    assert image.n_frames == 4


def test_summary_round_trip(tmp_path):
    frames = data.load("rooms:40")
    before = summary.summarise(frames)
    summary.save(before, tmp_path / "s.h5")
    after = summary.load(tmp_path / "s.h5")
    assert after.description == json.loads(json.dumps(before.description))
    assert np.array_equal(after.rgb, before.rgb) and np.allclose(after.depth, before.depth, atol=0.01)
    fit = frames.depth[frames.split != "test"]
    assert np.allclose(before.mean, fit.mean(0), atol=1e-4)
    with pytest.raises(UserError, match="no summary"):
        summary.load(tmp_path / "absent.h5")


def test_desk_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match="profile"):
        Desk("slow")
    with pytest.raises(UserError, match="weights without data"):
        Desk("paper", weights_source="x.pth")
    with pytest.raises(UserError, match="unknown study"):
        experiments.study("big")


def test_prose_of_the_notebooks_types_no_result():
    """Scores in the notebooks come from records; only the arithmetic of the levels may be typed."""
    for path in (runs.ROOT / "notebooks").glob("*.py"):
        prose = "".join(line for line in path.read_text().splitlines(True) if line.startswith("# "))
        assert not re.search(r"\b(rms|rel|δ1)\s*(of|=|is|:)?\s*\d\.\d", prose), path.name


def test_runs_on_other_data_show_once_they_are_the_most(tmp_path):
    """A replicator's data and weights have other fingerprints; nobody types them anywhere."""
    store, lines = runs.Store(tmp_path / "runs", tmp_path / "results"), []
    for config in experiments.study("pilot").configs[:3]:
        for mark, wanted in (("theirs", ("dense", "floor")), ("mine", ("dense", "omp", "random", "floor"))):
            if config.arm in wanted:
                key = runs.key(config, mark, f"{mark}-weights")
                lines.append(
                    record(config.arm, config.density)
                    | {
                        "key": key,
                        "study": "pilot",
                        "config": {"height": 1, "width": 1},
                        "data": {"name": "nyu", "fingerprint": mark},
                    }
                )
                lines[-1]["init"] = {"name": "w", "description": "", "fingerprint": f"{mark}-weights"}
    store.recorded.mkdir()
    (store.recorded / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    desk = Desk("paper", store=store)
    assert desk.basis("pilot") == ("mine", "mine-weights", 1)
    assert [bool(r) for r in desk.records("pilot")][:4] == [True, True, True, False]
    assert {r["data"]["fingerprint"] for r in desk.records("pilot") if r} == {"mine"}
    assert "1 more recorded run" in tables.basis(desk, "pilot", desk.records("pilot"))
    assert desk.basis("paper")[:2] == ("mine", "mine-weights")  # none of its own yet
    assert desk.records("paper", arms=["floor"])[0]["data"]["fingerprint"] == "mine"
    assert Desk("paper", store=runs.Store(tmp_path / "x", tmp_path / "x")).records("pilot") == [None] * 16


def test_nothing_is_left_to_train_where_the_rest_needs_sources_of_its_own(tmp_path, frames, monkeypatch):
    monkeypatch.setattr(data, "load", lambda source: frames)
    desk = Desk("paper", "theirs", store=runs.Store(tmp_path / "runs", tmp_path / "results"))
    mine = [c for c in desk.study.configs if c.arm != "logits" and c.backbone == "resnet50"]
    assert len(mine) < len(desk.study.configs) and not desk.finished()
    made = {
        runs.key(c, desk.frames.fingerprint, desk.initial.fingerprint): record(c.arm, c.density, c.seed)
        for c in mine
    }
    desk.store = SimpleNamespace(records=lambda: made)
    for finished in (True, False):
        del desk._known  # looked up once otherwise
        assert desk.finished() == finished
        made.popitem()
