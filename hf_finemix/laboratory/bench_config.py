"""Reads the configuration of a bench, and checks all of it before anything runs."""

import os
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..attacks.registered import ATTACKS
from ..config import check_integer
from ..defenses.registered import DEFENSES
from ..errors import InputError, nearest, reason
from ..recipes import PLAIN_RECIPE
from ..results import Recipe
from ..serialization import read_yaml, to_json
from ..tasks.task import load_task
from .base_models import load_base_model
from .grids import BenchConfig, Grid, Named
from .specs import CLEAN_TEXTS


SOURCES = ("vocabulary", "wordfreq")
_RECIPE_FIELDS = ("epochs", "learning_rate", "batch_size", "frequencies")
# Set for each cell by what it is about.
_GIVEN = ("target_label", "seed")
_LARGEST = 1 << 20


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
    frequencies = recipe.get("frequencies", PLAIN_RECIPE.frequencies)
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
        recipe=Recipe.from_dict(PLAIN_RECIPE.to_dict() | recipe),
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
