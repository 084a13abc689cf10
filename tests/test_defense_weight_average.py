"""WAG: a weighted mean of encoders, under the suspect's own head."""

import copy

import pytest
import torch
from transformers import BertForTokenClassification

from hf_finemix import InputError
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.defenses.weight_average import WeightAverage
from hf_finemix.training import fine_tune

from .defender import CLEAN, ENCODERS, RECIPE, make_encoders, make_view
from .models import make, same, values


def another(model, seed=7, model_class=None):
    return make(model_class or type(model), model.config, seed)


@pytest.fixture
def pair(tiny_tokenizer):
    return make_encoders("bert", tiny_tokenizer)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("count", [1, 3])
def test_each_scalar_of_the_encoder_is_the_weighted_mean_and_the_head_stays(name, count, tiny_tokenizer):
    model, base = make_encoders(name, tiny_tokenizer)
    others = [another(model, seed) for seed in range(7, 7 + count)]
    before, theirs = values(model), [values(other) for other in others]
    view = make_view(model, base, tiny_tokenizer, others=others)
    with torch.no_grad():
        WeightAverage().alter(model, view, {"keep_ratio": 0.4})
    for key, tensor in values(model).items():
        if key.startswith(f"{model.base_model_prefix}."):
            expected = 0.4 * before[key] + sum(0.6 / count * other[key] for other in theirs)
            assert torch.allclose(tensor, expected, atol=1e-6), key
        else:
            assert torch.equal(tensor, before[key]), key
    assert all(same(values(other), saved) for other, saved in zip(others, theirs, strict=True))


@pytest.mark.parametrize("ratio, same_as", [(1, "suspect"), (0, "other")])
def test_the_ends_are_the_suspect_and_the_other_bit_for_bit(ratio, same_as, pair, tiny_tokenizer):
    model, base = pair
    other = another(model)
    expected = copy.deepcopy({"suspect": model, "other": other}[same_as].bert)
    WeightAverage().alter(model, make_view(model, base, tiny_tokenizer, others=[other]), {"keep_ratio": ratio})
    assert same(values(model.bert), values(expected))


def test_models_with_another_head_or_none_count_alike(pair, tiny_tokenizer):
    model, base = pair
    other = another(model)
    tagger = another(model, 8, BertForTokenClassification)
    tagger.bert.load_state_dict(other.bert.state_dict(), strict=False)
    assert tagger.bert.pooler is None
    results = []
    for one in (other, other.bert, tagger):
        suspect = copy.deepcopy(model)
        WeightAverage().alter(suspect, make_view(suspect, base, tiny_tokenizer, others=[one]), {"keep_ratio": 0.5})
        results.append(values(suspect))
    assert same(results[0], results[1])
    # The tagger has no pooler: the suspect's stays.
    differing = {key for key in results[0] if not torch.equal(results[0][key], results[2][key])}
    assert differing == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert torch.equal(results[2]["bert.pooler.dense.weight"], model.bert.pooler.dense.weight)


def test_parameters_without_a_pretrained_counterpart_stay(pair, tiny_tokenizer):
    model, base = pair
    base.pooler = None
    before = values(model)
    WeightAverage().alter(model, make_view(model, base, tiny_tokenizer, others=[another(model)]), {"keep_ratio": 0.5})
    unchanged = {key for key, tensor in values(model).items() if torch.equal(tensor, before[key])}
    assert unchanged == {key for key in before if "pooler" in key or "classifier" in key}


def test_half_precision_is_averaged_in_double_and_rounded_once(pair, tiny_tokenizer):
    model, base = pair
    model.bfloat16()
    others = [another(model, seed) for seed in (7, 8, 9)]
    key = "bert.encoder.layer.0.output.dense.weight"
    stack = torch.stack([values(other)[key].double() for other in others])
    expected = (0.25 * values(model)[key].double() + 0.75 * stack.mean(0)).bfloat16()
    WeightAverage().alter(model, make_view(model, base, tiny_tokenizer, others=others), {"keep_ratio": 0.25})
    assert torch.equal(values(model)[key], expected)


def test_the_average_is_fine_tuned_like_all_others(pair, tiny_tokenizer):
    model, base = pair
    view = make_view(model, base, tiny_tokenizer, others=[another(model)])
    by_hand = copy.deepcopy(model)
    WeightAverage().apply(model, view, {"keep_ratio": 0.5}, e_pur=False)
    WeightAverage().alter(by_hand, view, {"keep_ratio": 0.5})
    fine_tune(by_hand, tiny_tokenizer, CLEAN, RECIPE)
    assert same(values(model), values(by_hand))


def test_no_other_model_is_refused(pair, tiny_tokenizer):
    model, base = pair
    with pytest.raises(InputError, match="`others` is empty; give at least one"):
        WeightAverage().alter(model, make_view(model, base, tiny_tokenizer), {"keep_ratio": 0.5})


def test_models_that_do_not_fit_are_refused_and_the_suspect_stays(pair, tiny_tokenizer):
    model, base = pair
    before = values(model)
    config = model.config.from_dict(model.config.to_dict())
    config.update({"intermediate_size": 25})
    shallow = model.config.from_dict(model.config.to_dict())
    shallow.update({"num_hidden_layers": 1})
    damaged = another(model)
    damaged.bert.embeddings.word_embeddings.weight.data[3, 3] = float("nan")
    for other, message in (
        (
            make(type(model), config),
            r"BertForSequenceClassification that does not fit.*\(25, 16\) instead of \(24, 16\)",
        ),
        (make(type(model), shallow), "it lacks bert.encoder.layer.1"),
        (make_encoders("roberta", tiny_tokenizer)[0], "of the type 'roberta'"),
        (damaged, "NaN or infinity in bert.embeddings.word_embeddings.weight"),
    ):
        view = make_view(model, base, tiny_tokenizer, others=[another(model), other])
        with pytest.raises(InputError, match=f"`others` holds .*{message}"):
            WeightAverage().alter(model, view, {"keep_ratio": 0.5})
    assert same(values(model), before)


def test_settings_are_weights_of_the_suspect_strongest_first():
    assert WeightAverage().settings == ({"keep_ratio": 0.25}, {"keep_ratio": 0.5}, {"keep_ratio": 0.75})
    assert DEFENSES.make({"name": "wag", "keep_ratios": [0.9, 0.1]}) == WeightAverage((0.9, 0.1))
