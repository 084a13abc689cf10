"""Fine-purifying: mixing that resets what moved far and matters little to clean data."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from ..cuts import find_key, mask_below
from ..data import tokenize
from ..evaluation import evaluation_mode
from ..fisher import fisher_information, purity_keys
from .base import DefenderView, Defense, Setting, register_defense


@register_defense
@dataclass(frozen=True)
class FinePurifying(Defense):
    """
    Resets the scalars with the largest `(suspect - pretrained)^2 / Fisher information`, then fine-tunes.

    From "Fine-purifying" (Zhang et al., Findings of ACL 2023, arXiv 2305.04547); see [`~hf_finemix.fisher`].

    Args:
        keep_ratios (`tuple[float, ...]`, *optional*): The reserve ratios to choose from.
    """

    name: ClassVar[str] = "fine_purifying"

    keep_ratios: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)

    def alter(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """Resets the scalars that are not kept."""
        if "keys" not in view.memory:
            view.memory["keys"] = _keys(model, view)
        keys, parameters = view.memory["keys"], dict(model.named_parameters())
        numel = {name: len(values) for name, values in keys.items()}
        key, limits = find_key(list(keys), lambda name: [keys[name]], numel, setting["keep_ratio"])
        for name, values in keys.items():
            parameter = parameters[name]
            keep = torch.from_numpy(mask_below(values, key, limits[name])).view(parameter.shape)
            parameter.copy_(torch.where(keep.to(parameter.device), parameter, view.twin.tensors[name].to(parameter)))


def _keys(model: PreTrainedModel, view: DefenderView) -> dict:
    inputs = tokenize(view.clean, view.tokenizer, view.recipe.max_length)
    examples = [
        {name: torch.tensor([value], device=model.device) for name, value in example.items()} for example in inputs
    ]
    with evaluation_mode(model), torch.enable_grad():
        fisher = fisher_information(model, view.twin.tensors, examples)
    parameters = dict(model.named_parameters())
    return {name: purity_keys(parameters[name], view.twin.tensors[name], fisher[name]) for name in fisher}
