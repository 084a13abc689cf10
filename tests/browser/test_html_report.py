"""The HTML report in a real browser: read, sorted, filtered, by keyboard, without JavaScript, on a phone, on paper."""

from dataclasses import replace

import pytest

from hf_finemix.html_report.page import render_html

from ..html_report.test_page import DIFFERENCES, manifest
from ..records import FULL
from ..reports import make_report
from .conftest import DESKTOP, PHONE
from .watching import axe


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    report = replace(FULL, evaluations=make_report().evaluations)
    tokens = tuple(replace(report.purify.tokens[0], rank=rank, id=rank, token=f"t{rank}") for rank in range(1, 31))
    report = replace(report, purify=replace(report.purify, tokens=tokens))
    path = tmp_path_factory.mktemp("page") / "finemix_report.html"
    path.write_text(render_html("purified", report, manifest(report), DIFFERENCES), encoding="utf-8")
    return path.as_uri()


def column(page, number):
    """The cells of a column of the table of tokens, as they are seen."""
    return page.locator(f"#tokens-table-1 tbody tr:visible td:nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_seen_whole_and_barrier_free(visit, address, scheme, size):
    watched = visit(address, viewport=size, color_scheme=scheme)
    page = watched.page
    for summary in page.locator("summary").all():
        if summary.locator("..").get_attribute("open") is None:
            summary.click()
    assert axe(page) == []
    assert watched.errors == [] and watched.strangers() == []
    # Wide tables scroll by themselves; the page does not.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_tables_are_sorted_and_filtered_by_keyboard_alone(visit, address):
    page = visit(address).page
    page.locator("#tokens summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("t1")
    assert column(page, 2) == ["t1", *(f"t{number}" for number in range(10, 20))]
    assert "11 of 30 rows" in page.locator("#tokens [role=status]").inner_text()
    # Over the table, which can be scrolled, to the heading of its first column.
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert column(page, 1) == [str(number) for number in (*range(19, 9, -1), 1)]
    assert page.locator("#tokens-table-1 th").first.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert column(page, 1) == [str(number) for number in (1, *range(10, 20))]


def test_every_section_is_reached_by_its_link(visit, address):
    page = visit(address).page
    for link in page.locator("nav a").all():
        link.focus()
        page.keyboard.press("Enter")
        target = page.locator(link.get_attribute("href"))
        assert target.evaluate("element => element.getBoundingClientRect().top < innerHeight")


def test_a_mark_of_a_chart_says_what_it_is(visit, address):
    page = visit(address).page
    tip = page.locator("#tip")
    assert tip.is_hidden()
    # One for each bar, and nothing for the axes.
    groups = page.evaluate(
        """() => [...document.querySelectorAll('#tokens .chart g')].map((group) => {
            group.dispatchEvent(new PointerEvent('pointermove', {clientX: 20, clientY: 20}));
            const tip = document.querySelector('#tip');
            const text = tip.hidden ? '' : tip.textContent;
            group.dispatchEvent(new PointerEvent('pointerleave'));
            return text;
        }).filter((text) => text)"""
    )
    assert len(groups) == 20 and groups[0].startswith("t1: score 0.5") and tip.is_hidden()


def test_without_javascript_everything_is_there(visit, address):
    page = visit(address, java_script_enabled=False).page
    said = page.locator("body").text_content()
    for text in ("a fine film", "t30", "model.safetensors", "recipe.yaml", "layer 0 attention"):
        assert text in said
    assert page.locator("svg title").count() > 20
    assert page.locator("button").count() == 0 and page.locator("input").count() == 0


def test_it_is_printed_with_all_tables_unfolded(visit, address, tmp_path):
    page = visit(address, color_scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    path = tmp_path / "report.pdf"
    page.pdf(path=path, format="A4")
    assert path.read_bytes().startswith(b"%PDF") and path.stat().st_size > 20_000
