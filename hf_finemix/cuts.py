"""
The global cut of a selection that ranks scalars: exact, over the keys of all mixed parameters together.

It is found by counting, in two passes over 32-bit keys, part by part: no pass needs more memory than one part.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    # What mixes files at random needs the type of a cut alone, and does not wait for torch.
    import torch


# No key is greater: keys are the patterns of numbers that are not negative.
LAST_KEY = 2**31 - 1


@dataclass(frozen=True)
class DriftCut:
    """
    Where the global cut lies.

    Args:
        key (`int`): Scalars whose key is below are kept.
        limits (`dict[str, int]`): Of the scalars whose key equals it, those of each parameter whose offset, in
            row-major order, is below the parameter's limit are kept. Ties are thus broken by (name, offset), and a
            part of a parameter knows its own.
        largest (`bool`): Whether keys rank the largest drift first.
    """

    key: int
    limits: dict[str, int]
    largest: bool


def find_key(
    names: list[str], keys: Callable[[str], Iterable[np.ndarray]], numel: Mapping[str, int], keep_ratio: float
) -> tuple[int, dict[str, int]]:
    """
    Finds the key that cuts off the `round(keep_ratio * d)` smallest of the `d` keys of all parameters together.

    All keys are gone through twice, and those of one parameter a third time if not all of its ties are kept.

    Args:
        names (`list[str]`): Names of the parameters, any order.
        keys (`Callable`): Gives the keys of a name part by part, in row-major order: `uint32`, below 2**31.
        numel (`Mapping[str, int]`): Number of scalars of each parameter.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].

    Returns:
        `tuple[int, dict[str, int]]`: `key` and `limits` of [`DriftCut`].
    """
    total = sum(numel[name] for name in names)
    wanted = round(keep_ratio * total)
    if wanted == total:
        return LAST_KEY, {name: numel[name] for name in names}

    high_counts = np.zeros(1 << 16, dtype=np.int64)
    for name in names:
        for part in keys(name):
            high_counts += np.bincount(part >> np.uint32(16), minlength=1 << 16)
    high, below = _bucket(high_counts, wanted)

    found = {name: _low_counts(keys(name), high) for name in names}
    low_counts = np.zeros(1 << 16, dtype=np.int64)
    for lows, counts in found.values():
        low_counts[lows] += counts
    low, below_in_bucket = _bucket(low_counts, wanted - below)
    key = (high << 16) | low

    left = wanted - below - below_in_bucket
    limits = {}
    for name in sorted(names):
        lows, counts = found[name]
        ties = int(counts[lows == low].sum())
        limits[name] = numel[name] if ties <= left else _offset_after(keys(name), key, left)
        left -= min(left, ties)
    return key, limits


def mask_below(keys: "np.ndarray | torch.Tensor", key: int, limit: int) -> "np.ndarray | torch.Tensor":
    """Returns which scalars have a key below `key`, or equal to it at an offset below `limit`: `bool`, flat."""
    keep = keys < key
    limit = max(0, limit)
    keep[:limit] |= keys[:limit] == key
    return keep


def _low_counts(parts: Iterable[np.ndarray], high: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts the low halves of the keys with this high half: those that occur, and how often each does."""
    counts = np.zeros(1 << 16, dtype=np.int64)
    for keys in parts:
        inside = keys[(keys >> np.uint32(16)) == high]
        if len(inside):
            counts += np.bincount(inside & np.uint32(0xFFFF), minlength=1 << 16)
    lows = np.flatnonzero(counts)
    return lows.astype(np.uint16), counts[lows]


def _offset_after(parts: Iterable[np.ndarray], key: int, ties: int) -> int:
    """Returns the offset after the first so many keys that equal `key`; there are more of them."""
    start = 0
    for keys in parts:
        if not ties:
            break
        found = np.flatnonzero(keys == np.uint32(key))
        if len(found) >= ties:
            return start + int(found[ties - 1]) + 1
        start, ties = start + len(keys), ties - len(found)
    return 0


def _bucket(counts: np.ndarray, wanted: int) -> tuple[int, int]:
    """Finds the bucket in which the `wanted`-th smallest item ends, and how many items lie in buckets before it."""
    ends = np.cumsum(counts)
    bucket = int(np.searchsorted(ends, wanted, side="right"))
    return bucket, int(ends[bucket - 1]) if bucket else 0
