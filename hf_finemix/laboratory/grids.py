"""What a bench is to run: every combination of the listed tasks, models, attacks, defences and seeds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ..defenses.registered import DEFENSES
from ..errors import InputError
from ..recipes import PLAIN_RECIPE
from ..results import Recipe
from ..serialization import Record
from ..tasks.task import Task
from .base_models import BaseModel
from .specs import CLEAN_TEXTS, CellSpec, CleanSpec, SuspectSpec


@dataclass(frozen=True)
class Named(Record):
    """
    An attack or a defence with its settings.

    Args:
        label (`str`): What it is called in tables.
        settings (`dict[str, Any]`): Its fields, with its `name`.
    """

    label: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Grid(Record):
    """
    Every combination of the listed tasks, models, attacks, defences, seeds and sizes.

    Args:
        tasks (`tuple[Task, ...]`): The tasks.
        attacks (`tuple[Named, ...]`): The attacks.
        defenses (`tuple[Named, ...]`): The defences.
        models (`tuple[BaseModel, ...]`): The pretrained models.
        e_pur (`tuple[bool, ...]`): Without E-PUR, with it, or both.
        seeds (`tuple[int, ...]`): The seeds.
        clean_examples (`tuple[int, ...]`): Numbers of clean examples that the defender has.
        margin (`float`): How far below the suspect's accuracy on held-out clean examples a setting may be chosen.
        recipe ([`~hf_finemix.results.Recipe`]): How the defender fine-tunes.
        rank_by (`tuple[str, ...]`):
            By which token counts the rank of each trigger is recorded: sources that E-PUR knows, or `"clean texts"`,
            the held-out clean texts of the task.
        other_texts (`Task`, *optional*): The task whose texts attackers without data of their own take.
        others (`tuple[Task, ...]`, *optional*):
            The tasks whose clean models are the other fine-tuned models of a defender; by default, all tasks of the
            grid with as many labels.
    """

    tasks: tuple[Task, ...]
    attacks: tuple[Named, ...]
    defenses: tuple[Named, ...]
    models: tuple[BaseModel, ...]
    e_pur: tuple[bool, ...] = (False, True)
    seeds: tuple[int, ...] = (0,)
    clean_examples: tuple[int, ...] = (64,)
    margin: float = 0.03
    recipe: Recipe = PLAIN_RECIPE
    rank_by: tuple[str, ...] = ("vocabulary", CLEAN_TEXTS)
    other_texts: Task | None = None
    others: tuple[Task, ...] | None = None

    def cells(self) -> Iterable[CellSpec]:
        """Yields every cell, those of one suspect side by side."""
        for model, task, seed, attack in product(self.models, self.tasks, self.seeds, self.attacks):
            suspect = self._suspect(CleanSpec(task, model, seed), attack)
            recipe = replace(self.recipe, seed=seed, max_length=task.max_length)
            for size, defense, e_pur in product(self.clean_examples, self.defenses, self.e_pur):
                made = DEFENSES.make(defense.settings)
                made.check_recipe(recipe)
                others = self._others(suspect.clean) if made.uses_others else None
                if others == ():
                    raise InputError(
                        f"The defense {defense.label!r} needs other models than that of the task {task.name!r}; name "
                        "tasks as `others`."
                    )
                yield CellSpec(
                    suspect,
                    defense.label,
                    defense.settings,
                    e_pur,
                    size,
                    self.margin,
                    recipe,
                    others or (),
                )

    def _suspect(self, clean: CleanSpec, attack: Named) -> SuspectSpec:
        bare = SuspectSpec(clean, attack.label, attack.settings, rank_by=self.rank_by)
        if bare.make_attack().domain == "task":
            return bare
        if self.other_texts is None:
            raise InputError(f"The attack {attack.label!r} takes texts of another task; name it as `other_texts`.")
        if self.other_texts.source == clean.task.source:
            raise InputError(
                f"The attack {attack.label!r} on the task {clean.task.name!r} takes texts of another task, but "
                f"`other_texts` is {self.other_texts.name!r} with the same texts; name another one."
            )
        return replace(bare, other=self.other_texts)

    def _others(self, clean: CleanSpec) -> tuple[CleanSpec, ...]:
        tasks = self.others or [task for task in self.tasks if len(task.labels) == len(clean.task.labels)]
        return tuple(CleanSpec(task, clean.model, clean.seed) for task in tasks if task != clean.task)


@dataclass(frozen=True)
class BenchConfig(Record):
    """
    What a bench runs: the cells of all its grids, each once.

    Args:
        grids (`tuple[Grid, ...]`): The grids.
    """

    grids: tuple[Grid, ...]

    def cells(self) -> list[CellSpec]:
        """
        Returns the cells of all grids, each once, those of one suspect side by side.

        Raises:
            InputError: If two different tasks, models, attacks or defences have one name, or there is no cell.
        """
        cells = {cell.id: cell for grid in self.grids for cell in grid.cells()}
        if not cells:
            raise InputError("The configuration has no cell: each list needs at least one entry.")
        order: dict[str, list[CellSpec]] = {}
        for cell in cells.values():
            order.setdefault(cell.suspect.id, []).append(cell)
        used = [
            task
            for c in cells.values()
            for task in (c.suspect.clean.task, c.suspect.other, *(other.task for other in c.others))
            if task is not None
        ]
        _check_labels([("task", task.name, task) for task in used])
        _check_labels([("model", c.suspect.clean.model.name, c.suspect.clean.model) for c in cells.values()])
        _check_labels([("attack", c.suspect.label, c.suspect.attack) for c in cells.values()])
        _check_labels([("defense", c.label, c.defense) for c in cells.values()])
        return [cell for group in order.values() for cell in group]


def _check_labels(items: list[tuple[str, str, Any]]) -> None:
    seen: dict[str, Any] = {}
    for kind, label, content in items:
        if seen.setdefault(label, content) != content:
            raise InputError(f"Two different {kind}s are called {label!r}; give one of them another name or `label`.")
