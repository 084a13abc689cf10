import pytest
import torch

from hf_finemix import FineMixConfig, InputError
from hf_finemix.drift import drift_keep_mask, find_cut
from hf_finemix.masks import BLOCK, keep_mask
from hf_finemix.mixing import mix_, mix_by_drift_, mix_random_

from .models import DEVICES, bits_equal


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def make_pair(shape=(300, 700), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    pair = [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]
    # Values whose bits are easily lost: negative zero and the smallest number above zero.
    pair[0].view(-1)[:2] = torch.tensor([-0.0, torch.finfo(dtype).smallest_normal], dtype=dtype)
    pair[1].view(-1)[:2] = torch.tensor([0.0, -0.0], dtype=dtype)
    return pair


def cut_of(suspect, pretrained, ratio, largest=False):
    return find_cut(["w"], lambda name: [(suspect, pretrained)], {"w": suspect.numel()}, ratio, largest)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ratio_1_changes_no_bit_and_ratio_0_gives_the_pretrained_bits(dtype):
    suspect, pretrained = make_pair(dtype=dtype)
    for ratio, expected, count in ((1, suspect, suspect.numel()), (0, pretrained, 0)):
        mixed = suspect.clone()
        assert mix_random_(mixed, pretrained, "w", ratio, 0) == count
        assert bits_equal(mixed, expected)
        by_drift = suspect.clone()
        assert mix_by_drift_(by_drift, pretrained, "w", cut_of(suspect, pretrained, ratio)) == count
        assert bits_equal(by_drift, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_scalar_has_the_bits_of_the_side_that_its_mask_names(dtype):
    suspect, pretrained = make_pair(dtype=dtype)
    assert suspect.numel() > 3 * BLOCK
    mask = torch.from_numpy(keep_mask("w", tuple(suspect.shape), 0.3, 7))
    mixed = suspect.clone()
    assert mix_random_(mixed, pretrained, "w", 0.3, 7) == int(mask.sum())
    assert bits_equal(mixed[mask], suspect[mask])
    assert bits_equal(mixed[~mask], pretrained[~mask])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("largest", [False, True])
def test_mixing_by_drift_follows_its_cut_bit_for_bit(dtype, largest):
    suspect, pretrained = make_pair((40, 50), dtype)
    cut = cut_of(suspect, pretrained, 0.25, largest)
    mask = drift_keep_mask(suspect, pretrained, cut, "w")
    mixed = suspect.clone()
    assert mix_by_drift_(mixed, pretrained, "w", cut) == 500 == int(mask.sum())
    assert bits_equal(mixed[mask], suspect[mask])
    assert bits_equal(mixed[~mask], pretrained[~mask])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("other", DEVICES)
def test_devices_change_no_bit_wherever_the_pretrained_values_are(device, other):
    suspect, pretrained = make_pair()
    cut = cut_of(suspect, pretrained, 0.3)
    drawn, cut_off = suspect.clone(), suspect.clone()
    counts = mix_random_(drawn, pretrained, "w", 0.3, 7), mix_by_drift_(cut_off, pretrained, "w", cut)
    there, also_there, pretrained = suspect.to(device, copy=True), suspect.to(device, copy=True), pretrained.to(other)
    assert cut == cut_of(there, pretrained, 0.3)
    assert counts == (mix_random_(there, pretrained, "w", 0.3, 7), mix_by_drift_(also_there, pretrained, "w", cut))
    assert there.device.type == device
    assert bits_equal(there, drawn)
    assert bits_equal(also_there, cut_off)


@pytest.mark.parametrize("turned", ["suspect", "pretrained", "both"])
def test_the_storage_order_of_a_tensor_changes_nothing(turned):
    suspect, pretrained = make_pair()
    expected = suspect.clone()
    kept = mix_random_(expected, pretrained, "w", 0.4, 1)
    if turned != "pretrained":
        suspect = suspect.t().contiguous().t()
    if turned != "suspect":
        pretrained = pretrained.t().contiguous().t()
    strides = suspect.stride()
    assert mix_random_(suspect, pretrained, "w", 0.4, 1) == kept
    assert suspect.stride() == strides
    assert bits_equal(suspect, expected)


def test_a_slice_of_a_larger_tensor_is_mixed_and_the_rest_left_alone():
    suspect, pretrained = make_pair((6, 10))
    whole = suspect.clone()
    mix_random_(whole[:, 2:5], pretrained[:, 2:5], "w", 0, 0)
    assert bits_equal(whole[:, 2:5], pretrained[:, 2:5])
    assert bits_equal(whole[:, :2], suspect[:, :2])
    assert bits_equal(whole[:, 5:], suspect[:, 5:])


def test_the_pretrained_tensor_is_left_alone():
    suspect, pretrained = make_pair()
    before = pretrained.clone()
    mix_random_(suspect, pretrained, "w", 0.5, 0)
    mix_by_drift_(suspect, pretrained, "w", cut_of(suspect, pretrained, 0.5))
    assert bits_equal(pretrained, before)


@pytest.mark.parametrize("shape", [(), (0,), (1, 1)])
def test_tensors_of_any_shape_can_be_mixed(shape):
    suspect, pretrained = torch.full(shape, 2.0), torch.full(shape, 3.0)
    assert mix_random_(suspect, pretrained, "w", 0, 0) == 0
    assert bits_equal(suspect, pretrained)


def test_another_shape_or_dtype_is_refused():
    suspect = torch.zeros(4, 4)
    cut = cut_of(suspect, suspect, 0.5)
    for other in (torch.zeros(16), torch.zeros(4, 5), torch.zeros(4, 4).double()):
        with pytest.raises(ValueError, match="must be like"):
            mix_random_(suspect, other, "w", 0.5, 0)
        with pytest.raises(ValueError, match="must be like"):
            mix_by_drift_(suspect, other, "w", cut)


def test_a_bad_ratio_is_refused():
    with pytest.raises(InputError, match="keep_ratio"):
        mix_random_(torch.zeros(4), torch.zeros(4), "w", 2, 0)


def test_the_configured_selection_is_the_one_that_is_used():
    suspect, pretrained = torch.tensor([1.0, 5.0, 2.0, 9.0]), torch.zeros(4)
    smallest = suspect.clone()
    mix_(smallest, pretrained, "w", FineMixConfig(0.5, "smallest_drift"), cut_of(suspect, pretrained, 0.5))
    assert smallest.tolist() == [1, 0, 2, 0]
    largest = suspect.clone()
    mix_(largest, pretrained, "w", FineMixConfig(0.5, "largest_drift"), cut_of(suspect, pretrained, 0.5, True))
    assert largest.tolist() == [0, 5, 0, 9]
    drawn, direct = suspect.clone(), suspect.clone()
    mix_(drawn, pretrained, "w", FineMixConfig(0.5, seed=3))
    mix_random_(direct, pretrained, "w", 0.5, 3)
    assert bits_equal(drawn, direct)


def test_a_selection_by_drift_without_its_cut_is_an_error():
    with pytest.raises(ValueError, match="cut"):
        mix_(torch.ones(4), torch.zeros(4), "w", FineMixConfig(selection="smallest_drift"))
