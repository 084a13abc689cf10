import pytest
import torch
from peft import LoraConfig, get_peft_model

from hf_finemix import InputError
from hf_finemix.checks import (
    check_configs,
    check_finite,
    check_model,
    check_not_mixed,
    was_mixed,
)


CONFIG = {"model_type": "bert", "hidden_size": 32, "vocab_size": 100, "num_hidden_layers": 2, "num_labels": 2}


def assert_one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_equal_configurations_pass_and_so_do_those_that_differ_in_the_task():
    check_configs(CONFIG, dict(CONFIG), "base")
    check_configs(CONFIG, CONFIG | {"num_labels": 5, "architectures": ["BertModel"]}, "base")
    check_configs(CONFIG, {"model_type": "bert"}, "base")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model_type", "roberta", "architecture"),
        ("hidden_size", 64, "hidden size"),
        ("num_hidden_layers", 12, "number of layers"),
    ],
)
def test_another_architecture_or_size_is_refused(key, value, words):
    with pytest.raises(InputError) as error:
        check_configs(CONFIG, CONFIG | {key: value}, "org/base")
    assert_one_line(error, "`pretrained`", "'org/base'", words, repr(value), repr(CONFIG[key]))


def test_an_ordinary_model_passes_in_every_floating_point_type(tiny_bert):
    check_model(tiny_bert)
    check_model(tiny_bert.bfloat16())
    check_model(tiny_bert.double())


def test_what_is_no_model_of_transformers_is_refused():
    with pytest.raises(InputError, match="Linear"):
        check_model(torch.nn.Linear(2, 2))


def test_adapter_models_are_refused_with_the_way_out(tiny_bert):
    with pytest.raises(InputError, match="merge_and_unload"):
        check_model(get_peft_model(tiny_bert, LoraConfig(target_modules=["query"])))


def test_a_model_with_an_adapter_inside_is_refused(tiny_bert):
    tiny_bert.add_adapter(LoraConfig(target_modules=["query"]))
    with pytest.raises(InputError, match="adapter inside"):
        check_model(tiny_bert)


def test_quantised_models_are_refused(tiny_bert):
    tiny_bert.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(InputError, match="quantised"):
        check_model(tiny_bert, "SUSPECT")
    del tiny_bert.config.quantization_config
    weight = tiny_bert.bert.pooler.dense
    weight.weight = torch.nn.Parameter(weight.weight.to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(InputError, match=r"bert\.pooler\.dense\.weight is torch\.float8"):
        check_model(tiny_bert)
    weight.weight = torch.nn.Parameter(torch.zeros(32, 32, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InputError, match=r"bert\.pooler\.dense\.weight is torch\.int8"):
        check_model(tiny_bert)


def test_offloaded_models_are_refused(tiny_bert):
    tiny_bert.hf_device_map = {"": "cpu"}
    check_model(tiny_bert)
    tiny_bert.hf_device_map = {"bert": 0, "classifier": "disk"}
    with pytest.raises(InputError, match="offloaded to disk"):
        check_model(tiny_bert)
    del tiny_bert.hf_device_map
    tiny_bert.bert.pooler.to("meta")
    with pytest.raises(InputError, match=r"bert\.pooler\.dense\.weight"):
        check_model(tiny_bert)


def test_a_record_of_mixing_is_seen_and_refused(tiny_bert):
    assert not was_mixed(tiny_bert)
    check_not_mixed(tiny_bert)
    tiny_bert.config.finemix = {"keep_ratio": 0.3}
    assert was_mixed(tiny_bert)
    with pytest.raises(InputError) as error:
        check_not_mixed(tiny_bert, "SUSPECT")
    assert_one_line(error, "`SUSPECT`", "allow_mixed=True")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_damaged_tensors_are_refused_by_name(dtype, bad):
    damaged = torch.ones(5, 5, dtype=dtype)
    damaged[3, 4] = bad
    with pytest.raises(InputError) as error:
        check_finite([("good", torch.ones(3)), ("layer.weight", damaged)], "model")
    assert_one_line(error, "`model`", "layer.weight")


def test_opposite_infinities_are_refused():
    with pytest.raises(InputError):
        check_finite([("w", torch.tensor([float("inf"), -float("inf")]))], "model")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_large_finite_values_pass_although_their_sum_overflows(dtype):
    check_finite([("w", torch.full((8,), torch.finfo(dtype).max, dtype=dtype)), ("none", torch.empty(0))], "model")
