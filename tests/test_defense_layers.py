"""What pruning stands on: the right linear maps, inputs without padding, the lowest scores."""

import pytest
import torch
from torch import nn
from transformers import BertModel

from hf_finemix import InputError
from hf_finemix.defenses.layers import clean_inputs, encoder_layers, lowest, zero_columns_, zero_rows_

from .defender import CLEAN, ENCODERS, make_encoders, make_view
from .models import make_pair


BERT = ("attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense")
NAMES = {
    "bert": ("bert.encoder.layer", BERT),
    "roberta": ("roberta.encoder.layer", BERT),
    "mpnet": ("mpnet.encoder.layer", ("attention.attn.v", "attention.attn.o", "intermediate.dense", "output.dense")),
    "distilbert": ("distilbert.transformer.layer", ("attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2")),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_layers_of_each_architecture_are_found_in_order(name, tiny_tokenizer):
    model, _ = make_encoders(name, tiny_tokenizer)
    prefix, parts = NAMES[name]
    layers = encoder_layers(model)
    assert len(layers) == 2
    for index, layer in enumerate(layers):
        found = (layer.value, layer.attention_output, layer.intermediate, layer.output)
        for part, linear in zip(parts, found, strict=True):
            assert linear is model.get_submodule(f"{prefix}.{index}.{part}")


def test_another_architecture_is_refused():
    model, _ = make_pair("gpt2")
    with pytest.raises(InputError, match=r"`model` is of the type 'gpt2'.*roberta"):
        encoder_layers(model)


def test_inputs_are_one_example_each_without_padding_or_labels(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, BertModel(tiny_bert.config), tiny_tokenizer)
    found = list(clean_inputs(tiny_bert, view))
    lengths = [len(tiny_tokenizer(text)["input_ids"]) for text in CLEAN["text"]]
    assert len(set(lengths)) > 1
    assert [inputs["input_ids"].shape for inputs in found] == [(1, min(length, 16)) for length in lengths]
    assert all(inputs["attention_mask"].all() and "labels" not in inputs for inputs in found)


def test_inputs_are_cut_to_the_length_of_the_recipe(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, BertModel(tiny_bert.config), tiny_tokenizer)
    view.recipe = view.recipe.from_dict(view.recipe.to_dict() | {"max_length": 5})
    assert {inputs["input_ids"].shape for inputs in clean_inputs(tiny_bert, view)} == {(1, 5)}


def test_the_model_is_in_evaluation_mode_only_meanwhile(tiny_bert, tiny_tokenizer):
    view = make_view(tiny_bert, BertModel(tiny_bert.config), tiny_tokenizer)
    tiny_bert.train()
    assert not any(tiny_bert.training for _ in clean_inputs(tiny_bert, view))
    assert tiny_bert.training


@pytest.mark.parametrize("ratio, marked", [(1, []), (0.75, [1]), (0.5, [1, 2]), (0.25, [0, 1, 2]), (0, [0, 1, 2, 3])])
def test_the_lowest_scores_of_all_layers_are_marked_the_earlier_ones_first(ratio, marked):
    mask = lowest(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), ratio)
    assert mask.shape == (2, 2)
    assert mask.flatten().nonzero().flatten().tolist() == marked


@pytest.mark.parametrize("bias", [True, False])
def test_rows_and_columns_are_zeroed_and_nothing_else(bias):
    linear = nn.Linear(3, 2, bias=bias)
    nn.init.ones_(linear.weight)
    zero_rows_(linear, torch.tensor([False, True]))
    assert linear.weight.tolist() == [[1, 1, 1], [0, 0, 0]]
    if bias:
        assert linear.bias[1] == 0 != linear.bias[0]
    zero_columns_(linear, torch.tensor([True, False, False]))
    assert linear.weight.tolist() == [[0, 1, 1], [0, 0, 0]]
