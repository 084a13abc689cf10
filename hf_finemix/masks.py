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

from .config import check_integer, check_keep_ratio


MASK_VERSION = 1
BLOCK = 1 << 16
# Blocks that each of several threads draws at once: they share an interpreter, and wait for it less often with more.
# A single thread is fastest with one block, which its cache holds.
THREADED_BLOCKS = 8

# One more than what a half word can hold.
HALF_RANGE = 1 << 16
# From the finaliser of MurmurHash3: odd, with about half of its bits set.
MULTIPLIER = 0xC2B2AE35
# The first xor-shift of the two; the second one moves the high half onto the low one.
SHIFT = 15

_WORDS = BLOCK // 2
_DOMAIN = b"hf-finemix mask 1\0"


def threshold(keep_ratio: float) -> int:
    """Returns how many of the 2**16 values of a half word keep the scalar: `keep_ratio` * 2**16, rounded."""
    check_keep_ratio(keep_ratio)
    return round(keep_ratio * HALF_RANGE)


def block_keys(name: str, block: int, seed: int) -> tuple[int, int]:
    """Returns the two 32-bit keys of one block of one parameter; the second one is odd."""
    message = _DOMAIN + seed.to_bytes(8, "little") + block.to_bytes(8, "little") + name.encode()
    digest = blake2b(message, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1


@cache
def table() -> np.ndarray:
    """Returns the fixed hash of 0 .. 2**15 - 1 that each block starts from: `uint32`, read-only."""
    words = np.arange(_WORDS, dtype=np.uint32)
    # A full hash of the counter, paid once: what is left to do for a block starts from well-mixed words.
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        words ^= words >> np.uint32(shift)
        words *= np.uint32(multiplier)
    words ^= words >> np.uint32(16)
    words.setflags(write=False)
    return words


class Workspace:
    """
    Memory that masks are drawn in, used again and again; each thread has its own.

    Args:
        blocks (`int`, *optional*, defaults to 1): Most blocks that are drawn at once; no effect on the bits.

    Attributes:
        difference (`np.ndarray`): `uint64`, as many as the scalars of a block, for whoever mixes by a mask.
    """

    def __init__(self, blocks: int = 1):
        check_integer("blocks", blocks, 1)
        self.blocks = blocks
        self.words, self.shifted = np.empty((2, blocks, _WORDS), dtype=np.uint32)
        self.keep = np.empty(blocks * BLOCK, dtype=bool)
        self.difference = np.empty(BLOCK, dtype=np.uint64)


class BlockSource:
    """
    Draws masks, some blocks at a time.

    Args:
        name (`str`): Canonical parameter name, without wrapper prefixes.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].
        seed (`int`): Seed, in [0, 2**64).
        workspace ([`Workspace`], *optional*): Where they are drawn; by default one for a single block.

    Raises:
        InputError: If `keep_ratio` or `seed` is out of range.
    """

    def __init__(self, name: str, keep_ratio: float, seed: int, workspace: Workspace | None = None):
        check_integer("seed", seed, 0, 2**64 - 1)
        self.name, self.seed = name, seed
        self.threshold = threshold(keep_ratio)
        self.workspace = workspace or Workspace()

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yields what [`iter_keep_mask`] yields, in the workspace."""
        keep, position = self.workspace.keep, start
        while position < stop:
            first_block = position // BLOCK
            origin = first_block * BLOCK
            end = min(stop, origin + len(keep))
            self.fill(first_block, keep[: end - origin])
            yield position, end, keep[position - origin : end - origin]
            position = end

    def fill(self, block: int, out: np.ndarray) -> None:
        """Writes the mask of the scalars from a block's first one on into `out` (`bool`, one dimension)."""
        if self.threshold == HALF_RANGE:  # does not fit into the 16-bit comparison below
            out.fill(True)
            return
        # Of the last block no more is drawn than what is asked for: many parameters are much smaller than a block.
        whole = len(out) // BLOCK
        if whole:
            self._draw(block, whole, out[: whole * BLOCK])
        if whole * BLOCK < len(out):
            self._draw(block + whole, 1, out[whole * BLOCK :])

    def _draw(self, block: int, blocks: int, out: np.ndarray) -> None:
        # Several whole blocks, or a part of one.
        count = -(-min(len(out), BLOCK) // 2)
        words, shifted = self.workspace.words[:blocks, :count], self.workspace.shifted[:blocks, :count]
        keys = [block_keys(self.name, number, self.seed) for number in range(block, block + blocks)]
        key_1, key_2 = np.array(keys, dtype=np.uint32).T[:, :, None]
        np.bitwise_xor(table()[:count], key_1, out=words)
        np.multiply(words, key_2, out=words)
        np.right_shift(words, np.uint32(SHIFT), out=shifted)
        np.bitwise_xor(words, shifted, out=words)
        np.multiply(words, np.uint32(MULTIPLIER), out=words)
        np.right_shift(words, np.uint32(16), out=shifted)
        np.bitwise_xor(words, shifted, out=words)
        halves = words.astype("<u4", copy=False).view("<u2").reshape(-1)[: len(out)]
        np.less(halves, np.uint16(self.threshold), out=out)


def iter_keep_mask(
    name: str, start: int, stop: int, keep_ratio: float, seed: int, blocks_per_chunk: int = THREADED_BLOCKS
) -> Iterator[tuple[int, int, np.ndarray]]:
    """
    Yields the mask of scalars `start` to `stop` of a parameter, chunk by chunk.

    Args:
        name (`str`): Canonical parameter name.
        start (`int`): Offset of the first scalar, in row-major order.
        stop (`int`): Offset after the last scalar.
        keep_ratio (`float`): Share of scalars to keep, in [0, 1].
        seed (`int`): Seed of the draw.
        blocks_per_chunk (`int`, *optional*, defaults to 8): How many blocks make a chunk; no effect on the bits.

    Yields:
        `tuple[int, int, np.ndarray]`: Offsets of the chunk's first and one after its last scalar, and the mask
        (`bool`, shape (last - first,)), `True` where the fine-tuned value is kept. The array is reused: copy what has
        to outlive the next step.
    """
    check_integer("blocks_per_chunk", blocks_per_chunk, 1)
    yield from BlockSource(name, keep_ratio, seed, Workspace(blocks_per_chunk)).chunks(start, stop)


def keep_mask(name: str, shape: tuple[int, ...], keep_ratio: float, seed: int) -> np.ndarray:
    """Returns the whole mask of a parameter as a `bool` array of its shape; see [`iter_keep_mask`]."""
    mask = np.empty(int(np.prod(shape, dtype=np.int64)), dtype=bool)
    for first, last, chunk in iter_keep_mask(name, 0, mask.size, keep_ratio, seed):
        mask[first:last] = chunk
    return mask.reshape(shape)
