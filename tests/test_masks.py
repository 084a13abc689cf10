import hashlib
import random
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pytest
import torch

from hf_finemix import InputError
from hf_finemix.device_masks import keep_mask_on_device
from hf_finemix.masks import (
    BLOCK,
    MASK_VERSION,
    BlockSource,
    Workspace,
    iter_keep_mask,
    keep_mask,
    table,
    threshold,
)

from .models import DEVICES


NAME = "bert.encoder.layer.0.attention.self.query.weight"
WRAP = 2**32 - 1


def reference_bit(name: str, offset: int, keep_ratio: float, seed: int) -> bool:
    """The generator of version 1 for a single scalar, in plain integers, written from its description alone."""
    block, inside = divmod(offset, 65536)
    word, half = divmod(inside, 2)
    message = b"hf-finemix mask 1\0" + seed.to_bytes(8, "little") + block.to_bytes(8, "little") + name.encode()
    digest = blake2b(message, digest_size=8).digest()
    key_1, key_2 = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        word = ((word ^ (word >> shift)) * multiplier) & WRAP
    word ^= word >> 16
    word ^= key_1
    for multiplier, shift in ((key_2, 15), (0xC2B2AE35, 16)):
        word = (word * multiplier) & WRAP
        word ^= word >> shift
    return (word >> (16 * half)) & 0xFFFF < round(keep_ratio * 65536)


def collect(name, start, stop, keep_ratio, seed, **options):
    parts, position = [], start
    for first, last, mask in iter_keep_mask(name, start, stop, keep_ratio, seed, **options):
        assert first == position
        assert mask.shape == (last - first,)
        parts.append(mask.copy())
        position = last
    assert position == stop
    return np.concatenate(parts) if parts else np.empty(0, dtype=bool)


def correlation(first, second):
    return abs(np.corrcoef(first, second)[0, 1])


# Identity first: whoever changes these bits breaks every manifest that says `mask_version` 1.


def test_the_bits_of_version_1_never_change():
    mask = keep_mask(NAME, (3, 50000), 0.3, 42)
    assert MASK_VERSION == 1
    first = "".join("01"[int(bit)] for bit in mask.flat[:64])
    assert first == "0001001000000001100010000010000101000111000101001001010110000100"
    digest = hashlib.sha256(np.packbits(mask, bitorder="little").tobytes()).hexdigest()
    assert digest == "7ea292ec9df439fe931462f9dcdc4884fbd297186f5de10266df3ca35d65aa45"


def test_single_scalars_agree_with_a_reference_in_plain_integers():
    picker = random.Random(0)
    size = 3 * BLOCK + 5
    cases = [(NAME, 0.3, 42), ("é.weight", 0.999, 2**64 - 1), ("", 2**-16, 0)]
    # Of these blocks some have a second key that was odd from the start, others one that was made odd.
    cases += [(f"layer.{number}.weight", 0.5, number) for number in range(3)]
    for name, ratio, seed in cases:
        mask = keep_mask(name, (size,), ratio, seed)
        offsets = [0, 1, BLOCK - 1, BLOCK, size - 1, *(picker.randrange(size) for _ in range(200))]
        assert [bool(mask[at]) for at in offsets] == [reference_bit(name, at, ratio, seed) for at in offsets]


def test_ratio_1_keeps_everything_and_ratio_0_nothing():
    assert keep_mask(NAME, (BLOCK + 3,), 1, 0).all()
    assert keep_mask_on_device(NAME, 5, BLOCK + 3, 1, 0, "cpu").all()
    assert not keep_mask(NAME, (BLOCK + 3,), 0, 0).any()
    assert not keep_mask_on_device(NAME, 5, BLOCK + 3, 0, 0, "cpu").any()
    for ratio in (0, 0.5, 1):
        assert keep_mask_on_device(NAME, 7, 3, ratio, 0, "cpu").shape == (0,)


