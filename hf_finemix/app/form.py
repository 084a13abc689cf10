"""What stands in the fields of the page, checked before it is used."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..attacks.trigger import Trigger
from ..choices import POSITIONS
from ..config import FineMixConfig
from ..errors import InputError
from ..labels import find_label
from ..recipes import usual_settings
from ..results import Distillation, Recipe
from .inputs import TEXT_TYPES, check_model, columns, take_upload
from .settings import AppSettings


_LONGEST = 2000
_MOST_PASSES = 50
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Form:
    """The fields as the browser sends them, in the order of the page: anything may be in them."""

    suspect: Any
    pretrained: Any
    clean: Any
    evaluation: Any
    unlabeled: Any
    trigger: Any
    target: Any
    place: Any
    keep_ratio: Any
    auto: Any
    epochs: Any
    distillation_epochs: Any
    seed: Any
    text_columns: Any
    label_column: Any

    def models(self, settings: AppSettings) -> tuple[str, str]:
        """
        Returns the names of suspect and base.

        Raises:
            InputError: If one of them cannot be used.
        """
        suspect = check_model(_text(self.suspect, "Suspect"), "Suspect", settings)
        return suspect, check_model(_text(self.pretrained, "Base"), "Base", settings)

    def files(self, folder: Path, settings: AppSettings) -> dict[str, Path | None]:
        """
        Copies the uploads into a folder.

        Returns:
            `dict[str, Path | None]`: The copies `clean`, `evaluation` and `unlabeled`, `None` where there is none.

        Raises:
            InputError: If one of them cannot be used.
        """
        options = {"folder": folder, "settings": settings}
        return {
            "clean": take_upload(self.clean, "Clean examples", "clean", **options),
            "evaluation": take_upload(self.evaluation, "Evaluation data", "evaluation", **options),
            "unlabeled": take_upload(self.unlabeled, "Unlabelled texts", "unlabeled", **options, types=TEXT_TYPES),
        }

    @property
    def columns(self) -> dict[str, Any]:
        """The names of the columns, as the library takes them."""
        label = _text(self.label_column, "Label column").strip() or None
        return {"text_columns": columns(_text(self.text_columns, "Text column")), "label_column": label}

    def recipe(self) -> tuple[FineMixConfig, Recipe, Distillation]:
        """
        Returns the settings of a purification.

        Raises:
            InputError: If a number is none, or out of range.
        """
        config, recipe, distillation = usual_settings(False)
        seed = _integer(self.seed, "Seed", 0, _LARGEST_SEED)
        ratio = _number(self.keep_ratio, "Share to keep")
        if not 0 <= ratio <= 1:
            raise InputError(f"Share to keep is {ratio:g}, but must be a number from 0 to 1.")
        epochs = _integer(self.epochs, "Passes of fine-tuning", 1, _MOST_PASSES)
        passes = _integer(self.distillation_epochs, "Passes of distillation", 0, _MOST_PASSES)
        return (
            replace(config, keep_ratio=ratio, seed=seed),
            replace(recipe, epochs=epochs, seed=seed),
            replace(distillation, epochs=passes),
        )

    def triggers(self, label2id: dict[str, int], num_labels: int, *, measured: bool) -> list[Trigger]:
        """
        Returns the trigger to measure, if there is one.

        Args:
            label2id (`dict[str, int]`): The suspect's labels.
            num_labels (`int`): Their number.
            measured (`bool`): Whether there are examples to measure it on.

        Raises:
            InputError: If there are none, or there is no label that it aims at.
        """
        text, target = _text(self.trigger, "Trigger").strip(), _text(self.target, "Target label").strip()
        if not text:
            return []
        if not measured:
            raise InputError("Trigger needs evaluation data to be measured on; upload some, or leave it empty.")
        if not target:
            raise InputError("Trigger needs the target label that it is meant to cause.")
        if self.place not in POSITIONS:
            raise InputError(f"Place of the trigger must be one of {', '.join(POSITIONS)}.")
        return [Trigger(text, find_label(target, label2id, num_labels, "Target label"), self.place)]


def _text(value: Any, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise InputError(f"{field} is no text of at most {_LONGEST:,} characters.")
    return value


def _number(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{field} is empty or no number.")
    return value


def _integer(value: Any, field: str, low: int, high: int) -> int:
    number = _number(value, field)
    if number != int(number) or not low <= number <= high:
        raise InputError(f"{field} is {number:g}, but must be a whole number from {low} to {high}.")
    return int(number)
