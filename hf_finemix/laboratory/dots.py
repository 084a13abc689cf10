"""Figures of dots: attack success by defence, and the ranks of triggers."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from ..config import FineMixConfig
from .drawing import INK, WIDTH, Look, Sheet
from .e_pur import RankRow
from .lettering import extent, heights, wrapped
from .summary import CLEAN_MODEL, DEFENSE, Row, groups, place


if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Pixels.
_NAMES, _BELOW, _BETWEEN, _LINE = 280, 46, 26, 34
_DOT = 7


class _Lines:
    """Lines with a name each: where they are, from above, and how wide their names."""

    def __init__(self, names: dict[Hashable, str], least: float):
        self.texts = {key: wrapped(name, _NAMES) for key, name in names.items()}
        self.middles: dict[Hashable, float] = {}
        self.height = 0.0
        for key, text in self.texts.items():
            height = max(least, extent(text)[1] + 10)
            self.middles[key] = self.height + height / 2
            self.height += height
        self.left = 24 + max(extent(text)[0] for text in self.texts.values())

    def name(self, axes: "Axes", *, shown: bool) -> None:
        axes.set_ylim(self.height, 0)
        axes.set_yticks(list(self.middles.values()), [text if shown else "" for text in self.texts.values()])
        axes.tick_params(axis="y", length=0)


def asr_sheet(title: str, rows: Sequence[Row], looks: dict[tuple[str, str], Look]) -> Sheet | None:
    """
    Draws the ASR of each defence with E-PUR and without it, a panel for each attack.

    Args:
        title (`str`): The title.
        rows (`Sequence[Row]`): A task's rows of the overview.
        looks (`dict`): How each defence is drawn.
    """
    rows = [row for row in rows if row.figures.asr is not None]
    defenses = sorted((row for row in rows if row.role == DEFENSE), key=place)
    if not defenses:
        return None
    lines = _Lines({(row.defense, row.method): row.defense for row in defenses}, _LINE)
    attacks = groups(rows, lambda row: row.attack)
    columns = min(3, len(attacks))
    width = (WIDTH - lines.left - 20) / columns - _BETWEEN
    titles = [wrapped(attack, width) for attack in attacks]
    above = max(heights(titles)) + 14
    each = above + lines.height + _BELOW
    sheet = Sheet(title, -(-len(attacks) // columns) * each)
    for number, group in enumerate(attacks.values()):
        line, column = divmod(number, columns)
        left = lines.left + column * (width + _BETWEEN)
        axes = sheet.axes(left, sheet.top + above + line * each, width, lines.height)
        axes.set_title(titles[number], loc="left")
        axes.set(xlim=(-3, 103), xlabel="ASR in %")
        lines.name(axes, shown=not column)
        for row in group:
            if row.role == DEFENSE:
                key = (row.defense, row.method)
                _dot(axes, row, lines.middles[key] + (_DOT if row.e_pur else -_DOT), looks[key].color)
            else:
                style = "--" if row.role == CLEAN_MODEL else ":"
                axes.axvline(100 * row.figures.asr.value, color=INK, linestyle=style, linewidth=1.3, zorder=2)
    dot = {"marker": "o", "ls": "none"}
    entries = [("without E-PUR", {**dot, "mfc": "white"}), ("with E-PUR", dot)]
    entries += [("clean model", {"ls": "--"}), ("suspect", {"ls": ":"})]
    sheet.legend([*entries, ("95 % interval, or standard deviation over seeds", {"ls": "-"})])
    return sheet


def _dot(axes: "Axes", row: Row, at: float, color: str) -> None:
    figure = row.figures.asr
    if figure.ends is not None:
        ends = [100 * min(1.0, max(0.0, end)) for end in figure.ends]
        axes.plot(ends, (at, at), color=color, linewidth=1.6, zorder=3)
    fill = color if row.e_pur else "white"
    axes.plot(100 * figure.value, at, marker="o", color=color, markerfacecolor=fill, markersize=7, zorder=4)


def rank_sheet(title: str, rows: Sequence[RankRow]) -> Sheet:
    """
    Draws the rank of every trigger, and the median of each source of token counts.

    Args:
        title (`str`): The title.
        rows (`Sequence[RankRow]`): The ranks, at least one.
    """
    sources = sorted({row.frequencies for row in rows})
    step = 3 * _DOT
    lines = _Lines({row.attack: row.attack for row in rows}, step * len(sources) + 12)
    sheet = Sheet(title, lines.height + 10 + _BELOW)
    axes = sheet.axes(lines.left, sheet.top + 10, WIDTH - lines.left - 30, lines.height)
    most = max(row.vocabulary for row in rows)
    ticks = [10**power for power in range(len(str(most)))]
    axes.set_xscale("log")
    axes.set(xlim=(0.8, 1.25 * most), xlabel="rank among all tokens; 1 is the most suspicious one")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    lines.name(axes, shown=True)
    top = FineMixConfig().purify_top_k
    axes.axvline(top, color=INK, linestyle="--", linewidth=1.2, zorder=2)
    for row in rows:
        number = sources.index(row.frequencies)
        at, look = lines.middles[row.attack] + step * (number - (len(sources) - 1) / 2), Look.of(number)
        options = {"linestyle": "none", "marker": look.marker, "color": look.color, "alpha": 0.55, "markersize": 7}
        axes.plot(row.ranks, [at] * len(row.ranks), zorder=3, **options)
        axes.plot((row.median, row.median), (at - 9, at + 9), color=look.color, linewidth=2.4, zorder=4)
    found = [(source, Look.of(number)) for number, source in enumerate(sources)]
    entries = [(wrapped(name, 180), {"marker": of.marker, "ls": "none", "color": of.color}) for name, of in found]
    entries += [("median", {"marker": "|", "ls": "none", "markersize": 14, "markeredgewidth": 2.4})]
    sheet.legend([*entries, (f"the {top} that E-PUR resets by default lie to the left", {"ls": "--"})])
    return sheet
