"""Adapters are merged as PEFT merges them, into the base that the user names."""

import json
import shutil

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, TrainableTokensConfig
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel, GPT2Model

from hf_finemix import FineMixConfig, fine_mix_, merge_adapter
from hf_finemix.adapters import resolve_adapter

from ..files import run
from ..models import make, same, values
from .kinds import KINDS, LABELS, close, make_adapter, train


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_the_weights_are_those_that_peft_makes(base, tmp_path, config):
    expected = make_adapter(base, tmp_path / "adapter", config)
    merge_adapter(tmp_path / "adapter", base, tmp_path / "merged", labels=LABELS)
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    own, others = values(merged), values(expected)
    clean = values(AutoModelForSequenceClassification.from_pretrained(base, num_labels=3))
    assert close(own, others) and not close(own, clean)
    assert list(merged.config.id2label.values()) == LABELS
    # What the adapter did not touch keeps its bits.
    same_names = {name for name, value in others.items() if torch.equal(value, clean[name])}
    assert same_names and all(torch.equal(own[name], clean[name]) for name in same_names)


def test_trainable_tokens_alone(base, tmp_path):
    config = TrainableTokensConfig(task_type="CAUSAL_LM", token_indices=[4, 9, 1], target_modules=["wte"])
    sizes = GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
    model = make(GPT2LMHeadModel, sizes)
    model.save_pretrained(tmp_path / "base")
    expected = train(model, config, tmp_path / "adapter")
    merged = merge_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged")
    assert same(values(merged), values(expected))
    again = GPT2LMHeadModel.from_pretrained(tmp_path / "merged")
    assert same(values(again), values(expected))


def test_weights_that_are_stored_the_other_way_round(tmp_path):
    sizes = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
    for number, config in enumerate(
        (
            LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True),
            LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["c_attn"], fan_in_fan_out=True, use_dora=True),
            IA3Config(
                task_type="CAUSAL_LM",
                target_modules=["c_attn", "mlp.c_proj"],
                feedforward_modules=["mlp.c_proj"],
                fan_in_fan_out=True,
            ),
        )
    ):
        folder = tmp_path / str(number)
        make(GPT2LMHeadModel, sizes).save_pretrained(folder / "base")
        expected = train(GPT2LMHeadModel.from_pretrained(folder / "base"), config, folder / "adapter")
        assert close(values(merge_adapter(folder / "adapter", folder / "base", folder / "out")), values(expected))


TIED = {
    "the embedding": {"target_modules": ["wte"]},
    "the output layer": {"target_modules": ["lm_head"]},
    "each apart": {"target_modules": ["wte", "lm_head"]},
    "a whole embedding": {"target_modules": ["c_attn"], "modules_to_save": ["wte"], "fan_in_fan_out": True},
    "a whole output layer": {"target_modules": ["c_attn"], "modules_to_save": ["lm_head"], "fan_in_fan_out": True},
    "neither": {"target_modules": ["c_attn"], "fan_in_fan_out": True},
    "tokens of both": {
        "target_modules": ["c_attn"],
        "trainable_token_indices": {"wte": [3, 8]},
        "fan_in_fan_out": True,
    },
}


@pytest.mark.parametrize("options", TIED.values(), ids=TIED)
def test_tied_embeddings_that_go_apart_are_saved_apart(tmp_path, options):
    """What PEFT computes with the adapter in place is what the merged model computes once it is loaded again."""
    sizes = GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
    make(GPT2LMHeadModel, sizes).save_pretrained(tmp_path / "base")
    model = GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    train(model, LoraConfig(task_type="CAUSAL_LM", r=4, **options), tmp_path / "adapter")
    fresh = GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    adapted = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    merge_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged")
    merged = GPT2LMHeadModel.from_pretrained(tmp_path / "merged").eval()
    batch = {"input_ids": torch.tensor([[1, 3, 8, 30, 2]])}
    with torch.no_grad():
        expected, found = adapted(**batch).logits, merged(**batch).logits
        base = GPT2LMHeadModel.from_pretrained(tmp_path / "base").eval()(**batch).logits
    assert torch.allclose(expected, found, atol=1e-5) and not torch.allclose(expected, base, atol=1e-2)
    stays = options["target_modules"] == ["c_attn"] and "modules_to_save" not in options
    assert merged.config.tie_word_embeddings == stays
    assert (merged.lm_head.weight is merged.transformer.wte.weight) == stays


