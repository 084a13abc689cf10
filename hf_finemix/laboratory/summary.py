"""What a bench measured, summed up: figures of every task and attack, and averages over them."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..report import Evaluation
from .estimates import Estimate, Figures, grid_mean, over_triggers
from .records import CellRecord
from .results import Results


CLEAN_MODEL, SUSPECT, DEFENSE = "clean model", "suspect", "defense"
ROLES = (CLEAN_MODEL, SUSPECT, DEFENSE)
# In the order of the tables; others come last.
METHODS = (
    "none",
    "fine_tuning",
    "high_rate_fine_tuning",
    "fine_pruning",
    "fine_pruning_frozen",
    "max_entropy",
    "wag",
    "head_pruning",
    "fine_mixing",
    "fine_purifying",
)
# Of two equally common numbers of clean examples, the one nearer to this is the main one.
USUAL_CLEAN_EXAMPLES = 64

_T = TypeVar("_T")


@dataclass(frozen=True)
class Measured:
    """
    One model with its figures: the clean model, a suspect, or what a defence made of it.

    Args:
        task, model, attack, seed: As in [`CellRecord`].
        role (`str`): One of `ROLES`.
        defense (`str`): Label of the defence; otherwise the role.
        method (`str`): See [`method`]; empty without a defence.
        e_pur (`bool`): Whether suspicious embeddings were reset.
        evaluation ([`Evaluation`]): Figures on the test examples; of a defence, those of the chosen setting.
        within_margin (`bool`): Whether that setting kept the accuracy.
    """

    task: str
    model: str
    attack: str
    seed: int
    role: str
    defense: str
    method: str
    e_pur: bool
    evaluation: Evaluation
    within_margin: bool = True


@dataclass(frozen=True)
class Row:
    """
    One row of the overview: a model of some kind against one attack, over the seeds.

    Args:
        task, model, attack, role, defense, method, e_pur: As in [`Measured`].
        figures ([`Figures`]): The figures.
        seeds (`int`): Number of seeds.
        within_margin (`int`): In how many of them the chosen setting kept the accuracy.
    """

    task: str
    model: str
    attack: str
    role: str
    defense: str
    method: str
    e_pur: bool
    figures: Figures
    seeds: int
    within_margin: int


@dataclass(frozen=True)
class Average:
    """
    The figures of one defence, averaged over tasks and attacks.

    Args:
        model, role, defense, method, e_pur: As in [`Measured`].
        accuracy, asr, flip_rate, ra ([`Estimate`], *optional*): The averages.
        measured (`int`): Number of pairs of task and attack that were measured.
        planned (`int`): Number of pairs that have a suspect; if fewer were measured, the average does not compare.
    """

    model: str
    role: str
    defense: str
    method: str
    e_pur: bool
    accuracy: Estimate | None
    asr: Estimate | None
    flip_rate: Estimate | None
    ra: Estimate | None
    measured: int
    planned: int


def method(settings: dict[str, Any]) -> str:
    """Returns a defence's name, with its selection if that is not the paper's: `fine_mixing smallest_drift`."""
    name, selection = str(settings.get("name", "")), settings.get("selection", "random")
    return name if selection == "random" else f"{name} {selection}"


def place(entry: Any) -> tuple:
    """Sorts the defences of any table: usual ones in the usual order, then the others by name."""
    name = entry.method.split(" ")[0]
    number = METHODS.index(name) if name in METHODS else len(METHODS)
    role = ROLES.index(getattr(entry, "role", DEFENSE))
    return role, number, entry.method, entry.defense, getattr(entry, "e_pur", False)


def groups(items: Iterable[_T], key: Callable[[_T], Hashable]) -> dict[Any, list[_T]]:
    """Returns the items by key, keys in the order of their first item."""
    found: dict[Any, list[_T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def in_common(
    items: Iterable[_T], suspect: Callable[[_T], Hashable], defense: Callable[[_T], Hashable]
) -> set[Hashable]:
    """Returns the suspects that every defence was tried on; of no defence, none."""
    tried = [set(map(suspect, of)) for of in groups(items, defense).values()]
    return set.intersection(*tried) if tried else set()


def distinct(results: Results) -> Results:
    """
    Returns the results with one record of each suspect and cell, a finished one if there is any.

    There are several where a folder was extended by a configuration that differs in what the tables do not show, such
    as the recipe.
    """

    def first(records: Sequence[_T], key: Callable[[_T], Hashable]) -> tuple[_T, ...]:
        return tuple(min(of, key=lambda record: record.error is not None) for of in groups(records, key).values())

    return Results(
        results.config,
        first(results.suspects, lambda s: (s.task, s.model, s.attack, s.seed)),
        first(results.cells, identity),
        results.missing,
    )


def identity(cell: CellRecord) -> tuple:
    """Returns what tells a cell from the others: its suspect, its defence, the number of clean examples, E-PUR."""
    key = (cell.task, cell.model, cell.attack, cell.seed)
    return (*key, cell.defense, method(cell.settings), cell.clean_examples, cell.e_pur)


def main_cells(results: Results) -> tuple[CellRecord, ...]:
    """Returns the cells with each task's main number of clean examples: the one that most of its cells have."""
    by_task = groups(results.cells, lambda cell: (cell.task, cell.model))
    main = {}
    for key, cells in by_task.items():
        count = Counter(cell.clean_examples for cell in cells)
        main[key] = min(count, key=lambda number: (-count[number], abs(number - USUAL_CLEAN_EXAMPLES), number))
    return tuple(cell for cell in results.cells if cell.clean_examples == main[cell.task, cell.model])


