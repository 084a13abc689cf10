"""`hf-finemix`: parses the command line, runs one command, and turns what happens into an exit status."""

import argparse
import os
import signal
import sys
import time
import traceback
from importlib import import_module
from typing import Any, NoReturn

from .._version import __version__
from ..errors import InputError
from .console import printable
from .teaching import Formatter, beginning, end, with_examples


COMMANDS = (
    *("demo", "purify", "mix", "merge", "extract", "convert", "scan", "evaluate"),
    *("bench", "report", "card", "push", "verify", "ui", "doctor", "completion"),
)

FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143

# Seconds in which further signals count as the one that came first.
_PATIENCE = 5.0
# Seconds that a process of several waits for another to say what is wrong.
_DEFERENCE = 3.0
_stopped_at = -_PATIENCE


class Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; each command's module adds its own."""
    parser = Parser(prog="hf-finemix", usage="%(prog)s COMMAND [...]", formatter_class=Formatter, epilog=end())
    parser.add_argument("--version", action="version", version=f"hf-finemix {__version__}")
    # The description lists the commands, in groups.
    options = {"metavar": "COMMAND", "required": True, "help": argparse.SUPPRESS}
    commands = parser.add_subparsers(prog=parser.prog, dest="command", **options)
    for name in COMMANDS:
        command = import_module(f".{name}", __package__).add_parser(commands)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.formatter_class = Formatter
        command.epilog = with_examples(name, command.epilog)
    parser.description = beginning({action.dest: action.help for action in commands._get_subactions()})
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line (by default the process's own, whose end this is) and returns its exit status."""
    previous = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _leave(_run(build_parser().parse_args(arguments)), arguments)
    except KeyboardInterrupt:
        print("hf-finemix: interrupted; nothing half-written is left.", file=sys.stderr)
        return _leave(INTERRUPTED, arguments)
    except SystemExit as stop:
        # Where there are several processes, the launcher ends the others because of one, which says why.
        if stop.code == TERMINATED and os.environ.get("RANK", "0") == "0":
            print("hf-finemix: terminated; nothing half-written is left.", file=sys.stderr)
        if stop.code == TERMINATED:
            _leave(TERMINATED, arguments)
        raise
    finally:
        # Nothing is left to stop when the process ends, and a signal then would only spoil its exit status.
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_IGN if arguments is None else handler)


def _leave(status: int, arguments: list[str] | None) -> int:
    # Commands that never meet other processes do not import it.
    if arguments is None and (together := sys.modules.get("hf_finemix.together")) is not None:
        together.leave(status)
    return status


def _run(args: argparse.Namespace) -> int:
    try:
        _be_quiet(args.debug)
        if sys.stdout is not None:
            # A vocabulary holds characters that not every terminal can show.
            sys.stdout.reconfigure(errors="backslashreplace")
        status = import_module(f".{args.command}", __package__).run(args)
        _flush_output()
        return status
    except InputError as error:
        return _fail(args, error, BAD_INPUT)
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        _drop_output()
        return FAILED
    except Exception as error:
        return _fail(args, error, FAILED)


def _fail(args: argparse.Namespace, error: Exception, status: int) -> int:
    if os.environ.get("RANK", "0") != "0":
        # What is wrong for all is said by the first process, whose end makes the launcher end the others.
        time.sleep(_DEFERENCE)
    if args.debug:
        traceback.print_exception(error)
    reason = " ".join(str(error).split()) or type(error).__name__
    word = "error" if status == BAD_INPUT else "failed"
    # Libraries quote the files of a suspect in their messages.
    print(f"hf-finemix {args.command}: {word}: {printable(reason)}", file=sys.stderr)
    return status


def _flush_output() -> None:
    try:
        print(end="", flush=True)
    except OSError:
        _drop_output()
        raise


def _drop_output() -> None:
    # Python would try to write it once more at its exit, and complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(signum: int, frame: Any) -> None:
    # An exception, so that temporary folders go on the way out; a second one there would keep them from going.
    global _stopped_at
    now = time.monotonic()
    if now - _stopped_at < _PATIENCE:
        return
    _stopped_at = now
    raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(TERMINATED)


def _be_quiet(debug: bool) -> None:
    # Read when the libraries are imported, which happens only after this.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if debug:
        return
    import warnings

    warnings.simplefilter("ignore")
    # Where processes meet, it prints a page on each that is gone.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for library in ("TRANSFORMERS", "DATASETS", "HF_HUB"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


if __name__ == "__main__":
    sys.exit(main())
