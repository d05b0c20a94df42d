"""What the paper shows: tables, figures and README against their records and definitions."""

import json
import re
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up import record
from PIL import Image

from lthdepth.errors import UserError
from lthdepth.paper import figures, plots, sentences, tables
from lthdepth.runs import run as runs
from lthdepth.training import arms

FIGURES = runs.ROOT / "figures"


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Function from a call of `figures` to the HTML that it displays in a quick build; with the folder."""
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    quick = SimpleNamespace(profile="quick", frames=SimpleNamespace(name="rooms", fingerprint="d"))
    quick.summary = SimpleNamespace(description={"name": "rooms", "fingerprint": "f"})

    def call(function, *args, **more):
        displayed = []
        monkeypatch.setattr(figures, "display", displayed.append)
        function(quick, *args, **more)
        return displayed[0].data if displayed else None

    call.folder = tmp_path / "build" / "quick" / "figures"
    return call


# What is committed.


def test_readme_says_what_the_committed_records_say(paper):
    readme = (runs.ROOT / "README.md").read_text(encoding="utf-8")
    for mark, text in sentences.readme(paper).items():
        assert text in readme and sentences.refresh(readme, text, mark) == readme
    assert tables.speed(runs.ROOT / "benchmarks") in (runs.ROOT / "docs" / "speed.md").read_text("utf-8")


def test_committed_figures_and_tables_follow_from_their_records(paper):
    """Every number that one can show, by its hash; the files are those that the sidecars speak of."""
    known, files = paper.store.records(), set()
    for path in FIGURES.glob("*.json"):
        said = json.loads(path.read_text(encoding="utf-8"))
        for used in said["runs"]:
            there = known[used["key"]]
            same = {k: there[k] for k in used.keys() - {"numbers"}} | {"numbers": figures.numbers(there)}
            assert same == used, path.name
        for file, mark in said["files"].items():
            assert figures.fingerprint(file) == mark, f"{file} has changed since {path.name} was made"
        csv, tex, png, pdf = (path.with_suffix(kind) for kind in (".csv", ".tex", ".png", ".pdf"))
        if csv.exists():
            text, latex = csv.read_bytes(), tex.read_text(encoding="utf-8")
            assert said["numbers"] == figures.short_hash(text)
            cells = re.findall(r"[^,\"\n]+", text.decode().partition("\n")[2])
            assert all(tables.latex(cell.strip()) in latex for cell in cells), path.name
        else:
            assert Image.open(png).format == "PNG"
        files |= {path, csv, tex} if csv.exists() else {path, png, pdf}
    assert len(files) > 40 and files == set(FIGURES.iterdir())


def test_epochs_in_all_are_those_of_every_run_that_a_ticket_follows_from(paper):
    done = [r for r in [*paper.earlier, *paper.shown] if r and r["arm"] not in ("floor", "distilled")]
    for r in done:  # a teacher is no lineage
        assert sentences.epochs_in_all(r.config) == sum(c.epochs for c in arms.lineage(r.config))
    at = {(r["arm"], round(r["density"], 3), r["seed"]): sentences.epochs_in_all(r.config) for r in done}
    assert at["imp", 0.018, 0] == 6 * 2 + 6 and at["imp", 0.262, 0] == 3 * 2
    assert "(1.80 % of the weights, 18 epochs in all): dense" in sentences.equal_cost(paper)
    assert all(r["arm"] != "lrr" for r in paper.rounds)


def test_committed_tables_come_out_again(paper):
    again = {
        "comparison_table": tables.comparison(paper.main, paper.published_floor),
        "density_table": tables.densities(paper.main),
        "postmortem_small_table": tables.postmortem(paper.postmortem("postmortem-small")),
        "verdict_table": tables.tickets(paper.verdict.main),
    }
    for name, table in again.items():
        assert (FIGURES / f"{name}.csv").read_text(encoding="utf-8") == tables.as_csv(table), name


# Where numbers come from.


def test_a_figure_of_a_quick_run_is_marked_and_knows_its_runs(shown):
    figure, _ = plt.subplots()
    html = shown(figures.show, figure, "try", "A & caption.", [record(), None, "x"], alt="A line that falls.")
    assert any("QUICK RUN" in t.get_text() for t in figure.texts)
    assert {p.name for p in shown.folder.iterdir()} == {"try.png", "try.pdf", "try.json"}
    assert (shown.folder / "try.pdf").read_bytes().startswith(b"%PDF")
    assert 'id="fig-try"' in html and 'alt="A line that falls."' in html and "A &amp; caption." in html
    text = figures.explain(shown.folder / "try.png")
    said = ("dense-1.0000-0", "A & caption.", "fingerprint i", "commit abc", "not recorded here", "quick")
    assert not [words for words in said if words not in text]
    (shown.folder / "try.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="sidecar"):
        figures.explain(shown.folder / "try.png")


def test_a_digit_changed_in_a_record_shows_against_the_sidecar():
    made, number = record(), figures.numbers(record())
    for change in ({"curves": {"train_loss": [1.0, 0.6]}}, {"densities": {"mac": 0.5}}, {"ticket": None}):
        assert figures.numbers(made | change) != number
    made["test"]["full"]["pooled"]["delta3"] += 0.01
    assert figures.numbers(made) != number


def test_the_numbers_of_a_figure_are_those_that_were_drawn():
    figure, ax = plt.subplots()
    ax.plot([1, 2], [0.5, 0.25], label="dense")
    ax.axhline(0.75, label="floor")
    ax.scatter([3], [4], label="a dot")
    ax.bar([0, 1], [5, 6], label="bars")
    ax.set(xlabel="epoch", ylabel="rms (m)")
    lines = figures.drawn(figure).splitlines()
    plt.close(figure)
    rows = {tuple(line.split(",")[1:]) for line in lines[1:]}
    assert lines[1].startswith("1: rms (m) against epoch,dense,")
    assert {("dense", "1", "0.5"), ("dense", "2", "0.25"), ("a dot", "3", "4"), ("floor", "", "0.75")} <= rows
    assert {row[1:] for row in rows} >= {("0", "5"), ("1", "6")}


def test_the_same_figure_is_written_twice_as_the_same_bytes_and_dropped_when_old(shown):
    files = []
    for _ in range(2):
        drawn = plots.transfer([record(), record("omp", 0.5, rms=0.7)])
        shown(figures.show, drawn, "one", "Same.", [record()])
        shown(figures.show_table, pd.DataFrame([{"rms": "0.6"}]), "tab", "Same.")
        files.append({p.name: p.read_bytes() for p in shown.folder.iterdir()})
    assert files[0] == files[1] and len(files[0]) == 6
    shown(figures.drop_older, 0)
    assert len(list(shown.folder.iterdir())) == 6
    shown(figures.drop_older, 1e12)
    assert not list(shown.folder.iterdir())


def test_explain_says_where_numbers_came_from_and_what_is_not_here_or_has_changed(shown, paper):
    shown(figures.show_table, pd.DataFrame([{"ms": "1"}]), "tab", "Cap.", ["results/cost.json"])
    said = figures.explain(shown.folder / "tab.csv")
    assert "Numbers come from results/cost.json" in said and "changed" not in said
    (shown.folder.parents[2] / "results").mkdir()
    (shown.folder.parents[2] / "results" / "cost.json").write_text("{}", encoding="utf-8")
    assert "has changed since" in figures.explain(shown.folder / "tab.csv")
    assert "not recorded here" not in figures.explain(FIGURES / "break_even.png", paper.store)


# Figures and captions.


def test_a_persons_own_style_changes_nothing():
    figures.style()
    ours = dict(matplotlib.rcParams)
    matplotlib.rcParams.update({"text.usetex": True, "savefig.dpi": 30, "font.size": 30, "axes.grid": True})
    figures.style()
    assert dict(matplotlib.rcParams) == ours


def test_captions_state_how_many_runs_stand_behind_a_point():
    rows = [record(seed=s) for s in range(3)] + [record("omp", 0.5), record("floor")]
    assert figures.counted("A caption.", rows) == "A caption. n = 1 to 3 runs each."
    assert figures.counted("A caption.", [record("floor"), None]) == "A caption."
    rates = [record(seed=s, config={"lr_encoder": lr, "seed": s}) for lr in (1, 2, 3) for s in (0, 1)]
    assert figures.counted("Three settings.", rates) == "Three settings. n = 2 runs each."  # not six of one


def test_transfer_draws_the_mean_over_seeds_at_every_density():
    rows = [record()] + [record("omp", d, s, 0.7 + s / 10) for d in (0.5, 0.018) for s in (0, 1)]
    ax = plots.transfer(rows).axes[0]
    line = next(line for line in ax.lines if line.get_label() == "one-shot magnitude")
    assert np.allclose(line.get_xdata(), [1.8, 50, 100]) and np.allclose(line.get_ydata(), [0.75, 0.75, 0.6])


def test_what_is_not_there_is_not_shown(shown):
    for draw in (plots.learning_curves, plots.transfer, plots.layers):
        assert draw([None, None]) is None
    assert shown(figures.show, None, "one", "Cap.") is None
    assert shown(figures.show_table, pd.DataFrame(), "two", "Cap.") is None
    assert not shown.folder.exists()


# Tables.


def test_scores_are_mean_and_sample_deviation_over_seeds():
    values = [0.61, 0.64, 0.60]
    row = tables.scores([record(seed=s, rms=v) for s, v in enumerate(values)]).iloc[0]
    assert row["rms (m)"] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" and row["n"] == "3"


def test_comparison_keeps_the_published_rows_groups_by_density_and_notes_every_protocol():
    rows = [record("omp", 0.5, rms=0.7), record(), record("random", 0.5, rms=0.8)]
    table = tables.comparison([*rows, record("omp", 0.018, rms=0.9)], record("floor", rms=1.26))
    assert list(table["rms (m)"][:4]) == ["0.573", "1.239", "1.407", "1.260"]
    ours = table[table.group.str.startswith("ours")]
    assert [g.split(" %")[0] for g in ours.group] == ["ours, 50.0", "ours, 50.0", "ours, whole", "ours, 1.80"]
    assert ours["rms (m)"].tolist() == ["0.700", "0.800", "**0.600**", "0.900"]
    notes = table.attrs["notes"]
    assert set(table.model.str[-1]) == set(notes) and "mean depth map" in table.model.iloc[3]
    assert "pooled" in notes[ours.model.iloc[0][-1]] and "validation frames" in notes[table.model.iloc[3][-1]]


def test_a_table_has_the_same_cells_in_every_form(shown):
    first = {"group": "one", "model": "a & b <c>", "rms (m)": "**0.600 ± 0.010**"}
    table = pd.DataFrame([first, {"group": "two", "model": "d_e", "rms (m)": "0.700"}])
    table.attrs = {"group": "group", "notes": {"ᵃ": "pooled"}}
    html = shown(figures.show_table, table, "tab", "Cap.")
    csv = pd.read_csv(shown.folder / "tab.csv", dtype=str)
    assert csv.values.tolist() == [["one", "a & b <c>", "0.600 ± 0.010"], ["two", "d_e", "0.700"]]
    tex = (shown.folder / "tab.tex").read_text(encoding="utf-8")
    assert r"one & a \& b $<$c$>$ & \textbf{0.600 $\pm$ 0.010} \\" in tex and r"\label{tab:tab}" in tex
    assert "a &amp; b &lt;c&gt;" in html and "<strong>0.600 <small>± 0.010</small></strong>" in html
    assert '<tr class="group"><th colspan="2">one</th></tr>' in html and "ᵃ pooled." in html
    assert html.count("<td") == 4 and "| one | a & b <c> | **0.600 ± 0.010** |" in tables.markdown(table)


def test_a_table_of_recorded_runs_is_not_called_a_quick_run(shown):
    theirs = record(data={"name": "nyu", "fingerprint": "other", "height": 240})
    for name, used in (("own", [record()]), ("theirs", [theirs]), ("none", [])):
        html = shown(figures.show_table, pd.DataFrame([{"rms (m)": "0.600"}]), name, "Cap.", used)
        assert ("Quick run" in html) == (name != "theirs")


def test_latex_escapes_everything_that_it_would_take_for_a_command():
    """By definition of the language: no special character outside of commands, as many & as columns."""
    row = {"95 % over #1": "+0.3 ± 0.1", "δ1_a": "−2 × 10^3", "words": r"a & b {c} $d ~ \e <f"}
    text = tables.as_latex(pd.DataFrame([row]), "50 % of R&D_2, “δ1” ≥ 0.5", "tab_name")
    bare = re.sub(r"\$\\?[a-z<>-]+\$|\\[%&#_{}$]|\\text[a-z]+\{\}|\\label\{[^}]*\}", "", text)
    assert not re.search(r"[%#_^~$]", bare) and bare.count("{") == bare.count("}")
    rows = [line for line in bare.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") for row in rows] == [2, 2] and r"\begin{tabular}{rrl}" in text
    assert text.isascii() and r"95 \% over \#1 & $\delta$1\_a & words \\" in text
