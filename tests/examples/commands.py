"""The commands in the headers of the examples."""

import ast
import re
import shlex
from pathlib import Path


EXAMPLES = Path(__file__).parents[2] / "examples"
# What start a script; other commands of a header prepare something.
_STARTERS = ("python", "torchrun", "accelerate")


def scripts() -> list[Path]:
    """Returns all examples that are scripts; those under benchmark/ and space/ have tests of their own."""
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"benchmark", "space"}
    return sorted([*EXAMPLES.glob("*.py"), *(path for name in folders for path in EXAMPLES.glob(f"{name}/**/*.py"))])


def header(script: Path) -> str:
    """Returns what a script says of itself."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""


def commands(text: str) -> list[list[str]]:
    """Returns the commands in a text that start an example, each as its words; a backslash at its end goes on."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    words = [shlex.split(line) for line in lines if line.startswith("    ")]
    return [command for command in words if command[0] in _STARTERS]


def script_and_arguments(command: list[str]) -> list[str]:
    """Returns what comes after the interpreter or the launcher: the example, and what is given to it."""
    at = next(number for number, word in enumerate(command) if re.fullmatch(r"examples/[\w/]+\.py", word))
    return command[at:]
