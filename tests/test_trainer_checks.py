"""What the trainer refuses because of how launcher and arguments share the work out."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig
from transformers import BertForSequenceClassification, TrainingArguments
from transformers.integrations import deepspeed as settings
from transformers.integrations import is_deepspeed_zero3_enabled

from hf_finemix import InputError
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.model_loading import read_model
from hf_finemix.partitions import is_partitioned, loaded_whole
from hf_finemix.trainer_checks import check_arguments, check_sharing


def trainer(fsdp=None, deepspeed=None, push=False, kind="FULL_STATE_DICT", zero=None):
    """What a trainer knows: asked for, and active, if `fsdp` or `deepspeed` is "active"."""
    plugins = {
        "fsdp_plugin": SimpleNamespace(state_dict_type=f"StateDictType.{kind}"),
        "deepspeed_plugin": SimpleNamespace(deepspeed_config={"zero_optimization": zero or {}}),
    }
    return SimpleNamespace(
        args=SimpleNamespace(fsdp=fsdp, deepspeed=deepspeed, push_to_hub=push),
        is_fsdp_enabled=fsdp == "active",
        is_fsdp_xla_enabled=False,
        is_deepspeed_enabled=deepspeed == "active",
        accelerator=SimpleNamespace(state=SimpleNamespace(**plugins)),
    )


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (trainer(fsdp="asked for"), "`fsdp` is set, but FSDP is not active"),
        (trainer(deepspeed="asked for"), "`deepspeed` is set, but DeepSpeed is not active"),
        (
            trainer(fsdp="active", push=True, kind="SHARDED_STATE_DICT"),
            "set FSDP's state dict type to FULL_STATE_DICT",
        ),
        (trainer(deepspeed="active", push=True, zero={"stage": 3}), "stage3_gather_16bit_weights_on_model_save"),
    ],
)
def test_what_is_not_active_or_would_save_nothing_is_refused(found, message):
    with pytest.raises(InputError, match=message):
        check_sharing(found)


@pytest.mark.parametrize(
    "found",
    [
        trainer(),
        trainer(push=True),
        trainer(fsdp="active", push=True),
        trainer(fsdp="active", kind="SHARDED_STATE_DICT"),
        trainer(deepspeed="active", push=True, zero={"stage": 2}),
        trainer(deepspeed="active", zero={"stage": 3}),
        trainer(deepspeed="active", push=True, zero={"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}),
    ],
)
def test_what_is_active_and_saves_weights_is_taken(found):
    check_sharing(found)


def test_a_fresh_adapter_needs_whole_models(tmp_path, monkeypatch):
    args, adapter = TrainingArguments(str(tmp_path), report_to="none"), LoraConfig(target_modules=["query"])
    check_arguments(args, adapter)
    args.deepspeed_plugin = SimpleNamespace(zero_stage=2)
    check_arguments(args, adapter)
    args.deepspeed_plugin = SimpleNamespace(zero_stage=3)
    check_arguments(args, None)
    with pytest.raises(InputError, match="`peft_config` needs the whole model in each process"):
        check_arguments(args, adapter)
    args.deepspeed_plugin = None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="FSDP and ZeRO-3 cut it up"):
        check_arguments(args, adapter)


def test_models_are_loaded_whole_also_under_zero3(workplace, monkeypatch):
    class Config:
        def is_zero3(self):
            return True

    seen, real = [], BertForSequenceClassification.from_pretrained.__func__

    def watch(cls, *args, **options):
        seen.append(is_deepspeed_zero3_enabled())
        return real(cls, *args, **options)

    monkeypatch.setattr(BertForSequenceClassification, "from_pretrained", classmethod(watch))
    found = resolve_checkpoint(workplace.suspect, "SUSPECT")
    config = Config()
    settings.set_hf_deepspeed_config(config)
    try:
        assert is_deepspeed_zero3_enabled()
        read_model(BertForSequenceClassification, found, "a model")
        assert seen == [False]
        with pytest.raises(ValueError), loaded_whole():
            raise ValueError
        # As before, whatever happened.
        assert is_deepspeed_zero3_enabled()
    finally:
        settings.unset_hf_deepspeed_config()
    with loaded_whole():
        pass
    assert not is_deepspeed_zero3_enabled()


def test_parameters_in_parts_are_told_from_whole_ones():
    parameter = torch.nn.Parameter(torch.ones(2))
    assert not is_partitioned(parameter)
    for status, expected in (("AVAILABLE", False), ("NOT_AVAILABLE", True), ("INFLIGHT", True)):
        parameter.ds_status = SimpleNamespace(name=status)
        assert is_partitioned(parameter) == expected
