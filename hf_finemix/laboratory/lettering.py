"""Texts of a figure: how large they are, where their lines break, and how they are kept apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING

from ..markdown import one_line


if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg


FONT, TEXT, TITLE, DPI = "DejaVu Sans", 10, 12, 100
# Length of the line from a panel to a label beside it, in pixels.
LEADER = 26


def spread(wanted: Sequence[float], heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """
    Moves things that are stacked apart, as little as need be.

    Args:
        wanted (`Sequence[float]`): Where the middle of each would best be, in growing order.
        heights (`Sequence[float]`): Their heights.
        top, bottom (`float`): The space for them; too little of it is exceeded below.

    Returns:
        `list[float]`: Where the middles go.
    """
    # Those that touch form a pile, which lies where its members would be on average.
    piles: list[_Pile] = []
    for middle, height in zip(wanted, heights, strict=True):
        pile = _Pile([middle - height / 2], [height])
        while piles and piles[-1].start(top, bottom) + sum(piles[-1].heights) > pile.start(top, bottom):
            pile = piles.pop().on(pile)
        piles.append(pile)
    middles = []
    for pile in piles:
        at = pile.start(top, bottom)
        for height in pile.heights:
            middles.append(at + height / 2)
            at += height
    return middles


@dataclass
class _Pile:
    """Things on top of each other, and where each would have the top one's upper end."""

    starts: list[float]
    heights: list[float]

    def start(self, top: float, bottom: float) -> float:
        return max(top, min(fmean(self.starts), bottom - sum(self.heights)))

    def on(self, other: "_Pile") -> "_Pile":
        above = sum(self.heights)
        return _Pile(self.starts + [start - above for start in other.starts], self.heights + other.heights)


def wrapped(text: str, width: float, size: float = TEXT, weight: str = "normal") -> str:
    """Breaks a text into lines of at most `width` pixels: between words, and within a word if one is too long."""
    lines = [""]
    for word in one_line(text).split(" "):
        joined = f"{lines[-1]} {word}".strip()
        if extent(joined, size, weight)[0] <= width:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for character in word:
            if lines[-1] and extent(lines[-1] + character, size, weight)[0] > width:
                lines.append("")
            lines[-1] += character
    return "\n".join(lines)


@cache
def extent(text: str, size: float = TEXT, weight: str = "normal") -> tuple[float, float]:
    """Returns the width and height of a text of one line or several, in pixels."""
    from matplotlib.text import Text

    canvas = _canvas()
    drawn = Text(0, 0, text, fontfamily=FONT, fontsize=size, fontweight=weight, parse_math=False, figure=canvas.figure)
    box = drawn.get_window_extent(canvas.get_renderer())
    return box.width, box.height


@cache
def _canvas() -> "FigureCanvasAgg":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return FigureCanvasAgg(Figure(dpi=DPI))


def heights(texts: Iterable[str]) -> list[float]:
    """Returns the heights of texts with some air between them, in pixels."""
    return [extent(text)[1] + 4 for text in texts]


def beside(labels: Sequence[str], most: float) -> float:
    """Returns the width that labels beside a panel need with their lines, at most `most`."""
    return min(most, max((extent(one_line(label))[0] for label in labels), default=0) + LEADER + 4)
