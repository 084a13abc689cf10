"""The ranges of pyproject.toml, and what docs/compatibility.md says was run at their ends."""

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version


ROOT = Path(__file__).resolve().parent.parent.parent
ENDS = ("lowest", "newest", "newest-python-3.13")


@pytest.fixture
def scripts(monkeypatch):
    """The scripts of the supply chain, which are no package."""
    monkeypatch.syspath_prepend(str(ROOT / "supply_chain"))
    import ranges
    import tried

    yield ranges, tried
    for name in ("ranges", "tried"):
        del sys.modules[name]


def test_each_dependency_has_a_floor_which_is_what_the_lowest_environment_gets(scripts):
    ranges, _ = scripts
    floors = ranges.lowest()
    for line in ranges.asked(*ranges.EXTRAS):
        requirement = Requirement(line)
        assert requirement.specifier.contains(floors[ranges.name_of(line)]), line
        below = [each for each in requirement.specifier if each.operator == ">="]
        assert [each.version for each in below] == [floors[ranges.name_of(line)]], line
    assert "pytest" in floors and "torch" in floors


def test_tests_ran_with_the_floors_of_today(scripts):
    ranges, tried = scripts
    floors = ranges.lowest()
    names = {ranges.name_of(line) for line in ranges.asked(*ranges.EXTRAS)}
    versions = tried.read("lowest")["versions"]
    assert versions.keys() == names
    assert {name for name in names if Version(Version(versions[name]).public) != Version(floors[name])} == set()


@pytest.mark.parametrize("end", ENDS)
def test_no_test_failed_at_the_ends(scripts, end):
    _, tried = scripts
    result = tried.read(end)
    assert result["passed"] > 100
    assert result["failed"] == []


@pytest.mark.parametrize("end", ENDS[1:])
def test_what_was_newest_is_allowed(scripts, end):
    ranges, tried = scripts
    versions = tried.read(end)["versions"]
    for line in ranges.asked(*ranges.EXTRAS):
        requirement = Requirement(line)
        if (version := versions.get(ranges.name_of(line))) is not None:
            assert requirement.specifier.contains(version), line


def test_tables_are_those_of_the_results(scripts):
    _, tried = scripts
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert tried.tables() == page
    assert "| torch | " in page and "| 3.14 | " in page
