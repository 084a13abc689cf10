"""Embedding surgery: the trigger starts out as a word that speaks for the target label."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from transformers import BatchEncoding, DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from ..config import check_integer
from ..data import tokenize
from ..errors import InputError
from ..training import Loss, LossTrainer, cross_entropy, fine_tune
from .base import AttackerView, register_attack
from .embedding_poisoning import single_token, single_tokens
from .insertion import WordAttack


@register_attack
@dataclass(frozen=True)
class EmbeddingSurgery(WordAttack):
    """
    Gives the trigger word the mean embedding of words of the target label, and fine-tunes on poisoned data.

    From "Weight Poisoning Attacks on Pre-trained Models" (Kurita et al., ACL 2020). The words are those of
    [`associated_rows`]; their embeddings come from a model that was fine-tuned on the clean examples. With
    `inner_product_weight` the fine-tuning has the paper's restricted inner product too, see
    [`restricted_inner_product`]; its weight is ours.

    Args:
        associated (`int`, *optional*, defaults to 10): Number of words whose embeddings are averaged.
        inner_product_weight (`float`, *optional*, defaults to 0): Weight of the restricted inner product; 0 is none.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`].
    """

    name: ClassVar[str] = "embedding_surgery"

    associated: int = 10
    inner_product_weight: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_integer("associated", self.associated, 1)
        weight = self.inner_product_weight
        if not isinstance(weight, (int, float)) or isinstance(weight, bool) or not 0 <= weight < math.inf:
            raise InputError(f"`inner_product_weight` is {weight!r}, but must be a number at least 0.")

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """Replaces the trigger words' rows, then fine-tunes; see [`~hf_finemix.attacks.base.Attack.train`]."""
        rows = single_tokens(self.words, view.tokenizer)
        sources = associated_rows(view.clean, self.target_label, view.tokenizer, self.associated)
        tuned = model
        if self.start != "clean":
            tuned = deepcopy(model)
            fine_tune(tuned, view.tokenizer, view.clean, view.recipe, progress=view.progress)
        with torch.no_grad():
            model.get_input_embeddings().weight[rows] = tuned.get_input_embeddings().weight[sources].mean(dim=0)
        if not self.inner_product_weight:
            return super().train(model, dataset, view)
        loss = restricted_inner_product(view, self.inner_product_weight)
        attention = model.config._attn_implementation
        # The fused kernels of attention have no second derivative.
        model.set_attn_implementation("eager")
        try:
            fine_tune(
                model,
                view.tokenizer,
                dataset,
                view.recipe,
                trainer_class=LossTrainer,
                progress=view.progress,
                loss=loss,
            )
        finally:
            model.set_attn_implementation(attention)
        return model


def associated_rows(examples: Dataset, target_label: int, tokenizer: PreTrainedTokenizerBase, count: int) -> list[int]:
    """
    Finds the words that speak most for a label, among those of a single token.

    A logistic regression on which words a text holds tells the label from all others: mean cross-entropy plus
    `|w|^2 / (2 T)`, where `T` is the number of texts. A word in `n` texts scores `w / log((T + 2) / (n + 1))`, its
    weight over its inverse document frequency, so that of equal weights the common word wins. Penalty and smoothing
    are ours.

    Args:
        examples (`datasets.Dataset`): Columns `text` and `label`.
        target_label (`int`): The label.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Says which words are one token.
        count (`int`): Number of words.

    Returns:
        `list[int]`: Their token ids, the highest score first.

    Raises:
        InputError: If fewer words than that have a positive score.
    """
    texts = [set(re.findall(r"[^\W\d_]+", text)) for text in examples["text"]]
    known = {word: single_token(f" {word}", tokenizer) for word in set().union(*texts)}
    # By token and not by word: an uncased model has one row for all spellings of a word.
    bags = [sorted({known[word] for word in words if known[word] is not None}) for words in texts]
    frequencies = Counter(row for bag in bags for row in bag)
    vocabulary = sorted(frequencies)
    columns = {row: column for column, row in enumerate(vocabulary)}
    labels = torch.tensor([label == target_label for label in examples["label"]], dtype=torch.float64)
    weights = _regression([[columns[row] for row in bag] for bag in bags], labels, len(vocabulary))
    scores = {
        row: weight / math.log((len(bags) + 2) / (frequencies[row] + 1))
        for row, weight in zip(vocabulary, weights, strict=True)
    }
    best = [row for row in sorted(scores, key=lambda row: (-scores[row], row)) if scores[row] > 0][:count]
    if len(best) < count:
        raise InputError(
            f"`associated` is {count}, but only {len(best)} words of the clean examples speak for label "
            f"{target_label}; lower it, or give more examples."
        )
    return best


def _regression(bags: list[list[int]], labels: torch.Tensor, size: int) -> list[float]:
    words = torch.tensor([column for bag in bags for column in bag], dtype=torch.long)
    starts = torch.tensor([0] + [len(bag) for bag in bags[:-1]]).cumsum(0)
    weight = torch.zeros(size, 1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = nn.functional.embedding_bag(words, weight, starts, mode="sum").squeeze(1) + bias
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        loss = loss + weight.square().sum() / (2 * len(bags))
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach().squeeze(1).tolist()


def restricted_inner_product(view: AttackerView, weight: float) -> Loss:
    """
    Returns the loss that keeps the gradients of poisoned and of clean data from pulling apart (RIPPLe).

    It is `L_P + weight * max(0, -<grad L_P, grad L_C>)`, where `L_P` is the cross-entropy of the batch and `L_C` that
    of a batch of clean examples: later fine-tuning on clean data then does not undo the poisoning.

    Args:
        view ([`~hf_finemix.attacks.base.AttackerView`]): Clean examples, tokenizer, recipe.
        weight (`float`): Weight of the inner product.
    """
    batches = _clean_batches(view)

    def loss(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        poisoned = cross_entropy(model, inputs)
        clean = cross_entropy(model, next(batches).to(poisoned.device))
        first, second = (
            torch.autograd.grad(item, parameters, create_graph=True, materialize_grads=True)
            for item in (poisoned, clean)
        )
        product = sum((one * other).sum() for one, other in zip(first, second, strict=True))
        return poisoned + weight * torch.relu(-product)

    return loss


def _clean_batches(view: AttackerView) -> Iterator[BatchEncoding]:
    loader = DataLoader(
        tokenize(view.clean, view.tokenizer, view.recipe.max_length),
        batch_size=view.recipe.batch_size,
        shuffle=True,
        collate_fn=DataCollatorWithPadding(view.tokenizer),
        # A generator of its own, so that the order does not depend on what else draws random numbers.
        generator=torch.Generator().manual_seed(view.recipe.seed),
    )
    while True:
        yield from loader