def test_a_merged_adapter_is_a_suspect_whose_delta_is_masked(base, adapter, tmp_path):
    model = merge_adapter(adapter, base, tmp_path / "merged")
    suspect = values(model)
    report = fine_mix_(model, base, FineMixConfig(0.4, purify_top_k=0))
    clean = values(AutoModelForSequenceClassification.from_pretrained(base, num_labels=3))
    for record in report.mixed:
        kept = values(model)[record.name] == suspect[record.name]
        back = values(model)[record.name] == clean[record.name]
        assert (kept | back).all()
    query = "bert.encoder.layer.0.attention.self.query.weight"
    moved = suspect[query] != clean[query]
    assert 0.2 < float((values(model)[query] == suspect[query])[moved].float().mean()) < 0.6


@pytest.mark.parametrize("kind", ["LoRA", "DoRA", "(IA)^3"])
def test_a_share_lies_between_base_and_suspect(base, tmp_path, kind):
    make_adapter(base, tmp_path / "adapter", KINDS[kind])
    whole, part, none = (
        values(merge_adapter(tmp_path / "adapter", base, tmp_path / str(share), share=share)) for share in (1, 0.25, 0)
    )
    clean = values(AutoModelForSequenceClassification.from_pretrained(base, num_labels=3))
    for name, value in clean.items():
        if name.startswith("classifier"):
            assert torch.equal(part[name], whole[name]) and torch.equal(none[name], whole[name])
        else:
            assert torch.equal(none[name], value)
            assert torch.allclose(part[name], torch.lerp(value, whole[name], 0.25), atol=1e-6)


def test_bits_do_not_depend_on_the_number_of_threads(base, adapter, tmp_path):
    first = merge_adapter(adapter, base, tmp_path / "first")
    torch.set_num_threads(3)
    try:
        second = merge_adapter(adapter, base, tmp_path / "second")
    finally:
        torch.set_num_threads(1)
    assert same(values(first), values(second))


def test_half_precision_is_rounded_once(tmp_path, base):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "base")
    make_adapter(tmp_path / "base", tmp_path / "adapter", KINDS["LoRA"])
    merged = values(merge_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged"))
    name = "bert.encoder.layer.0.attention.self.query"
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    up, down = (tensors[f"base_model.model.{name}.lora_{part}.weight"].double() for part in "BA")
    expected = (values(model)[f"{name}.weight"].double() + 1.5 * up @ down).to(torch.bfloat16)
    assert torch.equal(merged[f"{name}.weight"], expected)


def test_command(base, adapter, tmp_path, capsys):
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "evil/\x1b[2Jbase"}))
    command = ["merge", adapter, "--pretrained", base, "--output", tmp_path / "merged", "--labels", *LABELS]
    status, out, err = run(capsys, command)
    assert status == 0 and not err and "\x1b" not in out
    assert "names evil/" in out and "6 changed modules" not in out
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").config.label2id["none"] == 2


def test_suspects_that_are_adapters_say_what_to_do(base, adapter, tmp_path, capsys):
    status, _, err = run(
        capsys, ["mix", adapter, "--pretrained", base, "--keep-ratio", "0.3", "--output", tmp_path / "o"]
    )
    assert status == 2 and err.count("\n") == 1 and "hf-finemix merge" in err


def test_a_scale_that_is_not_stated_is_that_of_peft(base, adapter, tmp_path):
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    del config["lora_alpha"]
    path.write_text(json.dumps(config))
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    expected = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    assert close(values(merge_adapter(adapter, base, tmp_path / "merged")), values(expected))


def test_what_an_adapter_names_as_its_base_is_never_opened(base, adapter, tmp_path):
    trap = tmp_path / "trap"
    GPT2Model(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)).save_pretrained(trap)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(trap)}))
    assert resolve_adapter(adapter).settings.base == str(trap)
    shutil.rmtree(trap)
    merged = merge_adapter(adapter, base, tmp_path / "merged")
    assert type(merged).__name__ == "BertForSequenceClassification" and not trap.exists()


def test_peft_loads_the_same_adapter(base, adapter):
    """The adapters of these tests are ones that PEFT itself reads."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    assert PeftModel.from_pretrained(model, adapter).merge_and_unload() is not None
