"""The report as Markdown and CSV: what stands in it, and what strings from a configuration do to it (nothing)."""

import csv
import io
import re

import pytest

from hf_finemix.laboratory import reporting
from hf_finemix.laboratory.estimates import Estimate
from hf_finemix.laboratory.figures import Drawing
from hf_finemix.laboratory.records import RankRecord
from hf_finemix.laboratory.reporting import make_report, save_report, write_report
from hf_finemix.laboratory.tables import Section, percent, points

from ..cards import MARKDOWN, tables
from ..reports import HOSTILE
from .records import candidate, cell, evaluation, failed, grid, results, suspect


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Figures take their time, and have tests of their own."""
    drawings = (
        Drawing("frontier", ("frontier", "SST 2", "tiny"), "First", PNG),
        Drawing("frontier", ("frontier", "sst-2", "tiny"), "Second", PNG + b"2"),
    )
    monkeypatch.setattr(reporting, "draw", lambda *data: drawings)


def section(found, name):
    return next((part for part in make_report(found).sections if part.name == name), None)


def shown(found, name):
    return tables(section(found, name).to_markdown(), shown=True)


def rows_of(found, name):
    return list(csv.DictReader(io.StringIO(section(found, name).to_csv())))


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (None, "-"),
        (Estimate(0.861, 1, None, 0.835, 0.884), "86.1 [83.5, 88.4]"),
        (Estimate(0.861, 3, 0.0042), "86.1 ± 0.4"),
        (Estimate(0.5, 1), "50.0"),
    ],
)
def test_percent(figure, text):
    assert percent(figure) == text


def test_points_have_a_sign():
    assert [points(Estimate(value, 2, 0.01)) for value in (0.012, -0.0004, -0.05)] == [
        "+1.2 ± 1.0",
        "+0.0 ± 1.0",
        "-5.0 ± 1.0",
    ]


def test_overview_stands_beside_each_attack():
    found = results(
        suspect(90, 100),
        suspect(88, 95, attack="sentence"),
        cell("wag", candidate(80, 60), within_margin=False),
        cell("wag", candidate(81, 50), attack="sentence"),
        cell("wag", candidate(82, 40), e_pur=True),
    )
    compact, detail, _ = shown(found, "defences")
    assert compact == [
        ["ACC / ASR in %", "E-PUR", "sentence", "word"],
        ["clean model", "", "91.0 / 10.0", "91.0 / 10.0"],
        ["suspect", "", "88.0 / 95.0", "90.0 / 100.0"],
        ["wag", "no", "81.0 / 50.0", "80.0 / 60.0 †"],
        ["wag", "yes", "", "82.0 / 40.0"],
    ]
    assert detail[0] == ["in %", "E-PUR", "ACC", "ASR", "flip rate", "RA", "seeds"]
    assert detail[3][3:] == ["50.0 [40.4, 59.6]", "50.0 [36.6, 63.4]", "50.0 [40.4, 59.6]", "1"]


def test_csv_is_tidy_and_not_rounded():
    found = results(suspect(), cell("wag", candidate(80, 60), e_pur=True), cell("wag", candidate(80, 61), seed=1))
    first, second, third, fourth = rows_of(found, "defences")
    assert [row["role"] for row in (first, second)] == ["clean model", "suspect"]
    assert (first["defense"], first["e_pur"]) == ("", "")
    assert (third["defense"], third["e_pur"], third["accuracy"], third["asr"]) == ("wag", "False", "0.8", "0.61")
    assert float(fourth["asr_low"]) == pytest.approx(0.5020, abs=1e-4) and len(fourth["asr_low"]) > 10
    assert len(rows_of(grid(attacks=("word",)), "frontier")) == len(points_of_a_grid())


def points_of_a_grid():
    return [candidate for cell in grid(attacks=("word",)).cells for candidate in cell.candidates]


def test_several_triggers_have_a_table_and_a_worst():
    found = results(suspect(90, 100, 90), cell("wag", candidate(80, 60, 20)))
    row = ["wag", "no", "80.0 [73.9, 85.0]", "40.0", "60.0 [50.2, 69.1]", "40.0", "60.0", "1"]
    assert shown(found, "defences")[1][3] == row
    (several,) = shown(found, "triggers")
    assert several[0] == ["ASR in %", "E-PUR", "cf", "mn"]
    assert several[3] == ["wag", "no", "60.0 [50.2, 69.1]", "20.0 [13.3, 28.9]"]
    assert section(results(suspect()), "triggers") is None


def test_matched_accuracy_says_that_it_is_no_protocol():
    found = results(suspect(), cell("wag", candidate(88, 60)), cell("fine_mixing", candidate(89, 50)))
    part = section(found, "matched")
    assert "no protocol for choosing a setting" in part.note and "**test** examples" in part.note
    (table,) = shown(found, "matched")
    assert table[0] == ["ASR in %", "E-PUR", "1 lost", "2 lost", "3 lost", "5 lost"]
    assert table[1:] == [["wag", "no", "100.0 (0 of 1)", *["60.0"] * 3], ["fine_mixing", "no", *["50.0"] * 4]]
    assert "| **50.0** |" in part.to_markdown() and "**60.0**" not in part.to_markdown()


def test_ranks_and_attacks_are_shown():
    ranks = tuple(RankRecord("cf", "vocabulary", "cf", rank, 1000) for rank in (3, 500))
    found = results(suspect(80, 100, ranks=ranks))
    assert shown(found, "ranks")[0][1] == ["word", "tiny", "vocabulary", "251.5", "500", "1 of 2", "1000"]
    assert shown(found, "attacks")[0][1][-2:] == ["+11.0", "no"]


def test_failures_are_counted_by_reason():
    found = results(failed("wag"), failed("wag", seed=1), failed("wag", "other", seed=2), suspect(), suspect(seed=3))
    (table,) = shown(found, "failures")
    assert [row[3:] for row in table[1:]] == [["wag", "out of memory", "2"], ["wag", "other", "1"]]
    assert [row["seed"] for row in rows_of(found, "failures")] == ["0", "1", "2"]
    assert "None." in section(results(suspect()), "failures").to_markdown()


def test_empty_results_make_a_report():
    assert [part.name for part in make_report(results()).sections] == ["failures", "speed"]


def test_introduction_says_what_is_missing_and_left_out():
    twice = results(suspect(), cell("wag", candidate(80, 60)), cell("wag", candidate(80, 61)), cells=list("01234"))
    text = make_report(twice).introduction
    assert "**Unfinished:** 3 of 5 cells have no result yet." in text
    assert "**1 results left out:**" in text
    assert "Unfinished" not in make_report(results(suspect())).introduction


def hostile():
    names = {"task": HOSTILE, "model": HOSTILE, "attack": HOSTILE}
    return results(
        suspect(ranks=(RankRecord(HOSTILE, HOSTILE, HOSTILE, 1, 9),), **names),
        *(
            cell(
                method,
                *(candidate(88, 10 + step, 20, keep_ratio=step / 10) for step in (1, 5)),
                defense=f"{method} {HOSTILE}",
                e_pur=e_pur,
                clean_examples=size,
                outcomes={"trigger 0": "10"},
                **names,
            )
            for method in ("fine_mixing", "wag")
            for e_pur in (False, True)
            for size in (16, 64)
        ),
        failed(HOSTILE, HOSTILE, seed=1, defense=HOSTILE, **names),
        cell("wag", candidate(90, 1, 2), seed=2, **names | {"task": "<script>|a|"}),
    )


def test_hostile_names_become_text():
    report = make_report(hostile())
    assert len(report.sections) == 14, "every section must be looked at"
    text = report.to_markdown()
    tokens = MARKDOWN.parse(text)
    inline = [child for token in tokens if token.type == "inline" for child in token.children]
    assert not [token for token in (*tokens, *inline) if token.type in ("html_block", "html_inline")]
    links = {token.attrs["href"] for token in inline if token.type == "link_open"}
    assert all(re.fullmatch(r"tables/[a-z_]+\.csv", link) for link in links)
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h1", "h2", "h3"}
    assert [token.content for token in tokens if token.type == "inline"].count("Verified clean") == 0
    assert "\x1b" not in text
    for table in tables(text, shown=True):
        assert {len(row) for row in table} == {len(table[0])}


def test_report_shows_its_figures_under_paths_of_their_own():
    text = make_report(grid()).to_markdown()
    assert "![First](figures/frontier-sst-2-tiny.png)" in text
    assert "![Second](figures/frontier-sst-2-tiny-2.png)" in text


# Files


def test_written_files_are_those_that_the_report_names(tmp_path):
    written = write_report(grid(), tmp_path / "new" / "out")
    folder = tmp_path / "new" / "out"
    assert written[0] == folder / "report.md"
    assert set(written) == {path for path in folder.rglob("*") if path.is_file()}
    named = re.findall(r"\]\((.+?)\)", written[0].read_text(encoding="utf-8"))
    assert {str(path.relative_to(folder)) for path in written[1:]} == set(named)
    assert (folder / "figures" / "frontier-sst-2-tiny-2.png").read_bytes() == PNG + b"2"


def test_what_an_earlier_report_wrote_goes_and_other_files_stay(tmp_path, monkeypatch):
    write_report(grid(), tmp_path)
    for name in ("tables/mine.csv", "figures/mine.png"):
        (tmp_path / name).write_text("mine")
    monkeypatch.setattr(reporting, "draw", lambda *data: ())
    named = results(suspect(attack="](tables/mine.csv)"))
    for _ in range(2):
        written = write_report(named, tmp_path)
        left = {path for path in tmp_path.rglob("*") if path.is_file()}
        assert left - set(written) == {tmp_path / "tables" / "mine.csv", tmp_path / "figures" / "mine.png"}


def test_same_results_same_bytes(tmp_path):
    first, second = ({path.name: path.read_bytes() for path in write_report(grid(), tmp_path / name)} for name in "ab")
    assert first == second


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(reporting.InputError, match="cannot be written to"):
        save_report(make_report(results(suspect())), tmp_path / "file")


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    before = write_report(grid(), tmp_path)[0].read_text(encoding="utf-8")
    report = make_report(results(suspect(baseline=evaluation(91, 10))))

    def fail(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reporting, "replace_text", fail)
    with pytest.raises(reporting.InputError, match="No space left"):
        save_report(report, tmp_path)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == before
    assert (tmp_path / "tables" / "matched.csv").is_file()


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-x", "@SUM(A1)", "\tx"])
def test_no_text_of_a_table_is_a_formula(text):
    rows = ({"model": text, "drop": -0.5, "error": "a = b", "missing": None},)
    (row,) = csv.DictReader(io.StringIO(Section("x", "X", "", rows, ()).to_csv()))
    assert row == {"model": f"'{text}", "drop": "-0.5", "error": "a = b", "missing": ""}
