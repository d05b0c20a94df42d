"""The built site as a reader meets it, in headless Chromium: `pytest tests/paper --site build/paper/html`."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import chromium
import pytest

from lthdepth.paper import build

HEAVIEST = 12e6  # bytes of the whole site
REFERENCES = "main section a[href*='#'], main section a.page, main .text a[href$='.html'], main [data-runs]"


@pytest.fixture(scope="module")
def site(request):
    folder = request.config.getoption("--site")
    if not folder:
        pytest.skip("needs a built site: --site build/paper/html")
    return Path(folder).resolve()


@pytest.fixture(scope="module")
def pages(site):
    found = sorted(site.glob("*.html"))
    assert site / "index.html" in found
    return found


def page_with(pages, text):
    found = next((page for page in pages if text in page.read_text(encoding="utf-8")), None)
    return found or pytest.skip(f"no page has {text}")


WIDER = """[...document.querySelectorAll('main *')].filter(e =>
    e.getBoundingClientRect().right > WIDTH + 1
    && !e.closest('math, pre, .equation')).map(e => e.outerHTML.slice(0, 120))"""


def test_pages_open_without_errors_requests_or_holes_and_nothing_is_wider_than_the_window(pages, browser):
    for page in pages:
        for width in (390, 768, 1280, 1440):
            browser.open(page, width)
            browser.run("document.querySelectorAll('details').forEach(fold => fold.open = true)")
            assert browser.problems == [], page.name
            assert browser.run("[...document.images].every(i => !i.getAttribute('src') || i.naturalWidth)")
            assert browser.run(WIDER.replace("WIDTH", str(width))) == [], (page.name, width)
            assert browser.run("document.documentElement.scrollWidth") <= width, (page.name, width)


def test_links_and_anchors_lead_somewhere_and_pictures_have_words_of_their_own(pages, browser):
    ids, links, pictures = {}, [], []
    for page in pages:
        browser.open(page)
        images = "[...document.querySelectorAll('main figure > a > img')]"
        pictures += browser.run(f"{images}.map(i => [i.alt, i.closest('figure').innerText])")
        ids[page] = set(browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        links += map(urlsplit, browser.run("[...document.links].map(a => a.href)"))
    for address in (link for link in links if link.scheme == "file"):
        path, anchor = Path(unquote(address.path)), unquote(address.fragment)
        assert path.exists() and (not anchor or anchor in ids[path]), address
    for alt, caption in pictures:
        assert len(alt) > 8 and alt not in re.sub(r"\s+", " ", caption), alt
    assert len(links) > 50 and len(pictures) > 5


def test_no_serious_barrier(pages, browser):
    """axe-core finds no serious or critical violation, light on a desktop and dark on a phone."""
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
                    found.append((page.name, dark, v["id"], [node["html"][:160] for node in v["nodes"][:3]]))
    assert not found


def test_front_page_has_a_title_a_table_and_the_chapters_and_can_be_cited(site, browser):
    browser.open(site / "index.html")
    tags = browser.run("[...document.querySelectorAll('main h1, main table, main nav')].map(e => e.tagName)")
    assert tags[0] == "H1" and tags[-1] == "NAV" and "TABLE" in tags
    browser.run("document.querySelector('details.cite').open = true")
    assert "@misc{lthdepth" in browser.run("document.querySelector('#bibtex').innerText")
    browser.mouse(browser.place("[data-copies]"), press=True)
    button = "document.querySelector('[data-copies]').innerText"
    chromium.until(lambda: browser.run(button) != "Copy", "the copy")


PREVIEW = "(() => { const b = document.querySelector('#preview'); return b.hidden ? '' : b.innerHTML; })()"


def shown(browser, text=True):
    """The preview's HTML, once it is there, or is not."""
    chromium.until(lambda: bool(browser.run(PREVIEW)) == text, "the preview" if text else "it to go")
    return browser.run(PREVIEW)


