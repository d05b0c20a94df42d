"""The live verdict: a browser computes what the analysis computes, to the printed digit."""

import itertools
import json
import re

import numpy as np
import pytest
from made_up import SCENES, curve, study
from test_paper import RECORDED

from lthdepth.analysis import budget, stats, verdict
from lthdepth.config import level
from lthdepth.metrics import summarise
from lthdepth.paper import live
from lthdepth.paper.study import Paper

chromium = pytest.importorskip("chromium", reason="needs websocket-client")

PAGE = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
CELLS = "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture(scope="module")
def browser():
    if not chromium.program():
        pytest.skip("needs Chromium: `apt-get install chromium`")
    browser = chromium.Chromium()
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without what is not shown: the bootstraps and the sign-flip test."""
    for name in ("bca", "over_scenes"):
        monkeypatch.setattr(stats, name, lambda *_: (np.nan, np.nan))
    monkeypatch.setattr(stats, "sign_flip", lambda d: np.nan)


def losses(at_imp=0.012, at_control=0.05):
    """A curve of three levels, others of two, IMP and both controls at 1.8 %, and a whole network."""
    curves = curve("omp", 0.06, (3, 9, 18)) | curve("gradual", 0.03, (6, 18)) | {("imp", level(18)): at_imp}
    curves |= {("lamp", level(k)): 0.2 for k in (6, 18)}  # breaks even above its densest level
    return curves | {(arm, level(18)): at_control for arm in ("random", "shuffled")} | {("frozen", 1.0): 0.2}


def made(seeds, **how):
    """Two budgets; in the longer a ticket of one seed failed, and a level has one seed only."""
    records, arrays = study(seeds, losses(**how))
    short, short_arrays = study(seeds, curve("omp", 0.02, (3, 18)), epochs=20)
    lost = {"status": "failed", "test": None}
    records = [r | lost if (r["arm"], r["seed"]) == ("random", 1) else r for r in records]
    records = [r for r in records if not (r["arm"] == "omp" and r["density"] == level(9) and r["seed"])]
    return records + short[1:], lambda key: (short_arrays if key.endswith("-20") else arrays)(key), SCENES


def recorded():
    paper = Paper("paper", store=RECORDED)
    done = [r for r in paper.shown if r]
    return done, paper.store.arrays, paper.scenes(done)


STUDIES = {  # and what one of them must say
    "1 seed": (lambda: made(1), "one seed"),
    "2 seeds": (lambda: made(2), "breaks even above 26.2 %"),
    "6 seeds": (lambda: made(6), "non-inferior"),
    "controls pass": (lambda: made(6, at_control=0.0), "so does"),
    "controls worse": (lambda: (*study(3, losses(0.0, 0.1), spread=0.002), SCENES), "which weights are kept"),
    "not good enough": (lambda: (*study(3, losses(), dense=1.1), SCENES), "Gate not passed"),
    "recorded": (recorded, "m from dense"),
}


def opened(browser, folder, records, arrays, scenes, **how):
    analysed = verdict.analyse("paper", records, arrays, scenes)
    embedded = live.data(analysed, records, arrays, scenes)
    style = (live.HERE / "style.css").read_text(encoding="utf-8")
    figure = f'<figure id="fig-live" class="live">{live.fragment(embedded, analysed.main)}</figure>'
    text = f"{PAGE}<style>{style}</style><div class=page><main>{figure}</main></div>"
    (folder / "page.html").write_text(text, encoding="utf-8")
    browser.open(folder / "page.html", **how)
    assert browser.problems == []
    return embedded, analysed


def expected(setting, records, arrays, scenes, patch):
    """What the analysis itself says of the records of some seeds, under another margin and protocol."""
    margin, protocol, epochs, seeds = setting
    records = [r for r in budget.of_budget(records, epochs) if r["arm"] == "floor" or r["seed"] in seeds]
    if protocol == 3:
        records = [without_shop(r, arrays, scenes) if r["test"] else r for r in records]
    patch.setattr(budget.scored, "__defaults__", [*budget.PROTOCOLS.values(), ("full", "pooled")][protocol])
    patch.setattr(stats.non_inferiority, "__defaults__", (margin,))
    patch.setattr(stats.break_even, "__defaults__", (margin, 0.95))
    patch.setattr(budget, "_protocols", lambda *_: None)
    return budget.analyse(epochs, records, {}, None)


def without_shop(record, arrays, scenes):
    run = arrays(record["key"])
    full = summarise(run["test/full"][scenes[run["test/frames"]] != budget.SHOP])
    return record | {"test": record["test"] | {"full": full}}


@pytest.mark.parametrize("name", STUDIES)
def test_the_browser_says_what_the_analysis_says(browser, tmp_path, name):
    get, wanted = STUDIES[name]
    records, arrays, scenes = get()
    embedded, analysed = opened(browser, tmp_path, records, arrays, scenes)
    seeds = embedded["seeds"]
    some = [c for n in range(1, len(seeds) + 1) for c in list(itertools.combinations(seeds, n))[-2:]]
    axes = (0.002, 0.015, 0.1), range(len(embedded["protocols"])), embedded["budgets"], dict.fromkeys(some)
    grid = list(itertools.product(*axes))
    grid = grid[:: 1 + len(grid) // 16]
    said = browser.run(
        f"{json.dumps(grid)}.map(one => document.querySelector('.trial').live.results(...one))"
    )
    everything = str([*live.conclusion(analysed.main), *live.rows(analysed.main)])
    for setting, (sentence, details, rows) in zip(grid, said, strict=True):
        with pytest.MonkeyPatch.context() as patch:
            analysis = expected(setting, records, arrays, scenes, patch)
        passed = analysed.budgets[setting[2]].passed  # by all seeds
        object.__setattr__(analysis, "gate", (passed, ""))
        if len(analysis.tickets):
            assert rows == live.rows(analysis, setting[0]), setting
            assert [sentence, details] == list(live.conclusion(analysis, setting[0])), setting
        everything += f"{sentence} {rows}"
    assert wanted in everything
    if name == "6 seeds":
        assert all(f"'{word}'" in everything for word in ("non-inferior", "not shown", "worse"))


def test_by_keyboard_from_the_text_that_stands_in_the_page_and_back(browser, tmp_path):
    """Without the script the page says what it says with it; on a phone nothing is wider than the window."""
    embedded, analysed = opened(browser, tmp_path, *recorded(), width=390)
    text = "document.querySelector('.trial-conclusion').textContent"
    first = [browser.run(text), browser.run(CELLS)]
    assert first == [" ".join(live.conclusion(analysed.main)), live.rows(analysed.main)]
    page = live.fragment(embedded, analysed.main)
    assert all(re.search(rf">{re.escape(cell)}<", page) for row in first[1] for cell in row)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.run("document.querySelector('.trial [name=margin]').focus()")
    browser.key("ArrowRight", 2)
    assert browser.run("document.querySelector('.trial output').textContent") == "0.017 m"
    browser.key("End")
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')") == "0.100 metres"
    browser.run("document.querySelectorAll('.trial [type=checkbox]').forEach(box => box.click())")
    assert browser.run(CELLS) == [] and live.SAID["none"] in browser.run(text)
    browser.run("document.querySelector('.trial [type=reset]').focus()")
    browser.key("Enter")
    assert [browser.run(text), browser.run(CELLS)] == first and browser.problems == []
