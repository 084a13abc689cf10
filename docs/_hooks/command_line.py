"""The reference of the command line, from the parsers themselves: what the page says is what `--help` says."""

import argparse
import re
import textwrap

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from hf_finemix.cli.main import build_parser


MARK = "<!-- the commands -->"
_WIDTH = 80


def _plain(text: str) -> str:
    # Names of metavariables and the like are no markup, and a table's cell ends at a bar.
    return re.sub(r"([\\*_<>|\[\]{}])", r"\\\1", " ".join(text.split()))


def _help(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    if action.help is None:
        return ""
    return _plain(formatter._expand_help(action))


def _name(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    if not action.option_strings:
        return f"`{formatter._format_args(action, action.metavar or action.dest)}`"
    value = "" if action.nargs == 0 else f" {formatter._format_args(action, action.dest.upper())}"
    names = ", ".join(f"`{option}{value}`" for option in action.option_strings)
    return f"{names} (required)" if action.required else names


def describe(name: str, parser: argparse.ArgumentParser) -> str:
    """Returns the section of one command as Markdown."""
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    rows = [
        f"| {_name(action, formatter)} | {_help(action, formatter)} |"
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction)
    ]
    usage = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    usage.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    text = [f"## {name}", _plain(parser.description or ""), f"```text\n{usage.format_help().strip()}\n```"]
    text.append("\n".join(["| argument | what it does |", "| --- | --- |", *rows]))
    # What `--help` ends with.
    said, _, examples = (parser.epilog or "").partition("Examples:\n")
    if said:
        text.append(_plain(said))
    if examples:
        text.append(f"Examples:\n\n```bash\n{textwrap.dedent(examples).strip()}\n```")
    return "\n\n".join(text)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Returns the parsers of all commands by name."""
    actions = build_parser()._actions
    return next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Puts the commands where the mark stands."""
    if MARK not in markdown:
        return markdown
    return markdown.replace(MARK, "\n\n".join(describe(name, parser) for name, parser in commands().items()))
