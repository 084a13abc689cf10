"""`hf-finemix`: parses the command line, runs one command, and turns what happens into an exit status."""

import argparse
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any, NoReturn

from .._version import __version__
from ..errors import InputError


COMMANDS = ("demo", "purify", "scan", "evaluate")

DONE, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; each command's module adds its own."""
    parser = Parser(
        prog="hf-finemix",
        description="Purify fine-tuned models that may carry a backdoor, with their clean pretrained weights.",
        epilog="Exit status: 0 done, 1 failed, 2 bad arguments or input, 130 Ctrl-C, 143 SIGTERM.",
    )
    parser.add_argument("--version", action="version", version=f"hf-finemix {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = import_module(f".{name}", __package__).add_parser(commands)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line and returns its exit status."""
    args = build_parser().parse_args(arguments)
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        _be_quiet(args.debug)
        return import_module(f".{args.command}", __package__).run(args) or DONE
    except InputError as error:
        return _fail(args, error, BAD_INPUT)
    except KeyboardInterrupt:
        print(f"hf-finemix {args.command}: interrupted; nothing was left behind.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return _fail(args, error, FAILED)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _fail(args: argparse.Namespace, error: Exception, status: int) -> int:
    if args.debug:
        traceback.print_exception(error)
    reason = " ".join(str(error).split()) or type(error).__name__
    word = "error" if status == BAD_INPUT else "failed"
    print(f"hf-finemix {args.command}: {word}: {reason}", file=sys.stderr)
    return status


def _terminate(signum: int, frame: Any) -> NoReturn:
    # An exception, so that temporary folders go on the way out.
    raise SystemExit(TERMINATED)


def _be_quiet(debug: bool) -> None:
    # Read when the libraries are imported, which happens only after this.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if debug:
        return
    import warnings

    warnings.simplefilter("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")


if __name__ == "__main__":
    sys.exit(main())
