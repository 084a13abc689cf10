import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    RobertaForMaskedLM,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from hf_finemix import InputError
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.twin import load_twin, unwrap, word_embedding_name

from .models import bits_equal, family, make, make_pair, same, values


FAMILIES = ["bert", "roberta", "distilbert", "gpt2"]
POOLER = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
HEAD = {"classifier.weight", "classifier.bias"}


def refused(model, pretrained, *words):
    with pytest.raises(InputError) as error:
        load_twin(model, pretrained)
    message = str(error.value)
    assert "\n" not in message
    for word in ("`pretrained`", *words):
        assert word in message, message


def rewrite_weights(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


# Identity: each tensor is the base's own, under the task model's name.


@pytest.mark.parametrize("name", FAMILIES)
def test_the_base_comes_back_bit_for_bit_from_every_source(name, tmp_path):
    model, base = make_pair(name)
    base.save_pretrained(tmp_path / "base")
    prefix = f"{model.base_model_prefix}."
    expected = {prefix + key: value for key, value in values(base).items()}
    task_object = make(type(model), model.config, seed=9)
    task_object.base_model.load_state_dict(base.state_dict(), strict=False)
    sources = [tmp_path / "base", str(tmp_path / "base"), base, task_object]
    sources += [resolve_checkpoint(tmp_path / "base", "base")]
    for source in sources:
        twin = load_twin(model, source)
        assert twin.tensors.keys() == {key for key in values(model) if key.startswith(prefix)}
        assert all(bits_equal(tensor, expected[key]) for key, tensor in twin.tensors.items())
        assert twin.absent.keys() == values(model).keys() - twin.tensors.keys()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_word_embedding_is_found(name):
    model, base = make_pair(name)
    embedding = load_twin(model, base).embedding
    assert embedding == word_embedding_name(model)
    assert dict(model.named_parameters())[embedding] is model.get_input_embeddings().weight


def test_a_model_without_a_word_embedding_has_none():
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=8, patch_size=4
    )
    model, base = make(ViTForImageClassification, config, seed=1), make(ViTModel, config)
    twin = load_twin(model, base)
    assert twin.embedding is None
    assert word_embedding_name(model) is None
    assert twin.tensors.keys() == {key for key in values(model) if key.startswith("vit.")}


def test_a_sharded_base_loads(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "one")
    base.save_pretrained(tmp_path / "many", max_shard_size="3KB")
    assert (tmp_path / "many" / "model.safetensors.index.json").exists()
    assert same(load_twin(model, tmp_path / "one").tensors, load_twin(model, tmp_path / "many").tensors)


def test_legacy_names_of_the_layer_norm_are_understood(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    expected = load_twin(model, tmp_path / "base").tensors

    def age(tensors):
        return {
            "bert." + key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
            for key, t in tensors.items()
        }

    rewrite_weights(tmp_path / "base", age)
    assert same(load_twin(model, tmp_path / "base").tensors, expected)


def test_a_masked_language_model_has_everything_but_the_pooler(tmp_path):
    model, _ = make_pair("bert")
    base = make(BertForMaskedLM, model.config)
    base.save_pretrained(tmp_path / "base")
    for source in (tmp_path / "base", base):
        twin = load_twin(model, source)
        assert twin.absent.keys() == POOLER | HEAD
        assert same({key: twin.tensors[key] for key in values(base) if key in twin.tensors}, dict(twin.tensors))
    roberta, _ = make_pair("roberta")
    make(RobertaForMaskedLM, roberta.config).save_pretrained(tmp_path / "roberta")
    assert all(key.startswith("classifier.") for key in load_twin(roberta, tmp_path / "roberta").absent)


def test_a_pretraining_model_has_the_pooler_too(tmp_path):
    model, _ = make_pair("bert")
    make(BertForPreTraining, model.config).save_pretrained(tmp_path / "base")
    assert load_twin(model, tmp_path / "base").absent.keys() == HEAD


def test_a_head_of_another_size_is_not_pretrained(tmp_path):
    model, _ = make_pair("bert")
    config = type(model.config).from_dict(model.config.to_dict() | {"num_labels": 5})
    base = make(BertForSequenceClassification, config)
    base.save_pretrained(tmp_path / "base")
    for source in (tmp_path / "base", base):
        twin = load_twin(model, source)
        assert twin.absent.keys() == HEAD
        assert all(twin.absent.values())


def test_the_head_of_a_model_object_is_never_taken():
    model, _ = make_pair("bert")
    other = make(type(model), model.config, seed=7)
    assert load_twin(model, other).absent.keys() == HEAD


def test_a_tied_output_layer_is_no_parameter_of_its_own(tmp_path):
    model, base = make_pair("gpt2")
    make(type(model), model.config).save_pretrained(tmp_path / "base")
    for source in (tmp_path / "base", base):
        twin = load_twin(model, source)
        assert "lm_head.weight" not in twin.tensors
        assert not twin.absent


def test_a_bare_model_can_be_compared_with_its_base(tmp_path):
    _, base = make_pair("bert")
    suspect = make(BertModel, base.config, seed=5)
    base.save_pretrained(tmp_path / "base")
    for source in (tmp_path / "base", base):
        assert same(dict(load_twin(suspect, source).tensors), values(base))


# Dtypes.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_pretrained_values_take_the_dtype_of_the_model(dtype, tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    model = model.to(dtype)
    expected = {"bert." + key: value.to(dtype) for key, value in values(base).items()}
    for source in (tmp_path / "base", base):
        assert same(dict(load_twin(model, source).tensors), expected)


def test_in_a_model_of_several_dtypes_each_value_is_rounded_once(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    model = model.bfloat16()
    model.bert.pooler.float()
    for source in (tmp_path / "base", base):
        tensors = load_twin(model, source).tensors
        assert bits_equal(tensors["bert.pooler.dense.weight"], values(base)["pooler.dense.weight"])
        assert tensors["bert.embeddings.LayerNorm.weight"].dtype == torch.bfloat16


# Wrappers.


def test_wrappers_are_taken_off_in_any_order():
    model, _ = make_pair("bert")
    wrapped = [
        torch.nn.DataParallel(model),
        torch.compile(model),
        torch.compile(torch.nn.DataParallel(model)),
        torch.nn.DataParallel(torch.compile(model)),
    ]
    assert all(unwrap(each) is model for each in wrapped)
    assert unwrap(model) is model


def test_a_wrapped_base_is_unwrapped():
    model, base = make_pair("bert")
    expected = load_twin(model, base)
    for wrapped in (torch.nn.DataParallel(base), torch.compile(base)):
        assert same(dict(load_twin(model, wrapped).tensors), dict(expected.tensors))


# Bases that do not fit.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 32}, "hidden size"),
        ({"num_hidden_layers": 3}, "number of layers"),
        ({"intermediate_size": 48}, "feed-forward size"),
        ({"max_position_embeddings": 10}, "position_embeddings"),
    ],
)
def test_a_base_of_another_size_is_refused(change, words, tmp_path):
    model, _ = make_pair("bert")
    base = make(BertModel, type(model.config).from_dict(model.config.to_dict() | change))
    base.save_pretrained(tmp_path / "base")
    refused(model, tmp_path / "base", words)
    refused(model, base, words)


