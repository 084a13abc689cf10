"""What commands print for people: tables fitted to a terminal, with colour there, and plain text everywhere else."""

import os
import shutil
import sys
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..printing import printable


if TYPE_CHECKING:
    from ..plan import MixReport, ParameterRecord
    from ..rates import Rate
    from ..records import SearchRecord
    from ..report import Evaluation


# Every word that has a colour says the same without it. A low finding has none: it is no all-clear.
STYLES = dict.fromkeys(("high", "different", "problem", "refused"), "bold red")
STYLES |= dict.fromkeys(("medium", "not available", "warning", "kept"), "yellow")
STYLES |= dict.fromkeys(("same", "ok"), "green")


def on_terminal() -> bool:
    """Tells whether standard output is a terminal that can show more than lines of text."""
    # A program without a console has no standard output at all.
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, styles: Sequence[str] = ()) -> str:
    """
    Returns rows as aligned columns.

    On a terminal they are fitted to its width: cells that are too wide go on in further lines.

    Args:
        header (`Sequence[str]`): Names of the columns.
        rows (`Sequence[Sequence[str]]`): The cells, made safe to print.
        left (`int`, *optional*, defaults to 1): How many columns stand to the left; the others stand to the right.
        styles (`Sequence[str]`, *optional*): A style of rich for each row; only a terminal has them.
    """
    if on_terminal():
        from .drawing import draw_table

        return draw_table(header, rows, left, styles or [""] * len(rows))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = (header, ["-" * width for width in widths], *rows)
    return "\n".join(_align(line, widths, left) for line in lines)


def _align(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    pairs = list(zip(cells, widths, strict=True))
    first = (cell.ljust(width) for cell, width in pairs[:left])
    line = "  ".join((*first, *(cell.rjust(width) for cell, width in pairs[left:])))
    return line if left == 1 else line.rstrip()


def paint(text: str, style: str) -> str:
    """Returns text in a style of rich on a terminal, as it is elsewhere."""
    if not style or not on_terminal():
        return text
    from .drawing import draw_text

    return draw_text(text, style)


def wrapped(text: str) -> str:
    """Returns a sentence in lines that end with a word where they end at the width of a terminal."""
    if not on_terminal():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def figures(evaluations: dict[str, "Evaluation"]) -> str:
    """
    Returns the figures of several models as a table: ACC, and for each trigger ASR, RA and flip rate.

    Of language models: perplexity, accuracy of the next token, and for each trigger ASR, the same share without the
    trigger, and flip rate.
    """
    triggers = next(iter(evaluations.values())).triggers
    answers = next(iter(evaluations.values())).perplexity is not None
    header = ["model", "perplexity", "token accuracy"] if answers else ["model", "ACC"]
    for trigger in triggers:
        suffix = f" ({printable(trigger.trigger)[:20]})" if len(triggers) > 1 else ""
        others = ("without", "flip rate") if answers else ("RA", "flip rate")
        header += [f"{name}{suffix}" for name in ("ASR", *others)]
    rows = []
    for name, evaluation in evaluations.items():
        rates = [evaluation.accuracy]
        for trigger in evaluation.triggers:
            rates += [trigger.asr, trigger.without if answers else trigger.ra, trigger.flip_rate]
        perplexity = [f"{evaluation.perplexity:.2f}"] if answers else []
        rows.append([name, *perplexity, *map(short, rates)])
    note = "In percent, with 95 % intervals."
    return f"{table(header, rows)}\n\n{'Perplexity aside, in' if answers else note[:2]}{note[2:]}"


def show_plan(plan: "MixReport", source: str) -> None:
    """
    Prints a plan: a line for each parameter, and how many of them there are of each kind.

    Args:
        plan ([`~hf_finemix.MixReport`]): The plan.
        source (`str`): The base, as the user gave it.

    Raises:
        InputError: If the base lacks what it should have.
    """
    print(f"{_grouped(plan) if on_terminal() else plan.listing()}\n\n{plan.summary()}")
    plan.check(source)


def _grouped(plan: "MixReport") -> str:
    # The reason stands above the parameters that share it: beside each of them it would not fit.
    groups: dict[tuple[str, str], list[ParameterRecord]] = defaultdict(list)
    for record in plan.parameters:
        groups[record.action, record.reason].append(record)
    parts = []
    for (action, reason), records in groups.items():
        rows = [["x".join(map(str, record.shape)) or "scalar", printable(record.name)] for record in records]
        heading = paint(f"{action}: {printable(reason)}", STYLES.get(action, "bold"))
        parts.append(f"{heading}\n{table(['shape', 'parameter'], rows, left=2)}")
    return "\n\n".join(parts)


def trials(search: "SearchRecord") -> str:
    """Returns the ratios that a search tried as a table, and what it chose."""
    header = ["keep ratio", "ACC", "agreement", "control before", "control after", "neutral text"]
    rows = []
    for number, trial in enumerate(search.trials):
        rates = [trial.accuracy, trial.agreement, trial.control.before, trial.control.after]
        mark = " *" if number == search.chosen else ""
        neutral = "" if trial.control.neutral is None else short(trial.control.neutral)
        rows.append([f"{trial.keep_ratio}{mark}", *map(short, rates), neutral])
    styles = ["bold" if number == search.chosen else "" for number in range(len(rows))]
    removed = "" if search.removed else " Even there the control survives: take what follows with care."
    return f"{table(header, rows, styles=styles)}\n\nChosen: the ratio with the asterisk.{removed}"


def short(rate: "Rate") -> str:
    """Returns a rate in percent with its interval: `86.1 [83.5, 88.4]`."""
    if rate.value is None:
        return "no examples"
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
