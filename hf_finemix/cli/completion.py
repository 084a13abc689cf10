"""`hf-finemix completion`: a script with which a shell completes commands, options, choices and paths."""

import argparse

from .answers import Answer, add_json, answered


_SHELLS = ("bash", "zsh", "tcsh")
# Which arguments are paths, by the words that stand for them in the help.
_FOLDERS = ("ADAPTER", "BASE", "DIR", "DIR2", "MODEL", "SUSPECT")
_FILES = ("CONFIG.yaml", "DATA", "FILE", "PEM", "SOURCE", "YAML")


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "completion",
        help="print the script with which a shell completes commands and options",
        description="Print a script for the shell, which makes the Tab key complete commands, options, choices and "
        "paths. tcsh: hf-finemix completion tcsh > FILE, and `source FILE` in ~/.tcshrc.",
    )
    parser.add_argument("shell", choices=_SHELLS, help="the shell that you type commands into")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: `shell` and `script`."""
    import shtab

    from .main import build_parser

    parser = build_parser()
    _complete_paths(parser, shtab.FILE, shtab.DIRECTORY)
    script = shtab.complete(parser, args.shell)
    return Answer({"shell": args.shell, "script": script}, lambda: print(script))


def _complete_paths(parser: argparse.ArgumentParser, file: dict[str, str], folder: dict[str, str]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            # What has no help is left out of completion, too.
            action.help = "what to do"
            for command in action.choices.values():
                _complete_paths(command, file, folder)
        elif action.metavar in _FOLDERS:
            action.complete = folder
        elif action.metavar in _FILES:
            action.complete = file
