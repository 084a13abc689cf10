"""Fine-pruning: which neurons go, what of them goes, and what comes back."""

import copy
import dataclasses

import pytest
import torch

from hf_finemix import InputError
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.defenses.fine_pruning import FinePruning, FrozenFinePruning, mean_activations
from hf_finemix.defenses.layers import encoder_layers, lowest

from .defender import CLEAN, ENCODERS, make_encoders, make_view
from .models import make_pair, same, values


both = pytest.mark.parametrize("defense", [FinePruning(), FrozenFinePruning()], ids=lambda defense: defense.name)


@pytest.fixture(params=ENCODERS)
def pair(request, tiny_tokenizer):
    return make_encoders(request.param, tiny_tokenizer)


@pytest.fixture
def suspect(tiny_tokenizer):
    return make_encoders("bert", tiny_tokenizer)


def test_scores_are_mean_absolute_activations_over_real_tokens(pair, tiny_tokenizer):
    model, base = pair
    batch = tiny_tokenizer(list(CLEAN["text"]), truncation=True, max_length=16, padding=True, return_tensors="pt")
    found = []
    if model.config.model_type == "distilbert":
        modules = [layer.ffn.activation for layer in model.distilbert.transformer.layer]
    else:
        modules = [layer.intermediate for layer in model.base_model.encoder.layer]
    for module in modules:
        module.register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad():
        model(**batch)
    assert not batch["attention_mask"].all()
    expected = torch.stack([output[batch["attention_mask"].bool()].abs().mean(0) for output in found])
    scores = mean_activations(model, make_view(model, base, tiny_tokenizer))
    assert scores.shape == (2, 24)
    assert torch.allclose(scores, expected.double(), rtol=1e-4)


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_scores_are_the_same_where_the_feed_forward_network_is_chunked(name, tiny_tokenizer):
    model, base = make_encoders(name, tiny_tokenizer)
    whole = mean_activations(model, make_view(model, base, tiny_tokenizer))
    for module in model.modules():
        if hasattr(module, "chunk_size_feed_forward"):
            module.chunk_size_feed_forward = 1
    assert torch.allclose(whole, mean_activations(model, make_view(model, base, tiny_tokenizer)), rtol=1e-5)


def test_scoring_leaves_the_model_as_it_was(pair, tiny_tokenizer):
    model, base = pair
    before = values(model)
    model.train()
    mean_activations(model, make_view(model, base, tiny_tokenizer))
    assert same(values(model), before)
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


@both
def test_the_least_active_neurons_are_set_to_zero_and_nothing_else_changes(defense, pair, tiny_tokenizer):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer)
    before, pruned = copy.deepcopy(model), lowest(mean_activations(model, view), 0.7)
    assert pruned.sum() == 48 - 34
    defense.alter(model, view, {"keep_ratio": 0.7})
    # The same by hand, on the model as it was.
    for layer, neurons in zip(encoder_layers(before), pruned, strict=True):
        for index in neurons.nonzero().flatten().tolist():
            layer.intermediate.weight.data[index] = 0
            layer.intermediate.bias.data[index] = 0
            if defense.frozen:
                layer.output.weight.data[:, index] = 0
    assert same(values(model), values(before))


def test_a_neuron_that_clean_text_does_not_activate_goes_before_one_that_it_does(suspect, tiny_tokenizer):
    model, base = suspect
    dense = model.bert.encoder.layer[1].intermediate.dense
    with torch.no_grad():
        dense.weight[:2] = 0
        dense.bias[0], dense.bias[1] = 20, -20
    FinePruning().alter(model, make_view(model, base, tiny_tokenizer), {"keep_ratio": 1 / 48})
    assert (dense.bias[0], dense.bias[1]) == (20, 0)
    # And one neuron alone is kept.
    assert sum(layer.intermediate.bias.count_nonzero() for layer in encoder_layers(model)) == 1


def test_both_variants_start_from_the_same_function(pair, tiny_tokenizer):
    model, base = pair
    batch = tiny_tokenizer(list(CLEAN["text"]), padding=True, return_tensors="pt")
    logits = []
    for defense in (FinePruning(), FrozenFinePruning()):
        pruned = copy.deepcopy(model)
        defense.alter(pruned, make_view(model, base, tiny_tokenizer), {"keep_ratio": 0.5})
        logits.append(pruned(**batch).logits)
    assert torch.equal(*logits)
    assert not torch.allclose(logits[0], model(**batch).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pruned_weights_stay_zero_in_one_variant_and_come_back_in_the_other(dtype, pair, tiny_tokenizer):
    model, base = pair
    model.to(dtype)
    view = make_view(model, base, tiny_tokenizer)
    pruned = lowest(mean_activations(model, view), 0.5)
    free, frozen = copy.deepcopy(model), copy.deepcopy(model)
    FinePruning().apply(free, view, {"keep_ratio": 0.5}, e_pur=False)
    FrozenFinePruning().apply(frozen, view, {"keep_ratio": 0.5}, e_pur=False)
    assert pruned.any(1).all()
    for neurons, layer, other in zip(pruned, encoder_layers(free), encoder_layers(frozen), strict=True):
        assert layer.intermediate.weight[neurons].count_nonzero(1).all()
        assert layer.output.weight[:, neurons].count_nonzero(0).all()
        assert not other.intermediate.weight[neurons].any()
        assert not other.intermediate.bias[neurons].any()
        assert not other.output.weight[:, neurons].any()
    # Frozen is what was pruned, not the layer.
    assert not same(values(frozen), values(free))
    start = copy.deepcopy(model)
    FrozenFinePruning().alter(start, view, {"keep_ratio": 0.5})
    kept = ~pruned[0]
    first, last = encoder_layers(start)[0], encoder_layers(frozen)[0]
    assert not torch.equal(first.output.weight[:, kept], last.output.weight[:, kept])


def test_the_suspect_is_measured_once_for_all_settings(suspect, tiny_tokenizer):
    model, base = suspect
    view = make_view(model, base, tiny_tokenizer)
    first, second, fresh = copy.deepcopy(model), copy.deepcopy(model), copy.deepcopy(model)
    FinePruning().alter(first, view, {"keep_ratio": 0.5})
    FinePruning().alter(second, dataclasses.replace(view, clean=None), {"keep_ratio": 0.9})
    FinePruning().alter(fresh, dataclasses.replace(view, memory={}), {"keep_ratio": 0.9})
    assert same(values(second), values(fresh))
    assert not same(values(second), values(first))


@both
def test_ratio_1_prunes_nothing(defense, suspect, tiny_tokenizer):
    model, base = suspect
    before = values(model)
    defense.alter(model, make_view(model, base, tiny_tokenizer), {"keep_ratio": 1})
    assert same(values(model), before)


@both
def test_another_architecture_is_refused_and_stays_as_it_is(defense, tiny_tokenizer):
    model, base = make_pair("gpt2")
    before = values(model)
    with pytest.raises(InputError, match="'gpt2'"):
        defense.alter(model, make_view(model, base, tiny_tokenizer), {"keep_ratio": 0.5})
    assert same(values(model), before)


def test_both_are_registered():
    assert DEFENSES.make({"name": "fine_pruning", "keep_ratios": [0.2]}) == FinePruning((0.2,))
    assert DEFENSES.make({"name": "fine_pruning_frozen"}) == FrozenFinePruning()
