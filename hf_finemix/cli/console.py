"""Plain text tables for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..printing import printable


if TYPE_CHECKING:
    from ..plan import MixReport
    from ..rates import Rate
    from ..records import SearchRecord
    from ..report import Evaluation


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as aligned columns; the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = (header, ["-" * width for width in widths], *rows)
    return "\n".join(_align(line, widths) for line in lines)


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    others = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join((cells[0].ljust(widths[0]), *others))


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
    print(f"{plan.listing()}\n\n{plan.summary()}")
    plan.check(source)


def trials(search: "SearchRecord") -> str:
    """Returns the ratios that a search tried as a table, and what it chose."""
    header = ["keep ratio", "ACC", "agreement", "control before", "control after", "neutral text"]
    rows = []
    for number, trial in enumerate(search.trials):
        rates = [trial.accuracy, trial.agreement, trial.control.before, trial.control.after]
        mark = " *" if number == search.chosen else ""
        neutral = "" if trial.control.neutral is None else short(trial.control.neutral)
        rows.append([f"{trial.keep_ratio}{mark}", *map(short, rates), neutral])
    removed = "" if search.removed else " Even there the control survives: take what follows with care."
    return f"{table(header, rows)}\n\nChosen: the ratio with the asterisk.{removed}"


def short(rate: "Rate") -> str:
    """Returns a rate in percent with its interval: `86.1 [83.5, 88.4]`."""
    if rate.value is None:
        return "no examples"
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
