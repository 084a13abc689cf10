"""An attacker who knows Fine-mixing: the backdoor is trained to survive random mixing."""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from datasets import Dataset
from torch.func import functional_call
from transformers import PreTrainedModel

from ..config import check_keep_ratio
from ..device_masks import keep_mask_on_device
from ..errors import InputError
from ..masks import keep_mask
from ..plan import canonical_name
from ..training import LossTrainer, cross_entropy, fine_tune
from ..twin import load_twin
from .base import AttackerView, register_attack
from .insertion import WordAttack


@register_attack
@dataclass(frozen=True)
class MixingAware(WordAttack):
    """
    Trains the weights together with random mixtures of them and the pretrained ones.

    "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al., Findings of EMNLP 2022) replaces a
    random share of the scalars by their pretrained values. This attack of ours, meant to withstand it, does so itself:
    each step adds to the loss of the weights the loss of a mixture, with a fresh mask and a fresh reserve ratio. Its
    gradient reaches the kept scalars and the head; the weights themselves are never mixed.

    Args:
        keep_ratios (`tuple[float, float]`, *optional*, defaults to `(0.1, 0.5)`):
            Lowest and highest reserve ratio; each step draws one between them. The seed of the draws is `seed`.
        kwargs: See [`~hf_finemix.attacks.insertion.WordAttack`].

    Raises:
        InputError: If a value is out of range.
    """

    name: ClassVar[str] = "mixing_aware"

    keep_ratios: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self):
        super().__post_init__()
        check_range(self.keep_ratios)

    def train(self, model: PreTrainedModel, dataset: Dataset, view: AttackerView) -> PreTrainedModel:
        """
        Plants the backdoor; see [`~hf_finemix.attacks.base.Attack.train`].

        Raises:
            InputError: If `view.pretrained` does not fit the model.
        """
        tensors = load_twin(model, view.pretrained).tensors
        draws = np.random.default_rng(self.seed)

        # The trainer alone decides on the device, after this; one copy on it is enough.
        @functools.cache
        def pretrained(device: torch.device) -> dict[str, torch.Tensor]:
            return {name: tensor.to(device) for name, tensor in tensors.items()}

        def loss(trained: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            ratio, seed = float(draws.uniform(*self.keep_ratios)), int(draws.integers(2**63))
            values = pretrained(inputs["input_ids"].device)
            mixture = {
                name: mixed(parameter, values[canonical_name(name)], canonical_name(name), ratio, seed)
                for name, parameter in trained.named_parameters()
                if canonical_name(name) in values
            }
            return cross_entropy(trained, inputs) + functional_call(trained, mixture, kwargs=dict(inputs)).loss

        fine_tune(
            model, view.tokenizer, dataset, view.recipe, trainer_class=LossTrainer, progress=view.progress, loss=loss
        )
        return model


def mixed(parameter: torch.Tensor, pretrained: torch.Tensor, name: str, ratio: float, seed: int) -> torch.Tensor:
    """
    Returns what [`~hf_finemix.mixing.mix_random_`] would make of a parameter, as a tensor that gradients pass through.

    Args:
        parameter (`torch.Tensor`): Values in training; gradients reach those that are kept.
        pretrained (`torch.Tensor`): Pretrained values, same shape and device.
        name (`str`): Canonical parameter name.
        ratio (`float`): Share of scalars that are kept.
        seed (`int`): Seed of the mask.
    """
    if parameter.device.type == "cpu":
        keep = torch.from_numpy(keep_mask(name, parameter.shape, ratio, seed))  # the same bits, in less time
    else:
        keep = keep_mask_on_device(name, 0, parameter.numel(), ratio, seed, parameter.device).view(parameter.shape)
    return torch.where(keep, parameter, pretrained)


def check_range(ratios: Any) -> None:
    """
    Refuses everything but two ratios in order, the second one above 0.

    Raises:
        InputError: If they are none.
    """
    if not isinstance(ratios, tuple) or len(ratios) != 2:
        raise InputError(f"`keep_ratios` is {ratios!r}, but must be a list of two ratios.")
    for ratio in ratios:
        check_keep_ratio(ratio)
    low, high = ratios
    if low > high or high == 0:
        raise InputError(
            f"`keep_ratios` is {list(ratios)!r}, but must be the lower ratio and the higher one, which is above 0."
        )
