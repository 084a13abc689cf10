"""Two checkpoints read part by part: the same numbers as from two loaded models, without the models."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_finemix import tensor_pairs
from hf_finemix.embeddings import drift_scores
from hf_finemix.errors import InputError
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.model_loading import load_classifier
from hf_finemix.modeling import score_embeddings
from hf_finemix.tensor_drift import measure_drift
from hf_finemix.tensor_pairs import TensorPairs
from hf_finemix.twin import load_twin

from .models import bits_equal, family, make, make_pair


def save_pair(folder, model, base, **options):
    model.save_pretrained(folder / "suspect", **options)
    base.save_pretrained(folder / "base", **options)
    return open_pair(folder)


def open_pair(folder):
    return TensorPairs(resolve_checkpoint(folder / "suspect", "S"), resolve_checkpoint(folder / "base", "B"))


def whole(pairs, name):
    """Both tensors of a pair, put together from their parts."""
    parts = list(pairs.parts(name))
    return tuple(torch.cat(side).reshape(pairs.shapes[name]) for side in zip(*parts, strict=True))


def change(folder, function):
    """Rewrites the weights of a checkpoint."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(function(weights), path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "gpt2"])
def test_pairs_are_those_of_the_loaded_models(tmp_path, name):
    model, base = make_pair(name)
    pairs = save_pair(tmp_path, model, base)
    twin = load_twin(model, tmp_path / "base")
    assert pairs.counterparts.keys() == twin.tensors.keys()
    assert pairs.absent.keys() == twin.absent.keys()
    assert (pairs.embedding, pairs.prefix) == (twin.embedding, f"{model.base_model_prefix}.")
    parameters = dict(model.named_parameters())
    for each in twin.tensors:
        suspect, pretrained = whole(pairs, each)
        assert bits_equal(suspect, parameters[each].detach()) and bits_equal(pretrained, twin.tensors[each])


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("bfloat16", "float32"), ("float16", "bfloat16")])
@pytest.mark.parametrize("part", [1, 100, 1 << 20])
def test_scores_equal_those_of_loaded_models_bit_for_bit(tmp_path, monkeypatch, dtypes, part):
    monkeypatch.setattr(tensor_pairs, "PART", part)
    model, base = make_pair("bert")
    model, base = (each.to(getattr(torch, dtype)) for each, dtype in zip((model, base), dtypes, strict=True))
    pairs = save_pair(tmp_path, model, base)
    frequencies = np.random.default_rng(0).uniform(0, 10**6, 48)
    drift = measure_drift(pairs.parts(pairs.embedding)).rows
    expected = score_embeddings(
        load_classifier(resolve_checkpoint(tmp_path / "suspect", "S"), "S"), tmp_path / "base", frequencies
    )
    assert np.array_equal(drift_scores(drift, frequencies), expected)
    assert len(np.unique(expected)) == 48


def test_the_stated_dtype_goes_before_that_of_the_file(tmp_path):
    model, base = make_pair("bert")
    save_pair(tmp_path, model, base)
    path = tmp_path / "suspect" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "bfloat16"}))
    pairs = open_pair(tmp_path)
    loaded = load_classifier(resolve_checkpoint(tmp_path / "suspect", "S"), "S")
    suspect, pretrained = whole(pairs, pairs.embedding)
    assert suspect.dtype == pretrained.dtype == torch.bfloat16
    assert bits_equal(suspect, loaded.get_input_embeddings().weight.detach())
    assert bits_equal(pretrained, base.get_input_embeddings().weight.detach().bfloat16())


def test_shards_and_parts_change_nothing(tmp_path, monkeypatch):
    model, base = make_pair("roberta")
    one = save_pair(tmp_path / "one", model, base)
    monkeypatch.setattr(tensor_pairs, "PART", 30)
    monkeypatch.setattr(tensor_pairs, "_BYTES_OPEN", 500)
    many = save_pair(tmp_path / "many", model, base, max_shard_size="5KB")
    assert len(list((tmp_path / "many" / "suspect").glob("*.safetensors"))) > 2
    assert one.counterparts.keys() == many.counterparts.keys()
    assert len(list(many.parts(many.embedding))) > 10
    for name in one.counterparts:
        assert all(map(bits_equal, whole(one, name), whole(many, name)))
    many.close()
    assert all(map(bits_equal, whole(one, one.embedding), whole(many, one.embedding)))


def test_files_are_let_go_of_after_some_bytes(tmp_path, monkeypatch):
    pairs = save_pair(tmp_path, *make_pair("bert"))
    opened = []
    monkeypatch.setattr(tensor_pairs, "_BYTES_OPEN", 4000)
    real = tensor_pairs.safe_open
    monkeypatch.setattr(tensor_pairs, "safe_open", lambda *args, **more: opened.append(args) or real(*args, **more))
    size = sum(2 * 4 * suspect.numel() for name in pairs.counterparts for suspect, _ in pairs.parts(name))
    assert size // 2 // 8000 < len(opened) // 2 <= size // 2 // 4000


