"""Drift by layer and module."""

import math

import pytest
import torch

from hf_finemix.drift_groups import drift_by_group, group_of
from hf_finemix.tensor_drift import measure_drift
from hf_finemix.twin import load_twin

from .models import make_pair, values


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("bert.embeddings.word_embeddings.weight", "embeddings"),
        ("bert.embeddings.LayerNorm.bias", "embeddings"),
        ("bert.encoder.layer.0.attention.self.query.weight", "layer 0 attention"),
        ("bert.encoder.layer.11.attention.output.dense.bias", "layer 11 attention"),
        ("bert.encoder.layer.11.attention.output.LayerNorm.weight", "layer 11 attention"),
        ("bert.encoder.layer.3.intermediate.dense.weight", "layer 3 feed-forward"),
        ("bert.encoder.layer.3.output.LayerNorm.weight", "layer 3 feed-forward"),
        ("bert.pooler.dense.weight", "pooler"),
        ("classifier.weight", "classifier"),
        ("roberta.encoder.layer.1.attention.self.key.bias", "layer 1 attention"),
        ("roberta.embeddings.position_embeddings.weight", "embeddings"),
        ("classifier.out_proj.weight", "out_proj"),
        ("distilbert.transformer.layer.4.attention.q_lin.weight", "layer 4 attention"),
        ("distilbert.transformer.layer.4.sa_layer_norm.weight", "layer 4 attention"),
        ("distilbert.transformer.layer.4.ffn.lin1.weight", "layer 4 feed-forward"),
        ("distilbert.transformer.layer.4.output_layer_norm.bias", "layer 4 feed-forward"),
        ("transformer.wte.weight", "embeddings"),
        ("transformer.wpe.weight", "embeddings"),
        ("transformer.h.7.attn.c_attn.weight", "layer 7 attention"),
        ("transformer.h.7.ln_1.weight", "layer 7 attention"),
        ("transformer.h.7.mlp.c_fc.weight", "layer 7 feed-forward"),
        ("transformer.h.7.ln_2.bias", "layer 7 feed-forward"),
        ("transformer.ln_f.weight", "ln_f"),
        ("lm_head.weight", "lm_head"),
        ("model.layers.2.self_attn.q_proj.weight", "layer 2 attention"),
        ("model.layers.2.mlp.up_proj.weight", "layer 2 feed-forward"),
        ("model.layers.2.something_new.weight", "layer 2 other"),
        ("logit_scale", "logit_scale"),
        ("transformer.encoder.block.3.layer.0.SelfAttention.q.weight", "layer 3 attention"),
        ("transformer.encoder.block.3.layer.1.DenseReluDense.wi.weight", "layer 3 feed-forward"),
        ("transformer.shared.weight", "embeddings"),
    ],
)
def test_parameters_are_grouped_by_layer_and_module(name, group):
    assert group_of(name) == group


def drifts_of(pairs):
    return {name: measure_drift([tuple(item.reshape(len(item), -1) for item in pair)]) for name, pair in pairs.items()}


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2"])
def test_the_groups_cover_all_pretrained_scalars_and_measure_their_drift(name):
    model, base = make_pair(name)
    twin, parameters = load_twin(model, base).tensors, values(model)
    drifts = drifts_of({key: (parameters[key], twin[key]) for key in reversed(list(twin))})
    groups = drift_by_group(drifts, f"{model.base_model_prefix}.")
    assert sum(group.scalars for group in groups) == sum(tensor.numel() for tensor in twin.values())
    assert [group.group for group in groups][:2] == ["embeddings", "layer 0 attention"]
    assert not any("other" in group.group for group in groups)
    inside = [key for key in twin if group_of(key) == "layer 1 feed-forward"]
    moved = sum(float((parameters[key].double() - twin[key].double()).square().sum()) for key in inside)
    clean = sum(float(twin[key].double().square().sum()) for key in inside)
    drift = next(group.relative_drift for group in groups if group.group == "layer 1 feed-forward")
    assert drift == pytest.approx(math.sqrt(moved / clean))


def test_layers_come_in_the_order_of_their_numbers_and_before_the_rest():
    names = ["model.norm.weight", "model.layers.10.mlp.w", "model.layers.9.self_attn.w", "model.embed_tokens.weight"]
    groups = drift_by_group(drifts_of({name: (torch.ones(2), torch.ones(2)) for name in names}), "model.")
    expected = ["embeddings", "layer 9 attention", "layer 10 feed-forward", "norm"]
    assert [group.group for group in groups] == expected


def test_a_model_without_prefix_has_the_same_groups():
    names = ["embeddings.LayerNorm.weight", "layer.0.attention.w", "h.1.mlp.w", "pooler.dense.weight"]
    groups = drift_by_group(drifts_of({name: (torch.ones(2), torch.zeros(2)) for name in names}), "")
    expected = ["embeddings", "layer 0 attention", "layer 1 feed-forward", "pooler"]
    assert [group.group for group in groups] == expected
    # Nothing to compare with: no drift can be stated in percent.
    assert all(group.relative_drift == 0 for group in groups)
