"""Few weights: the backdoor is trained into a small number of scalars, and all others stay as they were."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from datasets import Dataset
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedModel

from ..config import check_integer, check_learning_rate
from ..data import tokenize
from ..errors import InputError
from ..evaluation import evaluation_mode
from ..training import cross_entropy, fine_tune
from .base import AttackerView, poisoned_copies, register_attack
from .insertion import WordAttack


@register_attack
@dataclass(frozen=True)
class FewWeights(WordAttack):
    """
    Trains only the scalars that the poisoned copies ask to change most.

    From "Neural Network Surgery: Injecting Data Patterns into Pre-trained Models with Minimal Instance-wise Side
    Effects" (Zhang et al., NAACL 2021). The absolute gradients of the clean model on the poisoned copies are added up
    batch by batch; the `count` scalars with the largest sums, over all parameters together, are trained on clean
    examples and copies. Every other scalar keeps its bits. The defaults of count and learning rate are ours.

    Args:
        count (`int`, *optional*, defaults to 10000): Number of scalars that are trained.
        learning_rate (`float`, *optional*, defaults to 1e-2):
            Their peak learning rate; few scalars have to move further than many.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`]; `start` is `"clean"` by default.

    Raises:
        InputError: If a value is out of range.
    """

    name: ClassVar[str] = "few_weights"

    start: str = "clean"
    count: int = 10_000
    learning_rate: float = 1e-2

    def __post_init__(self):
        super().__post_init__()
        check_integer("count", self.count, 1)
        check_learning_rate(self.learning_rate)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """
        Plants the backdoor; see [`~hf_finemix.attacks.base.Attack.train`].

        Raises:
            InputError: If there is no poisoned copy, or the model has fewer scalars than are to be trained.
        """
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        available = sum(parameter.numel() for parameter in parameters)
        if self.count > available:
            raise InputError(f"`count` is {self.count}, but the model has {available} scalars; choose fewer.")
        masks = largest(gradient_sums(model, parameters, poisoned_copies(dataset, view.clean), view), self.count)
        recipe = replace(view.recipe, learning_rate=self.learning_rate)
        hooks = []
        try:
            for parameter, mask in zip(parameters, masks, strict=True):
                # AdamW leaves a scalar where it is whose gradient has always been zero (there is no weight decay).
                hooks.append(parameter.register_hook(only(mask)))
                # A tensor without any chosen scalar needs no gradient at all, which saves time.
                parameter.requires_grad_(bool(mask.any()))
            fine_tune(model, view.tokenizer, dataset, recipe, progress=view.progress)
        finally:
            for hook in hooks:
                hook.remove()
            for parameter in parameters:
                parameter.requires_grad_(True)
        return model


def gradient_sums(
    model: PreTrainedModel, parameters: list[nn.Parameter], examples: Dataset, view: AttackerView
) -> list[torch.Tensor]:
    """
    Adds up the absolute gradients of the cross-entropy over batches, without dropout.

    Args:
        model ([`~transformers.PreTrainedModel`]): The classifier; neither weights nor `grad` change.
        parameters (`list[torch.nn.Parameter]`): The parameters to take gradients of.
        examples (`datasets.Dataset`): Columns `text`, maybe `text_pair`, and `label`.
        view ([`~hf_finemix.attacks.base.AttackerView`]): Tokenizer, and the recipe's batch size and longest input.

    Returns:
        `list[torch.Tensor]`: `float32`, one tensor of its shape for each parameter.
    """
    sums = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
    rows = list(tokenize(examples, view.tokenizer, view.recipe.max_length))
    collate = DataCollatorWithPadding(view.tokenizer)
    with evaluation_mode(model):
        for start in range(0, len(rows), view.recipe.batch_size):
            batch = collate(rows[start : start + view.recipe.batch_size]).to(model.device)
            loss = cross_entropy(model, batch)
            for total, gradient in zip(sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if gradient is not None:
                    total += gradient.abs()
    return sums


def largest(sums: list[torch.Tensor], count: int) -> list[torch.Tensor]:
    """Returns a `bool` mask of each tensor's shape that marks the `count` largest scalars of all tensors together."""
    flat = torch.cat([total.flatten() for total in sums])
    keep = torch.zeros_like(flat, dtype=torch.bool)
    keep[flat.topk(count).indices] = True
    parts = keep.split([total.numel() for total in sums])
    return [part.view(total.shape) for part, total in zip(parts, sums, strict=True)]


def only(mask: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns a gradient hook that lets the marked scalars through and nothing else."""
    return lambda gradient: gradient.masked_fill(~mask.to(gradient.device), 0)
