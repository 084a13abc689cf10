import numpy as np
import pytest
import torch

from hf_finemix.drift import drift_keep_mask, drift_keys, find_cut


SHAPES = {"b.weight": (7, 11), "a.weight": (50,), "c.bias": (3,), "d.scalar": ()}


def random_pairs(dtype=torch.float32, seed=0, levels=None):
    """Pairs of tensors; with `levels`, their differences take that many values only."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for name, shape in SHAPES.items():
        pretrained = torch.randn(shape, generator=generator)
        drift = torch.randn(shape, generator=generator)
        if levels is not None:
            pretrained = torch.zeros(shape)
            drift = torch.randint(-levels, levels + 1, shape, generator=generator).float()
        pairs[name] = ((pretrained + drift).to(dtype), pretrained.to(dtype))
    return pairs


def cut_masks(pairs, ratio, largest, names=None):
    numel = {name: suspect.numel() for name, (suspect, _) in pairs.items()}
    cut = find_cut(names or list(pairs), lambda name: [pairs[name]], numel, ratio, largest)
    return {name: drift_keep_mask(*pairs[name], cut, name) for name in pairs}


def brute_force(pairs, ratio, largest):
    """Sorts all scalars by (drift, name, offset) and keeps the first ones."""
    rows = []
    for name, (suspect, pretrained) in pairs.items():
        wide = np.float64 if suspect.dtype == torch.float64 else np.float32
        drift = np.abs(
            suspect.to(torch.float64).numpy().astype(wide) - pretrained.to(torch.float64).numpy().astype(wide)
        )
        for offset, value in enumerate(drift.astype(np.float32).ravel()):
            rows.append((-float(value) if largest else float(value), name, offset))
    kept = {(name, offset) for _, name, offset in sorted(rows)[: round(ratio * len(rows))]}
    return {
        name: torch.tensor([(name, at) in kept for at in range(suspect.numel())]).view(suspect.shape)
        for name, (suspect, _) in pairs.items()
    }


def assert_equal(first, second):
    for name in SHAPES:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("largest", [False, True])
def test_ratio_1_keeps_everything_and_ratio_0_nothing(largest):
    for levels in (None, 1, 0):
        pairs = random_pairs(levels=levels)
        assert all(mask.all() for mask in cut_masks(pairs, 1, largest).values())
        assert not any(mask.any() for mask in cut_masks(pairs, 0, largest).values())


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_cut_is_that_of_a_sort_over_all_parameters(dtype, ratio, largest):
    pairs = random_pairs(dtype)
    assert_equal(cut_masks(pairs, ratio, largest), brute_force(pairs, ratio, largest))


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_equal_drifts_are_kept_in_the_order_of_name_and_offset(levels, ratio, largest):
    pairs = random_pairs(levels=levels)
    masks = cut_masks(pairs, ratio, largest)
    assert_equal(masks, brute_force(pairs, ratio, largest))
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == round(ratio * total)


def test_the_order_of_the_names_is_irrelevant():
    pairs = random_pairs(levels=2)
    forwards = cut_masks(pairs, 0.4, False, names=sorted(pairs))
    assert_equal(forwards, cut_masks(pairs, 0.4, False, names=sorted(pairs, reverse=True)))


def test_smallest_and_largest_are_mirrors_without_ties():
    pairs = random_pairs()
    total = sum(suspect.numel() for suspect, _ in pairs.values())
    ratio = 40 / total
    smallest, largest = cut_masks(pairs, ratio, False), cut_masks(pairs, 1 - ratio, True)
    for name in SHAPES:
        assert torch.equal(smallest[name], ~largest[name])


def test_the_sign_of_a_drift_is_irrelevant():
    up, down = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([-1.0, -2.0, -0.0])
    assert np.array_equal(drift_keys(up, torch.zeros(3)), drift_keys(down, torch.zeros(3)))


def test_differences_of_half_precision_are_taken_in_single_precision():
    # In bfloat16 itself, 256 - 0.5 rounds to 256 and both would tie.
    suspect, pretrained = torch.tensor([256.0, 256.0]).bfloat16(), torch.tensor([0.5, 0.0]).bfloat16()
    keys = drift_keys(suspect, pretrained)
    assert keys[0] < keys[1]


def test_a_transposed_parameter_is_cut_in_row_major_order():
    pairs = random_pairs(levels=1)
    suspect, pretrained = pairs["b.weight"]
    turned = pairs | {"b.weight": (suspect.t().contiguous().t(), pretrained)}
    assert not turned["b.weight"][0].is_contiguous()
    assert_equal(cut_masks(turned, 0.3, False), cut_masks(pairs, 0.3, False))


def test_no_parameters_give_an_empty_cut():
    assert find_cut([], {}.__getitem__, {}, 0.3, False).limits == {}


def test_the_inputs_are_left_alone():
    pairs = random_pairs()
    before = {name: (suspect.clone(), pretrained.clone()) for name, (suspect, pretrained) in pairs.items()}
    cut_masks(pairs, 0.3, True)
    for name, (suspect, pretrained) in pairs.items():
        assert torch.equal(suspect, before[name][0])
        assert torch.equal(pretrained, before[name][1])
