"""What a command has to say, to people or, with `--json`, to a program."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass(frozen=True)
class Answer:
    """
    What a command found or made.

    Args:
        content (`dict[str, Any]`): What `--json` prints. It holds no token, and nothing else that is secret.
        show (`Callable[[], None]`): Prints the same for people.
        status (`int`, *optional*, defaults to 0): Exit status.
    """

    content: dict[str, Any]
    show: Callable[[], None]
    status: int = 0


def answered(command: Callable[[argparse.Namespace], Answer | int]) -> Callable[[argparse.Namespace], int]:
    """
    Makes a command's `run` of a function that returns its [`Answer`], or a status alone if there is nothing to say.

    With `--json` standard output holds the one object; whatever is printed on the way goes to standard error.
    """

    @wraps(command)
    def run(args: argparse.Namespace) -> int:
        with redirect_stdout(sys.stderr) if args.json else nullcontext():
            answer = command(args)
        if not isinstance(answer, Answer):
            return answer
        if args.json:
            print_json(answer.content)
        else:
            answer.show()
        return answer.status

    return run


def print_json(content: dict[str, Any]) -> None:
    """Prints one object."""
    print(as_json(content))


def as_json(content: dict[str, Any]) -> str:
    """Returns it as text. Every terminal can show ASCII; an escape of the terminal's own would be none of JSON."""
    return json.dumps(content, indent=2, allow_nan=False)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    parser.add_argument("--json", action="store_true", help="print one JSON object; all else goes to standard error")
