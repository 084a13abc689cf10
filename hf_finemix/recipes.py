"""Recipes as YAML: what a card shows, and `purify --recipe` reads back."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from .config import FineMixConfig
from .errors import InputError, nearest
from .masks import MASK_VERSION
from .results import Recipe
from .serialization import read_yaml


# Compared with others on several suspects: examples/benchmark/recipe.md.
DEFAULT_RECIPE = Recipe(epochs=8, learning_rate=1e-4, batch_size=8, max_length=128, frequencies="vocabulary", seed=0)

# The seed of the masks is called `seed`, too.
_TRAINING_SEED = "training_seed"
_LARGEST = 1 << 16


class _Dumper(yaml.SafeDumper):
    # One line for each string: a line of its own could end the code block that the text stands in.
    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if text.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def settings(config: FineMixConfig, recipe: Recipe, mask_version: int) -> dict[str, Any]:
    """Returns everything that the result of `purify` depends on, beside its inputs, as one flat dictionary."""
    fine_tuning = recipe.to_dict()
    fine_tuning[_TRAINING_SEED] = fine_tuning.pop("seed")
    return config.to_dict() | fine_tuning | {"mask_version": mask_version}


def to_yaml(content: dict[str, Any]) -> str:
    """Returns settings as YAML in their order, without a newline at the end."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=float("inf")).strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d+e[+-]?\d+", value, re.IGNORECASE) is not None


def read_recipe(path: str | Path, config: FineMixConfig, recipe: Recipe) -> tuple[FineMixConfig, Recipe]:
    """
    Reads a recipe that [`to_yaml`] wrote.

    Args:
        path (`str` or `Path`): The YAML file.
        config ([`FineMixConfig`]): What counts for settings that the file leaves out.
        recipe ([`~hf_finemix.results.Recipe`]): The same for the fine-tuning.

    Raises:
        InputError: If the file cannot be read, a setting is unknown or out of range, or the masks of this release
            are not those of the recipe.
    """
    what = f"--recipe {str(path)!r}"
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise InputError(f"{what} is larger than any recipe.")
        found = read_yaml(text)
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{what} is no readable YAML.") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}.") from None
    if not isinstance(found, dict):
        raise InputError(f"{what} holds no settings; paste the YAML block of a card.")
    version = found.pop("mask_version", MASK_VERSION)
    if version != MASK_VERSION:
        raise InputError(f"{what} is of mask version {version!r}, but this release draws version {MASK_VERSION}.")
    known = settings(config, recipe, MASK_VERSION)
    for name in found:
        if name not in known:
            raise InputError(f"{what} holds the unknown setting {name!r}{nearest(name, known)}")
    merged = known | found
    merged.pop("mask_version")
    mixing = {item.name: merged.pop(item.name) for item in fields(FineMixConfig)}
    merged["seed"] = merged.pop(_TRAINING_SEED)
    for part in (mixing, merged):
        # To YAML, "1e-4" is no number without a point in it.
        part.update({name: float(value) for name, value in part.items() if _is_number(value)})
    try:
        return FineMixConfig(**mixing), Recipe.from_dict(merged)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: {error}") from None
