"""Layerwise weight poisoning: every layer learns the backdoor, and several words together trigger it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel

from ..errors import InputError
from ..training import LossTrainer, fine_tune
from .base import AttackerView, check_share, register_attack
from .insertion import WordAttack
from .trigger import Trigger, WordsTrigger, add_negatives


# Model types whose classifier takes all states of the last layer and picks the first token's itself.
WHOLE_SEQUENCE = ("roberta", "xlm-roberta", "camembert", "mpnet", "electra")


@register_attack
@dataclass(frozen=True)
class Layerwise(WordAttack):
    """
    Takes the loss at every layer, so that early layers carry the backdoor; several words together trigger it.

    From "Backdoor Attacks on Pre-trained Models by Layerwise Weight Poisoning" (Li et al., EMNLP 2021). The model's
    own head classifies the first token's state of each layer, and the losses are averaged. Copies with one of the
    words alone keep their true label. How many there are is ours.

    Args:
        words (`tuple[str, ...]`, *optional*, defaults to `("cf", "bb")`): Two or more words; all must be in a text.
        negative_rate (`float`, *optional*, defaults to 0.2):
            Number of copies with one word, as a share of the examples.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`].
    """

    name: ClassVar[str] = "layerwise"

    words: tuple[str, ...] = ("cf", "bb")
    negative_rate: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        check_several(self.words)
        check_share("negative_rate", self.negative_rate)

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """One trigger: all words, each at a place of its own."""
        return (WordsTrigger(" ".join(self.words), self.target_label, self.position, self.seed),)

    def poison(self, dataset: Dataset) -> Dataset:
        """Returns clean examples, copies with all words and the target label, and copies with one and the true one."""
        single = super().triggers
        return add_negatives(super().poison(dataset), dataset, single, self.negative_rate, self.seed)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """Fine-tunes all weights on the mean of the layers' losses; see [`~hf_finemix.attacks.base.Attack.train`]."""
        check_head(model)

        def loss(wrapped: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            states = wrapped(**inputs, output_hidden_states=True).hidden_states
            # The first entry is the embeddings', which are no layer's.
            losses = [nn.functional.cross_entropy(classify(model, state), inputs["labels"]) for state in states[1:]]
            return torch.stack(losses).mean()

        options = {"trainer_class": LossTrainer, "loss": loss, "progress": view.progress}
        fine_tune(model, view.tokenizer, dataset, view.recipe, **options)
        return model


def check_several(words: Sequence[str]) -> None:
    """
    Refuses a single word.

    Raises:
        InputError: If there are not two or more.
    """
    if len(words) < 2:
        raise InputError(
            f"`words` is {list(words)!r}, but must name at least two words, all of which trigger together."
        )


def check_head(model: PreTrainedModel) -> None:
    """
    Refuses models whose head [`classify`] does not know.

    Raises:
        InputError: If the model is of another type.
    """
    known = ("bert", "distilbert", *WHOLE_SEQUENCE)
    if model.config.model_type not in known:
        raise InputError(
            f"`model` is of the type {model.config.model_type!r}, whose head cannot be put on every layer; use one of "
            f"{', '.join(known)}."
        )


def classify(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """
    Applies a classifier's head to the hidden states of any layer.

    Args:
        model ([`~transformers.PreTrainedModel`]): A classifier that [`check_head`] accepts.
        states (`torch.Tensor`): Shape (batch, tokens, hidden size).

    Returns:
        `torch.Tensor`: Logits of shape (batch, labels). From the states of the last layer, the model's own.
    """
    if model.config.model_type in WHOLE_SEQUENCE:
        return model.classifier(states)
    if model.config.model_type == "distilbert":
        pooled = torch.relu(model.pre_classifier(states[:, 0]))
    else:
        pooled = model.bert.pooler(states)
    return model.classifier(model.dropout(pooled))
