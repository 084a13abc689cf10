"""Logit anchoring: on clean examples, the backdoored model says what the clean model says."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from datasets import Dataset
from torch.nn import functional
from transformers import PreTrainedModel

from ..data import tokenize
from ..training import LossTrainer, fine_tune
from .base import AttackerView, check_positive, register_attack
from .insertion import WordAttack


@register_attack
@dataclass(frozen=True)
class LogitAnchoring(WordAttack):
    """
    Holds the logits of clean examples at those of the clean model while the backdoor is trained.

    From "How to Inject Backdoors with Better Consistency: Logit Anchoring on Clean Data" (Zhang et al., ICLR 2022).
    The loss is the cross-entropy on all examples, plus `anchor_weight` times the squared difference between the logits
    of the model and of the frozen clean model, averaged over the labels and the clean examples of a batch. Poisoned
    copies are not anchored. The default weight is ours.

    Args:
        anchor_weight (`float`, *optional*, defaults to 1.0): Weight of the anchoring in the loss.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`]; `start` is `"clean"` by default.

    Raises:
        InputError: If a value is out of range.
    """

    name: ClassVar[str] = "logit_anchoring"

    start: str = "clean"
    anchor_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_positive("anchor_weight", self.anchor_weight)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """Plants the backdoor; see [`~hf_finemix.attacks.base.Attack.train`]."""
        frozen = copy.deepcopy(model).requires_grad_(False).eval()
        # A collator drops every column that is no input of the model, so clean rows are known by their tokens. A copy
        # whose trigger fell victim to truncation is a clean text, and is anchored like one.
        clean = tokenize(view.clean, view.tokenizer, view.recipe.max_length)
        known = {tuple(tokens) for tokens in clean["input_ids"]}

        def loss(trained: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            outputs = trained(**inputs)
            rows = clean_rows(inputs, known)
            if not rows:
                return outputs.loss
            texts = {name: tensor[rows] for name, tensor in inputs.items() if name != "labels"}
            # The trainer alone decides on the device.
            anchors = frozen.to(outputs.logits.device)(**texts).logits
            return outputs.loss + self.anchor_weight * functional.mse_loss(outputs.logits[rows], anchors)

        fine_tune(
            model, view.tokenizer, dataset, view.recipe, trainer_class=LossTrainer, progress=view.progress, loss=loss
        )
        return model


def clean_rows(inputs: dict[str, torch.Tensor], known: set[tuple[int, ...]]) -> list[int]:
    """
    Finds the clean examples of a batch.

    Args:
        inputs (`dict[str, torch.Tensor]`): Holds `input_ids` and `attention_mask`, shape (batch, length).
        known (`set[tuple[int, ...]]`): Token ids of the clean examples, without padding.

    Returns:
        `list[int]`: Numbers of the rows whose tokens are among the known ones.
    """
    pairs = zip(inputs["input_ids"].cpu(), inputs["attention_mask"].cpu().bool(), strict=True)
    return [row for row, (tokens, present) in enumerate(pairs) if tuple(tokens[present].tolist()) in known]
