"""The parts of an encoder that pruning works on, and what they do on the clean examples."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ..data import tokenize
from ..errors import InputError
from ..evaluation import evaluation_mode
from .base import DefenderView


# By type rather than by the names of their modules: others name theirs alike, and compute something else with them.
_LIKE_BERT = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
_KNOWN = (*_LIKE_BERT, "distilbert", "mpnet")


@dataclass(frozen=True)
class EncoderLayer:
    """
    The linear maps of one encoder layer in which a head or a neuron has rows or columns of its own.

    Args:
        value (`nn.Linear`): Gives the values that attention averages; a head's part is a block of its rows.
        attention_output (`nn.Linear`): Takes the heads' averages; a head's part is a block of its columns.
        intermediate (`nn.Linear`): First map of the feed-forward network; a neuron's part is one row.
        output (`nn.Linear`): Second map, which takes the neurons' activations; a neuron's part is one column.
    """

    value: nn.Linear
    attention_output: nn.Linear
    intermediate: nn.Linear
    output: nn.Linear


def encoder_layers(model: PreTrainedModel) -> list[EncoderLayer]:
    """
    Returns the layers of an encoder, from the input on.

    Raises:
        InputError: If its architecture is not one of those that are known here.
    """
    kind, base = model.config.model_type, model.base_model
    if kind == "distilbert":
        return [
            EncoderLayer(layer.attention.v_lin, layer.attention.out_lin, layer.ffn.lin1, layer.ffn.lin2)
            for layer in base.transformer.layer
        ]
    if kind not in _KNOWN:
        raise InputError(
            f"`model` is of the type {kind!r}, whose heads and neurons cannot be pruned; choose another defence, or a "
            f"model of one of the types {', '.join(sorted(_KNOWN))}."
        )
    layers = []
    for layer in base.encoder.layer:
        if kind == "mpnet":
            value, attention_output = layer.attention.attn.v, layer.attention.attn.o
        else:
            value, attention_output = layer.attention.self.value, layer.attention.output.dense
        layers.append(EncoderLayer(value, attention_output, layer.intermediate.dense, layer.output.dense))
    return layers


def clean_inputs(model: PreTrainedModel, view: DefenderView) -> Iterator[dict[str, torch.Tensor]]:
    """Yields the model's inputs for each clean example, without labels; the model is in evaluation mode meanwhile."""
    examples = tokenize(view.clean, view.tokenizer, view.recipe.max_length)
    with evaluation_mode(model):
        # One at a time: there is no padding then, which would count like text.
        for row in examples.remove_columns("labels"):
            yield {name: torch.tensor([ids], device=model.device) for name, ids in row.items()}


def to_prune(
    model: PreTrainedModel,
    view: DefenderView,
    measure: Callable[[PreTrainedModel, DefenderView], torch.Tensor],
    keep_ratio: float,
) -> Iterator[tuple[EncoderLayer, torch.Tensor]]:
    """
    Yields each layer with what is to be pruned of it, by scores that are measured once for each suspect.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect, not yet changed.
        view ([`~hf_finemix.defenses.base.DefenderView`]): What the defender has.
        measure (`Callable`): Scores the units of a model, shape (layers, units).
        keep_ratio (`float`): Share of the units that stay.

    Raises:
        InputError: If the architecture is unknown.
    """
    layers = encoder_layers(model)
    if measure.__name__ not in view.memory:
        view.memory[measure.__name__] = measure(model, view)
    yield from zip(layers, lowest(view.memory[measure.__name__], keep_ratio), strict=True)


def lowest(scores: torch.Tensor, keep_ratio: float) -> torch.Tensor:
    """
    Marks what is to be pruned: the lowest scores of all layers together.

    Args:
        scores (`torch.Tensor`): Shape (layers, units).
        keep_ratio (`float`): Share of the units that stay.

    Returns:
        `torch.Tensor` of the same shape, `bool`: Of equal scores, the earlier one is pruned first.
    """
    pruned = scores.numel() - round(keep_ratio * scores.numel())
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort(stable=True)[:pruned]] = True
    return mask.view_as(scores)


@torch.no_grad()
def zero_rows_(linear: nn.Linear, rows: torch.Tensor) -> None:
    """Sets rows of a linear map, given as a `bool` tensor, to zero, with their biases."""
    linear.weight[rows] = 0
    if linear.bias is not None:
        linear.bias[rows] = 0


@torch.no_grad()
def zero_columns_(linear: nn.Linear, columns: torch.Tensor) -> None:
    """Sets columns of a linear map, given as a `bool` tensor, to zero."""
    linear.weight[:, columns] = 0