@pytest.mark.parametrize("device", DEVICES)
def test_numpy_and_torch_draw_the_same_bits_on_any_slice(device):
    picker = random.Random(1)
    spots = [(0, 0), (7, 7), (BLOCK - 1, BLOCK + 1), (0, 2 * BLOCK), (BLOCK, 2 * BLOCK)]
    spots += [tuple(sorted(picker.randrange(5 * BLOCK) for _ in range(2))) for _ in range(12)]
    for index, (start, stop) in enumerate(spots):
        ratio, seed = picker.random(), picker.randrange(2**64)
        name = f"layer.{index}.weight"
        on_device = keep_mask_on_device(name, start, stop, ratio, seed, device)
        assert on_device.device.type == device
        assert on_device.dtype == torch.bool
        assert np.array_equal(collect(name, start, stop, ratio, seed), on_device.cpu().numpy())


def test_a_slice_is_the_same_whatever_is_drawn_around_it():
    picker = random.Random(2)
    whole = keep_mask(NAME, (6 * BLOCK,), 0.4, 3)
    for _ in range(12):
        start, stop = sorted(picker.randrange(6 * BLOCK) for _ in range(2))
        assert np.array_equal(collect(NAME, start, stop, 0.4, 3), whole[start:stop])


def test_the_chunk_size_changes_no_bit():
    draws = [collect(NAME, 11, 5 * BLOCK - 3, 0.4, 3, blocks_per_chunk=blocks) for blocks in (1, 2, 4, 100)]
    assert all(np.array_equal(draws[0], draw) for draw in draws[1:])


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_chunks_end_at_every_so_many_blocks(blocks):
    stop = 20 * BLOCK - 3
    edges = [11, *range(blocks * BLOCK, stop, blocks * BLOCK), stop]
    chunks = iter_keep_mask(NAME, 11, stop, 0.4, 3, blocks_per_chunk=blocks)
    assert [(first, last) for first, last, _ in chunks] == list(pairwise(edges))


def test_a_range_that_ends_where_it_starts_or_before_has_no_chunks():
    for start, stop in ((0, 0), (5, 5), (5, 4), (2 * BLOCK, 0)):
        assert not list(iter_keep_mask(NAME, start, stop, 0.4, 3))


def test_the_table_is_made_once_and_cannot_be_changed():
    assert table() is table()
    with pytest.raises(ValueError, match="read-only"):
        table()[0] = 1


def test_blocks_can_be_drawn_in_any_order():
    whole = keep_mask(NAME, (4 * BLOCK,), 0.4, 3)
    source, out = BlockSource(NAME, 0.4, 3), np.empty(BLOCK, dtype=bool)
    for block in (2, 0, 3, 1, 2):
        source.fill(block, out)
        assert np.array_equal(out, whole[block * BLOCK : (block + 1) * BLOCK])


def test_the_shape_changes_only_the_arrangement():
    flat = keep_mask(NAME, (600,), 0.5, 0)
    assert np.array_equal(keep_mask(NAME, (20, 30), 0.5, 0), flat.reshape(20, 30))
    assert keep_mask(NAME, (), 0.5, 0).shape == ()
    assert keep_mask(NAME, (0, 4), 0.5, 0).shape == (0, 4)


def test_a_smaller_ratio_keeps_a_subset():
    small, large = (keep_mask(NAME, (BLOCK,), ratio, 0) for ratio in (0.2, 0.6))
    assert not (small & ~large).any()


def test_the_global_random_state_is_left_alone():
    numpy_before, torch_before, python_before = (
        np.random.get_state()[1].copy(),
        torch.get_rng_state(),
        random.getstate(),
    )
    first = keep_mask(NAME, (1000,), 0.5, 0)
    torch.manual_seed(99)
    np.random.seed(99)
    second = keep_mask(NAME, (1000,), 0.5, 0)
    assert np.array_equal(first, second)
    torch.set_rng_state(torch_before)
    np.random.set_state(("MT19937", numpy_before, 624, 0, 0.0))
    keep_mask(NAME, (1000,), 0.5, 0)
    keep_mask_on_device(NAME, 0, 1000, 0.5, 0, "cpu")
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert random.getstate() == python_before


