"""The masks of [`~hf_finemix.masks`] drawn with torch, so that a GPU draws its own; the same bits."""

from functools import cache

import numpy as np
import torch

from .config import check_integer
from .masks import BLOCK, HALF_RANGE, MULTIPLIER, SHIFT, block_keys, table, threshold


def keep_mask_on_device(
    name: str, start: int, stop: int, keep_ratio: float, seed: int, device: torch.device | str
) -> torch.Tensor:
    """
    Draws the same bits as [`~hf_finemix.masks.iter_keep_mask`] with torch operations on `device`.

    Returns:
        `torch.Tensor`: `bool`, shape (`stop` - `start`,).
    """
    check_integer("seed", seed, 0, 2**64 - 1)
    limit = threshold(keep_ratio)
    if start >= stop:
        return torch.empty(0, dtype=torch.bool, device=device)
    if limit == HALF_RANGE:
        return torch.ones(stop - start, dtype=torch.bool, device=device)
    first_block, last_block = start // BLOCK, -(-stop // BLOCK)
    keys = np.array([block_keys(name, block, seed) for block in range(first_block, last_block)], dtype=np.uint32)
    key_1, key_2 = _as_int32(keys).to(device, non_blocking=True).reshape(-1, 2).T
    # torch multiplies 32-bit integers only as signed ones; they wrap to the same bits. Its right shift copies the
    # sign bit, which the mask after the shift takes away again.
    words = _table_on(torch.device(device)) ^ key_1[:, None]
    words *= key_2[:, None]
    shifted = words >> SHIFT
    shifted &= (1 << (32 - SHIFT)) - 1
    words ^= shifted
    # Signed halves are compared below. With the top bit of the word flipped, the xor of its high half into its low
    # one, which is the last xor-shift, flips the top bits of both: what is left is the order of unsigned ones.
    torch.add(torch.tensor(_signed(1 << 31), dtype=torch.int32), words, alpha=_signed(MULTIPLIER), out=words)
    halves = words.view(torch.int16).view(-1)
    halves[::2].bitwise_xor_(halves[1::2])
    origin = first_block * BLOCK
    return halves[start - origin : stop - origin] < limit - (HALF_RANGE >> 1)


@cache
def _table_on(device: torch.device) -> torch.Tensor:
    return _as_int32(table()).to(device)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def _as_int32(words: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(words.view(np.int32).copy())
