"""
Properties of mixing by parts: however a parameter is cut, the result is that of the whole, bit for bit.

Cases are drawn from fixed seeds, so that these tests either always pass or always fail.
"""

import random
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from hf_finemix import FineMixConfig
from hf_finemix.cuts import DriftCut, find_key, mask_below
from hf_finemix.drift import drift_keys, find_cut, in_parts
from hf_finemix.masks import BLOCK, keep_mask
from hf_finemix.mixing import mix_, mix_each_
from hf_finemix.part_mixing import find_mix_cut, mix_part_

from .models import DEVICES, bits_equal


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
SELECTIONS = ["random", "smallest_drift", "largest_drift", "fisher"]
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def raw_bits(count, dtype, seed):
    """Any bits at all: NaN with every payload, infinities, both zeros, denormal numbers."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (count * dtype.itemsize,), generator=generator, dtype=torch.uint8).view(dtype)
    special = torch.tensor([-0.0, 0.0, float("inf"), float("-inf"), float("nan")], dtype=dtype)
    values[: min(count, 5)] = special[: min(count, 5)]
    return values


def normal_pair(count, dtype, seed, levels=None):
    """Numbers, half of whose differences are one of `levels` if it is given."""
    generator = torch.Generator().manual_seed(seed)
    pretrained = torch.randn(count, generator=generator)
    drift = torch.randn(count, generator=generator)
    if levels:
        drift = torch.randint(-levels, levels + 1, (count,), generator=generator).float()
        pretrained = pretrained.round()
    fisher = torch.rand(count, generator=generator).round(decimals=1)
    return (pretrained + drift).to(dtype), pretrained.to(dtype), fisher


def random_edges(picker, count, cuts):
    """Sorted offsets from 0 to `count`; some parts are empty, and some begin or end at a block."""
    blocks = [at for at in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK) if at < count]
    inner = [picker.randrange(count + 1) for _ in range(cuts)] + picker.sample(blocks, min(len(blocks), 2))
    return sorted([0, *inner, count])


def mix_in_parts(suspect, pretrained, fisher, name, config, cut, edges, picker):
    mixed, kept = suspect.clone(), 0
    spans = list(pairwise(edges))
    picker.shuffle(spans)
    for start, stop in spans:
        extra = fisher[start:stop] if config.selection == "fisher" else None
        kept += mix_part_(mixed[start:stop], pretrained[start:stop], name, start, config, cut, extra)
    return mixed, kept


def cut_of(config, suspect, pretrained, fisher, name):
    tensors = (suspect, pretrained, fisher) if config.selection == "fisher" else (suspect, pretrained)
    return find_mix_cut(config, [name], lambda _: in_parts(*tensors), {name: len(suspect)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_any_parts_in_any_order_give_the_bits_of_the_whole(selection, dtype, seed):
    picker = random.Random(f"{selection} {dtype} {seed}")
    count = picker.choice([0, 1, 2, 777, BLOCK, 2 * BLOCK + 4321])
    config = FineMixConfig(picker.choice([0.0, 0.1, 0.5, 1.0, picker.random()]), selection, picker.randrange(2**64))
    levels = picker.choice([None, 1, 3])
    suspect, pretrained, fisher = normal_pair(count, dtype, seed, levels)
    cut = cut_of(config, suspect, pretrained, fisher, "w")
    whole = suspect.clone()
    kept = mix_(whole, pretrained, "w", config, cut, fisher if selection == "fisher" else None)
    edges = random_edges(picker, count, 6)
    mixed, kept_in_parts = mix_in_parts(suspect, pretrained, fisher, "w", config, cut, edges, picker)
    assert bits_equal(mixed, whole)
    assert kept == kept_in_parts
    if selection != "random":
        assert kept == round(config.keep_ratio * count)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(3))
def test_any_bits_pass_through_unchanged_from_the_side_that_the_mask_names(dtype, seed):
    suspect, pretrained = (raw_bits(BLOCK + 999, dtype, seed + side) for side in (0, 100))
    start = 3 * BLOCK - 500
    keep = keep_mask("w", (start + len(suspect),), 0.4, seed)[start:]
    mixed = suspect.clone()
    kept = mix_part_(mixed, pretrained, "w", start, FineMixConfig(0.4, seed=seed))
    kind = _INTEGERS[dtype.itemsize]
    expected = np.where(keep, suspect.view(kind).numpy(), pretrained.view(kind).numpy())
    assert np.array_equal(mixed.view(kind).numpy(), expected)
    assert kept == int(keep.sum())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_path_of_devices_gives_the_same_bits(selection, dtype, device, monkeypatch):
    config = FineMixConfig(0.3, selection, 9)
    suspect, pretrained, fisher = normal_pair(2 * BLOCK + 99, dtype, 5, 3)
    cut = cut_of(config, suspect, pretrained, fisher, "w")
    extra = fisher if selection == "fisher" else None
    expected = suspect.clone()
    kept = mix_part_(expected, pretrained, "w", 0, config, cut, extra)

    there = suspect.to(device, copy=True)
    if device == "cpu":
        # What a device would run, made to run here, in more than one chunk.
        monkeypatch.setattr("hf_finemix.part_mixing.is_cpu", lambda tensor: False)
    monkeypatch.setattr("hf_finemix.part_mixing._DEVICE_CHUNK", BLOCK)
    assert mix_part_(there, pretrained, "w", 0, config, cut, extra) == kept
    assert bits_equal(there.cpu(), expected)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads, selection, monkeypatch):
    monkeypatch.setattr("hf_finemix.mixing._SPAN", 2 * BLOCK)
    config = FineMixConfig(0.3, selection, 1)
    made = {f"w{size}": normal_pair(size, torch.bfloat16, size) for size in (7 * BLOCK + 5, 0, 1, 3 * BLOCK, 200)}
    used = {name: found if selection == "fisher" else found[:2] for name, found in made.items()}
    sizes = {name: len(found[0]) for name, found in used.items()}
    cut = find_mix_cut(config, list(used), lambda name: in_parts(*used[name]), sizes)
    together = {name: (found[0].clone(), *found[1:]) for name, found in used.items()}
    kept = mix_each_(together.items(), config, cut, threads)
    for name, (suspect, pretrained, *fisher) in used.items():
        alone = suspect.clone()
        assert kept[name] == mix_part_(alone, pretrained, name, 0, config, cut, *fisher)
        assert bits_equal(together[name][0], alone)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_thread_is_the_caller_and_several_are_others(threads):
    used = set()

    def tensors():
        for number in range(4):
            used.add(threading.current_thread())
            yield f"w{number}", (torch.ones(9), torch.zeros(9))

    mix_each_(tensors(), FineMixConfig(0.3), threads=threads)
    assert (threading.current_thread() in used) == (threads == 1)
    assert len(used) <= threads


@pytest.mark.parametrize(("size", "by_others"), [(9, False), (4 * BLOCK - 1, False), (4 * BLOCK, True)])
def test_other_threads_begin_for_large_tensors_alone_and_change_no_bit(size, by_others, monkeypatch):
    monkeypatch.setattr("hf_finemix.mixing._SPAN", 2 * BLOCK)
    suspect, pretrained, _ = normal_pair(size, torch.float32, 4)
    alone, together, before, begun = suspect.clone(), suspect.clone(), torch.get_num_threads(), set()
    kept = mix_part_(alone, pretrained, "w", 0, FineMixConfig(0.3))
    torch.set_num_threads(3)
    # Called by each thread that begins after it.
    threading.setprofile(lambda *_: begun.add(threading.current_thread()))
    try:
        assert mix_(together, pretrained, "w", FineMixConfig(0.3)) == kept
    finally:
        threading.setprofile(None)
        torch.set_num_threads(before)
    assert bits_equal(together, alone)
    assert bool(begun) == by_others


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_a_tensor_that_is_a_part_is_mixed_as_in_the_whole(threads, selection, monkeypatch):
    monkeypatch.setattr("hf_finemix.mixing._SPAN", BLOCK // 2)
    config, start = FineMixConfig(0.3, selection, 2), 3 * BLOCK // 2 + 70
    suspect, pretrained, fisher = normal_pair(3 * BLOCK, torch.float32, 6, 3)
    cut = cut_of(config, suspect, pretrained, fisher, "w")
    extra = (fisher,) if selection == "fisher" else ()
    whole, part = suspect.clone(), suspect[start:].clone()
    mix_part_(whole, pretrained, "w", 0, config, cut, *extra)
    tensors = [("w", (part, *(tensor[start:] for tensor in (pretrained, *extra))))]
    mix_each_(tensors, config, cut, threads, {"w": start, "other": 1})
    assert bits_equal(part, whole[start:])


@pytest.mark.parametrize("threads", [1, 2])
def test_tensors_of_any_strides_are_mixed_in_row_major_order(threads):
    suspect, pretrained, _ = (values.view(300, 400) for values in normal_pair(120_000, torch.float32, 3))
    flat, turned = suspect.clone(), suspect.t().contiguous().t()
    kept = mix_each_([("w", (turned, pretrained))], FineMixConfig(0.3), threads=threads)
    assert not turned.is_contiguous() and kept == {"w": mix_(flat, pretrained, "w", FineMixConfig(0.3))}
    assert torch.equal(flat, turned) and not torch.equal(flat, suspect)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_tensors_of_a_device_are_mixed_one_after_the_other(selection, device, monkeypatch):
    config = FineMixConfig(0.3, selection)
    made = {f"w{size}": normal_pair(size, torch.float32, size) for size in (2 * BLOCK + 3, 0, 70)}
    used = {name: found if selection == "fisher" else found[:2] for name, found in made.items()}
    sizes = {name: len(found[0]) for name, found in used.items()}
    cut = find_mix_cut(config, list(used), lambda name: in_parts(*used[name]), sizes)
    alone = {name: suspect.clone() for name, (suspect, *_) in used.items()}
    kept = {
        name: mix_(alone[name], pretrained, name, config, cut, *fisher)
        for name, (_, pretrained, *fisher) in used.items()
    }
    there = {name: (suspect.to(device, copy=True), *others) for name, (suspect, *others) in used.items()}
    if device == "cpu":
        for module in ("mixing", "part_mixing"):
            monkeypatch.setattr(f"hf_finemix.{module}.is_cpu", lambda tensor: False)
    assert mix_each_(there.items(), config, cut, threads=2) == kept
    assert all(bits_equal(there[name][0].cpu(), alone[name]) for name in used)


def test_an_error_in_one_tensor_ends_all_threads(monkeypatch):
    monkeypatch.setattr("hf_finemix.mixing._SPAN", BLOCK)
    good, taken = torch.ones(2 * BLOCK), []

    def tensors():
        for number in range(100):
            taken.append(number)
            yield f"w{number}", (good.clone(), good if number != 3 else good.double())

    with pytest.raises(ValueError, match="must be like"):
        mix_each_(tensors(), FineMixConfig(0.3), threads=2)
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (5, 7)])
def test_scalars_and_empty_tensors_are_mixed_too(selection, shape):
    config = FineMixConfig(0.0, selection)
    suspect, pretrained, fisher = torch.full(shape, 2.0), torch.full(shape, 3.0), torch.ones(shape)
    extra = (fisher,) if selection == "fisher" else ()
    cut = find_mix_cut(config, ["w"], lambda _: in_parts(suspect, pretrained, *extra), {"w": suspect.numel()})
    assert mix_(suspect, pretrained, "w", config, cut, *extra) == 0
    assert bits_equal(suspect, pretrained)


@pytest.mark.parametrize("seed", range(12))
def test_a_key_found_by_parts_is_that_of_a_sort_with_ties_by_name_and_offset(seed):
    picker = random.Random(seed)
    generator = np.random.default_rng(seed)
    # Few distinct values give ties; those around multiples of 2**16 cross the halves that are counted.
    values = np.array([0, 1, 65535, 65536, 65537, 5 << 16, 2**31 - 1][: picker.randint(1, 7)], dtype=np.uint32)
    names = ["b", "a", "layer.10", "layer.9", "empty"]
    keys = {name: generator.choice(values, picker.randrange(60)) for name in names[:-1]} | {"empty": values[:0]}
    total = sum(map(len, keys.values()))
    ratio = picker.choice([0, 1, picker.random(), picker.random()])

    def parts(name):
        edges = random_edges(picker, len(keys[name]), 3)
        return (keys[name][start:stop] for start, stop in pairwise(edges))

    key, limits = find_key(names, parts, {name: len(found) for name, found in keys.items()}, ratio)
    ranked = sorted((int(value), name, at) for name in names for at, value in enumerate(keys[name]))
    expected = {(name, at) for _, name, at in ranked[: round(ratio * total)]}
    masks = {name: mask_below(keys[name], key, limits[name]) for name in names}
    assert {(name, int(at)) for name, mask in masks.items() for at in np.flatnonzero(mask)} == expected


def test_keys_of_either_drift_leave_the_highest_bit_free():
    suspect, pretrained = torch.tensor([0.0, 1e38, -1.0]), torch.tensor([0.0, -1e38, 2.0])
    for largest in (False, True):
        assert int(drift_keys(suspect, pretrained, largest).max()) < 2**31


def test_no_pass_holds_more_than_one_part():
    alive = []

    def parts(name):
        for _ in range(5):
            alive.append(1)
            yield torch.ones(4), torch.zeros(4)
            assert len(alive) == 1
            alive.pop()

    cut = find_cut(["w"], parts, {"w": 20}, 0.5, False)
    assert cut == DriftCut(cut.key, {"w": 10}, False)


def test_what_is_no_flat_part_or_lacks_its_information_is_refused():
    flat = torch.ones(4)
    with pytest.raises(ValueError, match="contiguous tensor of one dimension"):
        mix_part_(torch.ones(2, 2), torch.ones(2, 2), "w", 0, FineMixConfig())
    with pytest.raises(ValueError, match="contiguous tensor of one dimension"):
        mix_part_(torch.ones(8)[::2], flat, "w", 0, FineMixConfig())
    with pytest.raises(ValueError, match="must be like"):
        mix_part_(flat, flat.double(), "w", 0, FineMixConfig())
    with pytest.raises(ValueError, match="`cut` is missing"):
        mix_part_(flat, flat, "w", 0, FineMixConfig(selection="largest_drift"))
    with pytest.raises(ValueError, match="`fisher` is missing"):
        mix_part_(flat, flat, "w", 0, FineMixConfig(selection="fisher"), DriftCut(0, {"w": 0}, False))
