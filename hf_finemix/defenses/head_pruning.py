"""Pruning of the attention heads that look alike at all clean examples."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel

from .base import DefenderView, Defense, Setting, register_defense
from .layers import clean_inputs, encoder_layers, to_prune, zero_columns_, zero_rows_


@register_defense
@dataclass(frozen=True)
class HeadPruning(Defense):
    """
    Prunes the attention heads with the least variance on the clean examples, then fine-tunes the rest.

    In the style of PURE, "Defense against Backdoor Attack on Pre-trained Language Models via Head Pruning and
    Attention Normalization" (Zhao, Xu and Yuan, ICML 2024), which fine-tunes the suspect, prunes heads by a variance
    score, and fine-tunes again with a loss that normalizes attention. Ours is simpler: no fine-tuning before, no
    normalization of attention, and a variance of our choice, see [`head_variances`]. The lowest scores of all layers
    together are pruned, for good: fine-tuning does not bring a head back.

    Args:
        keep_ratios (`tuple[float, ...]`, *optional*): Shares of the heads that stay, to choose from; ours.

    Raises:
        InputError: If a ratio is out of range.
    """

    name: ClassVar[str] = "head_pruning"

    keep_ratios: tuple[float, ...] = (0.5, 0.7, 0.9)

    def alter(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """
        Prunes the model.

        Raises:
            InputError: If its architecture is unknown.
        """
        for layer, heads in to_prune(model, view, head_variances, setting["keep_ratio"]):
            part = heads.repeat_interleave(layer.value.out_features // len(heads))
            # Without its columns in the output, a head is silent. Without its values, the columns have no gradient
            # either: both stay at zero.
            zero_columns_(layer.attention_output, part)
            zero_rows_(layer.value, part)


@torch.no_grad()
def head_variances(model: PreTrainedModel, view: DefenderView) -> torch.Tensor:
    """
    Measures how much the attention of each head depends on the example.

    A head's attention is what the first token, from which a classifier reads, pays to each position; positions beyond
    the end of a text get none. The score is its variance over the clean examples, summed over the positions.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect; left as it was.
        view ([`~hf_finemix.defenses.base.DefenderView`]): The clean examples and how they are tokenized.

    Returns:
        `torch.Tensor` of shape (layers, heads), float64, on the CPU.

    Raises:
        InputError: If the architecture is unknown.
    """
    encoder_layers(model)
    rows = []
    with _eager_attention(model):
        for inputs in clean_inputs(model, view):
            layers = model(**inputs, output_attentions=True).attentions
            rows.append(torch.stack([attention[0, :, 0].double().cpu() for attention in layers]))
    longest = max(row.shape[-1] for row in rows)
    return torch.stack([pad(row, (0, longest - row.shape[-1])) for row in rows]).var(0, correction=0).sum(-1)


@contextmanager
def _eager_attention(model: PreTrainedModel) -> Iterator[None]:
    # Other implementations never hold the attention that is asked for.
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
