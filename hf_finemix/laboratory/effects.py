"""How accuracy and attack success move with the reserve ratio and with the number of clean examples."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from .estimates import Estimate, grid_mean
from .matched import Point, points
from .results import Results
from .summary import groups, main_cells, place


KEEP_RATIO, CLEAN_EXAMPLES = "keep_ratio", "clean_examples"


@dataclass(frozen=True)
class Effect:
    """
    ACC and ASR of a defence under one attack at one value of a parameter, averaged over tasks.

    Args:
        parameter (`str`): `"keep_ratio"` or `"clean_examples"`.
        value (`float`): Its value.
        model, attack, defense, e_pur: As in [`CellRecord`].
        method (`str`): See [`~hf_finemix.laboratory.summary.method`].
        accuracy ([`Estimate`], *optional*): Accuracy on the test examples.
        asr ([`Estimate`], *optional*): Mean ASR.
        suspects (`int`): Number of suspects; the same ones at each value.
    """

    parameter: str
    value: float
    model: str
    attack: str
    defense: str
    method: str
    e_pur: bool
    accuracy: Estimate | None
    asr: Estimate | None
    suspects: int


def ratio_effects(results: Results) -> tuple[Effect, ...]:
    """Returns how ACC and ASR move with the reserve ratio; all settings of the main cells are looked at."""
    found = [p for p in points(main_cells(results)) if set(p.setting) == {KEEP_RATIO}]
    return _effects(KEEP_RATIO, found, lambda point: point.setting[KEEP_RATIO])


def size_effects(results: Results) -> tuple[Effect, ...]:
    """Returns how ACC and ASR of the chosen setting move with the number of clean examples."""
    found = [point for point in points(results.cells) if point.chosen]
    return _effects(CLEAN_EXAMPLES, found, lambda point: point.clean_examples)


def _effects(parameter: str, found: Sequence[Point], value: Callable[[Point], float]) -> tuple[Effect, ...]:
    rows = []
    for key, group in groups(found, lambda p: (p.model, p.attack, p.defense, p.method, p.e_pur)).items():
        by_value = {of: _by_suspect(items) for of, items in groups(group, value).items()}
        # Suspects that one value lacks would make the values incomparable.
        common = set.intersection(*map(set, by_value.values()))
        if len(by_value) < 2 or not common:
            continue
        for of, items in sorted(by_value.items()):
            means = [_mean(items, common, name) for name in ("accuracy", "asr")]
            rows.append(Effect(parameter, of, *key, *means, len(common)))
    return tuple(sorted(rows, key=lambda row: (row.model, row.attack, place(row), row.value)))


def _by_suspect(found: Sequence[Point]) -> dict[tuple[str, int], Point]:
    return {(point.task, point.seed): point for point in found}


def _mean(found: dict[tuple[str, int], Point], common: set, name: str) -> Estimate | None:
    values: dict[Hashable, dict[int, Any]] = {}
    for task, seed in sorted(common):
        values.setdefault(task, {})[seed] = getattr(found[task, seed], name)
    return grid_mean(values)


def mean_effects(effects: Sequence[Effect]) -> dict[tuple[str, str, str, bool], dict[float, tuple[float, float]]]:
    """
    Averages effects over the attacks that have all values.

    Returns:
        `dict`: For model, defence, method and E-PUR: mean ACC and mean ASR at each value, in its order.
    """
    found = {}
    for key, group in groups(effects, lambda e: (e.model, e.defense, e.method, e.e_pur)).items():
        known = [e for e in group if e.accuracy is not None and e.asr is not None]
        attacks = {attack: {e.value: e for e in items} for attack, items in groups(known, lambda e: e.attack).items()}
        most = max((set(values) for values in attacks.values()), key=len, default=set())
        full = [values for values in attacks.values() if set(values) == most]
        found[key] = {
            value: (fmean(of[value].accuracy.value for of in full), fmean(of[value].asr.value for of in full))
            for value in sorted(most)
        }
    return found
