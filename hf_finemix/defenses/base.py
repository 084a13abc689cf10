"""What every defence is: weights that are changed, suspicious embeddings that are reset, and a fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..config import FineMixConfig, check_keep_ratio
from ..errors import InputError
from ..modeling import purify_embeddings_
from ..registry import Registry
from ..results import Recipe
from ..training import fine_tune
from ..twin import Twin


Setting = dict[str, float]


@dataclass
class DefenderView:
    """
    What a defender has, beside the suspect.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The suspect's tokenizer.
        clean ([`~datasets.Dataset`]): The few clean labelled examples.
        twin ([`~hf_finemix.twin.Twin`]): The suspect's pretrained weights.
        recipe ([`~hf_finemix.results.Recipe`]): How to fine-tune, the same for all defences.
        scores (`np.ndarray`): E-PUR scores of the suspect's word embeddings, shape (vocabulary,).
        others (`Sequence[PreTrainedModel]`, *optional*): Other fine-tuned models of the same architecture.
        progress (`str`, *optional*): Label of a progress bar on standard error; none without it.
        memory (`dict`, *optional*): What a defence computed on the suspect and needs again for its next setting. Made
            anew for each suspect and each defence.
        unlabeled ([`~datasets.Dataset`], *optional*): Clean texts of which the defender knows no label.
        frequencies (`np.ndarray`, *optional*): Count of each token, by which `scores` were taken.
    """

    tokenizer: PreTrainedTokenizerBase
    clean: Dataset
    twin: Twin
    recipe: Recipe
    scores: np.ndarray
    others: Sequence[PreTrainedModel] = ()
    progress: str | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    unlabeled: Dataset | None = None
    frequencies: np.ndarray | None = None


@dataclass(frozen=True)
class Defense:
    """
    A defence that changes the weights of a suspect.

    A subclass is a frozen dataclass with a `name`. It overrides [`Defense.alter`], and [`Defense.settings`] if it has
    a strength that can be chosen; one that trains in its own way overrides [`Defense.fine_tune`].
    """

    name: ClassVar[str]
    uses_others: ClassVar[bool] = False
    """Whether the defence needs `others` of [`DefenderView`]."""

    def __post_init__(self):
        if hasattr(self, "keep_ratios"):
            # YAML knows lists alone.
            if isinstance(self.keep_ratios, list):
                object.__setattr__(self, "keep_ratios", tuple(self.keep_ratios))
            check_ratios("keep_ratios", self.keep_ratios)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raises `InputError` if the defence cannot work with a recipe; by default, any will do."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings to choose from, strongest first. By default, one for each of `keep_ratios`, or only one."""
        if not hasattr(self, "keep_ratios"):
            return ({},)
        return tuple({"keep_ratio": ratio} for ratio in sorted(self.keep_ratios))

    def alter(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """
        Changes the weights of a suspect before it is fine-tuned; does nothing by default.

        Args:
            model ([`~transformers.PreTrainedModel`]): A copy of the suspect; changed in place.
            view ([`DefenderView`]): What else the defender has.
            setting (`dict[str, float]`): One of `settings`.
        """

    def fine_tune(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """Fine-tunes the altered model in place on the clean examples; takes what [`Defense.alter`] takes."""
        fine_tune(model, view.tokenizer, view.clean, view.recipe, progress=view.progress)

    def apply(self, model: PreTrainedModel, view: DefenderView, setting: Setting, e_pur: bool) -> None:
        """
        Runs the defence on a model, in place: alter, reset suspicious embeddings if asked to, fine-tune.

        Args:
            e_pur (`bool`):
                Whether to reset the highest of `view.scores`, which were taken from the suspect before it was altered,
                as embedding purification does (Zhang et al., Findings of EMNLP 2022).
            model, view, setting: As for [`Defense.alter`]. A defence that chooses by itself notes in `setting` what.
        """
        with torch.no_grad():
            self.alter(model, view, setting)
        if e_pur:
            purify_embeddings_(model, view.twin, FineMixConfig(), view.scores)
        self.fine_tune(model, view, setting)


def check_ratios(name: str, ratios: Any) -> None:
    """
    Refuses everything but one or more different shares from 0 to 1.

    Raises:
        InputError: If there is none, or a value is out of range or there twice.
    """
    if not isinstance(ratios, tuple) or not ratios or len(set(ratios)) < len(ratios):
        raise InputError(f"`{name}` is {ratios!r}, but must be a list of at least one ratio, all of them different.")
    for ratio in ratios:
        check_keep_ratio(ratio)


DEFENSES: Registry[Defense] = Registry("defense", Defense)


def register_defense(cls: type[Defense]) -> type[Defense]:
    """
    Makes a defence known to `bench`, under its `name`; fit for use as a decorator.

    Raises:
        InputError: If it is no subclass of [`Defense`], or its name is taken.
    """
    return DEFENSES.register(cls)
