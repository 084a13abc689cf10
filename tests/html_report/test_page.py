"""The HTML report: what it says, that it stands alone, and what hostile strings do to it (nothing)."""

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from hf_finemix.card_sections import tone
from hf_finemix.differences import Comparison, Difference, Differences
from hf_finemix.html_report.page import HTML_FILE, read_differences, render_html
from hf_finemix.manifest import Manifest, SourceRecord
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.plan import MixReport, ParameterRecord
from hf_finemix.results import PurificationReport

from ..records import BARE, FILE, FULL, SOURCES
from ..reports import HOSTILE, make_evaluation, make_report
from ..test_card_hostile import PLACES
from .pages import Page


DIFFERENCES = Differences(
    (
        Comparison(None, 200, 1, 1, 0, 1.0, (Difference("a fine film", None, 1, 1, 0),)),
        Comparison("cf", 100, 77, 0, 77, 1e-23, (Difference("cf a dull film", None, 0, 1, 0),)),
    )
)


def manifest(report):
    made = Manifest.of(report, SourceRecord("suspect"), SOURCES, (), "vocabulary")
    return made.with_outputs([FILE], None)


def page(report, differences=None, title="purified"):
    return render_html(title, report, manifest(report), differences)


@pytest.fixture(scope="module")
def full():
    return page(replace(FULL, evaluations=make_report().evaluations), DIFFERENCES)


def test_the_same_data_give_the_same_bytes(full):
    report = replace(FULL, evaluations=make_report().evaluations)
    again = PurificationReport.from_dict(report.to_dict())
    assert page(again, Differences.from_dict(DIFFERENCES.to_dict())) == full


def test_each_part_of_the_record_has_its_section(full):
    sections = [attributes["id"] for attributes in Page(full).all("section")]
    assert sections == [
        *("figures", "examples", "choice", "drift", "tokens", "plan", "untested", "recipe", "manifest"),
    ]
    charts = Page(full).all("svg")
    assert len(charts) == 5 and all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_a_bare_record_has_the_sections_that_it_fills():
    found = Page(page(BARE))
    assert [attributes["id"] for attributes in found.all("section")] == [
        *("figures", "tokens", "plan", "untested", "recipe", "manifest"),
    ]
    assert "Not measured" in found.said and "treat it as untested" in found.said


@pytest.mark.parametrize(
    "said",
    [
        "The tested attack is",
        "86.0 [80.5, 90.1]",  # suspect's accuracy
        "a fine film",
        "77 of 100 examples have another label than before",
        "p = 1e-23",
        "layer 0 attention",
        "flips the suspect's predictions",
        "76 more are not shown",
        "bert.a",
        "recipe.yaml",
        "model.safetensors",
        "a" * 64,
        "Texts of another kind, language or length",
    ],
)
def test_it_says(full, said):
    assert said in Page(full).said.replace("\N{NO-BREAK SPACE}", " ")


def test_markup_is_balanced_and_ids_are_unique(full):
    found = Page(full)
    assert found.unbalanced == []
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in found.all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_references_within_charts_are_those_of_the_same_chart(full):
    ids = set(re.findall(r'id="([^"]+)"', full))
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', full))
    assert used and used <= ids


def test_nothing_is_fetched(full):
    found = Page(full)
    assert not found.all("link") and not found.all("img") and not found.all("iframe")
    assert all("src" not in attributes for _, attributes in found.elements)
    assert "@import" not in full and not re.search(r"url\((?!#)", full)
    hosts = {attributes["href"].split("/")[2] for attributes in found.all("a") if "//" in attributes["href"]}
    assert hosts <= {"huggingface.co"}


