"""The figures of a report, as PNG; only those that have data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .curves import effect_sheet, frontier_sheet
from .dots import asr_sheet, rank_sheet
from .drawing import Look, Sheet, style
from .e_pur import RankRow
from .effects import CLEAN_EXAMPLES, KEEP_RATIO, Effect
from .matched import Point
from .summary import Row, groups, place


@dataclass(frozen=True)
class Drawing:
    """
    A figure.

    Args:
        section (`str`): Name of the section that it belongs to.
        names (`tuple[str, ...]`): What its file is called after.
        title (`str`): What it shows.
        png (`bytes`): The image, 1200 pixels wide.
    """

    section: str
    names: tuple[str, ...]
    title: str
    png: bytes


def looks(entries: Sequence[Any]) -> dict[tuple[str, str], Look]:
    """Returns a look for each defence, by label and method, among rows or points of any kind."""
    found = {(entry.defense, entry.method): place(entry)[:-1] for entry in entries if entry.method}
    return {key: Look.of(number) for number, key in enumerate(sorted(found, key=found.__getitem__))}


def draw(
    overview: Sequence[Row],
    points: Sequence[Point],
    sizes: Sequence[Effect],
    ratios: Sequence[Effect],
    ranks: Sequence[RankRow],
) -> tuple[Drawing, ...]:
    """
    Draws everything that has data.

    Args:
        overview (`Sequence[Row]`): What [`~hf_finemix.laboratory.summary.overview`] returns.
        points (`Sequence[Point]`): What [`~hf_finemix.laboratory.matched.points`] returns of the main cells.
        sizes, ratios (`Sequence[Effect]`): The effects of the number of clean examples and of the reserve ratio.
        ranks (`Sequence[RankRow]`): The ranks of the triggers.
    """
    look, drawings = looks([*overview, *points, *sizes, *ratios]), []

    def add(section: str, names: Sequence[str], title: str, sheet: Sheet | None) -> None:
        if sheet is not None:
            drawings.append(Drawing(section, tuple(names), title, sheet.png()))

    with style():
        for (task, model), rows in groups(overview, lambda row: (row.task, row.model)).items():
            title = f"ASR: {task}, {model}"
            add("defences", ("asr", task, model), title, asr_sheet(title, rows, look))
            title = f"Accuracy against attack success: {task}, {model}"
            here = [point for point in points if (point.task, point.model) == (task, model)]
            add("frontier", ("frontier", task, model), title, frontier_sheet(title, here, rows, look))
        for effects, name, axis in (
            (sizes, CLEAN_EXAMPLES, "number of clean examples"),
            (ratios, KEEP_RATIO, "share that is kept"),
        ):
            for model, group in groups(effects, lambda effect: effect.model).items():
                title = f"ACC and ASR by {axis}: {model}"
                add(name, (name, model), title, effect_sheet(title, group, axis, look))
        for model, group in groups(ranks, lambda row: row.model).items():
            title = f"Rank of the triggers in E-PUR's list: {model}"
            add("ranks", ("ranks", model), title, rank_sheet(title, group))
    return tuple(drawings)
