"""What all figures share: a sheet laid out in pixels, a style for each defence, labels that do not overlap."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .lettering import DPI, FONT, LEADER, TEXT, TITLE, extent, heights, spread, wrapped


if TYPE_CHECKING:
    from matplotlib.axes import Axes


WIDTH = 1200
# Height of what stands below the panels.
FOOT = 44
# The palette of Okabe and Ito without its yellow, which is too light for lines, and with two darker colours.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#5B5B5B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
INK, FAINT = "#222222", "#DDDDDD"
_STYLE = {
    "font.family": [FONT],
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    # A dollar sign in a label is a dollar sign.
    "text.parse_math": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Draws in the figures' own style, whatever the user's settings are."""
    from matplotlib.style import context

    with context(["default", _STYLE]):
        yield


@dataclass(frozen=True)
class Look:
    """
    How a defence is drawn, in all figures the same.

    Args:
        color (`str`): Its colour.
        marker (`str`): Its marker.
    """

    color: str
    marker: str

    @classmethod
    def of(cls, number: int) -> "Look":
        """Returns the look of a defence by its number; no two of the first 88 are alike."""
        return cls(COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)])


@dataclass(frozen=True)
class Label:
    """
    A label to the right of a panel, with a thin line to what it names.

    Args:
        text (`str`): The label.
        x, y (`float`): What it names, in the panel's coordinates.
        color (`str`): Its colour.
    """

    text: str
    x: float
    y: float
    color: str


class Sheet:
    """
    A figure laid out in pixels from its top left corner, with a title above and a note or legend below.

    Args:
        title (`str`): Its title.
        height (`float`): Height of what comes between.

    Attributes:
        top (`float`): Where that begins.
        height (`int`): Height of everything.
    """

    def __init__(self, title: str, height: float):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        title = wrapped(title, WIDTH - 32, TITLE, "bold")
        self.top = 24 + extent(title, TITLE, "bold")[1]
        self.height = round(self.top + height + FOOT)
        self.figure = Figure(figsize=(WIDTH / DPI, self.height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.text(16, 12, title, fontsize=TITLE, fontweight="bold", va="top")

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """Adds a panel."""
        return self.figure.add_axes(
            (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        )

    def text(self, x: float, y: float, text: str, **options: Any) -> None:
        """Writes a text."""
        self.figure.text(x / WIDTH, 1 - y / self.height, text, **options)

    def note(self, text: str) -> None:
        """Writes a line below everything."""
        self.text(WIDTH / 2, self.height - FOOT / 2, text, ha="center", va="center")

    def legend(self, entries: Sequence[tuple[str, dict[str, Any]]], **shared: Any) -> None:
        """Draws a legend below everything: texts with the properties of their lines."""
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], label=text, **{"color": INK, **shared, **of}) for text, of in entries]
        place = {"loc": "center", "bbox_to_anchor": (0.5, FOOT / 2 / self.height)}
        self.figure.legend(handles=handles, ncols=len(handles), frameon=False, **place)

    def label(self, axes: "Axes", labels: Sequence[Label], top: float, height: float, width: float) -> None:
        """
        Writes labels beside a panel, none over another.

        Args:
            axes (`Axes`): The panel, with its limits set.
            labels (`Sequence[Label]`): The labels.
            top, height, width (`float`): Of the space for them, beside the panel.
        """
        from matplotlib.lines import Line2D

        # Asking for the limits applies them: until then, coordinates are not where they will be drawn.
        axes.get_xlim(), axes.get_ylim()
        start, end = axes.get_position().x1 * WIDTH, axes.get_position().x1 * WIDTH + LEADER - 3
        # Pixels of matplotlib count from below.
        anchors = [axes.transData.transform((label.x, label.y)) for label in labels]
        anchors = [(x, self.height - y) for x, y in anchors]
        order = sorted(range(len(labels)), key=lambda number: (anchors[number][1], number))
        texts = [wrapped(labels[number].text, width - LEADER) for number in order]
        middles = spread([anchors[number][1] for number in order], heights(texts), top, top + height)
        for number, text, middle in zip(order, texts, middles, strict=True):
            color, (x, y) = labels[number].color, anchors[number]
            self.text(end + 3, middle, text, va="center", color=darker(color))
            across = [place / WIDTH for place in (min(x + 5, start), end)]
            down = [1 - place / self.height for place in (y, middle)]
            place = {"transform": self.figure.transFigure, "color": color}
            self.figure.add_artist(Line2D(across, down, linewidth=0.7, alpha=0.6, **place))

    def png(self) -> bytes:
        """Returns the figure as PNG; the same content gives the same bytes."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()


def darker(color: str) -> str:
    """Returns a colour for text, which needs more contrast than a line."""
    return "#" + "".join(f"{round(0.7 * int(color[start : start + 2], 16)):02x}" for start in (1, 3, 5))
