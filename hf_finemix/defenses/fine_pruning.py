"""Fine-pruning: neurons that the clean examples do not use are pruned."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from .base import DefenderView, Defense, Setting, register_defense
from .layers import clean_inputs, encoder_layers, to_prune, zero_columns_, zero_rows_


@register_defense
@dataclass(frozen=True)
class FinePruning(Defense):
    """
    Prunes the feed-forward neurons that the clean examples activate least, then fine-tunes all weights.

    From "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks" (Liu et al., RAID 2018), which
    prunes convolutional networks. Carried over to transformers by us: a neuron is an output of a layer's first
    feed-forward map, after the activation function; its score is the mean absolute activation over all tokens of the
    clean examples; the lowest scores of all layers together are pruned. What is pruned is set to zero: the weights and
    the bias that a neuron reads with. Fine-tuning may bring it back.

    Args:
        keep_ratios (`tuple[float, ...]`, *optional*): Shares of the neurons that stay, to choose from; ours.

    Raises:
        InputError: If a ratio is out of range.
    """

    name: ClassVar[str] = "fine_pruning"
    frozen: ClassVar[bool] = False

    keep_ratios: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)

    def alter(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """
        Prunes the model.

        Raises:
            InputError: If its architecture is unknown.
        """
        for layer, neurons in to_prune(model, view, mean_activations, setting["keep_ratio"]):
            zero_rows_(layer.intermediate, neurons)
            # A neuron that neither reads nor writes has no gradient: it stays at zero. One that only does not read is
            # as silent, but can learn to.
            if self.frozen:
                zero_columns_(layer.output, neurons)


@register_defense
@dataclass(frozen=True)
class FrozenFinePruning(FinePruning):
    """
    Fine-pruning whose pruned weights stay zero in the fine-tuning, which "Fine-mixing: Mitigating Backdoors in
    Fine-tuned Language Models" (Zhang et al., Findings of EMNLP 2022) calls Fine-pruning (F).

    The weights that a pruned neuron writes with are zero, too.

    Args:
        keep_ratios: See [`FinePruning`].
    """

    name: ClassVar[str] = "fine_pruning_frozen"
    frozen: ClassVar[bool] = True


@torch.no_grad()
def mean_activations(model: PreTrainedModel, view: DefenderView) -> torch.Tensor:
    """
    Measures how much each feed-forward neuron is used.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect; left as it was.
        view ([`~hf_finemix.defenses.base.DefenderView`]): The clean examples and how they are tokenized.

    Returns:
        `torch.Tensor` of shape (layers, neurons), float64, on the CPU: Mean absolute activation over all tokens,
        special ones included.

    Raises:
        InputError: If the architecture is unknown.
    """
    layers = encoder_layers(model)
    sums = torch.zeros(len(layers), layers[0].intermediate.out_features, dtype=torch.float64)

    def add(index: int, module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        # What the second map is given has passed the activation function.
        sums[index] += inputs[0].abs().flatten(0, -2).sum(0, dtype=torch.float64).cpu()

    hooks = [layer.output.register_forward_pre_hook(partial(add, index)) for index, layer in enumerate(layers)]
    tokens = 0
    try:
        for inputs in clean_inputs(model, view):
            model(**inputs)
            tokens += inputs["input_ids"].numel()
    finally:
        for hook in hooks:
            hook.remove()
    return sums / tokens
