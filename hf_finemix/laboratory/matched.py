"""Accuracy against attack success: the frontier of every defence, and its ASR at matched accuracy."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .estimates import TINY, Estimate, grid_mean
from .records import CandidateRecord, CellRecord
from .results import Results
from .summary import groups, in_common, main_cells, method, place


MARGINS = (0.01, 0.02, 0.03, 0.05)


@dataclass(frozen=True)
class Point:
    """
    One setting of a defence on one suspect.

    Args:
        task, model, attack, seed, defense, e_pur, clean_examples: As in [`CellRecord`].
        method (`str`): See [`~hf_finemix.laboratory.summary.method`].
        setting (`dict[str, float]`): The setting.
        chosen (`bool`): Whether it was chosen on the held-out clean examples.
        frontier (`bool`): Whether no other setting of the same cell is as good in both ACC and ASR and better in one.
        validation (`float`, *optional*): Accuracy on the held-out clean examples.
        accuracy (`float`, *optional*): Accuracy on the test examples.
        asr (`float`, *optional*): Mean attack success rate.
    """

    task: str
    model: str
    attack: str
    seed: int
    defense: str
    method: str
    e_pur: bool
    clean_examples: int
    setting: dict[str, float]
    chosen: bool
    frontier: bool
    validation: float | None
    accuracy: float | None
    asr: float | None

    @property
    def setting_text(self) -> str:
        """The setting as text, such as `keep_ratio 0.3`."""
        return ", ".join(f"{name} {value:g}" for name, value in self.setting.items())


@dataclass(frozen=True)
class Match:
    """
    The lowest ASR that a defence reaches on one suspect without losing more accuracy than a margin.

    Args:
        task, model, attack, seed, defense, e_pur: As in [`CellRecord`].
        method (`str`): See [`~hf_finemix.laboratory.summary.method`].
        margin (`float`): How much test accuracy may be lost, against the suspect.
        floor (`float`): The accuracy that must be kept.
        accuracy (`float`, *optional*): Test accuracy of the setting with the lowest ASR; `None` if none keeps it.
        asr (`float`, *optional*): Its mean ASR.
        suspect_asr (`float`): The suspect's mean ASR, which is what a defender has who must keep that accuracy.
    """

    task: str
    model: str
    attack: str
    seed: int
    defense: str
    method: str
    e_pur: bool
    margin: float
    floor: float
    accuracy: float | None
    asr: float | None
    suspect_asr: float


@dataclass(frozen=True)
class MatchedRow:
    """
    A defence's ASR at matched accuracy on one task, averaged over the attacks.

    Args:
        task, model, defense, method, e_pur, margin: As in [`Match`].
        asr ([`Estimate`], *optional*): The average; `None` unless the defence was tried on every suspect. On those
            on which no setting keeps the accuracy, the suspect's own ASR counts.
        reached (`int`): Number of suspects on which the accuracy is kept.
        tried (`int`): Number of suspects on which the defence was tried.
        suspects (`int`): Number of suspects that are looked at.
        lowest (`bool`): Whether no other defence has a lower ASR, among those with E-PUR or those without it. Having
            no defence does not count.
    """

    task: str
    model: str
    defense: str
    method: str
    e_pur: bool
    margin: float
    asr: Estimate | None
    reached: int
    tried: int
    suspects: int
    lowest: bool


def points(cells: Sequence[CellRecord]) -> tuple[Point, ...]:
    """Returns all settings of all cells, sorted like the tables; those of one cell stay in their order."""
    rows = []
    for cell in cells:
        key = (cell.task, cell.model, cell.attack, cell.seed, cell.defense, method(cell.settings), cell.e_pur)
        for number, candidate in enumerate(cell.candidates):
            evaluation = candidate.evaluation
            on_frontier = not any(_better(other, candidate) for other in cell.candidates)
            figures = (candidate.validation.value, evaluation.accuracy.value, evaluation.mean_asr)
            chosen = number == cell.chosen
            rows.append(Point(*key, cell.clean_examples, candidate.setting, chosen, on_frontier, *figures))
    return tuple(
        sorted(rows, key=lambda p: (p.task, p.model, p.attack, p.clean_examples, place(p), p.seed)),
    )


def _better(one: CandidateRecord, other: CandidateRecord) -> bool:
    ours, theirs = ((candidate.evaluation.accuracy.value, candidate.evaluation.mean_asr) for candidate in (one, other))
    if None in (*ours, *theirs):
        return False
    return ours != theirs and ours[0] >= theirs[0] and ours[1] <= theirs[1]


def main_margin(results: Results) -> float:
    """Returns the margin by which most settings of the bench were chosen."""
    count = Counter(cell.margin for cell in results.cells)
    return max(count, key=lambda margin: (count[margin], -margin), default=MARGINS[0])


def matches(results: Results, margins: Sequence[float] = MARGINS) -> tuple[Match, ...]:
    """
    Returns for every main cell the lowest mean ASR whose test accuracy is at least the suspect's minus a margin.

    All settings are looked at, not only the chosen one: this asks what a defence could reach. A defender, who has no
    test examples and no trigger, could not choose that way.

    Args:
        results ([`Results`]): What was measured.
        margins (`Sequence[float]`, *optional*): How much accuracy may be lost, as shares. That of the bench is always
            among them.
    """
    margins = sorted({*margins, main_margin(results)})
    suspects = {(s.task, s.model, s.attack, s.seed): s.evaluation for s in results.suspects if s.evaluation}
    rows = []
    for cell in main_cells(results):
        key = (cell.task, cell.model, cell.attack, cell.seed)
        suspect = suspects.get(key)
        if suspect is None or suspect.accuracy.value is None or suspect.mean_asr is None or not cell.candidates:
            continue
        for margin in margins:
            floor = suspect.accuracy.value - margin
            found = [
                (candidate.evaluation.mean_asr, -candidate.evaluation.accuracy.value)
                for candidate in cell.candidates
                if candidate.evaluation.mean_asr is not None and candidate.evaluation.accuracy.value >= floor - TINY
            ]
            asr, accuracy = min(found, default=(None, None))
            names = (cell.defense, method(cell.settings), cell.e_pur)
            accuracy = None if accuracy is None else -accuracy
            rows.append(Match(*key, *names, margin, floor, accuracy, asr, suspect.mean_asr))
    return tuple(sorted(rows, key=lambda m: (m.task, m.model, m.attack, m.margin, place(m), m.seed)))


def matched_rows(found: Sequence[Match]) -> tuple[MatchedRow, ...]:
    """
    Averages matches over the attacks of each task, and says which defence is lowest.

    Only those suspects are looked at that every defence of the task was tried on, if there is one.
    """
    rows = []
    for (task, model, margin), group in groups(found, lambda m: (m.task, m.model, m.margin)).items():
        defended = (m for m in group if m.method != "none")
        common = in_common(defended, lambda m: (m.attack, m.seed), lambda m: (m.defense, m.method, m.e_pur))
        group = [m for m in group if not common or (m.attack, m.seed) in common]
        suspects = len({(m.attack, m.seed) for m in group})
        averaged = []
        for key, items in groups(group, lambda m: (m.defense, m.method, m.e_pur)).items():
            reached = sum(m.asr is not None for m in items)
            attacks = groups(items, lambda m: m.attack).values()
            mean = grid_mean(
                {of[0].attack: {m.seed: m.suspect_asr if m.asr is None else m.asr for m in of} for of in attacks}
            )
            averaged.append((key, mean if len(items) == suspects else None, reached, len(items)))
        best = {}
        for (_, name, e_pur), mean, reached, _ in averaged:
            if mean is not None and reached and name != "none":
                best[e_pur] = min(best.get(e_pur, mean.value), mean.value)
        for (defense, name, e_pur), mean, reached, tried in averaged:
            counts = (reached, tried, suspects)
            lowest = mean is not None and reached > 0 and name != "none" and mean.value <= best[e_pur] + TINY
            rows.append(MatchedRow(task, model, defense, name, e_pur, margin, mean, *counts, lowest))
    return tuple(sorted(rows, key=lambda row: (row.task, row.model, row.margin, place(row))))
