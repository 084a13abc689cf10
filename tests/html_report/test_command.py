"""`hf-finemix report` of a purified model: a folder, a repository of the Hub, and what it refuses."""

import json

import pytest

from hf_finemix.cli.main import main
from hf_finemix.differences import DIFFERENCES_FILE
from hf_finemix.html_report.page import HTML_FILE
from hf_finemix.manifest import MANIFEST_FILE
from hf_finemix.results import REPORT_FILE

from ..hub.conftest import api, hub, waits  # noqa: F401 - fixtures
from .pages import Page


def run(capsys, *arguments):
    status = main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_purification_leaves_a_page_beside_the_card(folder):
    found = Page((folder / HTML_FILE).read_text(encoding="utf-8"))
    sections = {attributes["id"] for attributes in found.all("section")}
    assert {"figures", "examples", "drift", "tokens", "plan"} <= sections


def test_page_is_made_again(folder, capsys):
    before = (folder / HTML_FILE).read_bytes()
    (folder / HTML_FILE).unlink()
    status, out, _ = run(capsys, folder)
    assert status == 0 and out.endswith(f"Report: {folder / HTML_FILE}\n")
    assert (folder / HTML_FILE).read_bytes().replace(b"out", b"") == before.replace(b"out", b"")


def test_other_folder_and_json(folder, tmp_path, capsys):
    before = (folder / HTML_FILE).read_bytes()
    status, out, err = run(capsys, folder, "--output", tmp_path / "new", "--json")
    said = json.loads(out)
    assert (status, err) == (0, "") and said["report"] == str(tmp_path / "new" / HTML_FILE)
    assert said["tone"] in ("good", "bad", "uncertain") and said["verdict"].startswith("**")
    assert (tmp_path / "new" / HTML_FILE).is_file() and (folder / HTML_FILE).read_bytes() == before


def test_without_changed_examples_the_rest_is_there(folder, capsys):
    (folder / DIFFERENCES_FILE).unlink()
    assert run(capsys, folder)[0] == 0
    sections = [a["id"] for a in Page((folder / HTML_FILE).read_text(encoding="utf-8")).all("section")]
    assert "examples" not in sections and "figures" in sections


def test_published_model_has_a_page_for_everybody_without_the_texts(folder, tmp_path, capsys, hub, waits):  # noqa: F811
    assert main(["push", str(folder), "me/purified"]) == 0
    assert not {HTML_FILE, DIFFERENCES_FILE} & hub.files("me/purified").keys()
    capsys.readouterr()
    status, _, _ = run(capsys, "me/purified", "--output", tmp_path / "page")
    text = (tmp_path / "page" / HTML_FILE).read_text(encoding="utf-8")
    assert status == 0 and "me/purified" in Page(text).said and 'id="examples"' not in text
    # No more than it needs is fetched.
    assert list((tmp_path / "home").rglob(REPORT_FILE)) and not list((tmp_path / "home").rglob("*.safetensors"))


@pytest.mark.parametrize("name", [REPORT_FILE, MANIFEST_FILE, DIFFERENCES_FILE])
def test_damaged_file_is_named_and_nothing_is_replaced(folder, capsys, name):
    before = (folder / HTML_FILE).read_bytes()
    (folder / name).write_text("{")
    status, out, err = run(capsys, folder)
    assert (status, out, err.count("\n")) == (2, "", 1) and name in err
    assert (folder / HTML_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody/nothing"], "or give --output with a model that is on the Hub"),
        (["OUT", "--output", "MISSING/deep"], "--output"),
        (["OUT", "--output", "OUT/README.md"], "--output"),
    ],
)
def test_refusals_take_one_line(folder, tmp_path, capsys, arguments, said):
    places = {"OUT": str(folder), "MISSING": str(tmp_path / "missing")}
    for short, place in places.items():
        arguments = [argument.replace(short, place) for argument in arguments]
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1) and said in err
