"""Text and tables for a terminal, drawn by rich. Nothing of a cell is read as markup, emoji code or style."""

import re
import sys
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


# A rate with its interval, which breaks best between the two.
_RATE = re.compile(r"([\d.]+) (\[[\d., ]+\])")
_GAP = 2


def draw_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int, styles: Sequence[str]) -> str:
    """
    Returns a table that is no wider than the terminal.

    Args:
        header (`Sequence[str]`): Names of the columns.
        rows (`Sequence[Sequence[str]]`): The cells.
        left (`int`): How many columns stand to the left; the others stand to the right.
        styles (`Sequence[str]`): A style for each row.
    """
    console = Console(file=sys.stdout)
    widths = [max(cell_len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    if sum(widths) + _GAP * (len(widths) - 1) > console.width:
        rows = [[_RATE.sub(r"\1\n\2", cell) for cell in row] for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for number, name in enumerate(header):
        drawn.add_column(Text(name), justify="left" if number < left else "right", overflow="fold")
    for row, style in zip(rows, styles, strict=True):
        drawn.add_row(*map(Text, row), style=style)
    return _text(console, drawn)


def draw_text(text: str, style: str) -> str:
    """Returns text in a style, in as many lines as it has."""
    return _text(Console(file=sys.stdout), Text(text, style))


def _text(console: Console, drawn: RenderableType) -> str:
    with console.capture() as capture:
        # The terminal itself wraps lines of text, so that a path can be copied from it.
        console.print(drawn, soft_wrap=isinstance(drawn, Text))
    lines = capture.get().splitlines()
    return "\n".join(line.rstrip() for line in lines)