def test_a_tied_output_layer_counts_once(tmp_path):
    model, base = make_pair("gpt2")
    expected = save_pair(tmp_path, model, base).counterparts
    change(tmp_path / "suspect", lambda w: w | {"lm_head.weight": w["transformer.wte.weight"].clone()})
    pairs = open_pair(tmp_path)
    assert pairs.counterparts == expected and not pairs.absent
    # One that differs is a tensor of its own.
    change(tmp_path / "suspect", lambda w: w | {"lm_head.weight": w["lm_head.weight"] + 1})
    assert open_pair(tmp_path).absent == {"lm_head.weight": "not in the pretrained checkpoint"}


def test_legacy_names_integers_and_buffers(tmp_path):
    model, base = make_pair("bert")
    expected = save_pair(tmp_path, model, base)

    def age(weights):
        new = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): value for name, value in weights.items()}
        new = {name.replace("LayerNorm.bias", "LayerNorm.beta"): value for name, value in new.items()}
        assert new.keys() != weights.keys()
        return new | {"embeddings.position_ids": torch.arange(20), "embeddings.inv_freq": torch.ones(3)}

    change(tmp_path / "base", age)
    pairs = open_pair(tmp_path)
    assert pairs.counterparts.keys() == expected.counterparts.keys() and pairs.absent == expected.absent


def test_a_head_that_a_classifier_base_has_is_paired(tmp_path):
    kind = family("bert")
    pairs = save_pair(tmp_path, make(kind.task, kind.config, 1), make(kind.task, kind.config))
    assert "classifier.weight" in pairs.counterparts and not pairs.absent


def test_tensors_of_all_dimensions_can_be_read(tmp_path):
    extra = {"bert.scale": torch.tensor(2.0), "bert.kernel": torch.randn(3, 2, 2), "bert.nothing": torch.zeros(0, 3)}
    save_pair(tmp_path, *make_pair("bert"))
    change(tmp_path / "suspect", lambda weights: weights | extra)
    change(tmp_path / "base", lambda weights: weights | {name.removeprefix("bert."): v for name, v in extra.items()})
    pairs = open_pair(tmp_path)
    assert torch.equal(whole(pairs, "bert.kernel")[0], extra["bert.kernel"])
    assert [part[0].shape for part in pairs.parts("bert.kernel")] == [(3, 4)]
    assert [part[0].tolist() for part in pairs.parts("bert.scale")] == [[[2.0]]]
    assert list(pairs.parts("bert.nothing")) == []
    assert measure_drift(pairs.parts("bert.nothing")).norm == 0


# Refusals.


@pytest.mark.parametrize("side", ["suspect", "base"])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_numbers_that_are_none_are_refused_with_the_tensor(tmp_path, side, value):
    pairs = save_pair(tmp_path, *make_pair("bert"))
    name = "bert.encoder.layer.1.output.dense.weight"

    def spoil(weights):
        weights[name if side == "suspect" else name.removeprefix("bert.")][3, 5] = value
        return weights

    change(tmp_path / side, spoil)
    argument = "suspect" if side == "suspect" else "pretrained"
    with pytest.raises(InputError, match=f"`{argument}` holds NaN or infinity in {name}"):
        list(pairs.parts(name))


def refuse(folder, *words):
    with pytest.raises(InputError) as error:
        open_pair(folder)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message, message


def test_a_missing_layer_is_refused(tmp_path):
    save_pair(tmp_path, *make_pair("bert"))
    change(tmp_path / "suspect", lambda w: {k: v for k, v in w.items() if "layer.1.output.dense.weight" not in k})
    refuse(tmp_path, "SUSPECT", "lacks weights, among them bert.encoder.layer.1.output.dense.weight")


@pytest.mark.parametrize(("side", "argument"), [("suspect", "SUSPECT"), ("base", "`pretrained`")])
def test_a_checkpoint_without_word_embedding_is_refused(tmp_path, side, argument):
    save_pair(tmp_path, *make_pair("bert"))
    change(tmp_path / side, lambda w: {name.replace("word_embeddings", "pixels"): v for name, v in w.items()})
    refuse(tmp_path, argument, "no word embedding of a usual name")


def test_a_tensor_in_two_files_is_refused(tmp_path):
    model, base = make_pair("bert")
    save_pair(tmp_path, model, base, max_shard_size="5KB")
    first, *_, last = sorted((tmp_path / "suspect").glob("*.safetensors"))
    save_file(load_file(first) | load_file(last), last, metadata={"format": "pt"})
    refuse(tmp_path, "holds", "twice")


def test_tensors_of_eight_bits_are_refused(tmp_path):
    save_pair(tmp_path, *make_pair("bert"))
    change(tmp_path / "suspect", lambda w: {name: value.to(torch.float8_e4m3fn) for name, value in w.items()})
    refuse(tmp_path, "SUSPECT", "is quantised", "F8_E4M3")
