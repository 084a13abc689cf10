"""Figures of curves: accuracy against attack success, and both against a parameter."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from .drawing import INK, WIDTH, Label, Look, Sheet
from .effects import Effect
from .lettering import LEADER, beside, heights, wrapped
from .matched import Point
from .summary import CLEAN_MODEL, DEFENSE, Row, groups


if TYPE_CHECKING:
    from matplotlib.axes import Axes


Looks = dict[tuple[str, str], Look]
# Pixels.
_LEFT, _BELOW, _PANEL = 70, 46, 300
_ALL = (-4, 104)


class _Panels:
    """Panels in lines and columns, each with a title above it and room for labels to its right."""

    def __init__(self, title: str, titles: Sequence[Sequence[str]], labels: Sequence[str]):
        whole = (WIDTH - 16) / len(titles[0]) - _LEFT
        self.beside = beside(labels, 0.4 * whole)
        self.width = whole - self.beside
        self.height = max(_PANEL, sum(heights(wrapped(label, self.beside - LEADER) for label in labels)))
        self.titles = [[wrapped(text, self.width) for text in line] for line in titles]
        self.above = [max(heights(line)) + 14 for line in self.titles]
        self.sheet = Sheet(title, sum(self.above) + len(titles) * (self.height + _BELOW))

    def add(self, line: int, column: int, **options: Any) -> "Axes":
        left = _LEFT + column * (self.width + self.beside + _LEFT)
        axes = self.sheet.axes(left, self._top(line), self.width, self.height)
        axes.set_title(self.titles[line][column], loc="left")
        axes.set(**options)
        return axes

    def label(self, axes: "Axes", line: int, labels: Sequence[Label]) -> None:
        self.sheet.label(axes, labels, self._top(line), self.height, self.beside)

    def _top(self, line: int) -> float:
        return self.sheet.top + sum(self.above[: line + 1]) + line * (self.height + _BELOW)


def frontier_sheet(title: str, points: Sequence[Point], rows: Sequence[Row], looks: Looks) -> Sheet | None:
    """
    Draws all settings of each defence: a line of panels for each attack, without E-PUR and with it.

    Args:
        title (`str`): The title.
        points (`Sequence[Point]`): All settings on one task.
        rows (`Sequence[Row]`): The task's rows of the overview, for the clean model and the suspect.
        looks (`dict`): How each defence is drawn.
    """
    # No defence and no E-PUR: that is the suspect, which is marked anyway.
    points = [p for p in points if None not in (p.accuracy, p.asr) and (p.method != "none" or p.e_pur)]
    if not points:
        return None
    sides, attacks = sorted({point.e_pur for point in points}), sorted({point.attack for point in points})
    marked = [row for row in rows if row.role != DEFENSE and row.attack in attacks and row.figures.asr is not None]
    values = [100 * point.accuracy for point in points] + [100 * row.figures.accuracy.value for row in marked]
    labels = [*{point.defense: None for point in points}, *{row.role: None for row in marked}]
    titles = [[f"{attack}, with{'' if e_pur else 'out'} E-PUR" for e_pur in sides] for attack in attacks]
    panels = _Panels(title, titles, labels)
    options = {"xlim": _limits(values), "ylim": _ALL, "xlabel": "ACC in %", "ylabel": "ASR in %"}
    for line, attack in enumerate(attacks):
        for column, e_pur in enumerate(sides):
            axes = panels.add(line, column, **options)
            here = [point for point in points if (point.attack, point.e_pur) == (attack, e_pur)]
            found = [_curve(axes, group, looks[key]) for key, group in groups(here, _key).items()]
            found += [_mark(axes, row) for row in marked if row.attack == attack]
            panels.label(axes, line, found)
    panels.sheet.note("Filled: the setting that was chosen on held-out clean examples. Several seeds: means.")
    return panels.sheet


def _key(entry: Any) -> tuple[str, str]:
    return entry.defense, entry.method


def _limits(values: Sequence[float]) -> tuple[float, float]:
    room = max(1.0, 0.05 * (max(values) - min(values)))
    return min(values) - room, max(values) + room


def _curve(axes: "Axes", group: Sequence[Point], look: Look) -> Label:
    means, chosen = [], []
    for of in groups(group, lambda point: point.setting_text).values():
        means.append((100 * fmean(point.accuracy for point in of), 100 * fmean(point.asr for point in of)))
        # With several seeds: chosen by at least half of them.
        if 2 * sum(point.chosen for point in of) >= len(of):
            chosen.append(means[-1])
    options = {"color": look.color, "marker": look.marker, "markersize": 7}
    axes.plot(*zip(*means, strict=True), linewidth=1.4, markerfacecolor="white", zorder=3, **options)
    if chosen:
        axes.plot(*zip(*chosen, strict=True), linestyle="none", zorder=4, **options)
    return Label(group[0].defense, *max(means), look.color)


def _mark(axes: "Axes", row: Row) -> Label:
    at = 100 * row.figures.accuracy.value, 100 * row.figures.asr.value
    marker = "*" if row.role == CLEAN_MODEL else "X"
    axes.plot(*at, linestyle="none", marker=marker, color=INK, markersize=11, zorder=5)
    return Label(row.role, *at, INK)


def effect_sheet(title: str, effects: Sequence[Effect], axis: str, looks: Looks) -> Sheet | None:
    """
    Draws ACC to the left and ASR to the right against a parameter: a line of panels for each attack.

    Args:
        title (`str`): The title.
        effects (`Sequence[Effect]`): What was measured.
        axis (`str`): What the parameter is called.
        looks (`dict`): How each defence is drawn.
    """
    effects = [effect for effect in effects if effect.accuracy is not None and effect.asr is not None]
    if not effects:
        return None
    attacks, values = sorted({effect.attack for effect in effects}), sorted({effect.value for effect in effects})
    titles = [[f"{attack}: {text}" for text in ("ACC", "ASR")] for attack in attacks]
    panels = _Panels(title, titles, list({effect.defense: None for effect in effects}))
    limits = {"accuracy": _limits([100 * effect.accuracy.value for effect in effects]), "asr": _ALL}
    for line, attack in enumerate(attacks):
        here = [effect for effect in effects if effect.attack == attack]
        for column, (name, text) in enumerate((("accuracy", "ACC"), ("asr", "ASR"))):
            options = {"ylim": limits[name], "xlabel": axis, "ylabel": f"{text} in %"}
            axes = panels.add(line, column, **options)
            if values[-1] > 1:
                axes.set_xscale("log", base=2)
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.minorticks_off()
            panels.label(axes, line, _lines(axes, here, name, looks))
    panels.sheet.legend([("without E-PUR", {"ls": "-"}), ("with E-PUR", {"ls": "--", "mfc": "white"})], marker="o")
    return panels.sheet


def _lines(axes: "Axes", effects: Sequence[Effect], name: str, looks: Looks) -> list[Label]:
    labels: dict[tuple[str, str], Label] = {}
    for (*key, e_pur), group in groups(effects, lambda effect: (*_key(effect), effect.e_pur)).items():
        look = looks[tuple(key)]
        at = [(effect.value, 100 * getattr(effect, name).value) for effect in group]
        options = {"linestyle": "--", "markerfacecolor": "white"} if e_pur else {}
        axes.plot(*zip(*at, strict=True), color=look.color, marker=look.marker, linewidth=1.4, **options)
        # One label for both lines of a defence, which differ in style alone.
        labels.setdefault(tuple(key), Label(group[0].defense, *at[-1], look.color))
    return list(labels.values())
