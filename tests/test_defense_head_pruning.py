"""Head pruning: which heads go, and that they stay away."""

import copy
import dataclasses

import pytest
import torch

from hf_finemix import InputError
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.defenses.head_pruning import HeadPruning, head_variances
from hf_finemix.defenses.layers import encoder_layers, lowest

from .defender import CLEAN, ENCODERS, make_encoders, make_view
from .models import make_pair, same, values


HALF = {"keep_ratio": 0.5}


@pytest.fixture(params=ENCODERS)
def pair(request, tiny_tokenizer):
    return make_encoders(request.param, tiny_tokenizer)


@pytest.fixture
def suspect(tiny_tokenizer):
    return make_encoders("bert", tiny_tokenizer)


@pytest.fixture
def batch(tiny_tokenizer):
    return tiny_tokenizer(list(CLEAN["text"]), truncation=True, max_length=16, padding=True, return_tensors="pt")


def queries(model):
    """The query map of each layer."""
    kind = model.config.model_type
    if kind == "distilbert":
        return [layer.attention.q_lin for layer in model.distilbert.transformer.layer]
    layers = model.base_model.encoder.layer
    return [layer.attention.attn.q if kind == "mpnet" else layer.attention.self.query for layer in layers]


def test_scores_are_variances_of_the_first_tokens_attention(pair, tiny_tokenizer, batch):
    model, base = pair
    scores = head_variances(model, make_view(model, base, tiny_tokenizer))
    assert not batch["attention_mask"].all()
    # Padding gets no attention, so a padded batch has zeros beyond the end of a text.
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model(**batch, output_attentions=True).attentions
    expected = torch.stack([attention[:, :, 0].var(0, correction=0).sum(-1) for attention in attentions])
    assert scores.shape == (2, 2)
    assert torch.allclose(scores, expected.double(), rtol=1e-3)
    assert len(scores.unique()) == 4


def test_scoring_leaves_the_model_as_it_was(pair, tiny_tokenizer):
    model, base = pair
    before, implementation = values(model), model.config._attn_implementation
    assert model.config.model_type == "mpnet" or implementation == "sdpa"
    model.train()
    head_variances(model, make_view(model, base, tiny_tokenizer))
    assert same(values(model), before)
    assert model.training
    assert model.config._attn_implementation == implementation


def test_the_implementation_of_attention_comes_back_after_an_error(suspect, tiny_tokenizer, monkeypatch):
    model, base = suspect
    seen = []

    def fail(**inputs):
        seen.append(model.config._attn_implementation)
        raise RuntimeError("no memory")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        head_variances(model, make_view(model, base, tiny_tokenizer))
    assert seen == ["eager"]
    assert model.config._attn_implementation == "sdpa"


def test_a_head_that_looks_alike_at_all_texts_goes_first(suspect, tiny_tokenizer):
    model, base = suspect
    clean = CLEAN.filter(lambda row: len(row["text"].split()) == 4)
    assert len(clean) > 2
    # The second head of the second layer: without queries its attention is uniform, and these texts are equally long.
    query = model.bert.encoder.layer[1].attention.self.query
    with torch.no_grad():
        query.weight[8:] = 0
        query.bias[8:] = 0
    view = make_view(model, base, tiny_tokenizer, clean=clean)
    HeadPruning().alter(model, view, {"keep_ratio": 0.75})
    layers = encoder_layers(model)
    assert not layers[1].attention_output.weight[:, 8:].any()
    assert layers[1].attention_output.weight[:, :8].all()
    assert layers[0].attention_output.weight.all()


def test_parts_of_pruned_heads_are_set_to_zero_and_nothing_else_changes(pair, tiny_tokenizer):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer)
    before, pruned = copy.deepcopy(model), lowest(head_variances(model, view), 0.5)
    assert pruned.sum() == 2
    HeadPruning().alter(model, view, HALF)
    for layer, heads in zip(encoder_layers(before), pruned.tolist(), strict=True):
        for head, gone in enumerate(heads):
            if gone:
                layer.attention_output.weight.data[:, 8 * head : 8 * head + 8] = 0
                layer.value.weight.data[8 * head : 8 * head + 8] = 0
                layer.value.bias.data[8 * head : 8 * head + 8] = 0
    assert same(values(model), values(before))


def test_pruned_heads_have_no_say_and_the_others_have(pair, tiny_tokenizer, batch):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer)
    pruned = lowest(head_variances(model, view), 0.5)
    HeadPruning().alter(model, view, HALF)
    logits = model(**batch).logits
    for gone in (True, False):
        changed = copy.deepcopy(model)
        for query, heads in zip(queries(changed), pruned, strict=True):
            query.weight.data[(heads == gone).repeat_interleave(8)] += 1
        assert torch.equal(changed(**batch).logits, logits) == gone


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pruned_heads_stay_away_while_the_rest_is_trained(dtype, pair, tiny_tokenizer):
    model, base = pair
    model.to(dtype)
    view = make_view(model, base, tiny_tokenizer)
    start, pruned = copy.deepcopy(model), lowest(head_variances(model, view), 0.5)
    HeadPruning().alter(start, view, HALF)
    HeadPruning().apply(model, view, HALF, e_pur=False)
    for heads, before, layer in zip(pruned, encoder_layers(start), encoder_layers(model), strict=True):
        part = heads.repeat_interleave(8)
        assert not layer.attention_output.weight[:, part].any()
        assert not layer.value.weight[part].any()
        assert not layer.value.bias[part].any()
        for name in ("attention_output", "value", "intermediate", "output"):
            assert not torch.equal(getattr(layer, name).weight, getattr(before, name).weight) or (
                name in ("attention_output", "value") and part.all()
            )


def test_the_suspect_is_measured_once_for_all_settings(suspect, tiny_tokenizer):
    model, base = suspect
    view = make_view(model, base, tiny_tokenizer)
    first, second, fresh = copy.deepcopy(model), copy.deepcopy(model), copy.deepcopy(model)
    HeadPruning().alter(first, view, HALF)
    HeadPruning().alter(second, dataclasses.replace(view, clean=None), {"keep_ratio": 0.75})
    HeadPruning().alter(fresh, dataclasses.replace(view, memory={}), {"keep_ratio": 0.75})
    assert same(values(second), values(fresh))
    assert not same(values(second), values(first))


def test_ratio_1_prunes_nothing(suspect, tiny_tokenizer):
    model, base = suspect
    before = values(model)
    HeadPruning().alter(model, make_view(model, base, tiny_tokenizer), {"keep_ratio": 1})
    assert same(values(model), before)


def test_another_architecture_is_refused_and_stays_as_it_is(tiny_tokenizer):
    model, base = make_pair("gpt2")
    before = values(model)
    with pytest.raises(InputError, match="'gpt2'"):
        HeadPruning().alter(model, make_view(model, base, tiny_tokenizer), HALF)
    assert same(values(model), before)


def test_it_is_registered():
    assert DEFENSES.make({"name": "head_pruning", "keep_ratios": [0.2]}) == HeadPruning((0.2,))
