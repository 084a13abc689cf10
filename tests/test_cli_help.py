"""`--help`: it teaches, what it teaches is right, and it answers at once; completion in real shells."""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hf_finemix.cli.completion import _FILES, _FOLDERS
from hf_finemix.cli.main import COMMANDS, build_parser
from hf_finemix.cli.teaching import EXAMPLES, GROUPS

from .files import run


def help_of(capsys, *command):
    status, out, err = run(capsys, [*command, "--help"])
    assert (status, err) == (0, "")
    return out


def command_lines(text):
    """The command lines in a help text, as a shell would pass them on."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r'^ +(?:eval "\$\()?(hf-finemix .+?)(?:\)")?$', joined, re.MULTILINE)
    for line in found:
        words = shlex.split(line, comments=True)
        # What comes after is the shell's.
        yield words[1 : words.index(">") if ">" in words else None]


def parsers():
    (commands,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices


# What it says


def test_every_command_is_in_one_group_and_has_examples():
    grouped = [name for _, names in GROUPS for name in names]
    assert sorted(grouped) == sorted(COMMANDS) == sorted(EXAMPLES)


def test_commands_are_listed_in_groups_with_what_they_do(capsys):
    text = help_of(capsys)
    places = [text.index(f"\n{title}:\n") for title, _ in GROUPS]
    assert places == sorted(places)
    for (_, names), start, stop in zip(GROUPS, places, [*places[1:], len(text)], strict=True):
        for name in names:
            assert re.search(rf"^  {name} +\S+", text[start:stop], re.MULTILINE), name
    assert max(map(len, text.splitlines())) <= 80


def test_help_says_what_to_type_first_what_a_status_means_and_where_to_read_on(capsys):
    text = help_of(capsys)
    assert text.index("Type first:\n  hf-finemix doctor") < text.index("See what is wrong")
    assert len(list(command_lines(text))) == 4
    for status in ("0  ", "1  ", "2  ", "130, 143"):
        assert re.search(rf"^  {status}", text, re.MULTILINE)
    assert "docs/" in text and 'eval "$(hf-finemix completion bash)"' in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_examples_of_it(capsys, name):
    text = help_of(capsys, name)
    _, examples = text.split("\nExamples:\n")
    lines = list(command_lines(examples))
    assert lines and all(words[0] == name for words in lines)
    assert examples.count("  # ") >= len(lines) and max(map(len, examples.splitlines())) <= 80


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_example_is_understood(capsys, name):
    for words in command_lines(help_of(capsys, *filter(None, [name]))):
        # A wrong one ends with status 2.
        assert build_parser().parse_args(words).command == words[0]


def test_no_command_is_wrong_in_one_line(capsys):
    status, out, err = run(capsys, [])
    assert (status, out, err.count("\n")) == (2, "", 1) and "COMMAND" in err and "hf-finemix --help" in err


# At once


def test_help_imports_nothing_that_takes_time():
    code = (
        "import sys; from hf_finemix.cli.main import build_parser; build_parser().format_help(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "numpy", "datasets", "huggingface_hub", "gradio", "rich", "shtab", "packaging"}
    assert not heavy & set(done.stdout.split())


# Completion


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The scripts as files."""
    folder, found = tmp_path_factory.mktemp("scripts"), {}
    for shell in ("bash", "zsh", "tcsh"):
        code = ["-m", "hf_finemix.cli.main", "completion", shell]
        done = subprocess.run([sys.executable, *code], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        found[shell] = folder / f"hf-finemix.{shell}"
        found[shell].write_text(done.stdout)
    return found


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_shell_itself_accepts_its_script(scripts, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    done = subprocess.run([shell, "-n", scripts[shell]], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_script_knows_all_commands(scripts, shell):
    text = scripts[shell].read_text()
    assert all(re.search(rf"\b{name}\b", text) for name in COMMANDS) and "keep-ratio" in text


# What bash does when the Tab key is pressed after the last word.
TAB = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
complete -p hf-finemix | grep -q -- "-F" || exit 1
function=$(complete -p hf-finemix | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" hf-finemix "${@: -1}" "${@: -2:1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def tab(scripts, folder, *words):
    """What is offered for the last word."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not on this machine")
    command = ["bash", "--norc", "-i", "-c", TAB, "bash", scripts["bash"], "hf-finemix", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "suspect").mkdir()
    (tmp_path / "subject.csv").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sc"], ["scan"]),
        (["pu"], ["purify", "push"]),
        (["scan", "--pre"], ["--pretrained", "--prescan"]),
        (["purify", "--sel"], ["--selection"]),
        (["purify", "x", "--selection", "small"], ["smallest_drift"]),
        (["scan", "x", "--fail-on", ""], ["low", "medium", "high"]),
        (["completion", "z"], ["zsh"]),
        # Folders where models go, files where data go.
        (["scan", "su"], ["suspect"]),
        (["evaluate", "x", "--data", "su"], ["subject.csv", "suspect"]),
        (["purify", "x", "--pretrained", "su"], ["suspect"]),
    ],
    ids=" ".join,
)
def test_tab_completes(scripts, folder, words, offered):
    assert sorted(tab(scripts, folder, *words)) == sorted(offered)


def test_every_argument_that_is_a_path_is_known_to_be_one():
    """What an argument is called in the help says whether it is one; a new word has to be sorted."""
    others = {
        *(
            "N",
            "R",
            "C",
            "K",
            "LR",
            "S",
            "L",
            "H",
            "M",
            "G",
            "TEXT",
            "NAME",
            "REPO",
            "REGEX",
            "SIZE",
            "CODE",
            "BRANCH",
        ),
        *("ADDRESS", None),
    }
    for name, parser in parsers().items():
        for action in parser._actions:
            assert action.metavar in others | {*_FILES, *_FOLDERS}, (name, action.dest)


def test_completion_as_json_is_the_script(scripts, capsys):
    import json

    found = json.loads(run(capsys, ["completion", "bash", "--json"])[1])
    assert found == {"shell": "bash", "script": Path(scripts["bash"]).read_text().removesuffix("\n")}
