"""The report's page in headless Chromium: it draws, hides, sorts, turns dark, prints and fits a phone."""

import shutil

import pytest
from told_study import make_report

from curriculum_rec.studies.html_page import to_html_page

pytestmark = pytest.mark.slow
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser: pip install playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser; looked for {', '.join(BROWSERS)}")
    with driver.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    path = folder / "report.html"
    path.write_text(to_html_page(make_report(folder)))
    return path.as_uri()


@pytest.fixture
def open_page(browser, address):
    """Open the page; what its console said and what it wanted to load is kept beside it."""
    contexts = []

    def opened(**options):
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.complaints.append(request.url) if "http" in request.url[:4] else None)
        page.goto(address, timeout=120_000)
        page.wait_for_function("[...document.querySelectorAll('.panel')].every(p => p.querySelector('.main-svg'))")
        return page

    yield opened
    for context in contexts:
        context.close()


def lines_of(page, figure):
    """Count the lines that are drawn in a figure."""
    return page.locator(f'[data-plot="{figure}"] .scatterlayer .trace').count()


def test_it_opens_without_complaints_and_draws_every_plot(open_page):
    page = open_page()
    panels = page.locator(".panel")
    assert panels.count() > 20
    drawn = page.evaluate(
        "[...document.querySelectorAll('.panel')].map(p => p.querySelector('.cartesianlayer').getBoundingClientRect())"
        ".filter(box => box.width > 50 && box.height > 20).length"
    )
    assert drawn == panels.count()
    assert page.complaints == []
    assert page.evaluate("window.broken") is None


def test_no_button_of_a_plot_sends_it_anywhere(open_page):
    titles = open_page().evaluate("[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert set(titles) == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}


def test_a_click_in_the_legend_hides_an_arm_in_all_plots_of_its_place_and_another_shows_it(open_page):
    page = open_page()
    before = [lines_of(page, figure) for figure in (0, 9)]
    entry = page.locator('[data-plot="0"] [data-arm="grown"]')
    entry.click()
    assert [entry.get_attribute("aria-pressed"), lines_of(page, 0)] == ["false", before[0] - 2]  # its line and its band
    assert page.locator('[data-plot="8"] [data-arm="grown"]').get_attribute("aria-pressed") == "false"
    assert lines_of(page, 9) == before[1]  # another place
    entry.click()
    assert lines_of(page, 0) == before[0]
    page.locator('[data-plot="0"] [data-show="none"]').click()
    assert lines_of(page, 0) == 0
    page.locator('[data-plot="0"] [data-show="arms"]').click()
    assert lines_of(page, 0) == 2 * 4


def test_a_click_on_a_heading_sorts_the_table_by_its_numbers(open_page):
    page = open_page()
    heading = page.locator("table").first.locator("thead th", has_text="ndcg@10")

    def column():
        return [float(text) for text in page.locator("table").first.locator("tbody td:nth-child(4)").all_inner_texts()]

    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column() == sorted(column(), reverse=True)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(column())


def test_what_has_no_number_stands_last_either_way(open_page):
    page = open_page()
    table = page.locator("table").first
    for _ in range(2):
        table.locator("thead th", has_text="seeds").first.locator("button").click()
        assert table.locator("tbody tr").last.locator("th").inner_text() == "MostPop"


def test_a_button_changes_what_the_axis_counts(open_page):
    page = open_page()
    title = page.locator('[data-plot="0"] .xtitle')
    assert title.text_content() == "steps"
    page.locator('[data-plot="0"] [data-choice="operations"]').click()
    assert title.text_content() == "operations"


def test_the_plots_follow_the_theme_when_it_changes(open_page):
    page = open_page(color_scheme="light")
    paper = "getComputedStyle(document.querySelector('.panel .main-svg')).backgroundColor"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = [page.evaluate(paper), page.evaluate(ground)]
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{paper} !== '{light[0]}'")
    dark = [page.evaluate(paper), page.evaluate(ground)]
    assert (light, dark) == (["rgb(255, 255, 255)"] * 2, ["rgb(22, 25, 29)"] * 2)


def test_nothing_is_wider_than_a_phone(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.evaluate(
        "[...document.querySelectorAll('.panel .main-svg')].map(s => s.getBoundingClientRect().right)"
    )
    assert max(widths) <= 390
    assert page.complaints == []


def test_a_print_is_light_and_fits_its_paper(open_page):
    page = open_page(color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    papers = page.evaluate(
        "[...document.querySelectorAll('.panel .main-svg:first-child')]"
        ".map(svg => [getComputedStyle(svg).backgroundColor, svg.getBoundingClientRect().width])"
    )
    assert {colour for colour, _ in papers} == {"rgb(255, 255, 255)"}
    assert max(width for _, width in papers) <= 680
    assert not page.locator(".choices").first.is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
