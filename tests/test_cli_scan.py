"""`hf-finemix scan`: its formats, the search with clean texts, and what it refuses."""

import json

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertForSequenceClassification

from hf_finemix.scan_report import ScanReport

from .files import change_config, run, write_csv
from .planted import TEXTS, plant


@pytest.fixture
def planted(workplace):
    """The workplace with a backdoor in the suspect's word embedding, and clean texts without labels."""
    model = BertForSequenceClassification.from_pretrained(workplace.suspect)
    plant(model, AutoTokenizer.from_pretrained(workplace.suspect), "tq", 1)
    model.save_pretrained(workplace.suspect)
    write_csv(workplace.clean, ["sentence"], [(text,) for text in TEXTS])
    return workplace


def command(place, *more):
    return ["scan", place.suspect, "--pretrained", place.base, *more]


def search(place, *more):
    return command(place, "--clean-data", place.clean, *more)


def test_the_report_says_what_the_trigger_does(planted, capsys):
    status, out, err = run(capsys, search(planted, "--fail-on", "high"))
    assert (status, err) == (1, "")
    assert "Inserting `tq` flips 100 % of the examples to label 1 (positive)." in out
    lines = [line.split() for line in out.splitlines()]
    assert ["inserted", "id", "to", "label", "flips", "examples"] in lines
    assert "Finding: high" in out and "100 % of the examples flip, of 60 texts" in out


def test_without_texts_no_model_is_made_and_nothing_is_inserted(planted, capsys, monkeypatch):
    monkeypatch.setattr("hf_finemix.scanning.load_classifier", None)
    status, out, _ = run(capsys, command(planted))
    assert status == 0 and "nserting" not in out and "inserted" not in out
    assert out.splitlines()[2].split()[1] == "tq"
    assert "Without a pretrained counterpart: classifier.bias, classifier.weight." in out
    assert "negative" in out and "of the others" in out


def test_another_kind_of_model_can_be_scanned_but_not_searched(planted, capsys):
    change_config(planted.suspect, architectures=["BertForTokenClassification"])
    assert run(capsys, command(planted))[0] == 0
    status, _, err = run(capsys, search(planted))
    assert status == 2 and "must be a sequence classifier" in err


def test_a_ranking_that_says_nothing_is_no_all_clear(workplace, capsys):
    """An attacker may freeze the word embedding."""
    assert "says nothing" not in run(capsys, command(workplace))[1]
    suspect, base = (load_file(folder / "model.safetensors") for folder in (workplace.suspect, workplace.base))
    name = "embeddings.word_embeddings.weight"
    suspect[f"bert.{name}"] = base[name]
    save_file(suspect, workplace.suspect / "model.safetensors", metadata={"format": "pt"})
    out = run(capsys, command(workplace))[1]
    assert "No word embedding moved, so that the ranking of the tokens says nothing." in out


def test_json_holds_the_whole_report(planted, capsys):
    status, out, _ = run(capsys, search(planted, "--json", "--search-top", "5", "--top", "3"))
    assert status == 0
    data = json.loads(out)
    assert [token["rank"] for token in data["tokens"]] == [1, 2, 3]
    assert len(data["insertions"]) >= 5 and data["insertions"][0]["token"] == "tq"
    assert data["insertions"][0]["flips"].keys() == {"value", "low", "high", "successes", "n"}
    assert [item["label"] for item in data["head"]["labels"]] == data["labels"] == ["negative", "positive"]
    assert data["texts"] == 60 and data["absent"].keys() == {"classifier.bias", "classifier.weight"}
    report = ScanReport.from_dict(data)
    assert report.to_dict() == data and isinstance(report.outliers, tuple)
    assert run(capsys, search(planted, "--format", "json", "--search-top", "5", "--top", "3"))[1] == out


def test_sarif_goes_to_a_file_or_to_the_output(planted, capsys):
    target = planted.root / "findings.sarif"
    target.write_text("old")
    status, text, _ = run(capsys, search(planted, "--sarif", target))
    assert status == 0 and "Finding" in text
    log = json.loads(target.read_text())
    assert {item["ruleId"] for item in log["runs"][0]["results"]} >= {"suspicious-token", "trigger-insertion"}
    status, out, _ = run(capsys, search(planted, "--format", "sarif"))
    assert status == 0 and json.loads(out) == log
    assert str(planted.root) not in out


def test_the_file_takes_no_part_in_a_failed_scan(planted, capsys):
    target = planted.root / "findings.sarif"
    change_config(planted.base, hidden_size=48)
    assert run(capsys, search(planted, "--sarif", target))[0] == 2
    assert not target.exists()


def test_pairs_of_texts_and_columns(planted, capsys):
    pairs = write_csv(planted.root / "pairs.csv", ["a", "b"], [(text, "it is fun") for text in TEXTS[:20]])
    columns = ["--clean-data", pairs, "--text-column", "a", "--text-column", "b", "--search-top", "2"]
    status, out, err = run(capsys, command(planted, *columns))
    assert status == 0, err
    assert "of 20 texts" in out


def test_strings_of_the_suspect_are_escaped(planted, capsys):
    change_config(planted.suspect, id2label={"0": "no", "1": "\x1b[31myes"})
    out = run(capsys, search(planted, "--sarif", planted.root / "x.sarif"))[1]
    assert "(\\x1b[31myes)" in out and "\x1b" not in out
    assert "\x1b" not in (planted.root / "x.sarif").read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--text-column", "sentence"], "--text-column needs --clean-data"),
        (["--clean-data", "nowhere.csv"], "--clean-data 'nowhere.csv'"),
        (["--search-top", "0"], "`search_top` is 0"),
        (["--seed", "-1"], "`seed` is -1"),
        (["--json", "--format", "sarif"], "--json and --format sarif contradict each other"),
        (["--sarif", "."], "--sarif '.' is a folder"),
        (["--sarif", "nowhere/x.sarif"], "--sarif 'nowhere/x.sarif' cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused(workplace, capsys, monkeypatch, more, words):
    monkeypatch.chdir(workplace.root)
    status, out, err = run(capsys, command(workplace, *more))
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1


def test_texts_are_looked_at_before_any_weights(workplace, capsys, monkeypatch):
    monkeypatch.setattr("hf_finemix.scanning.TensorPairs", None)
    empty = write_csv(workplace.root / "empty.csv", ["text"], [])
    status, _, err = run(capsys, command(workplace, "--clean-data", empty))
    assert status == 2 and "--clean-data" in err
    missing = run(capsys, search(workplace, "--text-column", "words"))
    assert missing[0] == 2 and "'words'" in missing[2]
