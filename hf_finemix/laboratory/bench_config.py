"""The configuration of a bench: grids of tasks, models, attacks, defences and seeds, checked before anything runs."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from ..attacks.registered import ATTACKS
from ..config import check_integer
from ..defenses.registered import DEFENSES
from ..errors import InputError, nearest, reason
from ..recipes import DEFAULT_RECIPE
from ..results import Recipe
from ..serialization import Record, read_yaml, to_json
from ..tasks.task import Task, load_task
from .base_models import BaseModel, load_base_model
from .specs import CLEAN_TEXTS, CellSpec, CleanSpec, SuspectSpec


SOURCES = ("vocabulary", "wordfreq")
_RECIPE_FIELDS = ("epochs", "learning_rate", "batch_size", "frequencies")
# Set for each cell by what it is about.
_GIVEN = ("target_label", "seed")
_LARGEST = 1 << 20


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
    recipe: Recipe = DEFAULT_RECIPE
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


def read_bench_config(source: str | Path | dict[str, Any]) -> BenchConfig:
    """
    Reads the configuration of a bench.

    Args:
        source (`str`, `Path` or `dict`): A YAML file, or its content. See README.md for the fields. Fields at the top
            level are defaults for each entry of `grids`; without `grids`, they are the only grid.

    Raises:
        InputError: If it cannot be read; a field, attack, defence, task or model is unknown; a value is out of range.
    """
    if isinstance(source, dict):
        what, found = "The configuration", source
    else:
        what, found = f"{str(source)!r}", _read(Path(source))
    if not isinstance(found, dict):
        raise InputError(f"{what} holds no settings; see README.md for an example.")
    shared = {key: value for key, value in found.items() if key != "grids"}
    grids = found.get("grids", [{}])
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise InputError(f"{what}: `grids` must be a list of settings.")
    try:
        config = BenchConfig(tuple(_grid(shared | grid) for grid in grids))
        config.cells()
        # What is no JSON (NaN, infinity, half a character) is refused here, and not when it is to be written.
        to_json(config.to_dict()).encode()
    except (TypeError, ValueError, OSError) as error:
        raise InputError(f"{what}: {reason(error, 500)}") from None
    return config


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{str(path)!r} is larger than any configuration.")
        return read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no readable YAML ({error}).") from None


def _grid(found: dict[str, Any]) -> Grid:
    known = list(Grid.__dataclass_fields__)
    for key in found:
        if key not in known:
            raise InputError(f"unknown field {key!r}{nearest(key, known)}")
    for key in ("tasks", "attacks", "defenses"):
        if key not in found:
            raise InputError(f"`{key}` is missing; give a list.")
    recipe = found.get("recipe", {})
    _check_names("recipe", recipe, _RECIPE_FIELDS)
    if isinstance(recipe.get("learning_rate"), str):
        # To YAML, "1e-4" is no number without a point in it.
        recipe = recipe | {"learning_rate": float(recipe["learning_rate"])}
    frequencies = recipe.get("frequencies", DEFAULT_RECIPE.frequencies)
    if isinstance(frequencies, str) and not os.path.isfile(frequencies):
        _check_source("`frequencies` of `recipe`", frequencies)
    margin = found.get("margin", Grid.margin)
    if not isinstance(margin, (int, float)) or isinstance(margin, bool) or not 0 <= margin < 1:
        raise InputError(f"`margin` is {margin!r}, but must be a share of the examples, from 0 to below 1.")
    for key, low in (("seeds", 0), ("clean_examples", 2)):
        for value in _list(found, key, getattr(Grid, key)):
            check_integer(key, value, low)
    e_pur = _list(found, "e_pur", Grid.e_pur)
    if not all(isinstance(value, bool) for value in e_pur):
        raise InputError(f"`e_pur` is {list(e_pur)!r}, but must be a list of true and false.")
    return Grid(
        tasks=tuple(load_task(str(name)) for name in _list(found, "tasks")),
        attacks=tuple(_named(item, "attack") for item in _list(found, "attacks")),
        defenses=tuple(_named(item, "defense") for item in _list(found, "defenses")),
        models=tuple(load_base_model(str(name)) for name in _list(found, "models", ("minilm",))),
        e_pur=e_pur,
        seeds=_list(found, "seeds", Grid.seeds),
        clean_examples=_list(found, "clean_examples", Grid.clean_examples),
        margin=float(margin),
        recipe=Recipe.from_dict(DEFAULT_RECIPE.to_dict() | recipe),
        rank_by=_sources(found),
        other_texts=load_task(str(found["other_texts"])) if "other_texts" in found else None,
        others=tuple(load_task(str(name)) for name in _list(found, "others")) if "others" in found else None,
    )


def _list(found: dict[str, Any], key: str, default: tuple = ()) -> tuple:
    values = found.get(key, default)
    if not isinstance(values, (list, tuple)):
        values = (values,)
    if not values or any(value in values[:place] for place, value in enumerate(values)):
        raise InputError(f"`{key}` is {list(values)!r}, but must be a list of at least one entry, none of them twice.")
    return tuple(values)


def _sources(found: dict[str, Any]) -> tuple[str, ...]:
    sources = _list(found, "rank_by", Grid.rank_by)
    for source in sources:
        _check_source("`rank_by`", source, (*SOURCES, CLEAN_TEXTS))
    return sources


def _check_source(what: str, source: Any, known: Sequence[str] = SOURCES) -> None:
    if source == "wordfreq" and find_spec("wordfreq") is None:
        raise InputError(f"{what} names 'wordfreq', which needs `pip install hf-finemix[wordfreq]`.")
    if source not in known:
        raise InputError(f"{what} names {source!r}{nearest(source, known)}")


def _named(item: Any, kind: str) -> Named:
    registry = ATTACKS if kind == "attack" else DEFENSES
    settings = {"name": item} if isinstance(item, str) else item
    if not isinstance(settings, dict) or "name" not in settings:
        raise InputError(f"an entry of `{kind}s` is {item!r}, but must be a name, or settings with a `name`.")
    settings = dict(settings)
    label = settings.pop("label", settings["name"])
    if not isinstance(label, str) or not label.strip():
        raise InputError(f"`label` is {label!r}, but must be a text.")
    for key in _GIVEN if kind == "attack" else ():
        if key in settings:
            raise InputError(f"`{key}` of the attack {label!r} comes from the task and from `seeds`; leave it out.")
    registry.make(settings)
    return Named(label, settings)


def _check_names(what: str, found: Any, known: Iterable[str]) -> None:
    if not isinstance(found, dict):
        raise InputError(f"`{what}` is {found!r}, but must hold settings.")
    for key in found:
        if key not in known:
            raise InputError(f"`{what}` has no field {key!r}{nearest(key, known)}")
