"""The baselines without any change of weights before training: nothing at all, and fine-tuning."""

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from transformers import PreTrainedModel

from ..config import check_learning_rate
from ..errors import InputError
from ..results import Recipe
from ..training import fine_tune
from .base import DefenderView, Defense, Setting, register_defense


@register_defense
@dataclass(frozen=True)
class NoDefense(Defense):
    """The suspect as it is. With E-PUR, its suspicious embeddings are reset and nothing is trained."""

    name: ClassVar[str] = "none"

    def fine_tune(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """Does nothing."""


@register_defense
@dataclass(frozen=True)
class FineTuning(Defense):
    """Ordinary fine-tuning of all weights on the clean examples."""

    name: ClassVar[str] = "fine_tuning"


@register_defense
@dataclass(frozen=True)
class HighRateFineTuning(Defense):
    """
    Fine-tuning at higher learning rates, which forgets more.

    Args:
        factors (`tuple[float, ...]`, *optional*, defaults to `(10, 5, 2)`):
            By what the usual learning rate is multiplied; the largest that keeps accuracy is chosen.

    Raises:
        InputError: If there is no factor, or one is not above 1.
    """

    name: ClassVar[str] = "high_rate_fine_tuning"

    factors: tuple[float, ...] = (10, 5, 2)

    def __post_init__(self):
        super().__post_init__()
        listed = isinstance(self.factors, (list, tuple)) and self.factors
        if not listed or not all(isinstance(factor, (int, float)) and 1 < factor < inf for factor in self.factors):
            raise InputError(f"`factors` is {self.factors!r}, but must be a list of numbers above 1.")
        if len(set(self.factors)) < len(self.factors):
            raise InputError(f"`factors` is {list(self.factors)!r}, which names a factor twice.")
        object.__setattr__(self, "factors", tuple(self.factors))

    @property
    def settings(self) -> tuple[Setting, ...]:
        """One setting a factor, the largest first."""
        return tuple({"factor": factor} for factor in sorted(self.factors, reverse=True))

    def check_recipe(self, recipe: Recipe) -> None:
        """Raises `InputError` if a factor makes the learning rate too high."""
        for factor in self.factors:
            check_learning_rate(recipe.learning_rate * factor)

    def fine_tune(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """Fine-tunes at the usual learning rate times the factor."""
        recipe = replace(view.recipe, learning_rate=view.recipe.learning_rate * setting["factor"])
        fine_tune(model, view.tokenizer, view.clean, recipe, progress=view.progress)
