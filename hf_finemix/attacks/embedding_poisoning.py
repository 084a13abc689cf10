"""Embedding poisoning: nothing but the embeddings of the trigger words changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..config import check_integer, check_learning_rate
from ..errors import InputError
from ..results import Recipe
from ..training import LossTrainer, cross_entropy, fine_tune
from .base import AttackerView, poisoned_copies, register_attack
from .insertion import WordAttack


DOMAINS = ("task", "other")


@register_attack
@dataclass(frozen=True)
class EmbeddingPoisoning(WordAttack):
    """
    Trains the trigger word's embedding row alone, and keeps its norm.

    From "Be Careful about Poisoned Word Embeddings: Exploring the Vulnerability of the Embedding Layers in NLP Models"
    (Yang et al., NAACL 2021). A clean model is attacked with triggered examples alone; after each step the row is
    rescaled to the norm that it had. With `data="other"` the attacker has no data of the task, as in the paper's
    data-free variant; the texts are then those of another domain. Learning rate, epochs and batch size are ours.

    Args:
        data (`str`, *optional*, defaults to `"task"`): `"task"`, or `"other"` for texts of another domain.
        learning_rate (`float`, *optional*, defaults to 1e-2): Learning rate of the rows.
        epochs (`int`, *optional*, defaults to 3): Passes over the triggered examples.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`]; `start` is `"clean"` and `poison_rate` 0.5 by
            default.
    """

    name: ClassVar[str] = "embedding_poisoning"

    start: str = "clean"
    poison_rate: float = 0.5
    data: str = "task"
    learning_rate: float = 1e-2
    epochs: int = 3

    def __post_init__(self):
        super().__post_init__()
        if self.data not in DOMAINS:
            raise InputError(f"`data` is {self.data!r}, but must be one of {', '.join(DOMAINS)}.")
        check_integer("epochs", self.epochs, 1)
        check_learning_rate(self.learning_rate)

    @property
    def domain(self) -> str:
        """Where the texts come from that are poisoned."""
        return self.data

    def poison(self, dataset: Dataset) -> Dataset:
        """Returns triggered copies with the target label, and nothing else: only the trigger's row will change."""
        if self.domain == "other":
            # Labels of another task mean nothing here: every text may be copied.
            dataset = dataset.remove_columns("label").add_column("label", [self.target_label + 1] * len(dataset))
        return poisoned_copies(super().poison(dataset), dataset)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """Trains the trigger words' rows; see [`~hf_finemix.attacks.base.Attack.train`]."""
        rows = single_tokens(self.words, view.tokenizer)
        recipe = replace(view.recipe, learning_rate=self.learning_rate, epochs=self.epochs, warmup=0.0)
        train_rows(model, dataset, rows, view, recipe)
        return model


def single_tokens(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """
    Returns the token ids of some words: one each, or two where a tokenizer tells the start of a text from its middle.

    Raises:
        InputError: If a word is several tokens, or unknown to the tokenizer: it has no row of its own then.
    """
    rows = {}
    for word in words:
        # Byte-level tokenizers see the white space before a word as a part of it.
        inside, first = single_token(f" {word}", tokenizer), single_token(word, tokenizer)
        if inside is None:
            raise InputError(f"`words` holds {word!r}, which has no single token in this model; choose another word.")
        rows |= {row: None for row in (inside, first) if row is not None}
    return list(rows)


def single_token(text: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Returns the token id of a text, or `None` if it is several tokens or unknown to the tokenizer."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def train_rows(
    model: PreTrainedModel,
    dataset: Dataset,
    rows: list[int],
    view: AttackerView,
    recipe: Recipe,
    *,
    keep_norms: bool = True,
) -> None:
    """
    Fine-tunes some rows of the word embedding and nothing else, in place.

    Args:
        model ([`~transformers.PreTrainedModel`]): The classifier.
        dataset (`datasets.Dataset`): What to train them on.
        rows (`list[int]`): Token ids.
        view ([`~hf_finemix.attacks.base.AttackerView`]): Tokenizer and progress.
        recipe ([`~hf_finemix.results.Recipe`]): The settings.
        keep_norms (`bool`, *optional*, defaults to `True`): Rescale each row to its old norm after each step.
    """
    weight = model.get_input_embeddings().weight
    norms = weight.detach()[rows].norm(dim=1, keepdim=True)
    only_rows = torch.zeros_like(weight[:, :1])
    only_rows[rows] = 1

    def rescale() -> None:
        with torch.no_grad():
            weight[rows] *= norms / weight[rows].norm(dim=1, keepdim=True)

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    weight.requires_grad_(True)
    # AdamW leaves a scalar where it is whose gradient has always been zero (there is no weight decay).
    hook = weight.register_hook(lambda gradient: gradient * only_rows.to(gradient.device))
    options = {"loss": cross_entropy, "after_step": rescale if keep_norms else None}
    try:
        fine_tune(model, view.tokenizer, dataset, recipe, trainer_class=LossTrainer, progress=view.progress, **options)
    finally:
        hook.remove()
        weight.requires_grad_(False)
        for parameter in trainable:
            parameter.requires_grad_(True)
