"""Tables of a report: tidy CSV with unrounded numbers, and Markdown to read."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..markdown import escape
from .estimates import Estimate


MISSING = "-"
# Beside a figure whose setting did not keep the accuracy.
OUTSIDE = "†"
# What a cell of a spreadsheet begins with if it is a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Block:
    """
    One Markdown table of a section.

    Args:
        heading (`str`): Heading above it, as Markdown; none if empty.
        header (`tuple[str, ...]`): The columns, as Markdown.
        rows (`tuple[tuple[str, ...], ...]`): The cells, as Markdown.
        left (`int`, *optional*, defaults to 1): How many columns are texts; the others are numbers, to the right.
    """

    heading: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def to_markdown(self) -> str:
        """Returns heading and table as Markdown."""
        numbers = len(self.header) - self.left
        lines = [self.header, ["---"] * self.left + ["---:"] * numbers, *self.rows]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"### {self.heading}\n\n{table}" if self.heading else table


@dataclass(frozen=True)
class Section:
    """
    One section of a report.

    Args:
        name (`str`): Name of its CSV file, without the ending.
        title (`str`): Its heading.
        note (`str`): How to read it.
        rows (`tuple[dict[str, Any], ...]`): What the CSV file holds; all rows have the same keys.
        blocks (`tuple[Block, ...]`): The tables for reading.
    """

    name: str
    title: str
    note: str
    rows: tuple[dict[str, Any], ...]
    blocks: tuple[Block, ...]

    def to_csv(self) -> str:
        """Returns the rows as CSV; what is not known is left empty, and no text is a formula to spreadsheets."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in self.rows)
        return buffer.getvalue()

    def to_markdown(self, figures: Sequence[tuple[str, str]] = ()) -> str:
        """
        Returns the section as Markdown.

        Args:
            figures (sequence of `(path, title)`): Figures to show in it.
        """
        parts = [f"## {self.title}", self.note]
        parts += [f"![{escape(title)}]({path})" for path, title in figures]
        parts += [block.to_markdown() for block in self.blocks]
        if self.rows:
            parts.append(f"As CSV: [{self.name}.csv](tables/{self.name}.csv)")
        return "\n\n".join(part for part in parts if part)


def columns(name: str, figure: Estimate | None) -> dict[str, float | int | None]:
    """Returns an estimate as columns of a CSV file: `asr`, `asr_n`, `asr_sd`, `asr_low` and `asr_high`."""
    keys = (name, *(f"{name}_{part}" for part in ("n", "sd", "low", "high")))
    if figure is None:
        return dict.fromkeys(keys)
    return dict(zip(keys, (figure.value, figure.n, figure.sd, figure.low, figure.high), strict=True))


def percent(figure: Estimate | None) -> str:
    """Returns an estimate in percent: `86.1 [83.5, 88.4]` of one seed, `86.1 ± 0.4` of several."""
    if figure is None:
        return MISSING
    if figure.sd is not None:
        return f"{100 * figure.value:.1f} ± {100 * figure.sd:.1f}"
    if figure.low is not None:
        return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    return f"{100 * figure.value:.1f}"


def short(figure: Estimate | None) -> str:
    """Returns the value of an estimate alone, in percent: `86.1`."""
    return MISSING if figure is None else f"{100 * figure.value:.1f}"


def points(figure: Estimate | None) -> str:
    """Returns a difference in points, with its sign: `+1.2 ± 0.4`."""
    if figure is None:
        return MISSING
    spread = "" if figure.sd is None else f" ± {100 * figure.sd:.1f}"
    # Without it, a tiny loss would be shown as -0.0.
    return f"{round(100 * figure.value, 1) + 0.0:+.1f}{spread}"


def blocks(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> tuple[Block, ...]:
    """Returns one block, or none if it has no row."""
    return (Block(title, tuple(header), tuple(map(tuple, rows)), left),) if rows else ()


def of_e_pur(e_pur: bool | None) -> str:
    """Returns the cell of the column E-PUR: `yes`, `no`, or nothing for a model without a defence."""
    return {True: "yes", False: "no", None: ""}[e_pur]


def heading(*names: str) -> str:
    """Returns names from a configuration as a heading."""
    return ", ".join(escape(name, 80) for name in names)


def _plain(value: Any) -> Any:
    """Puts an apostrophe in front of a text that spreadsheets would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
