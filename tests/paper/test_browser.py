"""The built site as a reader meets it, in headless Chromium: `pytest tests/test_browser.py --site build/quick/html`."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

chromium = pytest.importorskip("chromium", reason="needs websocket-client")

HEAVIEST = 15e6  # bytes of the whole site


@pytest.fixture(scope="session")
def site(request):
    folder = request.config.getoption("--site")
    if not folder:
        pytest.skip("needs a built site: --site build/quick/html")
    if not chromium.program():
        pytest.skip("needs Chromium: `apt-get install chromium`")
    return Path(folder).resolve()


@pytest.fixture(scope="module")
def chapters(site):
    return sorted(site.glob("*.html"))


@pytest.fixture(scope="module")
def pages(site, chapters):
    """The chapters, and a few of the package's many pages, which are all made alike."""
    assert site / "index.html" in chapters
    return chapters + [
        site / "api" / f"{name}.html" for name in ("lthdepth", "lthdepth/config", "lthdepth/mask")
    ]


@pytest.fixture(scope="module")
def browser(site):
    browser = chromium.Chromium()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def results(chapters):
    """The page that has the viewer."""
    return next(page for page in chapters if 'class="viewer"' in page.read_text(encoding="utf-8"))


def test_pages_open_without_errors_requests_or_holes(browser, pages):
    """And nothing reaches beyond the window, on a desk or on a phone."""
    for page in pages:
        for width in (1280, 390):
            browser.open(page, width)
            assert browser.problems == [], page.name
            assert (
                browser.run(
                    "[...document.images].filter(i => !i.naturalWidth && i.getAttribute('src')).map(i => i.outerHTML.slice(0, 99))"
                )
                == []
            )
            assert browser.run("document.documentElement.scrollWidth") <= width, page.name


def test_links_and_anchors_lead_somewhere(browser, site, chapters):
    ids, links = {}, []
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        ids[page] = set(re.findall(r'\sid="([^"]+)"', text))
        if page not in chapters:
            links += [
                (page, urljoin(page.as_uri(), link)) for link in re.findall(r'<a [^>]*href="([^"]+)"', text)
            ]
    for page in chapters:  # what scripts make counts here
        browser.open(page)
        ids[page] |= set(browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        links += [(page, link) for link in browser.run("[...document.links].map(a => a.href)")]
    lost = []
    for page, link in links:
        address = urlsplit(link)
        if address.scheme == "file":
            known = ids.get(Path(unquote(address.path)))
            if known is None or (address.fragment and unquote(address.fragment) not in known):
                lost.append(f"{page.name}: {link}")
    assert not lost and len(links) > 50


def test_no_serious_barrier(browser, pages):
    """axe-core finds no serious or critical violation, light on a desk and dark on a phone."""
    if not (spec := importlib.util.find_spec("axe_playwright_python")):
        pytest.skip("needs axe-core: `pip install --no-deps axe-playwright-python`")
    axe = (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    found = []
    for page in pages:
        for width, dark in ((1280, False), (390, True)):
            browser.open(page, width, dark=dark)
            browser.run(f"{axe}; 0")
            for v in browser.run("axe.run({resultTypes: ['violations']}).then(r => r.violations)"):
                if v["impact"] in ("serious", "critical"):
                    found.append(
                        (
                            page.name,
                            "dark" if dark else "light",
                            v["id"],
                            [node["html"][:160] for node in v["nodes"][:3]],
                        )
                    )
    assert not found


def test_pictures_have_words_of_their_own(browser, chapters):
    seen = 0
    for page in chapters:
        browser.open(page)
        script = (
            "[...document.querySelectorAll('figure img')].map(i => [i.alt, i.closest('figure').innerText])"
        )
        for alt, caption in browser.run(script):
            seen += 1
            assert len(alt) > 20 and alt not in re.sub(r"\s+", " ", caption), alt
    assert seen > 5


def test_front_page_shows_the_answer_first(browser, site):
    browser.open(site / "index.html")
    order = browser.run(
        "[...document.querySelectorAll('main h1, main h2, main figure, main table')].map(e => e.tagName + ' ' + e.innerText.slice(0, 30))"
    )
    kinds = [entry.split()[0] for entry in order]
    assert kinds[0] == "H1" and {"FIGURE", "TABLE"} <= set(kinds)
    heads = [entry.lower() for entry in order if entry.startswith("H2")]
    assert (
        "abstract" in heads[0]
        or "abstract" in browser.run("document.querySelector('main').innerText").lower()[:400]
    )
    assert any("verdict" in head for head in heads[:2]) and "chapters" in heads[-1]
    assert browser.run("document.querySelectorAll('main table tbody tr').length") > 3


def test_code_is_folded_and_opens_by_key(browser, results):
    browser.open(results)
    assert browser.run("document.querySelectorAll('details.code').length") > 3
    assert browser.run("document.querySelectorAll('details.code[open]').length") == 0
    browser.run("document.querySelector('details.code summary').focus()")
    browser.key("Enter")
    assert browser.run("document.querySelector('details.code').open")


def reading(browser):
    """What the viewer says: where, and the cells of its table."""
    return browser.run(
        "[document.querySelector('.viewer-where').innerText, document.querySelector('.viewer-table tbody').innerText]"
    )


def borders(browser):
    return browser.run(
        "[...document.querySelectorAll('.viewer-handle')].map(h => Number(h.getAttribute('aria-valuenow')))"
    )


def colours(browser):
    return browser.run(
        "(() => { const c = document.querySelector('.viewer-canvas'); let s = 0;"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; for (const v of d) s = (s * 31 + v) | 0; return s; })()"
    )