# Statistics. Seeds are fixed, so that these tests either always pass or always fail.


@pytest.mark.parametrize("ratio", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_the_share_of_kept_scalars_is_the_ratio_within_five_sigma(ratio):
    size = 1 << 20
    sigma = (ratio * (1 - ratio) / size) ** 0.5
    for seed in range(3):
        assert abs(keep_mask(NAME, (size,), ratio, seed).mean() - ratio) < 5 * sigma + 2**-17


def test_the_sixteen_bit_halves_are_uniform():
    # The halves themselves are no part of the interface: their distribution function at 64 points is.
    size, cells = 1 << 20, 64
    counts = np.diff([0, *(int(keep_mask(NAME, (size,), cell / cells, 5).sum()) for cell in range(1, cells + 1))])
    chi_square = float(((counts - size / cells) ** 2 / (size / cells)).sum())
    # 63 degrees of freedom: mean 63, standard deviation 11.2.
    assert 20 < chi_square < 120


@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_neighbours_are_not_correlated(ratio):
    size = 1 << 20
    mask = keep_mask(NAME, (size,), ratio, 0).astype(float)
    for lag in (1, 2, 3, 64, 768, BLOCK // 2, BLOCK, 2 * BLOCK):
        assert correlation(mask[:-lag], mask[lag:]) < 5 / (size - lag) ** 0.5


def test_names_seeds_and_blocks_are_not_correlated():
    size = 1 << 19
    reference = keep_mask(NAME, (size,), 0.3, 0).astype(float)
    others = [keep_mask(NAME, (size,), 0.3, seed) for seed in (1, 2, 256, 2**32, 2**63, 2**64 - 1)]
    others += [keep_mask(name, (size,), 0.3, 0) for name in (NAME + "s", NAME[:-1], NAME.replace("0", "1"), "")]
    assert all(correlation(reference, other) < 5 / size**0.5 for other in others)
    blocks = keep_mask(NAME, (16 * BLOCK,), 0.3, 0).astype(float).reshape(16, BLOCK)
    off_diagonal = np.corrcoef(blocks)[~np.eye(16, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / BLOCK**0.5


def test_rows_and_columns_of_a_matrix_are_kept_evenly():
    mask = keep_mask("bert.embeddings.word_embeddings.weight", (1024, 768), 0.3, 0)
    for axis, size in ((0, 1024), (1, 768)):
        assert np.abs(mask.mean(axis=axis) - 0.3).max() < 5 * (0.21 / size) ** 0.5


# Ranges.


def test_the_threshold_is_the_rounded_ratio():
    assert [threshold(ratio) for ratio in (0, 2**-18, 2**-16, 0.5, 1 - 2**-16, 1 - 2**-18, 1)] == [
        0,
        0,
        1,
        32768,
        65535,
        65536,
        65536,
    ]


@pytest.mark.parametrize(
    "draw", [lambda **k: keep_mask(NAME, (4,), **k), lambda **k: keep_mask_on_device(NAME, 0, 4, **k, device="cpu")]
)
@pytest.mark.parametrize(
    "bad",
    [
        {"keep_ratio": 1.5, "seed": 0},
        {"keep_ratio": float("nan"), "seed": 0},
        {"keep_ratio": 0.5, "seed": -1},
        {"keep_ratio": 0.5, "seed": 2**64},
        {"keep_ratio": 0.5, "seed": 1.5},
    ],
)
def test_bad_ratios_and_seeds_are_refused(draw, bad):
    with pytest.raises(InputError):
        draw(**bad)


def test_a_chunk_of_no_blocks_is_refused():
    with pytest.raises(InputError, match="blocks_per_chunk"):
        next(iter_keep_mask(NAME, 0, 10, 0.5, 0, blocks_per_chunk=0))


def test_a_workspace_of_no_blocks_is_refused():
    with pytest.raises(InputError, match="`blocks` is 0"):
        Workspace(0)
