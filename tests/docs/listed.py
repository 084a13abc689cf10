"""
Commands of the documentation that cannot run in a test, with what is checked instead.

Each entry is a pattern of the whole command, the reason, and a check that gets the match.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hf_finemix.cli.main import build_parser

from .pages import ROOT


Match = re.Match[str]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def _extras_exist(found: Match) -> None:
    extras = set(filter(None, (found["extras"] or "").split(",")))
    assert extras <= set(_PROJECT["optional-dependencies"]), extras


def _name_is_ours(found: Match) -> None:
    assert found["name"] == _PROJECT["name"]


def _is_material(found: Match) -> None:
    assert f"MATERIAL := {found['packages']}\n" in _MAKEFILE


def _is_pinned(found: Match) -> None:
    assert found["pin"] in _MAKEFILE


def _file_exists(found: Match) -> None:
    assert (ROOT / found["file"]).is_file(), found["file"]


def _target_exists(found: Match) -> None:
    for target in found["targets"].split():
        assert re.search(rf"^{re.escape(target)}:", _MAKEFILE, re.M), target


def _parses(found: Match) -> None:
    build_parser().parse_args(shlex.split(found[0])[1:])


def _help_says(found: Match) -> None:
    program = Path(sys.executable).with_name("hf")
    command = [str(program), *found["command"].split(), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"--[a-z-]+", found["rest"] or "")) <= set(re.findall(r"--[a-z-]+", shown))


def _target_of_fuzzing(found: Match) -> None:
    from ..fuzz.targets import TARGETS

    assert found["target"] in TARGETS


def _is_used_by_fuzzing(found: Match) -> None:
    assert f"import {found['name']}" in (ROOT / "tests" / "fuzz" / "run.py").read_text(encoding="utf-8")


def _subcommand(found: Match) -> None:
    assert f"tests/mutation.py {found['command']} SESSION" in (ROOT / "tests" / "mutation.py").read_text(
        encoding="utf-8"
    )


def _script_is_on_the_page(found: Match) -> None:
    # `running` has executed it where it stands.
    assert found["script"] == "train.py"


@dataclass(frozen=True)
class Listed:
    """A kind of command that is not run."""

    pattern: str
    reason: str
    check: Callable[[Match], None]


LISTED = (
    Listed(r"pip install '?hf-finemix(?:\[(?P<extras>[\w,]+)\]')?", "installs from an index", _extras_exist),
    Listed(r"pip install --no-deps (?P<packages>gt-all.*)", "installs from an index", _is_material),
    Listed(r"pip install --no-deps (?P<name>hf-finemix)", "installs from an index", _name_is_ours),
    Listed(r"pip install --require-hashes -r (?P<file>\S+)", "installs from an index", _file_exists),
    Listed(r"pip (?:download --dest|install --no-index --find-links) wheels (?P<name>\S+)", "an index", _name_is_ours),
    Listed(r"pip install (?P<name>atheris)", "needs an index and a compiler", _is_used_by_fuzzing),
    Listed(r"python -m pip install --target \S+ -c constraints.txt (?P<pin>\S+)", "an index", _is_pinned),
    Listed(r"make (?P<targets>[a-z -]+)", "makes an environment, or runs for long", _target_exists),
    Listed(r"(?:PYTHONPATH=\S+ )?python tests/mutation.py (?P<command>\w+) .*", "runs for 15 minutes", _subcommand),
    Listed(r"python -m tests.fuzz.run (?P<target>\w+) --seconds \d+ --corpus \S+", "runs long", _target_of_fuzzing),
    Listed(r"hf-finemix demo( .*)?", "needs real weights; tests/test_real_weights.py runs it", _parses),
    Listed(r"hf-finemix ui( .*)?", "serves until it is stopped; tests/app runs it", _parses),
    Listed(r"hf-finemix verify path/to/this/folder", "a card's own folder is not there; tests/verification", _parses),
    Listed(
        r"hf-finemix purify (?:movie|product)-\S+ .*", "models of the cards; tests/test_cli_card.py pastes", _parses
    ),
    Listed(r"hf (?P<command>auth login|download)(?P<rest> .*)?", "asks the real Hub", _help_says),
    Listed(r"python (?P<script>train\.py)", "was executed where it stands on the page", _script_is_on_the_page),
)


def find_listed(command: str) -> tuple[Listed, Match] | None:
    """Returns the entry of a command, if it is on the list."""
    for entry in LISTED:
        if match := re.fullmatch(entry.pattern, command):
            return entry, match
    return None