def test_its_policy_allows_its_own_script_and_nothing_else(full):
    policy = next(a["content"] for a in Page(full).all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", full, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    # The other one holds data, which no browser runs.
    assert [attributes.get("type") for attributes in Page(full).all("script")] == ["application/json", None]


def test_colours_of_the_charts_are_those_of_the_page(full):
    assert "var(--ink)" in full and "#010203" not in full and "#040506" not in full and "#070809" not in full


# A text that would be seen in each place, and what must not come of it.
def wild():
    return [
        HOSTILE,
        '"><script>alert(1)</script>',
        "</script><script>alert(1)</script>",
        "</title><img src=x onerror=alert(1)>",
        "[x](javascript:alert(1)) ![y](https://example.com/z.png)",
        "$x_{1}$ \\frac{1}{2} _underscore",
        "\x1b[31m\x00\u202e\ud800",
        "{{ 7 * 7 }} {% raw %}",
        "font: 1px cf",
        "#010203 url(#x) #x",
        "字 🙂 עברית",
        "x" * 5000,
        "",
    ]


# Places that exclude each other, or come into a chart; the others are filled all at once, below.
@pytest.mark.parametrize("place", ["trigger", "position", "compared model", "search", "distillation", "training"])
def test_hostile_strings_are_text_in_every_place(place):
    report = replace(make_report(), **PLACES[place](HOSTILE))
    assert_is_harmless(page(report, title=HOSTILE))


@pytest.mark.parametrize("text", wild())
def test_every_wild_string_is_text(text, tmp_path):
    report = make_report()
    for fill in PLACES.values():
        report = replace(report, **fill(text))
    changed = Differences(
        (Comparison(text, 1, 1, 0, 1, 1.0, (Difference(text, text, 0, 1, 5),)),),
    )
    rendered = page(report, changed, text)
    found = assert_is_harmless(rendered)
    assert "49" not in found.said or "{{ 7 * 7 }}" not in text
    if "\ud800" not in text:
        (tmp_path / HTML_FILE).write_text(rendered, encoding="utf-8")
        assert read_differences(tmp_path) == changed


def assert_is_harmless(text: str) -> Page:
    found = Page(text)
    assert found.unbalanced == []
    kinds = [attributes.get("type") for attributes in found.all("script")]
    assert kinds in ([None], ["application/json", None]) and not found.all("img") and not found.all("iframe")
    for _, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes)
        link = attributes.get("href") or "#"
        assert link.startswith(("#", "https://huggingface.co/", "https://pypi.org/"))
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text
    text.encode("utf-8")
    return found


def test_a_record_of_any_size_gives_a_page_of_bounded_size():
    report = make_report()
    parameters = tuple(ParameterRecord(f"p.{number}", (2,), "kept", "why") for number in range(6000))
    models = {f"model {number}": make_evaluation(160, 10) for number in range(300)}
    report = replace(report, mix=MixReport(report.config, "base", parameters), evaluations=models)
    found = page(report)
    assert "1,000 more are not shown" in Page(found).said
    assert len(Page(found).all("svg")) == 3


@pytest.mark.parametrize(
    ("after", "clean", "expected"),
    [(10, 12, "good"), (60, 12, "bad"), (100, 12, "bad"), (30, None, "uncertain"), (None, None, "uncertain")],
)
def test_the_verdict_has_a_tone(after, clean, expected):
    evaluations = {}
    if after is not None:
        evaluations = {"suspect": make_evaluation(172, 100), "purified": make_evaluation(160, after)}
    if clean is not None:
        evaluations["clean model"] = make_evaluation(170, clean)
    report = replace(make_report(), evaluations=evaluations)
    assert tone(report) == expected
    found = Page(page(report))
    assert f"verdict {expected}" in [attributes.get("class") for attributes in found.all("div")]


def test_a_token_cannot_hide_what_stands_beside_it():
    tokens = (TokenScore(1, 7, "font: 1px cf", 0.5), TokenScore(2, 8, "#010203", 0.4), TokenScore(3, 9, "fun", 0.3))
    report = replace(make_report(), purify=PurifyReport(True, "bert.a", 100, tokens))
    chart = re.search(r'<svg[^>]*aria-label="Scores.*?</svg>', page(report), re.DOTALL)[0]
    assert "first font: 1px cf, #010203, fun." in chart
    for text in ("font: 1px cf", "#010203", "fun"):
        assert chart.count(f">{text}</text>") == 1 and f"<title>{text}: score" in chart
