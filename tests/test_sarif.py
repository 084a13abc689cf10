"""SARIF 2.1.0: what code-scanning services need, and nothing that a suspect could make of it."""

import json

import pytest

from hf_finemix.heads import Head
from hf_finemix.outliers import Outlier
from hf_finemix.rates import Rate
from hf_finemix.sarif import to_sarif
from hf_finemix.scan_report import ScannedToken, ScanReport
from hf_finemix.trigger_search import Insertion


def make_report(**changed):
    given = {
        "suspect": "someone/suspect@" + "0" * 40,
        "pretrained": "org/base@" + "1" * 40,
        "finding": "low",
        "prominence": 1.1,
        "tokens": (ScannedToken(1, "cf", 12935, 0.22, 40.0), ScannedToken(2, "mn", 24098, 0.1, 9.0)),
        "layers": (),
        "frequencies": "vocabulary",
        "labels": ("negative", "positive"),
        "head": Head("classifier.weight", ()),
    }
    return ScanReport(**(given | changed))


def results(report):
    log = json.loads(json.dumps(to_sarif(report), allow_nan=False))
    return log["runs"][0]["results"]


def insertion(successes, token="cf"):
    return Insertion(token, 12935, 1, Rate(successes, 50))


def test_the_log_has_what_the_format_asks_for():
    log = to_sarif(make_report(prominence=3.0))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "hf-finemix" and driver["version"]
    assert [rule["id"] for rule in driver["rules"]] == [
        "suspicious-token",
        "trigger-insertion",
        "out-of-line-row",
        "strange-pickle",
    ]
    for rule in driver["rules"]:
        assert all(rule[key]["text"].endswith(".") for key in ("shortDescription", "fullDescription", "help"))
    (result,) = run["results"]
    assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["message"]["text"] and result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert run["properties"] == {"finding": "low", "pretrained": "org/base@" + "1" * 40}


def test_a_low_finding_has_no_results():
    quiet = Outlier("row", "w", (3,), 0.1, 6.0)
    assert results(make_report(insertions=(insertion(20),), outliers=(quiet,))) == []


@pytest.mark.parametrize(("prominence", "level"), [(1.6, "warning"), (3.0, "error")])
def test_the_first_token_is_a_result_where_it_stands_out(prominence, level):
    (result,) = results(make_report(prominence=prominence))
    assert (result["ruleId"], result["level"]) == ("suspicious-token", level)
    assert "`cf` (id 12935)" in result["message"]["text"] and f"{prominence:.2f} times" in result["message"]["text"]
    assert result["properties"]["token"] == "cf"


def test_insertions_have_their_own_levels():
    found = results(make_report(insertions=(insertion(50), insertion(44, "mn"), insertion(20, "bb"))))
    assert [(item["ruleId"], item["level"]) for item in found] == [
        ("trigger-insertion", "error"),
        ("trigger-insertion", "warning"),
    ]
    expected = "Inserting `cf` flips 100 % of the examples to label 1 (positive): 50 of 50."
    assert found[0]["message"]["text"] == expected
    assert found[0]["properties"]["flips"]["n"] == 50


def test_what_moved_out_of_line_is_a_note_with_its_tensor():
    far = Outlier("scalar", "bert.pooler.dense.weight", (3, 4), 0.5, 80.0)
    (result,) = results(make_report(outliers=(far,)))
    assert (result["ruleId"], result["level"]) == ("out-of-line-row", "note")
    assert result["message"]["text"].startswith(
        "Scalar 3, 4 of bert.pooler.dense.weight moved out of line: 80.0 times"
    )
    names = result["locations"][0]["logicalLocations"]
    assert [item["fullyQualifiedName"] for item in names] == ["bert.pooler.dense.weight"]


@pytest.mark.parametrize(
    ("suspect", "uri"),
    [
        ("someone/suspect@" + "0" * 40, "someone/suspect@" + "0" * 40),
        ("my model", "my%20model"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("a#b?c", "a%23b%3Fc"),
    ],
)
def test_the_place_is_the_suspects_label_as_an_address(suspect, uri):
    (result,) = results(make_report(suspect=suspect, prominence=3.0))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_strings_of_a_suspect_make_no_links_placeholders_or_control_characters():
    tokens = (ScannedToken(1, "\x1b[click](http://evil) {0}", 5, 0.22, 40.0),)
    (result,) = results(make_report(tokens=tokens, prominence=3.0))
    assert "`\\\\x1b\\[click\\](http://evil) {{0}}`" in result["message"]["text"]
