"""The live verdict: a browser computes what the analysis computes, to the digit. The viewer's data."""

import base64
import io
import itertools
import json
import re
from html import unescape

import numpy as np
import pytest
from made_up import SCENES, curve, study
from PIL import Image

from lthdepth.analysis import budget, stats, verdict
from lthdepth.config import ARMS, level
from lthdepth.data.frames import Summary
from lthdepth.paper import live, tables
from lthdepth.paper.sentences import unmarked

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
    "tickets differ": (made, ("'non-inferior'", "'not shown'", "'worse'", "too few", "even above 26.2 %")),
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
    figure = f'<figure id="fig-live" class="live">{live.fragment(embedded, analysed.endpoint())}</figure>'
    text = f"{PAGE}<style>{style}</style><div class=page><main>{figure}</main></div>"
    (folder / "page.html").write_text(text, encoding="utf-8")
    browser.open(folder / "page.html", **how)
    assert browser.problems == []
    return embedded, analysed


def expected(analysis, margin, unread):
    """Conclusion, details and rows by the analysis itself, in the words of the tables."""
    even = {r.arm: r for r in analysis.break_even.itertuples() if r.arm != unread}
    rows, last = [], {}
    for t in sorted(analysis.tickets.itertuples(), key=lambda t: (list(ARMS).index(t.arm), -t.density)):
        if t.arm not in last:
            rows.append([ARMS[t.arm]])
            if row := even.get(t.arm):
                value, bounds = budget.density(row, row.density), budget.density_interval(row)
                rows[-1][0] += f": breaks even {'at ' if value[0].isdigit() else ''}{value}"
                rows[-1][0] += "" if bounds == "–" else f", 95 % interval {bounds}"
        last[t.arm], p = t, tables.p_value(t.holm) if analysis.passed else "–"
        texts = [f"{100 * t.density:.2f} %", str(t.n), tables.signed(t.difference)]
        rows.append([*texts, tables.interval(t.low, t.high), p, analysis.outcome(t, margin)])
    if (t := last.get("imp") or last.get("omp")) is None:
        return verdict.SAID["none"], "", rows
    pairs = f"{t.n} pairs, 95 % interval {tables.interval(t.low, t.high)} m" if t.n > 1 else "one pair"
    return verdict.conclude(analysis, t, margin), f"{tables.signed(t.difference)} m from dense, {pairs}", rows


@pytest.mark.parametrize("name", STUDIES)
def test_the_browser_says_what_the_analysis_says(browser, tmp_path, paper, name):
    get, wanted = STUDIES[name]
    records, arrays, scenes = get(paper)
    embedded, analysed = opened(browser, tmp_path, records, arrays, scenes)

    def results(*setting):
        return browser.run(f"document.querySelector('.trial').live.results(...{json.dumps(setting)})")

    seeds, everything = embedded["seeds"], ""
    some = [c for n in range(1, len(seeds) + 1) for c in list(itertools.combinations(seeds, n))[-2:]]
    grid = list(itertools.product((0.002, 0.015, 0.1), embedded["budgets"], some))
    for margin, epochs, chosen in grid[:: 1 + len(grid) // 16]:
        its = [r for r in budget.of_budget(records, epochs) if r["arm"] == "floor" or r["seed"] in chosen]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stats.non_inferiority, "__defaults__", (margin,))
            patch.setattr(stats.break_even, "__defaults__", (margin,))
            analysis = budget.analyse(epochs, its, {}, None)
        object.__setattr__(analysis, "gate", (analysed.budgets[epochs].passed, ""))  # by all seeds
        if len(analysis.tickets):
            said = results(margin, 0, epochs, chosen)
            conclusion, details, rows = expected(analysis, margin, embedded["budgets"][epochs]["unread"])
            assert (said[0], said[2]) == (conclusion, rows) and details in said[1]
            everything += str(said)
    assert not [words for words in wanted if words not in everything]
    for i, protocol in enumerate(embedded["protocols"]):
        said = results(0.015, i, analysed.main.epochs, seeds)
        losses = {tables.signed(row[protocol]) for row in analysed.main.protocols.to_dict("records")}
        assert losses == {row[2] for row in said[2] if len(row) > 1}


def test_by_keyboard_and_back_and_without_scripts_the_verdict_stands_there(browser, tmp_path, paper):
    """On a phone nothing is wider than the window."""
    embedded, analysed = opened(browser, tmp_path, *recorded(paper), width=390)
    assert unmarked(analysed.endpoint()) in unescape(live.fragment(embedded, analysed.endpoint()))
    text = "document.querySelector('.trial-conclusion').textContent"
    first = [browser.run(text), browser.run(CELLS)]
    assert first[1] == expected(analysed.main, stats.MARGIN, live.unread(analysed.main))[2]
    assert browser.run("document.documentElement.scrollWidth") <= 390
    browser.run("document.querySelector('.trial [name=margin]').focus()")
    browser.key("ArrowRight", 2)
    assert browser.run("document.querySelector('.trial output').textContent") == "0.017 m"
    browser.run("document.querySelectorAll('.trial [type=checkbox]').forEach(box => box.click())")
    assert browser.run(CELLS) == [] and verdict.SAID["none"] in browser.run(text)
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
