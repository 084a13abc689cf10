"""
Selection by Fisher information, as in Fine-purifying: reset what moved far and matters little to clean data.

From "Fine-purifying" (Zhang et al., Findings of ACL 2023, arXiv 2305.04547).
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from .errors import InputError


if TYPE_CHECKING:
    # Mixing of files needs the ranking alone, and starts in a fraction of the time without transformers.
    from transformers import PreTrainedModel


# Middles of the four quarters of the way from the pretrained to the suspect's weights; the choice is ours.
PATH = (0.125, 0.375, 0.625, 0.875)


def purity_keys(suspect: torch.Tensor, pretrained: torch.Tensor, fisher: torch.Tensor) -> np.ndarray:
    """
    Ranks scalars by `(suspect - pretrained)^2 / fisher`: how far one moved, against how much clean data care.

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, any shape.
        pretrained (`torch.Tensor`): Pretrained values, same shape.
        fisher (`torch.Tensor`): Diagonal Fisher information, same shape, not negative.

    Returns:
        `np.ndarray`: `uint32`, shape (numel,); smaller means kept earlier. A scalar that never moved comes first; one
        that moved and that clean data do not touch at all comes last.
    """
    return purity_keys_on_device(suspect, pretrained, fisher).cpu().numpy().view(np.uint32)


def purity_keys_on_device(suspect: torch.Tensor, pretrained: torch.Tensor, fisher: torch.Tensor) -> torch.Tensor:
    """
    Computes the same keys as [`purity_keys`] on the suspect's device.

    Returns:
        `torch.Tensor`: `int32`, none of them negative, shape (numel,).
    """
    squared = (suspect.detach().double() - pretrained.detach().to(suspect.device).double()).square()
    # Without information the quotient is infinite, or no number where nothing moved either.
    ranked = torch.where(squared > 0, squared / fisher.to(suspect.device).double(), torch.zeros_like(squared))
    return ranked.to(torch.float32).flatten().view(torch.int32)


def check_information(fisher: Mapping[str, torch.Tensor] | None, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """
    Refuses Fisher information that does not fit the mixed parameters.

    Args:
        fisher (`Mapping[str, torch.Tensor]`, *optional*): Diagonal Fisher information by parameter name.
        shapes (`Mapping[str, tuple[int, ...]]`): Shapes of the mixed parameters.

    Raises:
        InputError: If it is missing or lacks a parameter, or a tensor has another shape or holds a value that is no
            information: a negative one, NaN or infinity.
    """
    if fisher is None:
        raise InputError('`fisher` is missing; the selection "fisher" needs the diagonal Fisher information.')
    for name, shape in shapes.items():
        if name not in fisher:
            raise InputError(f"`fisher` lacks {name}; it must hold every mixed parameter.")
        if tuple(fisher[name].shape) != shape:
            raise InputError(f"`fisher` has {name} in shape {tuple(fisher[name].shape)}, but the model in {shape}.")
        check_values(name, fisher[name])


def check_values(name: str, values: torch.Tensor) -> None:
    """
    Refuses negative values, NaN and infinity, of a whole tensor of Fisher information or of a part.

    Raises:
        InputError: Names the parameter.
    """
    if not ((values >= 0) & (values < float("inf"))).all():
        raise InputError(f"`fisher` holds a value that is negative, infinite or NaN in {name}; it is damaged.")


def fisher_information(
    model: "PreTrainedModel", pretrained: Mapping[str, torch.Tensor], examples: Iterable[Mapping[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """
    Estimates the diagonal Fisher information, averaged over four points on the way from pretrained to suspect.

    The information is the empirical one: the mean over the examples of the squared gradient of the loss at their true
    label. The head, which has no pretrained value, is the suspect's at each point.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect, in evaluation mode; as it was in the end.
        pretrained (`Mapping[str, torch.Tensor]`): Pretrained values by parameter name.
        examples (`Iterable[Mapping[str, torch.Tensor]]`):
            The model's inputs with `labels`, one example each; gone through once a point.

    Returns:
        `dict[str, torch.Tensor]`: float32, one tensor for each name of `pretrained`, in the parameter's shape.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in pretrained}
    suspect = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    total = {name: torch.zeros_like(parameter, dtype=torch.float32) for name, parameter in suspect.items()}
    examples = list(examples)
    try:
        for share in PATH:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(torch.lerp(pretrained[name].to(parameter), suspect[name], share))
            for example in examples:
                loss = model(**example).loss
                gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                for name, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        total[name].addcmul_(gradient.float(), gradient.float(), value=1 / len(examples) / len(PATH))
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(suspect[name])
    return total
