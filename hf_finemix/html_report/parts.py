"""What a page is made of: sections with sentences, a chart, tables, and texts to copy."""

from dataclasses import dataclass

from markupsafe import Markup


HTML_FILE = "finemix_report.html"

# A large model has thousands of tensors, a stranger's report may claim millions.
_MOST_ROWS = 5000
_LONG = 12

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """
    A table that can be sorted, and filtered if it is long.

    Args:
        caption (`str`): What it lists.
        header (`tuple[str, ...]`): Names of the columns.
        rows (`tuple[tuple[Cell, ...], ...]`): The cells; numbers are sorted as numbers.
        left_out (`int`): How many rows there are more than that.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int = 0

    @property
    def is_long(self) -> bool:
        """Whether it is folded, and gets a field to filter it by."""
        return len(self.rows) > _LONG


@dataclass(frozen=True)
class Section:
    """
    A section of the page.

    Args:
        id (`str`): Its anchor.
        title (`str`): Its heading.
        text (`Markup`): Sentences, as HTML.
        chart (`Markup`, *optional*): An SVG element.
        tables (`tuple[Table, ...]`): Tables.
        blocks (`tuple[tuple[str, str], ...]`): Texts to copy, each with a name.
    """

    id: str
    title: str
    text: Markup
    chart: Markup | None = None
    tables: tuple[Table, ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()


def limited(caption: str, header: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...]) -> Table:
    """Returns a table of the first 5,000 rows."""
    return Table(caption, header, rows[:_MOST_ROWS], max(0, len(rows) - _MOST_ROWS))
