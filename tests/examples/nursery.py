"""
Runs scripts, each in a process of its own that need not import anything again; started by conftest.py.

    python -m tests.examples.nursery

Reads a JSON object a line, the arguments of `run`, and answers each with the exit status. A child is forked for each
script before anything was computed, which is when a process may still be forked.
"""

import argparse
import atexit
import json
import os
import runpy
import sys
import traceback
from functools import partialmethod

# What the scripts import: each takes seconds.
import datasets  # noqa: F401
import matplotlib.figure  # noqa: F401
import peft  # noqa: F401
import transformers  # noqa: F401
import trl  # noqa: F401

import hf_finemix


for _name in ("FineMixTrainer", "FineMixMixin", "purify", "scan", "verify", "extract_adapter", "evaluate_generator"):
    getattr(hf_finemix, _name)


def run(argv: list[str], folder: str, output: str, parse: bool = False) -> int:
    """
    Runs a script in a folder, as Python does; gives its exit status.

    Args:
        argv (`list[str]`): The script and its arguments.
        folder (`str`): Where it runs.
        output (`str`): File for all that it prints.
        parse (`bool`, *optional*, defaults to `False`): Whether it is to end when it has read its arguments.
    """
    os.chdir(folder)
    with open(output, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = argv
    sys.path[0] = os.path.dirname(argv[0])
    if parse:
        argparse.ArgumentParser.parse_args = partialmethod(_parse_and_stop, argparse.ArgumentParser.parse_args)
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _parse_and_stop(parser: argparse.ArgumentParser, parse_args) -> None:
    print("Arguments:", parse_args(parser))
    raise SystemExit(0)


def main() -> None:
    """Answers until nobody asks any more."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = run(**json.loads(line))
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
