"""Tables and colours on a terminal, and that strings of a suspect are shown there as they are."""

import io
import re
import sys
from dataclasses import replace

import pytest

from hf_finemix.cli.console import figures, paint, show_plan, table, trials
from hf_finemix.cli.scanned import as_text
from hf_finemix.cli.verify import _print_lines
from hf_finemix.rates import Rate
from hf_finemix.scanning import scan
from hf_finemix.trigger_search import Insertion
from hf_finemix.verification import DIFFERENT, NOT_AVAILABLE, SAME

from .records import SEARCH
from .reports import make_report, several
from .terminals import SETTINGS, on_terminal


COLOUR = re.compile(r"\x1b\[([\d;]*)m")
HOSTILE = ("[red]x[/red]", ":smile:", "[link=http://evil]y[/link]", "[/]", "\x1b[31mred", "\x1b]8;;http://evil\x07z")
HEADER = ["model", "ACC"]
ROWS = [["suspect", "86.0 [83.4, 88.2]"], ["a longer name", "no examples"]]
PLAIN = """\
model                        ACC
-------------  -----------------
suspect        86.0 [83.4, 88.2]
a longer name        no examples"""


class Terminal(io.StringIO):
    """Where output goes that a person looks at."""

    encoding = "utf-8"

    def isatty(self):
        return True


def shown(make, *arguments, columns=80, encoding="utf-8", **variables):
    """What a function returns and prints where standard output is a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name, raising=False)
        for name, value in ({"TERM": "xterm-256color", "COLUMNS": str(columns)} | variables).items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdout", Terminal())
        sys.stdout.encoding = encoding
        made = make(*arguments)
        return sys.stdout.getvalue() + (made or "")


def visible(text):
    return COLOUR.sub("", text)


def colours(text):
    """What is shown in which style."""
    return re.findall(r"\x1b\[([\d;]+)m(.*?)\x1b\[0m", text)


def letters(text):
    """All that is no space and no rule, in no order."""
    return sorted(re.sub(r"[\s─-]", "", visible(text)))


# Elsewhere


def test_a_log_gets_plain_text():
    assert table(HEADER, ROWS, styles=["bold red", ""]) == PLAIN
    assert paint("high", "bold red") == "high"


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_knows_nothing_gets_plain_text(kind):
    assert shown(coloured, TERM=kind) == f"{PLAIN}\nhigh"


def coloured():
    return f"{table(HEADER, ROWS, styles=['bold red', ''])}\n{paint('high', 'bold red')}"


# On a terminal


def test_a_table_has_its_cells_and_its_columns():
    lines = visible(shown(table, HEADER, ROWS)).splitlines()
    assert lines[0].split() == HEADER and set(lines[1]) == {"─"}
    assert lines[2:] == PLAIN.splitlines()[2:]


def test_no_colour_where_none_is_wanted():
    assert ("1;31", "high") in colours(shown(coloured))
    plain = shown(coloured, NO_COLOR="1")
    assert not {part for codes in COLOUR.findall(plain) for part in codes.split(";")} & {"31", "32", "33"}
    assert letters(plain) == letters(f"{PLAIN} high")


def test_an_old_terminal_gets_no_character_that_it_lacks():
    assert not shown(table, HEADER, ROWS).isascii()
    assert shown(table, HEADER, ROWS, encoding="ascii").isascii()


@pytest.mark.parametrize("columns", [60, 80])
def test_wide_tables_are_wrapped_and_nothing_is_cut(columns):
    evaluations = {"suspect": several(100, 90, 80), "purified, labels alone": several(12, 9, 8)}
    for make, what in ((figures, evaluations), (trials, SEARCH)):
        fitted, plain = shown(make, what, columns=columns), make(what)
        assert max(map(len, plain.splitlines())) > 80
        assert max(map(len, visible(fitted).splitlines())) <= columns
        assert letters(fitted) == letters(plain)


def test_a_rate_breaks_before_its_interval():
    fitted = visible(shown(figures, {"purified, labels alone": several(12)}, columns=60))
    assert re.search(r"12\.0 +88\.0 +12\.0", fitted) and not re.search(r"\d, *$", fitted, re.MULTILINE)


def test_a_long_name_goes_on_in_the_next_line():
    fitted = visible(shown(table, ["token", "id"], [["x" * 200, "1"]]))
    assert fitted.count("x") == 200 and max(map(len, fitted.splitlines())) <= 80


def test_the_plan_is_grouped_by_what_is_done_and_why():
    plan = make_report().mix
    said = visible(shown(show_plan, plan, "base"))
    kept, mixed = (said.index(f"{action}: ") for action in ("kept", "mixed"))
    assert mixed < said.index("bert.a") < kept < said.index("classifier.weight")
    assert all(f": {record.reason}" in said for record in plan.parameters) and plan.summary() in said


# What has a colour


def test_different_is_red_and_same_is_green_and_both_are_said():
    lines = [(SAME, "output", "a", ""), (DIFFERENT, "output", "b", "it is"), (NOT_AVAILABLE, "suspect", "c", "")]
    found = {text.strip(): style for style, text in colours(shown(_print_lines, lines))}
    assert (found["same"], found["different"], found["not available"]) == ("32", "1;31", "33")


@pytest.fixture
def report(place):
    return scan(place.suspect, place.base)


@pytest.mark.parametrize(("level", "style"), [("high", "1;31"), ("medium", "33"), ("low", "1")])
def test_a_finding_is_said_and_painted(report, level, style):
    said = f"Finding: {level} (prominence {report.prominence:.2f})."
    assert (style, said) in colours(shown(as_text, replace(report, finding=level)))


# Strings of a suspect


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_are_shown_as_they_are(report, text):
    tokens = tuple(replace(item, token=text) for item in report.tokens[:2])
    insertions = (Insertion(text, 7, 1, Rate(99, 100)),)
    found = replace(report, tokens=tokens, insertions=insertions, absent={text: "x"}, labels=("no", text), texts=9)
    said = shown(as_text, found)
    as_it_is = text.replace("\x1b", "\\x1b").replace("\x07", "\\x07")
    # Twice among the tokens, then in the table and the sentence of what was inserted, as the label and as a parameter.
    assert len(re.findall(re.escape(as_it_is), visible(said))) == 6 and "\x1b]" not in said and "\x07" not in said
    # Colours are those of the levels and the header, and no others.
    assert set(COLOUR.findall(said)) <= {"0", "1", "1;31"}


def test_hostile_names_in_a_plan():
    plan = make_report().mix
    records = tuple(replace(plan.parameters[0], name=name) for name in HOSTILE)
    said = shown(show_plan, replace(plan, parameters=records), "base")
    for name in HOSTILE:
        assert name.replace("\x1b", "\\x1b").replace("\x07", "\\x07") in said
    assert "\x1b" not in visible(said) and "\x07" not in said


def test_a_scan_on_a_real_terminal(place):
    command = ["-m", "hf_finemix.cli.main", "scan", place.suspect, "--pretrained", place.base]
    seen = on_terminal(command, columns=40)
    assert seen.status == 0 and seen.has_cursor, seen.text
    assert "━" in seen.text and "deviations" in seen.text and "\x1b[1m" in seen.raw
    # The bar is drawn over and over in one line.
    tables = seen.text[seen.text.rindex("━") :].splitlines()[1:]
    assert max(map(len, tables)) <= 40
