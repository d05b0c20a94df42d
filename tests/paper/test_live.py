"""The live verdict: a browser computes what the analysis computes, to the printed digit."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from made_up import SCENES, curve, study

from lthdepth.analysis import budget, scores, stats, verdict
from lthdepth.config import level
from lthdepth.metrics import summarise
from lthdepth.paper import live
from lthdepth.paper.study import Paper

chromium = pytest.importorskip("chromium", reason="needs websocket-client")

MARGINS = (0.002, 0.015, 0.1)
PAGE = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'


@pytest.fixture(scope="module")
def browser():
    if not chromium.program():
        pytest.skip("needs Chromium: `apt-get install chromium`")
    browser = chromium.Chromium()
    yield browser
    browser.close()


def losses(at_imp=0.012, at_control=0.05):
    """A curve of three levels, another of two, IMP and both controls at 1.8 %, and a whole network."""
    curves = curve("omp", 0.06, (3, 9, 18)) | curve("gradual", 0.03, (6, 18)) | {("imp", level(18)): at_imp}
    return curves | {(arm, level(18)): at_control for arm in ("random", "shuffled")} | {("frozen", 1.0): 0.2}


def made(seeds, **how):
    """Two budgets; in the longer a ticket of one seed failed, and a level has one seed only."""
    records, arrays = study(seeds, losses(**how))
    short, short_arrays = study(seeds, curve("omp", 0.02, (3, 18)), epochs=20)
    lost = {"status": "failed", "test": None}
    records = [r | lost if (r["arm"], r["seed"]) == ("random", 1) else r for r in records]
    records = [r for r in records if not (r["arm"] == "omp" and r["density"] == level(9) and r["seed"])]
    return records + short[1:], lambda key: (short_arrays if key.endswith("-20") else arrays)(key)


def recorded():
    paper = Paper("paper")
    done = [r for r in paper.shown if r]
    return done, paper.store.arrays, paper.scenes(done)


STUDIES = {f"{n} seeds": lambda n=n: (*made(n), SCENES) for n in (1, 2, 3, 6)}
STUDIES |= {
    "controls pass": lambda: (*made(6, at_control=0.0), SCENES),
    "not good enough": lambda: (*study(3, losses(), dense=1.1), SCENES),
    "controls worse": lambda: (*study(3, losses(0.0, 0.1), spread=0.002), SCENES),
    "recorded": recorded,
}
WANTED = {"1 seeds": "one seed", "controls pass": "so does", "controls worse": "which weights are kept"}
WANTED["not good enough"] = "Gate not passed"


def opened(browser, folder, records, arrays, scenes, **how):
    analysed = verdict.analyse("paper", records, arrays, scenes)
    found = live.data(analysed, records, arrays, scenes)
    style = (live.HERE / "style.css").read_text(encoding="utf-8")
    figure = f'<figure id="fig-live" class="live">{live.fragment(found, analysed.main)}</figure>'
    page = Path(folder) / "page.html"
    page.write_text(
        f"{PAGE}<style>{style}</style><div class=page><main>{figure}</main></div>", encoding="utf-8"
    )
    browser.open(page, **how)
    assert browser.problems == []
    return found, analysed


def expected(setting, records, arrays, scenes, patch):
    """What the analysis itself says of the records of some seeds, under another margin and protocol."""
    margin, protocol, epochs, seeds = setting
    how = [*budget.PROTOCOLS.values(), ("full", "pooled")][protocol]
    records = [r for r in scores.of_budget(records, epochs) if r["arm"] == "floor" or r["seed"] in seeds]
    if protocol == 3:
        records = [without_shop(r, arrays, scenes) if r["test"] else r for r in records]
    patch.setattr(budget.scored, "__defaults__", how)
    patch.setattr(stats.non_inferiority, "__defaults__", (margin,))
    patch.setattr(stats.break_even, "__defaults__", (margin, 0.95))
    patch.setattr(budget, "_protocols", lambda *_: None)
    patch.setattr(stats, "bca", lambda d: (np.nan, np.nan))  # not shown, and slow
    patch.setattr(stats, "sign_flip", lambda d: np.nan)
    return budget.analyse(epochs, records, {}, None)


def without_shop(record, arrays, scenes):
    run = arrays(record["key"])
    full = summarise(run["test/full"][scenes[run["test/frames"]] != budget.SHOP])
    return record | {"test": record["test"] | {"full": full}}


@pytest.mark.parametrize("name", STUDIES)
def test_the_browser_says_what_the_analysis_says(browser, tmp_path, name):
    records, arrays, scenes = STUDIES[name]()
    found, analysed = opened(browser, tmp_path, records, arrays, scenes)
    seeds = found["seeds"]
    some = [c for n in range(1, len(seeds) + 1) for c in list(itertools.combinations(seeds, n))[-2:]]
    grid = list(
        itertools.product(MARGINS, range(len(found["protocols"])), found["budgets"], dict.fromkeys(some))
    )
    grid = grid[:: 1 + len(grid) // 16]
    said = browser.run(
        f"{json.dumps(grid)}.map(one => document.querySelector('.trial').live.results(...one))"
    )
    outcomes = set()
    for setting, (sentence, details, rows) in zip(grid, said, strict=True):
        with pytest.MonkeyPatch.context() as patch:
            analysis = expected(setting, records, arrays, scenes, patch)
        passed = analysed.budgets[setting[2]].passed  # by all seeds
        object.__setattr__(analysis, "gate", (passed, ""))
        if len(analysis.tickets):
            assert rows == live.rows(analysis, setting[0]), setting
            assert [sentence, details] == list(live.conclusion(analysis, setting[0])), setting
        outcomes |= {sentence, *(row[-1] for row in rows)}
    assert WANTED.get(name, "") in str(outcomes)
    if name == "6 seeds":
        assert {"non-inferior", "not shown", "worse"} <= outcomes


def test_students_t_is_scipys(browser, tmp_path):
    opened(browser, tmp_path, *made(2), SCENES)
    t, df = np.meshgrid([-900.0, -12.7, -2.1, -0.3, -1e-3, 0.0, 0.7, 3.3, 60.0], np.arange(1, 12))
    pairs, call = np.stack([t.ravel(), df.ravel()], 1).tolist(), "document.querySelector('.trial').live"
    found = browser.run(f"{json.dumps(pairs)}.map(([t, n]) => {call}.cdf(t, n))")
    np.testing.assert_allclose(found, scipy.stats.t.cdf(t, df).ravel(), rtol=1e-10)
    found = browser.run(f"{list(range(1, 12))}.map(n => {call}.quantile(0.975, n))")
    np.testing.assert_allclose(found, scipy.stats.t.ppf(0.975, np.arange(1, 12)), rtol=1e-10)


def test_by_keyboard_from_the_text_that_stands_in_the_page_and_back(browser, tmp_path):
    """Without the script the page says what it says with it; on a phone nothing is wider than the window."""
    records, arrays, scenes = recorded()
    found, analysed = opened(browser, tmp_path, records, arrays, scenes, width=390)
    cells = (
        "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    text = "document.querySelector('.trial-conclusion').textContent"
    first = [browser.run(text), browser.run(cells)]
    assert first == [" ".join(live.conclusion(analysed.main)), live.rows(analysed.main)]
    page = live.fragment(found, analysed.main)
    assert all(re.search(rf">{re.escape(cell)}<", page) for row in first[1] for cell in row)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.run("document.querySelector('.trial [name=margin]').focus()")
    browser.key("ArrowRight", 2)
    assert browser.run("document.querySelector('.trial output').textContent") == "0.017 m"
    browser.key("End")
    assert browser.run("document.activeElement.getAttribute('aria-valuetext')") == "0.100 metres"
    assert browser.run(cells) == live.rows(analysed.main, 0.1) or analysed.main.tickets.n.max() > 1
    browser.run("document.querySelectorAll('.trial [type=checkbox]').forEach(box => box.click())")
    assert browser.run(cells) == [] and live.SAID["none"] in browser.run(text)
    browser.run("document.querySelector('.trial [type=reset]').focus()")
    browser.key("Enter")
    assert [browser.run(text), browser.run(cells)] == first and browser.problems == []
