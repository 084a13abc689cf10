"""Recipes as YAML: what a card shows, and `purify --recipe` reads back."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from .config import FineMixConfig
from .errors import InputError, nearest
from .masks import MASK_VERSION
from .results import Distillation, Recipe
from .serialization import read_yaml


# Of `purify`; compared with others in examples/benchmark/automatic.md.
DEFAULT_CONFIG = FineMixConfig(keep_ratio=0.1)
DEFAULT_DISTILLATION = Distillation()
DEFAULT_RECIPE = Recipe(epochs=2, learning_rate=1e-5, batch_size=8, max_length=128, frequencies="vocabulary", seed=0)
# Of the method as it is in the paper, where the labels alone have to bring accuracy back: mixing, then fine-tuning.
# Compared with others in examples/benchmark/recipe.md.
PLAIN_RECIPE = replace(DEFAULT_RECIPE, epochs=8, learning_rate=1e-4)
NO_DISTILLATION = Distillation(epochs=0)
# Of language models; compared with others in examples/benchmark/generator.md.
GENERATOR_CONFIG = FineMixConfig(keep_ratio=0.3)
GENERATOR_RECIPE = replace(DEFAULT_RECIPE, epochs=3, learning_rate=5e-5)

# The seed of the masks is called `seed`, too.
_TRAINING_SEED = "training_seed"
_DISTILLATION = "distillation_"
_LARGEST = 1 << 16


def usual_settings(answers: bool) -> tuple[FineMixConfig, Recipe, Distillation]:
    """Returns what `purify` does if nothing is said, to a language model or to a classifier."""
    if answers:
        return GENERATOR_CONFIG, GENERATOR_RECIPE, NO_DISTILLATION
    return DEFAULT_CONFIG, DEFAULT_RECIPE, DEFAULT_DISTILLATION


class _Dumper(yaml.SafeDumper):
    # One line for each string: a line of its own could end the code block that the text stands in.
    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if text.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def settings(
    config: FineMixConfig, recipe: Recipe, distillation: Distillation | None, mask_version: int
) -> dict[str, Any]:
    """Returns everything that the result of `purify` depends on, beside its inputs, as one flat dictionary."""
    fine_tuning = recipe.to_dict()
    fine_tuning[_TRAINING_SEED] = fine_tuning.pop("seed")
    steps = {} if distillation is None else distillation.to_dict()
    before = {f"{_DISTILLATION}{name}": value for name, value in steps.items()}
    return config.to_dict() | before | fine_tuning | {"mask_version": mask_version}


def to_yaml(content: dict[str, Any]) -> str:
    """Returns settings as YAML in their order, without a newline at the end."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=float("inf")).strip()


def full_name(error: Exception) -> str:
    """Returns what an error of [`Distillation`] says of a setting, with the name that it has among all settings."""
    return re.sub("^(`?)", rf"\1{_DISTILLATION}", str(error))


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d+e[+-]?\d+", value, re.IGNORECASE) is not None


def read_recipe(
    path: str | Path, config: FineMixConfig, recipe: Recipe, distillation: Distillation
) -> tuple[FineMixConfig, Recipe, Distillation]:
    """
    Reads a recipe that [`to_yaml`] wrote.

    Args:
        path (`str` or `Path`): The YAML file.
        config ([`FineMixConfig`]): What counts for settings that the file leaves out.
        recipe ([`~hf_finemix.results.Recipe`]): The same for the fine-tuning.
        distillation ([`~hf_finemix.results.Distillation`]):
            The same for the step before it. A file that leaves all of it out is of a release without that step.

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
    if not any(str(name).startswith(_DISTILLATION) for name in found):
        distillation = NO_DISTILLATION
    known = settings(config, recipe, distillation, MASK_VERSION)
    for name in found:
        if name not in known:
            raise InputError(f"{what} holds the unknown setting {name!r}{nearest(name, known)}")
    merged = known | found
    merged.pop("mask_version")
    mixing = {item.name: merged.pop(item.name) for item in fields(FineMixConfig)}
    merged["seed"] = merged.pop(_TRAINING_SEED)
    before = {item.name: merged.pop(f"{_DISTILLATION}{item.name}") for item in fields(Distillation)}
    for part in (mixing, merged, before):
        # To YAML, "1e-4" is no number without a point in it.
        part.update({name: float(value) for name, value in part.items() if _is_number(value)})
    try:
        config, recipe = FineMixConfig(**mixing), Recipe.from_dict(merged)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: {error}") from None
    try:
        return config, recipe, Distillation.from_dict(before)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: {full_name(error)}") from None