def test_every_reference_shows_by_keyboard_what_it_leads_to(pages, browser):
    browser.open(page_with(pages, "data-runs="))
    references = browser.run(f"document.querySelectorAll({REFERENCES!r}).length")
    assert references
    for k in range(references):
        browser.run(f"document.querySelectorAll({REFERENCES!r})[{k}].focus()")
        html = shown(browser)
        assert len(re.sub(r"<[^>]+>", "", html)) > 5 or "<img" in html
        box = browser.run("document.querySelector('#preview').getBoundingClientRect().toJSON()")
        assert 0 <= box["left"] < box["right"] <= 1280
        browser.key("Escape")
        shown(browser, False)


def test_a_preview_by_mouse_can_be_entered_and_goes_with_the_mouse(pages, browser):
    browser.open(page_with(pages, "data-runs="))
    browser.mouse((5, 5), browser.place("main [data-runs] strong", 0.5, 0.1))
    assert "seed" in shown(browser)
    browser.mouse(browser.place("#preview"))
    browser.run("new Promise(done => setTimeout(done, 500))")
    assert browser.run(PREVIEW)
    browser.mouse((1200, 800))
    shown(browser, False)


def test_a_finger_sees_the_preview_first_and_follows_by_the_second_touch(pages, browser):
    page = page_with(pages, "#ref-")
    browser.open(page, 390, 800)
    link = browser.place("main a[href*='#ref-']")
    browser.tap(*link)
    shown(browser)
    assert browser.run("location.href").endswith(page.name)
    browser.tap(*link)
    chromium.until(lambda: "#" in browser.run("location.href"), "the second touch to follow the link")


def test_the_depth_viewer_by_mouse_keyboard_and_its_choices(pages, browser):
    def value(script):
        return browser.run(f"(find => {script})(name => document.querySelector('.viewer-' + name))")

    def borders():
        handles = "[...document.querySelectorAll('.viewer-handle')]"
        return browser.run(f"{handles}.map(h => Number(h.getAttribute('aria-valuenow')))")

    browser.open(page_with(pages, 'class="viewer"'))
    chromium.until(lambda: not browser.run("document.querySelector('.viewer').hidden"), "the viewer")
    browser.mouse(browser.place(".viewer-canvas", 0.25, 0.75))
    assert "25 % from the left, 75 % from the top" in value("find('where').innerText")
    *predicted, truth = value("find('table').tBodies[0].innerText").splitlines()
    assert truth.startswith("truth") and all(0 < float(row.split("\t")[1]) < 20 for row in predicted)
    before, seen = borders(), [value("find('canvas').toDataURL()")]
    x, y = browser.place(".viewer-handle")
    browser.mouse((x, y), (x - 40, y), (x - 120, y), press=True)
    first, second = borders()
    assert first < before[0] and second == before[1]
    seen.append(value("find('canvas').toDataURL()"))
    browser.key("ArrowLeft", 2)  # the handle has the focus
    assert borders() == [first - 4, second]
    browser.key("End")  # a border pushes the other along
    assert borders() == [100, 100]
    value("find('canvas').focus()")
    browser.key("ArrowRight", 3)
    browser.key("ArrowUp", 2, shift=True)
    assert "28 % from the left, 55 % from the top" in value("find('where').innerText")
    assert "metres" in value("find('said').innerText")
    for name, choice in (("frame", "3"), ("mode", "error")):
        value(f"(find('{name}').value = '{choice}', find('{name}').dispatchEvent(new Event('change')))")
        seen.append(value("find('canvas').toDataURL()"))
    assert len(set(seen)) == 4 and "frame" in value("find('photo').alt") and browser.problems == []


def test_the_whole_paper_prints_as_one_pdf_and_the_site_is_light(site, browser):
    pdf = build.to_pdf(site / "index.html")
    content = pdf.read_bytes()
    pdf.unlink()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) > 5
    assert not (site / "paper.html").exists()
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= HEAVIEST
