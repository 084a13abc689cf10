"""`hf-finemix report` of a purified model: a folder, a repository of the Hub, and what it refuses."""

import json

import pytest

from hf_finemix.cli.main import main
from hf_finemix.evidence import rewrite_page
from hf_finemix.html_report import sources
from hf_finemix.html_report.page import HTML_FILE, render_html
from hf_finemix.manifest import MANIFEST_FILE, load_manifest
from hf_finemix.results import REPORT_FILE, load_report

from ..hub.conftest import api, hub, waits  # noqa: F401 - fixtures
from .pages import Page
from .test_page import DIFFERENCES


def run(capsys, *arguments):
    status = main(["report", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_purification_leaves_a_page_beside_the_card(folder):
    found = Page((folder / HTML_FILE).read_text(encoding="utf-8"))
    sections = {attributes["id"] for attributes in found.all("section")}
    assert {"figures", "examples", "drift", "tokens", "plan"} <= sections


def test_other_folder_and_json(folder, tmp_path, capsys):
    before = (folder / HTML_FILE).read_bytes()
    status, out, err = run(capsys, folder, "--output", tmp_path / "new", "--json")
    said = json.loads(out)
    assert (status, err) == (0, "") and said["report"] == str(tmp_path / "new" / HTML_FILE)
    assert said["tone"] in ("good", "bad", "uncertain") and said["verdict"].startswith("**")
    assert (tmp_path / "new" / HTML_FILE).is_file() and (folder / HTML_FILE).read_bytes() == before


def test_page_is_made_again_with_its_entry_in_the_manifest(folder, capsys):
    before = {name: (folder / name).read_bytes() for name in (HTML_FILE, MANIFEST_FILE)}
    (folder / HTML_FILE).write_text(changed_by_hand(before[HTML_FILE]), encoding="utf-8")
    assert main(["verify", str(folder), "--json"]) == 1
    assert run(capsys, folder)[0] == 0
    assert {name: (folder / name).read_bytes() for name in before} == before


def changed_by_hand(page):
    return page.decode().replace("</h1>", "!</h1>")


def test_examples_survive_and_go_with_the_page(folder, capsys):
    assert 'id="examples"' in (folder / HTML_FILE).read_text(encoding="utf-8")
    (folder / HTML_FILE).unlink()
    assert run(capsys, folder)[0] == 0
    text = (folder / HTML_FILE).read_text(encoding="utf-8")
    assert 'id="examples"' not in text and 'id="figures"' in text


def test_mixed_folder_has_no_page_until_it_is_asked_for(workplace, capsys):
    arguments = ["mix", str(workplace.suspect), "--pretrained", str(workplace.base), "--keep-ratio", "0.3"]
    assert main([*arguments, "--output", str(workplace.output)]) == 0
    assert not (workplace.output / HTML_FILE).exists()
    capsys.readouterr()
    assert run(capsys, workplace.output)[0] == 0
    assert HTML_FILE in {file.name for file in load_manifest(workplace.output).outputs}


def test_published_page_does_not_hold_the_texts(folder, tmp_path, capsys, hub, waits):  # noqa: F811
    secret, known = "a fine film", load_manifest(folder)
    rewrite_page(folder, render_html("out", load_report(folder), known, DIFFERENCES), known)
    assert secret in (folder / HTML_FILE).read_text(encoding="utf-8")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["push", str(folder), "me/purified"]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    published = hub.files("me/purified")
    page = published[HTML_FILE].decode()
    assert secret not in page and 'id="examples"' not in page and 'id="figures"' in page
    assert main(["verify", "me/purified"]) == 0
    capsys.readouterr()
    status, _, _ = run(capsys, "me/purified", "--output", tmp_path / "page")
    text = (tmp_path / "page" / HTML_FILE).read_text(encoding="utf-8")
    assert status == 0 and "me/purified" in Page(text).said and secret not in text


@pytest.mark.parametrize("name", [REPORT_FILE, MANIFEST_FILE])
def test_damaged_file_is_named_and_nothing_is_replaced(folder, capsys, name):
    before = (folder / HTML_FILE).read_bytes()
    (folder / name).write_text("{")
    status, out, err = run(capsys, folder)
    assert (status, out, err.count("\n")) == (2, "", 1) and name in err
    assert (folder / HTML_FILE).read_bytes() == before


@pytest.mark.parametrize("content", ["{", "[]", '{"comparisons": [{"trigger": 1}]}', '{"comparisons": [], "x": 1}'])
def test_damaged_examples_are_named(folder, capsys, content):
    text = f'<script type="application/json" id="changed">{content}</script>'
    (folder / HTML_FILE).write_text(text)
    status, out, err = run(capsys, folder)
    assert (status, out, err.count("\n")) == (2, "", 1) and HTML_FILE in err and "remove it" in err
    assert (folder / HTML_FILE).read_text() == text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody/nothing"], "or give --output with a model that is on the Hub"),
        (["OUT", "--output", "MISSING/deep"], "--output"),
        (["OUT", "--output", "OUT/README.md"], "--output"),
        (["OUT", "--output", ""], "--output is empty"),
        (["OUT", "--output", "/dev/null"], "is no folder"),
        (["~nosuchuser/x"], "is no local folder"),
        (["x" * 5000], "is no local folder"),
    ],
)
def test_refusals_take_one_line(folder, tmp_path, capsys, arguments, said):
    places = {"OUT": str(folder), "MISSING": str(tmp_path / "missing")}
    for short, place in places.items():
        arguments = [argument.replace(short, place) for argument in arguments]
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1) and said in err


def test_suspect_is_told_from_a_purified_model(workplace, capsys):
    status, out, err = run(capsys, workplace.suspect)
    assert (status, out, err.count("\n")) == (2, "", 1) and f"neither {REPORT_FILE}" in err


def test_links_are_not_followed(folder, tmp_path, capsys):
    (folder / HTML_FILE).unlink()
    (tmp_path / "secret").write_text("<script")
    (folder / HTML_FILE).symlink_to(tmp_path / "secret")
    status, out, err = run(capsys, folder)
    assert (status, out, err.count("\n")) == (2, "", 1) and f"{HTML_FILE}' is damaged" in err


@pytest.mark.parametrize(("drift", "scalars"), [(-1.0, 4), (1.0, -4)])
def test_impossible_drift_is_damage(folder, capsys, drift, scalars):
    content = json.loads((folder / REPORT_FILE).read_text())
    content["drift"][0] |= {"relative_drift": drift, "scalars": scalars}
    (folder / REPORT_FILE).write_text(json.dumps(content))
    status, _, err = run(capsys, folder)
    assert status == 2 and err.count("\n") == 1 and "damaged" in err


def test_large_score_is_drawn(folder, capsys):
    content = json.loads((folder / REPORT_FILE).read_text())
    content["purify"]["tokens"][0]["score"] = 2**63
    (folder / REPORT_FILE).write_text(json.dumps(content))
    assert run(capsys, folder)[0] == 0


def test_report_that_is_too_large_is_not_fetched(tmp_path, capsys, hub, waits, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sources, "_LARGEST", 10)
    hub.add_model("you/large", {REPORT_FILE: b"x" * 11, MANIFEST_FILE: b"{}"})
    status, _, err = run(capsys, "you/large", "--output", tmp_path / "page")
    assert status == 2 and "larger than any report" in err and not (tmp_path / "page").exists()
