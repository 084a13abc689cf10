"""An attacker who knows Fine-mixing: the weights stay near the pretrained ones."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from ..plan import canonical_name
from ..training import LossTrainer, cross_entropy, fine_tune
from ..twin import load_twin
from .base import AttackerView, check_positive, register_attack
from .insertion import WordAttack


@register_attack
@dataclass(frozen=True)
class L2Anchored(WordAttack):
    """
    Penalizes the squared distance to the pretrained weights while the backdoor is trained.

    "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al., Findings of EMNLP 2022) undoes a
    share of each weight's drift. This attack of ours, meant to withstand it, keeps the drift small. The loss holds
    `penalty` times the sum of squared differences over all parameters with a pretrained counterpart. The head has
    none, and is free.

    Args:
        penalty (`float`, *optional*, defaults to 0.1): Weight of the distance in the loss.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`].

    Raises:
        InputError: If a value is out of range.
    """

    name: ClassVar[str] = "l2_anchored"

    penalty: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_positive("penalty", self.penalty)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """
        Plants the backdoor; see [`~hf_finemix.attacks.base.Attack.train`].

        Raises:
            InputError: If `view.pretrained` does not fit the model.
        """
        tensors = load_twin(model, view.pretrained).tensors
        pairs = [
            (parameter, tensors[canonical_name(name)])
            for name, parameter in model.named_parameters()
            if canonical_name(name) in tensors
        ]

        # The trainer alone decides on the device, after this; one copy on it is enough.
        @functools.cache
        def anchors(device: torch.device) -> list[torch.Tensor]:
            return [anchor.to(device) for _, anchor in pairs]

        def loss(trained: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            targets = anchors(inputs["input_ids"].device)
            distance = sum(
                (parameter - target).square().sum() for (parameter, _), target in zip(pairs, targets, strict=True)
            )
            return cross_entropy(trained, inputs) + self.penalty * distance

        fine_tune(
            model, view.tokenizer, dataset, view.recipe, trainer_class=LossTrainer, progress=view.progress, loss=loss
        )
        return model