@pytest.fixture
def viewer(browser, results):
    browser.open(results)
    chromium.until(lambda: not browser.run("document.querySelector('.viewer').hidden"), "the viewer")
    return browser


def test_viewer_by_mouse(viewer):
    viewer.mouse(viewer.place(".viewer-canvas", 0.25, 0.75))
    where, cells = reading(viewer)
    assert "25 % from the left, 75 % from the top" in where and cells.splitlines()[-1].startswith("truth")
    depths = re.findall(r"\t(\d+\.\d\d)", cells)
    assert len(depths) >= 2 and all(0 < float(d) < 20 for d in depths)
    viewer.mouse(viewer.place(".viewer-canvas", 0.8, 0.2))
    assert reading(viewer)[1] != cells
    before, painted = borders(viewer), colours(viewer)
    x, y = viewer.place(".viewer-handle", index=0)
    viewer.mouse((x, y), (x - 40, y), (x - 120, y), press=True)
    assert borders(viewer)[0] < before[0] and borders(viewer)[1] == before[1] and colours(viewer) != painted


def test_borders_that_meet_can_be_drawn_apart_again(viewer):
    """Where both stand in one place the mouse finds only the upper one."""

    def drag(index, to):
        start = viewer.place(".viewer-handle", index=index)
        end = viewer.place(".viewer-canvas", to, 0.5)
        viewer.mouse((start[0], end[1]), ((start[0] + end[0]) / 2, end[1]), (end[0], end[1]), press=True)

    drag(1, 1.0)
    drag(0, 1.0)
    assert borders(viewer) == [100, 100]
    drag(1, 0.3)
    assert borders(viewer)[0] == borders(viewer)[1] < 40
    drag(1, 0.7)
    assert borders(viewer)[0] < 40 < 60 < borders(viewer)[1]


def test_viewer_by_keyboard(viewer):
    viewer.run("document.querySelector('.viewer-canvas').focus()")
    viewer.key("ArrowRight", 3)
    viewer.key("ArrowUp", 2, shift=True)
    assert "53 % from the left, 30 % from the top" in reading(viewer)[0]
    said = viewer.run("document.querySelector('.viewer-said').innerText")
    assert "truth" in said and "metres" in said
    viewer.key("Tab")
    first = borders(viewer)
    viewer.key("ArrowLeft", 2)
    assert borders(viewer) == [first[0] - 4, first[1]]
    viewer.key("Tab")
    viewer.key("End")
    assert borders(viewer)[1] == 100
    assert viewer.run("document.activeElement.getAttribute('role')") == "slider"


def test_viewer_by_touch(browser, results):
    browser.open(results, 390, 800)
    chromium.until(lambda: not browser.run("document.querySelector('.viewer').hidden"), "the viewer")
    browser.touch(browser.place(".viewer-canvas", 0.9, 0.5))
    assert "90 % from the left" in reading(browser)[0]
    before = borders(browser)
    x, y = browser.place(".viewer-handle", index=0)
    browser.touch((x, y), (x - 20, y), (x - 60, y))
    assert borders(browser)[0] < before[0]


def test_viewer_goes_through_frames_densities_and_errors(viewer):
    def choose(name, event, value):
        viewer.run(
            f"(() => {{ const e = document.querySelector('.viewer-{name}'); e.value = {value!r}; e.dispatchEvent(new Event('{event}')); }})()"
        )
        return colours(viewer), reading(viewer)[1]

    start = colours(viewer), reading(viewer)[1]
    other = choose("frame", "change", "3")
    assert other != start and "frame" in viewer.run("document.querySelector('.viewer-photo').alt")
    assert choose("mode", "change", "error")[0] != other[0]
    if viewer.run("!document.querySelector('.viewer-level').hidden"):
        levels = viewer.run("Number(document.querySelector('.viewer-density').max)") + 1
        shown = {choose("density", "input", str(k))[0] for k in range(levels)}
        assert len(shown) == levels
    assert viewer.problems == []


def test_pages_print(browser, chapters):
    for page in chapters:
        browser.open(page)
        printed = browser.pdf()
        assert printed.startswith(b"%PDF") and len(printed) > 20_000


def test_the_site_is_light(site):
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert size <= HEAVIEST, f"{size / 1e6:.1f} MB"