def test_a_base_of_another_architecture_is_refused(tmp_path):
    model, _ = make_pair("bert")
    _, base = make_pair("roberta")
    base.save_pretrained(tmp_path / "base")
    refused(model, tmp_path / "base", "architecture", "'roberta'", "'bert'")
    refused(model, base, "architecture")


def test_a_base_that_lacks_a_layer_is_refused_by_parameter_name(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    rewrite_weights(
        tmp_path / "base",
        lambda tensors: {key: t for key, t in tensors.items() if not key.startswith("encoder.layer.1")},
    )
    refused(model, tmp_path / "base", "bert.encoder.layer.1.")


def test_a_base_that_shares_no_name_is_refused(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    rewrite_weights(tmp_path / "base", lambda tensors: {f"other.{key}": t for key, t in tensors.items()})
    refused(model, tmp_path / "base", "shares no parameter")


def test_the_model_itself_is_no_base():
    model, _ = make_pair("bert")
    refused(model, model, "the very model")
    refused(model, model.bert, "the very model")
    refused(model, torch.nn.DataParallel(model), "the very model")


@pytest.mark.parametrize("pretrained", [None, 5, {"bert": 1}])
def test_what_is_no_base_at_all_is_refused(pretrained):
    refused(make_pair("bert")[0], pretrained, "Hub id")


def test_a_base_object_that_is_no_model_of_transformers_is_refused():
    refused(make_pair("bert")[0], torch.nn.Linear(2, 2), "Linear")


def test_a_base_without_safetensors_is_refused(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").rename(tmp_path / "base" / "pytorch_model.bin")
    refused(model, tmp_path / "base", "safetensors", "pytorch_model.bin")


def test_a_base_that_does_not_exist_is_refused(tmp_path):
    refused(make_pair("bert")[0], tmp_path / "nowhere", "does not exist")
    refused(make_pair("bert")[0], "org/no-such-base", "Hub")


# Side effects.


def test_a_report_names_a_folder_without_its_path(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "clean-base")
    loaded = BertModel.from_pretrained(tmp_path / "clean-base")
    for source in (tmp_path / "clean-base", loaded):
        assert load_twin(model, source).source == "clean-base"


def test_loading_leaves_model_base_and_random_state_alone(tmp_path, capfd):
    model, base = make_pair("bert")
    make(BertForMaskedLM, model.config).save_pretrained(tmp_path / "base")  # lacks the pooler: that one is drawn
    before, state = (values(model), values(base)), torch.get_rng_state()
    config = model.config.to_dict()
    capfd.readouterr()
    load_twin(model, tmp_path / "base")
    load_twin(model, base)
    assert same(values(model), before[0])
    assert same(values(base), before[1])
    assert model.config.to_dict() == config
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


def test_the_configuration_of_the_base_cannot_name_other_weights(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    shutil.copy(tmp_path / "base" / "model.safetensors", tmp_path / "base" / "other.safetensors")
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"transformers_weights": "other.safetensors"}))
    refused(model, tmp_path / "base", "transformers_weights")


def test_the_configuration_of_the_suspect_cannot_name_other_weights_of_the_base(tmp_path):
    model, base = make_pair("bert")
    base.save_pretrained(tmp_path / "base")
    expected = load_twin(model, tmp_path / "base").tensors
    decoy = make(BertModel, model.config, seed=33)
    save_file(decoy.state_dict(), tmp_path / "base" / "other.safetensors", metadata={"format": "pt"})
    model.config.transformers_weights = "other.safetensors"
    assert same(load_twin(model, tmp_path / "base").tensors, expected)
    assert model.config.transformers_weights == "other.safetensors"


def test_families_differ_in_every_scalar():
    # The tests above could not fail otherwise.
    for name in FAMILIES:
        model, base = make_pair(name)
        prefix, own = f"{model.base_model_prefix}.", values(model)
        for key, tensor in values(base).items():
            if prefix + key in own:
                assert (own[prefix + key] != tensor).all(), key
        assert family(name).task is type(model)