def measured(results: Results) -> Iterator[Measured]:
    """Yields clean models, suspects and the outcomes of the main cells."""
    for item in results.suspects:
        for role, evaluation in ((CLEAN_MODEL, item.baseline), (SUSPECT, item.evaluation)):
            if evaluation is not None:
                yield Measured(item.task, item.model, item.attack, item.seed, role, role, "", False, evaluation)
    for cell in main_cells(results):
        if cell.result is not None:
            key = (cell.task, cell.model, cell.attack, cell.seed)
            names = (cell.defense, method(cell.settings), cell.e_pur)
            yield Measured(*key, DEFENSE, *names, cell.result.evaluation, cell.within_margin)


def overview(results: Results) -> tuple[Row, ...]:
    """Returns the figures of every task, model and attack: clean model, suspect, then the defences."""
    found = groups(
        measured(results), lambda m: (m.task, m.model, m.attack, m.role, m.defense, m.method, m.e_pur)
    ).items()
    rows = [
        Row(*key, Figures.of([m.evaluation for m in items]), len(items), sum(m.within_margin for m in items))
        for key, items in found
    ]
    return tuple(sorted(rows, key=lambda row: (row.task, row.model, row.attack, place(row))))


def averages(results: Results, *, shared: bool = False) -> tuple[Average, ...]:
    """
    Returns the mean figures of every defence over tasks and attacks, for each pretrained model.

    Args:
        results ([`Results`]): What was measured.
        shared (`bool`, *optional*, defaults to `False`): Average over those suspects alone that every defence of the
            model was run on, so that the rows compare.
    """
    items = list(measured(results))
    if shared:
        items = _of_shared_suspects(items)
    planned = {
        model: len({(m.task, m.attack) for m in items if m.model == model}) for model in {m.model for m in items}
    }
    rows = []
    for key, group in groups(items, lambda m: (m.model, m.role, m.defense, m.method, m.e_pur)).items():
        means = [_average(group, name) for name in ("accuracy", "asr", "flip_rate", "ra")]
        rows.append(Average(*key, *means, len({(m.task, m.attack) for m in group}), planned[key[0]]))
    return tuple(sorted(rows, key=lambda row: (row.model, place(row))))


def _of_shared_suspects(items: Sequence[Measured]) -> list[Measured]:
    kept = []
    for of_model in groups(items, lambda m: m.model).values():
        defended = (m for m in of_model if m.role == DEFENSE)
        common = in_common(defended, lambda m: (m.task, m.attack, m.seed), lambda m: (m.defense, m.method, m.e_pur))
        kept += [m for m in of_model if (m.task, m.attack, m.seed) in common]
    return kept


def _average(group: list[Measured], name: str) -> Estimate | None:
    values: dict[tuple[str, str], dict[int, float | None]] = {}
    for m in group:
        rate = m.evaluation.accuracy if name == "accuracy" else over_triggers(m.evaluation, name)
        values.setdefault((m.task, m.attack), {})[m.seed] = rate if isinstance(rate, float | None) else rate.value
    return grid_mean(values)
