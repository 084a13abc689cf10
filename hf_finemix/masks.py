"""
Deterministic random masks: which scalars of a parameter keep the fine-tuned value.

A mask depends on the seed, the parameter's name and the offset of the scalar, and on nothing else. Any part of it can
be drawn alone, in any order, on any device, by any number of processes, with the same bits.

Generator (`MASK_VERSION` 1). A parameter's scalars, in row-major order, are cut into blocks of `BLOCK` = 2**16. A
block has two 32-bit keys, the second one odd, taken from BLAKE2b of (seed, block number, name). Word `j` of the block,
two scalars wide, is `finish((table[j] ^ key_1) * key_2)`, where `table` is a fixed hash of 0 .. 2**15 - 1 and `finish`
is an xor-shift, a multiplication and another xor-shift, all on 32-bit integers that wrap. Scalar `2j` takes the low
half of the word, scalar `2j + 1` the high half, and is kept if that half is below `round(keep_ratio * 2**16)`. The
ratio is therefore rounded to a multiple of 2**-16, a rounding that the sampling noise of any model below some billion
scalars exceeds. Sixteen bits a scalar, and seven passes over a table that stays in the processor's cache, are what
makes it fast without a compiler.
"""

from collections.abc import Iterator
from functools import cache
from hashlib import blake2b

import numpy as np
import torch

from .config import check_integer, check_keep_ratio


MASK_VERSION = 1
BLOCK = 1 << 16

_WORDS = BLOCK // 2
_HALF_RANGE = 1 << 16
_DOMAIN = b"hf-finemix mask 1\0"
# From the finaliser of MurmurHash3: odd, with about half of its bits set.
_MULTIPLIER = 0xC2B2AE35
_SHIFT_1 = 15
_SHIFT_2 = 16


def threshold(keep_ratio: float) -> int:
    """Returns how many of the 2**16 values of a half word keep the scalar: `keep_ratio` * 2**16, rounded."""
    check_keep_ratio(keep_ratio)
    return round(keep_ratio * _HALF_RANGE)


