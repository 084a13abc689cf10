"""
Selection by drift: keep the scalars that moved least (or most) from their pretrained value.

The cut is global over all mixed parameters and exact: of the 32-bit patterns of |suspect - pretrained|, found as
[`~hf_finemix.cuts.find_key`] does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch

from .cuts import LAST_KEY, DriftCut, find_key, mask_below


# Scalars of a part of a tensor in memory: 1 MB in float32, which a cache can hold.
PART = 1 << 18
# Suspect and pretrained tensor, or some of their scalars; for a selection by Fisher information, that too.
Part = tuple[torch.Tensor, ...]


def drift_keys(suspect: torch.Tensor, pretrained: torch.Tensor, largest: bool = False) -> np.ndarray:
    """
    Ranks scalars by |suspect - pretrained|.

    The difference is taken in float32 (in float64 for float64 parameters) and rounded to float32, whose bit patterns,
    read as integers, order non-negative numbers.

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, any shape.
        pretrained (`torch.Tensor`): Pretrained values, same shape.
        largest (`bool`, *optional*, defaults to `False`): Reverse the order, so that the largest drift comes first.

    Returns:
        `np.ndarray`: `uint32`, shape (numel,); smaller means kept earlier.
    """
    return drift_keys_on_device(suspect, pretrained, largest).cpu().numpy().view(np.uint32)


def drift_keys_on_device(suspect: torch.Tensor, pretrained: torch.Tensor, largest: bool = False) -> torch.Tensor:
    """
    Computes the same keys as [`drift_keys`] on the suspect's device.

    Returns:
        `torch.Tensor`: `int32`, none of them negative, shape (numel,).
    """
    wide = torch.float64 if suspect.dtype == torch.float64 else torch.float32
    drift = (suspect.detach().to(wide) - pretrained.detach().to(suspect.device, wide)).abs_()
    keys = drift.to(torch.float32).flatten().view(torch.int32)
    return keys.bitwise_xor_(LAST_KEY) if largest else keys


def in_parts(*tensors: torch.Tensor) -> Iterator[Part]:
    """Cuts tensors of one shape into flat parts of at most [`PART`] scalars, in row-major order."""
    flat = [tensor.detach().contiguous().view(-1) for tensor in tensors]
    for first in range(0, len(flat[0]), PART):
        yield tuple(tensor[first : first + PART] for tensor in flat)


def find_cut(
    names: list[str],
    parts: Callable[[str], Iterable[Part]],
    numel: Mapping[str, int],
    keep_ratio: float,
    largest: bool,
) -> DriftCut:
    """
    Finds the cut that keeps `round(keep_ratio * d)` of the `d` scalars of all parameters together.

    Args:
        names (`list[str]`): Names of the mixed parameters, any order.
        parts (`Callable`): Gives the (suspect, pretrained) parts of a name in row-major order, as [`in_parts`] does
            of whole tensors; called up to three times for each name.
        numel (`Mapping[str, int]`): Number of scalars of each parameter.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].
        largest (`bool`): Keep the largest drift instead of the smallest.
    """

    def keys(name: str) -> Iterator[np.ndarray]:
        return (drift_keys(suspect, pretrained, largest) for suspect, pretrained in parts(name))

    return DriftCut(*find_key(names, keys, numel, keep_ratio), largest)


def drift_keep_mask(suspect: torch.Tensor, pretrained: torch.Tensor, cut: DriftCut, name: str) -> torch.Tensor:
    """Returns which scalars of one parameter the cut keeps: `bool`, the parameter's shape, on the CPU."""
    keys = drift_keys(suspect, pretrained, cut.largest)
    return torch.from_numpy(mask_below(keys, cut.key, cut.limits[name])).view(suspect.shape)
