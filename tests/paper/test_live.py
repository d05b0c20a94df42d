"""The live verdict: a browser computes what the analysis computes, to the digit. The viewer's data."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
from made_up import SCENES, curve, study
from PIL import Image

from lthdepth.analysis import budget, stats, verdict
from lthdepth.config import level
from lthdepth.data.frames import Summary
from lthdepth.metrics import summarise
from lthdepth.paper import live

PAGE = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
CELLS = "[...document.querySelectorAll('tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without what is not shown: the bootstrap and the sign-flip test."""
    monkeypatch.setattr(stats, "over_scenes", lambda *_: (np.nan, np.nan))
    monkeypatch.setattr(stats, "sign_flip", lambda d: np.nan)


def losses(at_imp=0.012, at_control=0.05):
    """A curve of three levels, others of two, IMP and both controls at 1.8 %."""
    curves = curve("omp", 0.06, (3, 9, 18)) | curve("gradual", 0.03, (6, 18)) | {("imp", level(18)): at_imp}
    curves |= {("lamp", level(k)): 0.2 for k in (6, 18)}  # breaks even above its densest level
    return curves | {(arm, level(18)): at_control for arm in ("random", "shuffled")}


def made(paper, **how):
    """Six seeds, two budgets; in the longer a ticket of one seed failed, and a level has one seed only."""
    records, arrays = study(6, losses(**how))
    short, short_arrays = study(6, curve("omp", 0.02, (3, 18)), epochs=20)
    lost = {"status": "failed", "test": None}
    records = [r | lost if (r["arm"], r["seed"]) == ("random", 1) else r for r in records]
    records = [r for r in records if not (r["arm"] == "omp" and r["density"] == level(9) and r["seed"])]
    return records + short[1:], lambda key: (short_arrays if key.endswith("-20") else arrays)(key), SCENES


def recorded(paper):
    done = [r for r in paper.shown if r]
    return done, paper.store.arrays, paper.scenes(done)


STUDIES = {  # and what it must say at some of its settings
    "tickets differ": (made, ("'non-inferior'", "'not shown'", "'worse'", "one seed", "even above 26.2 %")),
    "controls pass": (lambda paper: made(paper, at_control=0.0), ("so does",)),
    "controls are worse": (
        lambda paper: (*study(3, losses(0.0, 0.1), spread=0.002), SCENES),
        ("which weights are kept",),
    ),
    "not good enough": (lambda paper: (*study(3, losses(), dense=1.1), SCENES), ("Gate not passed",)),
    "recorded": (recorded, ("m from dense",)),
}


def opened(browser, folder, records, arrays, scenes, **how):
    """Show the live verdict of some records; what is embedded in the page, and their analysis."""
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
    patch.setattr(budget.scored, "__defaults__", [*budget.SCORINGS.values(), ("full", "pooled")][protocol])
    patch.setattr(stats.non_inferiority, "__defaults__", (margin,))
    patch.setattr(stats.break_even, "__defaults__", (margin, 0.95))
    patch.setattr(budget, "_protocols", lambda *_: None)
    return budget.analyse(epochs, records, {}, None)


def without_shop(record, arrays, scenes):
    run = arrays(record["key"])
    full = summarise(run["test/full"][scenes[run["test/frames"]] != budget.SHOP])
    return record | {"test": record["test"] | {"full": full}}


@pytest.mark.parametrize("name", STUDIES)
def test_the_browser_says_what_the_analysis_says(browser, tmp_path, paper, name):
    get, wanted = STUDIES[name]
    records, arrays, scenes = get(paper)
    embedded, analysed = opened(browser, tmp_path, records, arrays, scenes)
    seeds = embedded["seeds"]
    some = [c for n in range(1, len(seeds) + 1) for c in list(itertools.combinations(seeds, n))[-2:]]
    axes = (0.002, 0.015, 0.1), range(len(embedded["protocols"])), embedded["budgets"], some
    grid = list(itertools.product(*axes))
    grid = grid[:: 1 + len(grid) // 16]
    results = "one => document.querySelector('.trial').live.results(...one)"
    everything = str([*live.conclusion(analysed.main), *live.rows(analysed.main)])
    for setting, said in zip(grid, browser.run(f"{json.dumps(grid)}.map({results})"), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            analysis = expected(setting, records, arrays, scenes, patch)
        object.__setattr__(analysis, "gate", (analysed.budgets[setting[2]].passed, ""))  # by all seeds
        if len(analysis.tickets):
            assert said == [*live.conclusion(analysis, setting[0]), live.rows(analysis, setting[0])], setting
        everything += str(said)
    assert not [words for words in wanted if words not in everything]


def test_by_keyboard_from_the_text_that_stands_in_the_page_and_back(browser, tmp_path, paper):
    """Without the script the page says what it says with it; on a phone nothing is wider than the window."""
    embedded, analysed = opened(browser, tmp_path, *recorded(paper), width=390)
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


def metres(layer):
    """The depth that a page decodes from a layer of the viewer: `(n, h, w)`."""
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(layer["picture"].split(",")[1]))), float)
    depth = layer["low"] + grey * (layer["high"] - layer["low"]) / 255
    return depth.reshape(layer["n"], layer["height"], layer["width"])


def test_every_map_is_in_the_viewer_to_two_centimetres_and_nothing_in_it_ends_its_script():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.7, 9.9, (2, 30, 400)).astype(np.float32)
    photos = rng.integers(0, 256, (2, 30, 400, 3), dtype=np.uint8)
    summary = Summary({}, depth[0], np.array([3, 9]), photos, depth, ["a<!--<script>", "c"])
    small = depth[:, ::2, ::4]
    better = np.array([0.2, 0.1])[:, None, None]  # of dense, on the second frame, which comes first
    maps = {"mean depth map": small.mean(0)[None], "dense": small + better, "random 1.8 %": small + 1}
    page = live.viewer_fragment(summary, maps)
    data = json.loads(re.search(r'class="viewer-data">(.*?)</script>', page, re.DOTALL)[1])
    assert list(data["layers"]) == ["dense", "mean depth map", "random 1.8 %", "truth"]
    for name, layer in data["layers"].items():
        wanted = maps.get(name, depth[:, ::2, ::2])  # the widest map is thinned
        assert np.abs(metres(layer) - wanted[::-1]).max() < 0.02
    assert [f["name"] for f in data["frames"]] == ["c, test frame 9", "a<!--<script>, test frame 3"]
    assert "<!--" not in page and page.count("</script>") == 2
    assert re.match(r'<section class="viewer" hidden', page)  # until its script runs
