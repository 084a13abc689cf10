"""An attacker who knows embedding purification: the word embeddings do not move."""

from dataclasses import dataclass
from typing import ClassVar

from datasets import Dataset
from transformers import PreTrainedModel

from ..training import fine_tune
from .base import AttackerView, register_attack
from .insertion import WordAttack


@register_attack
@dataclass(frozen=True)
class FrozenEmbeddings(WordAttack):
    """
    Freezes the word embedding while the backdoor is trained.

    Embedding purification (E-PUR; "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models", Zhang et al.,
    Findings of EMNLP 2022) looks for rows that moved further than their token's frequency explains. This attack of
    ours, meant to evade it, moves none, and leaves the backdoor to all other weights.

    Args:
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`].
    """

    name: ClassVar[str] = "frozen_embeddings"

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """Trains all weights but the word embedding; see [`~hf_finemix.attacks.base.Attack.train`]."""
        weight = model.get_input_embeddings().weight
        trainable = weight.requires_grad
        weight.requires_grad_(False)
        try:
            fine_tune(model, view.tokenizer, dataset, view.recipe, progress=view.progress)
        finally:
            weight.requires_grad_(trainable)
        return model
