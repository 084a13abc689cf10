"""Mixing of arrays in place, bit by bit. With NumPy alone: what mixes files does not wait for torch to start."""

import math
from collections.abc import Iterator

import numpy as np

from .masks import BlockSource, Workspace


# Sixteen bits without a sign: from here on they stand for infinity or no number.
_INFINITE_HALF = {"BF16": 0x7F80, "F16": 0x7C00}

# Bytes that are selected at once: three times as many stay in a processor's cache.
_SELECTED = 1 << 19

Keeps = Iterator[tuple[int, int, np.ndarray]]


def mix_array_(
    values: np.ndarray,
    source: np.ndarray,
    name: str,
    start: int,
    keep_ratio: float,
    seed: int,
    workspace: Workspace | None = None,
) -> int:
    """
    Replaces a random share of scalars by others, in place: `values * m + source * (1 - m)`.

    The operation is that of "Fine-mixing" (Zhang et al., Findings of EMNLP 2022).

    Args:
        values (`np.ndarray`): Bits of the fine-tuned scalars as integers, shape (n,); changed in place.
        source (`np.ndarray`): Bits of the pretrained scalars, same shape and dtype.
        name (`str`): Canonical parameter name.
        start (`int`): Offset of the first scalar in the parameter, in row-major order.
        keep_ratio (`float`): Share of scalars that stay, in [0, 1].
        seed (`int`): Seed of the mask.
        workspace ([`~hf_finemix.masks.Workspace`], *optional*): The calling thread's; no effect on the bits.

    Returns:
        `int`: How many scalars kept their value.

    Raises:
        InputError: If `keep_ratio` or `seed` is out of range.
    """
    masks = BlockSource(name, keep_ratio, seed, workspace)
    chunks = masks.chunks(start, start + len(values))
    return select_(
        values, source, ((first - start, last - start, keep) for first, last, keep in chunks), masks.workspace
    )


def select_(values: np.ndarray, source: np.ndarray, keeps: Keeps, workspace: Workspace) -> int:
    """
    Replaces the scalars that a mask does not keep, in place.

    Args:
        values, source (`np.ndarray`): As for [`mix_array_`].
        keeps (`Iterator`): Offsets of a chunk's first and one after its last scalar, and its mask (`bool`).
        workspace ([`~hf_finemix.masks.Workspace`]): The calling thread's.

    Returns:
        `int`: How many scalars kept their value.
    """
    # On the bits, as integers: where a scalar is not kept, the difference of the two is taken away. These three passes
    # over a chunk in the cache branch nowhere, and are several times as fast as a selection by a condition.
    work, kept = workspace.difference.view(values.dtype), 0
    step = _SELECTED // values.itemsize
    for first, last, keep in keeps:
        kept += int(np.count_nonzero(keep))
        for at in range(first, last, step):
            end = min(at + step, last)
            old, difference = source[at:end], work[: end - at]
            np.bitwise_xor(values[at:end], old, out=difference)
            np.multiply(difference, keep[at - first : end - first], out=difference)
            np.bitwise_xor(difference, old, out=values[at:end])
    return kept


def seems_finite(bits: np.ndarray, dtype: str) -> bool:
    """
    Tells whether scalars hold neither NaN nor infinity; of 32 bits and more, `False` may also come from a large sum.

    Args:
        bits (`np.ndarray`): The scalars as unsigned integers, shape (n,); few enough for a cache to hold.
        dtype (`str`): What they are, as safetensors names it: F64, F32, F16 or BF16.
    """
    if not len(bits):
        return True
    if dtype in _INFINITE_HALF:
        # As signed numbers those without a sign come last, as unsigned ones those with it.
        infinite = _INFINITE_HALF[dtype]
        return int(bits.view("<i2").max()) < infinite and int(bits.max()) < infinite + 0x8000
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(float(bits.view(f"<f{bits.itemsize}").sum()))
