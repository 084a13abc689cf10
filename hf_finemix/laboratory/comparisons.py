"""McNemar's test of the best defence against its best rival, on each suspect."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rates import mcnemar
from .records import CellRecord
from .results import Results
from .summary import groups, main_cells


@dataclass(frozen=True)
class Comparison:
    """
    The defence with the lowest ASR on one suspect, against the lowest one of another kind.

    Args:
        task, model, attack, seed: As in [`CellRecord`].
        best (`str`): Label of the best defence.
        best_e_pur (`bool`): Whether it is with E-PUR.
        best_asr (`float`): Its mean ASR.
        rival (`str`): Label of the rival.
        rival_e_pur (`bool`): Whether it is with E-PUR.
        rival_asr (`float`): Its mean ASR.
        triggered (`dict`, *optional*):
            What [`~hf_finemix.rates.mcnemar`] returns of the examples with the first trigger; `b` are those that only
            the best defence gives the target label, `c` those that only the rival does. `None` without outcomes.
        clean (`dict`, *optional*): The same of the clean examples; `b` are those that only the best gets right.
    """

    task: str
    model: str
    attack: str
    seed: int
    best: str
    best_e_pur: bool
    best_asr: float
    rival: str
    rival_e_pur: bool
    rival_asr: float
    triggered: dict[str, Any] | None
    clean: dict[str, Any] | None


def comparisons(results: Results) -> tuple[Comparison, ...]:
    """
    Compares, on each suspect, the best of the main cells with its best rival of another name.

    Best is the lowest ASR of a chosen setting that keeps the accuracy within the margin; of equals, the more accurate.
    """
    rows = []
    fit = [c for c in main_cells(results) if c.result is not None and c.within_margin and _asr(c) is not None]
    for key, cells in groups(fit, lambda cell: (cell.task, cell.model, cell.attack, cell.seed)).items():
        ranked = sorted(cells, key=_rank)
        best = ranked[0]
        rival = next((c for c in ranked if c.settings.get("name") != best.settings.get("name")), None)
        if rival is not None:
            tests = [_test(best, rival, name) for name in ("trigger 0", "clean")]
            sides = [(cell.defense, cell.e_pur, _asr(cell)) for cell in (best, rival)]
            rows.append(Comparison(*key, *sides[0], *sides[1], *tests))
    return tuple(sorted(rows, key=lambda row: (row.task, row.model, row.attack, row.seed)))


def _asr(cell: CellRecord) -> float | None:
    return cell.result.evaluation.mean_asr


def _rank(cell: CellRecord) -> tuple:
    return _asr(cell), -(cell.result.evaluation.accuracy.value or 0.0), cell.defense, cell.e_pur


def _test(best: CellRecord, rival: CellRecord, name: str) -> dict[str, Any] | None:
    one, two = best.outcomes.get(name), rival.outcomes.get(name)
    if not one or not two or len(one) != len(two):
        return None
    return mcnemar(*(np.array([digit == "1" for digit in text]) for text in (one, two)))
