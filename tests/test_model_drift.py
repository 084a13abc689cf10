"""Drift of a loaded model: the figures of a scan of its files, whatever the size of the parts."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hf_finemix import model_drift as module
from hf_finemix.config import FineMixConfig
from hf_finemix.model_drift import model_drift
from hf_finemix.scanning import scan
from hf_finemix.twin import load_twin


@pytest.fixture
def loaded(workplace):
    model = AutoModelForSequenceClassification.from_pretrained(workplace.suspect)
    return model, load_twin(model, workplace.base, FineMixConfig(), None)


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_figures_are_those_of_a_scan(workplace, loaded, monkeypatch, size):
    monkeypatch.setattr(module, "_PART", size)
    found = model_drift(*loaded)
    expected = scan(workplace.suspect, workplace.base).layers
    assert [(item.group, item.scalars) for item in found] == [(item.group, item.scalars) for item in expected]
    assert [item.relative_drift for item in found] == pytest.approx([item.relative_drift for item in expected])
    assert all(item.relative_drift > 0 for item in found)


def test_model_is_left_as_it_is(loaded):
    model, twin = loaded
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model_drift(model, twin)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_model_that_is_its_base_has_not_moved(loaded):
    model, twin = loaded
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in twin.tensors:
                parameter.copy_(twin.tensors[name])
    assert {item.relative_drift for item in model_drift(model, twin)} == {0.0}


def test_half_precision_is_measured_too(loaded):
    model, twin = loaded
    assert model_drift(model.bfloat16(), twin)[0].relative_drift > 0