def block_keys(name: str, block: int, seed: int) -> tuple[int, int]:
    """Returns the two 32-bit keys of one block of one parameter; the second one is odd."""
    message = _DOMAIN + seed.to_bytes(8, "little") + block.to_bytes(8, "little") + name.encode()
    digest = blake2b(message, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1


@cache
def _table() -> np.ndarray:
    words = np.arange(_WORDS, dtype=np.uint32)
    # A full hash of the counter, paid once: what is left to do for a block starts from well-mixed words.
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        words ^= words >> np.uint32(shift)
        words *= np.uint32(multiplier)
    words ^= words >> np.uint32(16)
    words.setflags(write=False)
    return words


class BlockSource:
    """
    Draws masks block by block into buffers that it reuses.

    Args:
        name (`str`): Canonical parameter name, without wrapper prefixes.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].
        seed (`int`): Seed, in [0, 2**64).

    Raises:
        InputError: If `keep_ratio` or `seed` is out of range.
    """

    def __init__(self, name: str, keep_ratio: float, seed: int):
        check_integer("seed", seed, 0, 2**64 - 1)
        self.name, self.seed = name, seed
        self.threshold = threshold(keep_ratio)
        self._words = np.empty(_WORDS, dtype=np.uint32)
        self._shifted = np.empty(_WORDS, dtype=np.uint32)

    def fill(self, block: int, out: np.ndarray) -> None:
        """Writes the mask of a block's first scalars into `out` (`bool`, shape (at most `BLOCK`,))."""
        if self.threshold == _HALF_RANGE:  # does not fit into the 16-bit comparison below
            out.fill(True)
            return
        count = -(-len(out) // 2)
        words, shifted = self._words[:count], self._shifted[:count]
        key_1, key_2 = block_keys(self.name, block, self.seed)
        np.bitwise_xor(_table()[:count], np.uint32(key_1), out=words)
        np.multiply(words, np.uint32(key_2), out=words)
        np.right_shift(words, np.uint32(_SHIFT_1), out=shifted)
        np.bitwise_xor(words, shifted, out=words)
        np.multiply(words, np.uint32(_MULTIPLIER), out=words)
        np.right_shift(words, np.uint32(_SHIFT_2), out=shifted)
        np.bitwise_xor(words, shifted, out=words)
        halves = words.astype("<u4", copy=False).view("<u2")[: len(out)]
        np.less(halves, np.uint16(self.threshold), out=out)


def iter_keep_mask(
    name: str, start: int, stop: int, keep_ratio: float, seed: int, blocks_per_chunk: int = 4
) -> Iterator[tuple[int, int, np.ndarray]]:
    """
    Yields the mask of scalars `start` to `stop` of a parameter, chunk by chunk.

    Args:
        name (`str`): Canonical parameter name.
        start (`int`): Offset of the first scalar, in row-major order.
        stop (`int`): Offset after the last scalar.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].
        seed (`int`): Seed of the draw.
        blocks_per_chunk (`int`, *optional*, defaults to 4): How many blocks make a chunk; no effect on the bits.

    Yields:
        `tuple[int, int, np.ndarray]`: Offsets of the chunk's first and one after its last scalar, and the mask
        (`bool`, shape (last - first,)), `True` where the fine-tuned value is kept. The array is reused: copy what has
        to outlive the next step.
    """
    check_integer("blocks_per_chunk", blocks_per_chunk, 1)
    source = BlockSource(name, keep_ratio, seed)
    buffer = np.empty(blocks_per_chunk * BLOCK, dtype=bool)
    position = start
    while position < stop:
        first_block = position // BLOCK
        origin = first_block * BLOCK
        end = min(stop, origin + len(buffer))
        # Of the last block no more is drawn than what is asked for: many parameters are much smaller than a block.
        for at in range(0, end - origin, BLOCK):
            source.fill(first_block + at // BLOCK, buffer[at : min(at + BLOCK, end - origin)])
        yield position, end, buffer[position - origin : end - origin]
        position = end


def keep_mask(name: str, shape: tuple[int, ...], keep_ratio: float, seed: int) -> np.ndarray:
    """Returns the whole mask of a parameter as a `bool` array of its shape; see [`iter_keep_mask`]."""
    mask = np.empty(int(np.prod(shape, dtype=np.int64)), dtype=bool)
    for first, last, chunk in iter_keep_mask(name, 0, mask.size, keep_ratio, seed):
        mask[first:last] = chunk
    return mask.reshape(shape)


def keep_mask_on_device(
    name: str, start: int, stop: int, keep_ratio: float, seed: int, device: torch.device | str
) -> torch.Tensor:
    """
    Draws the same bits as [`iter_keep_mask`] with torch operations on `device`.

    Returns:
        `torch.Tensor`: `bool`, shape (`stop` - `start`,).
    """
    check_integer("seed", seed, 0, 2**64 - 1)
    limit = threshold(keep_ratio)
    if limit == _HALF_RANGE:
        return torch.ones(stop - start, dtype=torch.bool, device=device)
    if start >= stop:
        return torch.empty(0, dtype=torch.bool, device=device)
    first_block, last_block = start // BLOCK, -(-stop // BLOCK)
    keys = np.array([block_keys(name, block, seed) for block in range(first_block, last_block)], dtype=np.uint32)
    key_1, key_2 = _as_int32(keys).to(device, non_blocking=True).reshape(-1, 2).T
    # torch multiplies 32-bit integers only as signed ones; they wrap to the same bits. Its right shift copies the
    # sign bit, which the mask after the shift takes away again.
    words = _table_on(torch.device(device)) ^ key_1[:, None]
    words *= key_2[:, None]
    shifted = words >> _SHIFT_1
    shifted &= (1 << (32 - _SHIFT_1)) - 1
    words ^= shifted
    # Signed halves are compared below. With the top bit of the word flipped, the xor of its high half into its low
    # one, which is the last xor-shift, flips the top bits of both: what is left is the order of unsigned ones.
    torch.add(torch.tensor(_signed(1 << 31), dtype=torch.int32), words, alpha=_signed(_MULTIPLIER), out=words)
    halves = words.view(torch.int16).view(-1)
    halves[::2].bitwise_xor_(halves[1::2])
    origin = first_block * BLOCK
    return halves[start - origin : stop - origin] < limit - (_HALF_RANGE >> 1)


@cache
def _table_on(device: torch.device) -> torch.Tensor:
    return _as_int32(_table()).to(device)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value


def _as_int32(words: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(words.view(np.int32).copy())
