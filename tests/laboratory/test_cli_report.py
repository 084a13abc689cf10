"""`hf-finemix report`: what it prints and writes, and what it refuses."""

import json

import pytest

from hf_finemix.laboratory import reporting

from ..files import run
from ..reports import HOSTILE
from .records import candidate, cell, failed, grid, results, save, suspect


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take their time."""
    monkeypatch.setattr(reporting, "draw", lambda *data: ())


def test_report_prints_claims_and_averages_and_writes_everything(tmp_path, capsys):
    folder = save(grid(attacks=("word",)), tmp_path / "bench")
    status, out, err = run(capsys, ["report", folder])
    assert (status, err) == (0, "")
    assert "1. " in out and "5. yes: A higher reserve ratio raises the ACC of Fine-mixing" in out
    assert "Fine-mixing, smallest drift first" in out and "1 of 1" in out
    assert out.endswith(f"Report: {folder / 'report.md'}\n")
    assert "Unfinished" not in out and "Failed" not in out
    names = {path.name for path in folder.rglob("*") if path.suffix in (".md", ".csv", ".png")}
    assert {"report.md", "averages.csv", "claims.csv", "frontier.csv", "frontier-sst2-tiny.png"} <= names


@pytest.mark.usefixtures("no_figures")
def test_output_goes_elsewhere_and_leaves_the_bench_alone(tmp_path, capsys):
    folder = save(grid(attacks=("word",)), tmp_path / "bench")
    before = sorted(folder.rglob("*"))
    status, out, _ = run(capsys, ["report", folder, "--output", tmp_path / "other"])
    assert status == 0 and f"Report: {tmp_path / 'other' / 'report.md'}" in out
    assert sorted(folder.rglob("*")) == before
    assert (tmp_path / "other" / "tables" / "averages.csv").is_file()


@pytest.mark.usefixtures("no_figures")
def test_json_holds_claims_and_averages(tmp_path, capsys):
    found = results(suspect(), cell("fine_mixing", candidate(88, 20)), failed("wag"), cells=list("0123"))
    status, out, _ = run(capsys, ["report", save(found, tmp_path / "bench"), "--json"])
    said = json.loads(out)
    assert status == 0
    assert (said["failures"], said["missing_cells"]) == (1, 2)
    assert said["report"] == str(tmp_path / "bench" / "report.md")
    assert {claim["answer"] for claim in said["claims"]} == {"not measured"}
    (mixed,) = (row for row in said["averages"] if row["defense"] == "fine_mixing")
    assert mixed["asr"]["value"] == 0.2 and mixed["asr"]["low"] is None


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("config", "said"),
    [({"cells": list("01234")}, "Unfinished: 3 of 5 cells have no result yet."), ({"cells": ["0", "1"]}, "")],
)
def test_an_unfinished_bench_says_how_much_is_missing(tmp_path, capsys, config, said):
    found = results(suspect(), cell("fine_mixing", candidate(88, 20)), failed("wag"), **config)
    status, out, _ = run(capsys, ["report", save(found, tmp_path / "bench")])
    assert status == 0 and "Failed: 1; the report says why." in out
    assert said in out and ("Unfinished" in out) == bool(said)


@pytest.mark.usefixtures("no_figures")
def test_an_empty_bench_says_so(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"grids": [], "suspects": ["one"], "cells": ["two"]}')
    status, out, _ = run(capsys, ["report", tmp_path])
    assert status == 0 and out.startswith("Nothing was measured.\n")
    assert "Unfinished: 1 of 1" in out and (tmp_path / "report.md").is_file()


@pytest.mark.usefixtures("no_figures")
def test_several_models_are_told_apart(tmp_path, capsys):
    found = results(suspect(), suspect(model="base"))
    _, out, _ = run(capsys, ["report", save(found, tmp_path / "bench")])
    assert "tiny: suspect" in out and "base: suspect" in out


@pytest.mark.usefixtures("no_figures")
def test_control_characters_do_not_reach_the_terminal(tmp_path, capsys):
    found = results(suspect(), cell("fine_mixing", candidate(88, 20), defense=HOSTILE), suspect(model=HOSTILE))
    _, out, _ = run(capsys, ["report", save(found, tmp_path / "bench")])
    assert "\x1b" not in out and "\\x1b" in out


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_what_is_no_bench_is_refused_in_one_line(tmp_path, capsys, kind):
    folder = tmp_path / "folder"
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.write_text("")
    status, out, err = run(capsys, ["report", folder])
    assert (status, out, err.count("\n")) == (2, "", 1)
    reason = "is no local folder" if kind == "missing" else "nor config.json of a bench"
    assert f"DIR {str(folder)!r}" in err and reason in err


def test_a_damaged_cell_is_named(tmp_path, capsys):
    folder = save(results(suspect(), cell("wag", candidate(80, 60))), tmp_path / "bench")
    (folder / "cells" / "0.json").write_text("{")
    status, _, err = run(capsys, ["report", folder])
    assert status == 2 and "0.json' is damaged" in err and not (folder / "report.md").exists()
