"""Fine-mixing with each of its selections, as a defence to compare with others."""

from dataclasses import dataclass
from typing import ClassVar

from transformers import PreTrainedModel

from ..choices import SELECTIONS
from ..config import FineMixConfig
from ..errors import InputError
from ..modeling import fine_mix_
from .base import DefenderView, Defense, Setting, register_defense


@register_defense
@dataclass(frozen=True)
class FineMixing(Defense):
    """
    Mixes the suspect with its pretrained weights, then fine-tunes.

    From "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al., Findings of EMNLP 2022),
    whose selection is `"random"`.

    Args:
        selection (`str`, *optional*, defaults to `"random"`): As for [`FineMixConfig`].
        keep_ratios (`tuple[float, ...]`, *optional*): The reserve ratios to choose from.

    Raises:
        InputError: If the selection is unknown or a ratio is out of range.
    """

    name: ClassVar[str] = "fine_mixing"

    selection: str = "random"
    keep_ratios: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)

    def __post_init__(self):
        super().__post_init__()
        if self.selection not in SELECTIONS:
            raise InputError(f"`selection` is {self.selection!r}, but must be one of {', '.join(SELECTIONS)}.")

    def alter(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """Mixes the model with the pretrained weights."""
        config = FineMixConfig(setting["keep_ratio"], self.selection, seed=view.recipe.seed)
        fine_mix_(model, view.twin, config)
