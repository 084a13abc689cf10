"""
Selection by drift: keep the scalars that moved least (or most) from their pretrained value.

The cut is global over all mixed parameters and exact. It is found by counting, in two passes over the 32-bit patterns
of |suspect - pretrained|, so that no pass needs more memory than one parameter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch


Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class DriftCut:
    """
    Where the global cut lies.

    Args:
        key (`int`): Scalars whose key is below are kept.
        quotas (`dict[str, int]`): Of the scalars whose key equals it, how many of each parameter are kept: its first
            ones in row-major order. Ties are thus broken by (name, offset).
        largest (`bool`): Whether keys rank the largest drift first.
    """

    key: int
    quotas: dict[str, int]
    largest: bool


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
    wide = torch.float64 if suspect.dtype == torch.float64 else torch.float32
    drift = (suspect.detach().to(wide) - pretrained.detach().to(suspect.device, wide)).abs_().to(torch.float32)
    keys = drift.flatten().cpu().numpy().view(np.uint32)
    return np.bitwise_not(keys) if largest else keys


def find_cut(
    names: list[str], read: Callable[[str], Pair], numel: Mapping[str, int], keep_ratio: float, largest: bool
) -> DriftCut:
    """
    Finds the cut that keeps `round(keep_ratio * d)` of the `d` scalars of all parameters together.

    Args:
        names (`list[str]`): Names of the mixed parameters, any order.
        read (`Callable`): Gives the (suspect, pretrained) tensors of a name; called up to three times for each.
        numel (`Mapping[str, int]`): Number of scalars of each parameter.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].
        largest (`bool`): Keep the largest drift instead of the smallest.
    """
    key, quotas = find_key(names, lambda name: drift_keys(*read(name), largest), numel, keep_ratio)
    return DriftCut(key, quotas, largest)


def find_key(
    names: list[str], keys: Callable[[str], np.ndarray], numel: Mapping[str, int], keep_ratio: float
) -> tuple[int, dict[str, int]]:
    """
    Finds the key that cuts off the `round(keep_ratio * d)` smallest of the `d` keys of all parameters together.

    Args:
        names (`list[str]`): Names of the parameters, any order.
        keys (`Callable`): Gives the keys of a name, `uint32`, shape (numel,); called up to three times for each.
        numel (`Mapping[str, int]`): Number of scalars of each parameter.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].

    Returns:
        `tuple[int, dict[str, int]]`: `key` and `quotas` of [`DriftCut`].
    """
    total = sum(numel[name] for name in names)
    wanted = round(keep_ratio * total)
    if wanted == total:
        # Nothing lies above the greatest key: every scalar is kept, those equal to it by quota.
        return 2**32 - 1, {name: numel[name] for name in names}

    high_counts = np.zeros(1 << 16, dtype=np.int64)
    for name in names:
        high_counts += np.bincount(keys(name) >> np.uint32(16), minlength=1 << 16)
    high, below = _bucket(high_counts, wanted)

    low_counts = {name: _low_counts(keys(name), high) for name in names}
    low, below_in_bucket = _bucket(sum(low_counts.values()), wanted - below)

    left = wanted - below - below_in_bucket
    quotas = {}
    for name in sorted(names):
        quotas[name] = min(left, int(low_counts[name][low]))
        left -= quotas[name]
    return (high << 16) | low, quotas


def mask_below(keys: np.ndarray, key: int, quota: int) -> np.ndarray:
    """Returns which scalars have a key below `key`, or are among the first `quota` that equal it: `bool`, flat."""
    keep = keys < np.uint32(key)
    keep[np.flatnonzero(keys == np.uint32(key))[:quota]] = True
    return keep


def drift_keep_mask(suspect: torch.Tensor, pretrained: torch.Tensor, cut: DriftCut, name: str) -> torch.Tensor:
    """Returns which scalars of one parameter the cut keeps: `bool`, the parameter's shape, on the CPU."""
    keys = drift_keys(suspect, pretrained, cut.largest)
    return torch.from_numpy(mask_below(keys, cut.key, cut.quotas[name])).view(suspect.shape)


def _low_counts(keys: np.ndarray, high: int) -> np.ndarray:
    inside = keys[(keys >> np.uint32(16)) == high]
    return np.bincount(inside & np.uint32(0xFFFF), minlength=1 << 16)


def _bucket(counts: np.ndarray, wanted: int) -> tuple[int, int]:
    """Finds the bucket in which the `wanted`-th smallest item ends, and how many items lie in buckets before it."""
    ends = np.cumsum(counts)
    bucket = int(np.searchsorted(ends, wanted, side="right"))
    return bucket, int(ends[bucket - 1]) if bucket else 0
