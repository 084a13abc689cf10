"""How far a tensor moved: rows, columns and scalars, whatever the parts."""

import numpy as np
import pytest
import torch

from hf_finemix.tensor_drift import LARGEST, measure_drift


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(50, 7, generator=generator), torch.randn(50, 7, generator=generator)


def split(tensors, size):
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


def test_norms_of_rows_columns_and_everything(tensors):
    drift = measure_drift([tensors])
    difference = (tensors[0].double() - tensors[1].double()).numpy()
    assert drift.rows == pytest.approx(np.linalg.norm(difference, axis=1))
    assert drift.columns == pytest.approx(np.linalg.norm(difference, axis=0))
    assert drift.norm == pytest.approx(np.linalg.norm(difference))
    assert drift.pretrained == pytest.approx(float(tensors[1].double().norm()))
    assert drift.scalars == 350 and drift.typical == pytest.approx(np.sqrt(np.square(difference).mean()))


def test_the_farthest_scalars_are_exactly_those(tensors):
    difference = (tensors[0].double() - tensors[1].double()).abs().numpy()
    order = np.argsort(-difference.ravel())[:LARGEST]
    expected = [(int(n // 7), int(n % 7), difference.ravel()[n]) for n in order]
    for size in (50, 9, 1):
        found = measure_drift(split(tensors, size)).largest
        assert [item[:2] for item in found] == [item[:2] for item in expected]
        assert [item[2] for item in found] == pytest.approx([item[2] for item in expected])


def test_several_of_the_farthest_may_lie_in_one_row(tensors):
    suspect = tensors[1].clone()
    suspect[13] += torch.arange(7) + 1
    found = measure_drift(split((suspect, tensors[1]), 4)).largest
    assert [item[:2] for item in found] == [(13, column) for column in (6, 5, 4, 3, 2)]


@pytest.mark.parametrize("size", [1, 3, 49])
def test_parts_change_no_bit_of_the_rows(tensors, size):
    assert np.array_equal(measure_drift(split(tensors, size)).rows, measure_drift([tensors]).rows)
    assert measure_drift(split(tensors, size)).columns == pytest.approx(measure_drift([tensors]).columns)


def test_what_did_not_move_has_no_drift(tensors):
    drift = measure_drift([(tensors[0], tensors[0])])
    assert drift.norm == drift.typical == 0 and drift.largest == ()


def test_no_parts_are_an_empty_tensor():
    drift = measure_drift([])
    assert (drift.scalars, drift.norm, drift.typical, drift.pretrained, drift.largest) == (0, 0.0, 0.0, 0.0, ())
