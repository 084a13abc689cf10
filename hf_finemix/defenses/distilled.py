"""Our own defences: mixing that the suspect's answers on clean texts make good, and the same with a chosen ratio."""

from dataclasses import dataclass, replace
from typing import ClassVar

from transformers import PreTrainedModel

from ..choices import SELECTIONS
from ..config import FineMixConfig, check_integer
from ..errors import InputError
from ..recipes import DEFAULT_DISTILLATION, DEFAULT_RECIPE
from ..results import Distillation, Recipe
from ..search import search
from ..treatment import Materials, treat_
from .base import DefenderView, Defense, Setting, register_defense


@dataclass(frozen=True)
class _Distilling(Defense):
    """
    What both defences have in common.

    Args:
        selection (`str`, *optional*, defaults to `"random"`): As for [`FineMixConfig`].
        unlabeled (`int`, *optional*, defaults to 1000):
            Clean texts without labels that the defender has, as far as the task has so many; 0 for none.
        epochs, learning_rate, temperature, candidates: As for [`~hf_finemix.results.Distillation`].
        label_epochs (`int`, *optional*), label_learning_rate (`float`, *optional*):
            Of the fine-tuning on the labelled examples after it; by default those of `purify`, whatever the bench's.

    Raises:
        InputError: If a value is out of range.
    """

    selection: str = "random"
    unlabeled: int = 1000
    epochs: int = DEFAULT_DISTILLATION.epochs
    learning_rate: float = DEFAULT_DISTILLATION.learning_rate
    temperature: float = DEFAULT_DISTILLATION.temperature
    candidates: int = DEFAULT_DISTILLATION.candidates
    label_epochs: int = DEFAULT_RECIPE.epochs
    label_learning_rate: float = DEFAULT_RECIPE.learning_rate

    def __post_init__(self):
        super().__post_init__()
        if self.selection not in SELECTIONS:
            raise InputError(f"`selection` is {self.selection!r}, but must be one of {', '.join(SELECTIONS)}.")
        check_integer("unlabeled", self.unlabeled, 0)
        _ = self.distillation  # checks its settings
        self._recipe(DEFAULT_RECIPE)

    @property
    def distillation(self) -> Distillation:
        """Settings of the distillation."""
        return replace(
            DEFAULT_DISTILLATION,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            temperature=self.temperature,
            candidates=self.candidates,
        )

    def apply(self, model: PreTrainedModel, view: DefenderView, setting: Setting, e_pur: bool) -> None:
        """Purifies the model as [`purify`] does."""
        unlabeled = None
        if self.unlabeled and view.unlabeled is not None and len(view.unlabeled):
            unlabeled = view.unlabeled.select(range(min(self.unlabeled, len(view.unlabeled))))
        materials = Materials(view.tokenizer, view.twin, view.clean, unlabeled, view.frequencies)
        top_k = FineMixConfig().purify_top_k if e_pur else 0
        config = FineMixConfig(selection=self.selection, seed=view.recipe.seed, purify_top_k=top_k)
        recipe = self._recipe(view.recipe)
        config = self.choose(model, materials, config, setting, recipe)
        setting["keep_ratio"] = config.keep_ratio
        treat_(model, materials, config, recipe, self.distillation)

    def choose(
        self,
        model: PreTrainedModel,
        materials: Materials,
        config: FineMixConfig,
        setting: Setting,
        recipe: Recipe,
    ) -> FineMixConfig:
        """Returns the settings with the reserve ratio to take: by default that of `setting`."""
        return replace(config, keep_ratio=setting["keep_ratio"])

    def _recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, epochs=self.label_epochs, learning_rate=self.label_learning_rate)


@register_defense
@dataclass(frozen=True)
class DistilledMixing(_Distilling):
    """
    Mixes the suspect with its pretrained weights, then teaches the result by the suspect's answers on clean texts.

    The distillation is ours; the mixing is that of "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models"
    (Zhang et al., Findings of EMNLP 2022).

    Args:
        keep_ratios (`tuple[float, ...]`, *optional*): The reserve ratios to choose from.
        kwargs: See the settings of [`Automatic`].
    """

    name: ClassVar[str] = "distilled_mixing"

    keep_ratios: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5)


@register_defense
@dataclass(frozen=True)
class Automatic(_Distilling):
    """
    The same with the reserve ratio that `purify --keep-ratio auto` chooses: by the defender's own examples alone.

    Args:
        kwargs: See above.
    """

    name: ClassVar[str] = "automatic"

    def choose(
        self,
        model: PreTrainedModel,
        materials: Materials,
        config: FineMixConfig,
        setting: Setting,
        recipe: Recipe,
    ) -> FineMixConfig:
        """Searches for the ratio."""
        return search(model, materials, config, recipe, self.distillation)[0]
