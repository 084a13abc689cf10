"""The site: links lead somewhere, references are what the code says, and it builds without a warning."""

import argparse
import importlib.util
import inspect
import os
import re
import subprocess
import sys

import pytest
import yaml

import hf_finemix

from .pages import ROOT, all_pages, find_blocks, hook


OUTSIDE = hook("outside")


@pytest.mark.parametrize("page", all_pages())
def test_links_lead_somewhere_in_the_repository(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in OUTSIDE.links(text):
        path = OUTSIDE.linked(page, match["target"])
        assert (ROOT / path).exists(), f"{page} links to {match['target']}"


def test_links_become_links_of_the_site():
    markdown = (
        "[a](../CONTRIBUTING.md#rules) [b](method.md) [c](../examples/train.py) ![d](../examples/x.png) [e](#f)\n"
    )
    rewritten = OUTSIDE.rewrite("faq.md", markdown)
    assert rewritten == (
        "[a](CONTRIBUTING.md#rules) [b](method.md) [c](files/examples/train.py.md) ![d](examples/x.png) [e](#f)\n"
    )
    assert OUTSIDE.rewrite("SECURITY.md", "[a](README.md) [b](docs/faults.md)") == "[a](index.md) [b](faults.md)"
    assert OUTSIDE.rewrite("faq.md", "[a](../README.md#adapters)") == "[a](how-to/adapter.md)"
    code = "```\n[a](b.md)\n```\n"
    assert OUTSIDE.rewrite("faq.md", code) == code


def test_sections_of_the_readme_are_there():
    headings = re.findall(r"^##+ (.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    slugs = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(OUTSIDE.SECTIONS) <= slugs
    assert all((ROOT / "docs" / page).is_file() for page in OUTSIDE.SECTIONS.values())


def test_navigation_has_every_page():
    listed = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = {OUTSIDE.site_path(page) for page in all_pages()}
    assert sorted(listed) == sorted(pages)


def test_reference_has_every_public_name_once():
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: hf_finemix\.(\w+)$", pages, re.M)
    assert sorted(named) == sorted(set(hf_finemix.__all__) - {"__version__"})


def test_command_line_reference_has_every_option():
    command_line = hook("command_line")
    for name, parser in command_line.commands().items():
        text = command_line.describe(name, parser)
        for action in parser._actions:
            shown = action.option_strings or [action.metavar or f"{{{','.join(action.choices)}}}"]
            if not isinstance(action, argparse._HelpAction):
                assert all(f"`{word}" in text for word in shown), (name, shown)
        assert f"\nhf-finemix {name}" in text.split("```bash")[1], "no example"


def test_settings_are_those_of_a_recipe():
    from hf_finemix.masks import MASK_VERSION
    from hf_finemix.recipes import settings, usual_settings

    block = find_blocks("docs/reference/configuration.md")[0]
    assert yaml.safe_load(block.text) == settings(*usual_settings(False), MASK_VERSION)


@pytest.fixture(scope="module")
def translate():
    return hook("docstrings").translate


def test_docstrings_lose_types_that_the_signature_has(translate):
    text = translate(inspect.getdoc(hf_finemix.FineMixConfig))
    assert "    keep_ratio: \n" in text or "    keep_ratio:\n" in text
    assert "*optional*" not in text


@pytest.mark.parametrize("name", sorted(set(hf_finemix.__all__) - {"__version__"}))
def test_no_docstring_keeps_markup_of_its_own(translate, name):
    text = translate(inspect.getdoc(getattr(hf_finemix, name)) or "")
    assert "*optional*" not in text and "[`~" not in text
    # What is linked is on a page of the reference.
    assert set(re.findall(r"\]\[hf_finemix\.(\w+)\]", text)) <= set(hf_finemix.__all__)


def test_references_of_docstrings(translate):
    assert translate("See [`~hf_finemix.results.Recipe`].") == "See [`Recipe`][hf_finemix.Recipe]."
    assert translate("See [`FineMixConfig`].") == "See [`FineMixConfig`][hf_finemix.FineMixConfig]."
    assert translate("A [`~transformers.Trainer`].") == "A `Trainer`."
    assert translate("Returns:\n    `dict[str, float]`: Rates.") == "Returns:\n    dict[str, float]: Rates."
    assert translate("Args:\n    a, b (`int`): Both.") == "Args:\n    a, b: Both."


def test_figures_show_the_committed_results():
    specification = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures" / "make.py")
    figures = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(figures)
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    for model, ratio in (("minilm", 0.1), ("minilm", 0.9), ("mpnet", 0.1), ("mpnet", 0.9)):
        accuracy, asr = figures.ratios(model)[ratio]
        assert f"{accuracy:.1f} %" in page and f"{asr:.1f} %" in page
    rows = figures.suspects()
    assert len(rows) == 14
    worst = max(rows, key=lambda row: row[1]["purified"])
    assert worst[0] == "tweets, sentence, seed 0"
    assert f"{worst[1]['purified']:.1f} %" in page and f"{worst[1]['clean model']:.1f} %" in page


def test_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    variables = os.environ | {"NO_MKDOCS_2_WARNING": "true"}
    built = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        text = page.read_text(encoding="utf-8")
        # Nothing is fetched from elsewhere when a page is read.
        fetched = re.findall(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(https?:[^\s\">]+)", text)
        assert not fetched, (page, fetched)
        if "files" not in page.relative_to(tmp_path / "site").parts:
            assert "[`~" not in text and "*optional*" not in text, page
