"""Markdown from strings that a stranger may have chosen: nothing of them becomes markup."""

import re
from collections.abc import Sequence

from .rates import Rate


# "://" and "www." for bare addresses, which are links without any markup; some signs mean something at the beginning
# of a line alone.
_MARKUP = re.compile(r"([\\`*_\[\]<>|~$&]|:(?=//)|(?<=www)\.|^[#+!=-])", re.IGNORECASE)
_LIST = re.compile(r"^(\d+)([.)])(?=\s|$)")
# What `SourceRecord.label` gives for a repository; a folder's name alone does not end in a commit.
_HUB_SOURCE = re.compile(r"([\w.-]+(?:/[\w.-]+)?)@([0-9a-f]{40})", re.ASCII)


def escape(text: str, limit: int = 200) -> str:
    """
    Makes a string from a suspect harmless in Markdown: one line, no markup, no control characters.

    Args:
        text (`str`): Anything.
        limit (`int`, *optional*, defaults to 200): Longest result before escaping, in characters.
    """
    return _LIST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", one_line(text)[:limit]))


def one_line(text: str) -> str:
    """Replaces control characters and runs of white space by one space each."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(visible.split())


def code(text: str, limit: int = 60) -> str:
    """Puts a string from a suspect into a code span, where backslashes do not escape: backticks and pipes go."""
    return f"`{one_line(text.translate({96: 32, 124: 32}))[:limit] or ' '}`"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table with the first column to the left and the others to the right; cells are Markdown already."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(rate: Rate) -> str:
    """Returns a rate in percent: `86.1 %`."""
    return "no examples" if rate.value is None else f"{100 * rate.value:.1f} %"


def with_interval(rate: Rate) -> str:
    """Returns a rate in percent with its interval and count: `86.1 % [83.5, 88.4], n = 800`."""
    if rate.value is None:
        return "no examples"
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}], n = {rate.n}"


def hub_source(label: str) -> tuple[str, str] | None:
    """Returns Hub id and commit from a label of that form, or `None`."""
    match = _HUB_SOURCE.fullmatch(label)
    return None if match is None else (match[1], match[2])


def source(label: str) -> str:
    """Returns where a model came from: a link to its commit on the Hub, or the name of a folder."""
    found = hub_source(label)
    if found is None:
        return f"{escape(label)} (not from the Hub)"
    repo_id, commit = found
    return f"[{escape(repo_id)}](https://huggingface.co/{repo_id}/tree/{commit}) at commit `{commit}`"
