"""Optional parts of a report: a figure, the positive control, the adapter that a suspect came as."""

import re
from dataclasses import dataclass

from .rates import Rate
from .serialization import Record


_FIGURE = re.compile(r"(figures/)?[\w-]+\.png", re.ASCII)


@dataclass(frozen=True)
class FigureRecord(Record):
    """
    A figure in the output folder.

    Args:
        file (`str`): Its path below the folder, with forward slashes.
        alt (`str`): What it shows, in words, for whoever cannot see it.
        caption (`str`): The line below it.
    """

    file: str
    alt: str
    caption: str

    def __post_init__(self):
        if not _FIGURE.fullmatch(self.file):
            raise ValueError(f"the figure {self.file!r} is no PNG file in a folder of its own")


@dataclass(frozen=True)
class ControlRecord(Record):
    """
    A backdoor that was planted in a copy of the suspect, and what the recipe made of it.

    Args:
        trigger (`str`): Its trigger.
        before ([`~hf_finemix.rates.Rate`]): Its attack success rate in the copy.
        after ([`~hf_finemix.rates.Rate`]): The same after the recipe.
    """

    trigger: str
    before: Rate
    after: Rate


@dataclass(frozen=True)
class AdapterRecord(Record):
    """
    The adapter that a suspect was, before it was merged into its base.

    Args:
        method (`str`): Its kind, such as `"LoRA"`.
        rank (`int`, *optional*): Its rank.
        modules (`tuple[str, ...]`): The modules that it changes.
    """

    method: str
    rank: int | None
    modules: tuple[str, ...]
