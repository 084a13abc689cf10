"""Averaging the suspect with other fine-tuned models of its architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from ..checks import check_finite
from ..errors import InputError
from ..plan import canonical_name
from ..twin import Twin
from .base import DefenderView, Defense, Setting, register_defense


Weights = Mapping[str, torch.Tensor]


@register_defense
@dataclass(frozen=True)
class WeightAverage(Defense):
    """
    Averages the suspect with other fine-tuned models, then fine-tunes.

    After "Here's a Free Lunch: Sanitizing Backdoored Models with Model Merge" (Arora et al., Findings of ACL 2024),
    where it is called WAG. The paper averages and uses no data; here, the average is fine-tuned like the result of all
    other defences. The other models may be of other tasks, so only parameters with a pretrained counterpart are
    averaged: the head stays the suspect's.

    Args:
        keep_ratios (`tuple[float, ...]`, *optional*):
            Weights of the suspect in the average, to choose from; the others share the rest equally. Ours.

    Raises:
        InputError: If a ratio is out of range.
    """

    name: ClassVar[str] = "wag"
    uses_others: ClassVar[bool] = True

    keep_ratios: tuple[float, ...] = (0.25, 0.5, 0.75)

    def alter(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """
        Averages the model with `view.others`.

        Raises:
            InputError: If there is no other model, or one does not fit.
        """
        if not view.others:
            raise InputError(
                "`others` is empty; give at least one other fine-tuned model of the suspect's architecture."
            )
        others = [_base_weights(other, model, view.twin) for other in view.others]
        average_(model, others, view.twin, setting["keep_ratio"])


@torch.no_grad()
def average_(model: PreTrainedModel, others: Sequence[Weights], twin: Twin, keep_ratio: float) -> None:
    """
    Sets each parameter that has a pretrained counterpart to a weighted mean over models, in place.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect.
        others (`Sequence[Mapping[str, torch.Tensor]]`): The others' parameters, by the suspect's canonical names.
        twin ([`~hf_finemix.twin.Twin`]): The suspect's pretrained weights.
        keep_ratio (`float`): Weight of the suspect; each of the others has an equal part of the rest.
    """
    for raw_name, parameter in model.named_parameters():
        name = canonical_name(raw_name)
        # Any model may lack the pooler, which then stays the suspect's.
        if name not in twin.tensors or not all(name in weights for weights in others):
            continue
        mean = torch.stack([weights[name].to(parameter.device, torch.float64) for weights in others]).mean(0)
        parameter.copy_(keep_ratio * parameter.double() + (1 - keep_ratio) * mean)


def _base_weights(other: PreTrainedModel, model: PreTrainedModel, twin: Twin) -> Weights:
    # By the suspect's names; the head, if there is one, is left out.
    prefix = f"{model.base_model_prefix}."
    weights = {prefix + canonical_name(name): tensor for name, tensor in other.base_model.named_parameters()}
    what = f"`others` holds a {type(other).__name__} that does not fit the suspect"
    if other.config.model_type != model.config.model_type:
        raise InputError(f"{what}: it is of the type {other.config.model_type!r}; give one of its architecture.")
    for name, tensor in twin.tensors.items():
        if name in weights and weights[name].shape != tensor.shape:
            shapes = f"{tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
            raise InputError(f"{what}: {name} has the shape {shapes}; give one of its architecture.")
        if name not in weights and "pooler" not in name.split("."):
            raise InputError(f"{what}: it lacks {name}; give one of its architecture.")
    check_finite(weights.items(), "others")
    return weights
