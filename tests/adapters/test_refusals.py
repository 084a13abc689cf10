"""Adapters that are damaged, hostile or of another kind get one line, and nothing is written."""

import json
import shutil

import peft
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertForMaskedLM

from hf_finemix import merge_adapter

from ..architectures import cell
from ..files import run
from ..models import make
from .kinds import train


def refused(capsys, adapter, base, tmp_path, *parts, more=()):
    """Whether the command refuses with one line that holds these parts, and writes nothing."""
    before = set(tmp_path.iterdir())
    capsys.readouterr()
    status, out, err = run(capsys, ["merge", adapter, "--pretrained", base, "--output", tmp_path / "out", *more])
    assert status == 2 and not out.count("Merged") and err.count("\n") == 1, err
    assert set(tmp_path.iterdir()) == before
    assert all(part in err for part in parts), err
    return True


def configure(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_prompts_are_no_weights(base, tmp_path, capsys):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    config = PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    assert refused(capsys, tmp_path / "adapter", base, tmp_path, "PROMPT_TUNING", "learns inputs, not weights")


@pytest.mark.parametrize("kind", sorted(peft.PeftType.__members__))
def test_every_other_kind_is_refused_by_name(base, adapter, tmp_path, capsys, kind):
    if kind in ("LORA", "IA3", "TRAINABLE_TOKENS"):
        return
    configure(adapter, peft_type=kind)
    assert refused(capsys, adapter, base, tmp_path, kind)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"peft_type": None}, ["'None'"]),
        ({"peft_type": ["LORA"]}, ["kind"]),
        ({"task_type": None}, ["task None"]),
        ({"task_type": "FEATURE_EXTRACTION"}, ["FEATURE_EXTRACTION"]),
        ({"layer_replication": [[0, 2]]}, ["layer_replication"]),
        ({"target_parameters": ["experts"]}, ["target_parameters"]),
        ({"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}}, ["auto_mapping"]),
        ({"alora_invocation_tokens": [3]}, ["alora_invocation_tokens"]),
        ({"some_new_option": True}, ["some_new_option"]),
        ({"init_lora_weights": "pissa"}, ["pissa"]),
        ({"init_lora_weights": "loftq"}, ["loftq"]),
        ({"lora_alpha": "8"}, ["'8' is no number"]),
        ({"lora_alpha": float("nan")}, ["nan"]),
        ({"alpha_pattern": {"(a+)+$": 3}}, ["(a+)+$"]),
        ({"alpha_pattern": {r"layer\.\d\.attention": 3}}, ["more than the end of a name"]),
        ({"alpha_pattern": {"^bert": 3}}, ["more than the end of a name"]),
        ({"alpha_pattern": {"query": 10**400}}, ["cannot be used"]),
        ({"lora_alpha": 10**400}, ["cannot be used"]),
        ({"use_rslora": 1}, ["use_rslora"]),
        ({"use_dora": "yes"}, ["use_dora"]),
        ({"alpha_pattern": ["query"]}, ["cannot be used"]),
        ({"use_dora": True}, ["DoRA"]),
        ({"trainable_token_indices": {"word_embeddings": [-1]}}, ["-1"]),
    ],
    ids=str,
)
def test_configurations_that_mean_something_else_are_refused(base, adapter, tmp_path, capsys, changes, parts):
    configure(adapter, **changes)
    assert refused(capsys, adapter, base, tmp_path, *parts)


def spoil(adapter, **tensors):
    """Replaces tensors of an adapter, `None` to take one out."""
    path = adapter / "adapter_model.safetensors"
    stored = load_file(path)
    for name, change in tensors.items():
        key = next(key for key in stored if name in key)
        value = change(stored.pop(key))
        if value is not None:
            stored[key] = value
    save_file(stored, path)


SPOILED = {
    "NaN": (lambda a: spoil(a, lora_A=lambda t: t * float("nan")), ["NaN or infinity", "lora_A"]),
    "too large for the weights": (
        lambda a: spoil(a, lora_A=lambda t: t * 0 + 3e38, lora_B=lambda t: t * 0 + 9),
        ["NaN or infinity"],
    ),
    "another shape": (lambda a: spoil(a, lora_A=lambda t: t[:, :5].contiguous()), ["does not fit"]),
    "half of a pair": (lambda a: spoil(a, lora_B=lambda t: None), ["does not fit"]),
    "no head": (lambda a: spoil(a, classifier=lambda t: None) or spoil(a, classifier=lambda t: None), ["brings no"]),
    "head of another size": (lambda a: spoil(a, **{"classifier.weight": lambda t: t[:, :3].contiguous()}), ["(3, 3)"]),
    "integers": (lambda a: spoil(a, lora_A=lambda t: t.int()), ["no part of an adapter"]),
    "cut off": (lambda a: cut_off(a / "adapter_model.safetensors"), ["damaged"]),
    "no weights": (lambda a: (a / "adapter_model.safetensors").unlink(), ["no adapter_model.safetensors"]),
    "pickle only": (lambda a: shutil.move(a / "adapter_model.safetensors", a / "adapter_model.bin"), ["pickle"]),
    "no configuration": (lambda a: (a / "adapter_config.json").unlink(), ["no adapter_config.json"]),
    "configuration is a list": (lambda a: (a / "adapter_config.json").write_text("[]"), ["no JSON object"]),
    "configuration is no JSON": (lambda a: (a / "adapter_config.json").write_text("{"), ["no readable JSON"]),
}


NAME = "base_model.model.bert.encoder.layer.0.attention.self.query"


def rewrite(adapter, **parts):
    """Gives a module other tensors; `None` takes one out."""
    path = adapter / "adapter_model.safetensors"
    stored = load_file(path)
    for part, tensor in parts.items():
        stored.pop(f"{NAME}.{part}", None)
        if tensor is not None:
            stored[f"{NAME}.{part}"] = tensor
    save_file(stored, path)


SPOILED |= {
    "a product that fills the memory": (
        lambda a: rewrite(a, **{"lora_A.weight": torch.ones(1, 300_000), "lora_B.weight": torch.ones(300_000, 1)}),
        ["does not fit", "300000"],
    ),
    "rank 0": (
        lambda a: rewrite(a, **{"lora_A.weight": torch.ones(0, 16), "lora_B.weight": torch.ones(16, 0)}),
        ["no pair"],
    ),
    "no dimension": (lambda a: rewrite(a, **{"lora_A.weight": torch.tensor(1.0)}), ["no pair"]),
    "one row for all": (lambda a: rewrite(a, **{"lora_B.weight": torch.ones(1, 4)}), ["does not fit"]),
    "one column for all": (lambda a: rewrite(a, **{"lora_A.weight": torch.ones(4, 1)}), ["does not fit"]),
    "the other half of a pair": (lambda a: rewrite(a, **{"lora_A.weight": None}), ["make no whole"]),
    "a part of another kind": (lambda a: rewrite(a, ia3_l=torch.ones(16)), ["make no whole"]),
    "a magnitude without DoRA": (lambda a: rewrite(a, lora_magnitude_vector=torch.ones(16)), ["without DoRA"]),
    "a bias of another size": (lambda a: rewrite(a, **{"lora_B.bias": torch.ones(1)}), ["(1,) where (16,) is needed"]),
    "a base of another size": (lambda a: rewrite(a, **{"base_layer.weight": torch.ones(3, 3)}), ["does not fit"]),
    "millions of labels": (
        lambda a: spoil(a, **{"classifier.weight": lambda t: torch.ones(3_000_000, 0)}),
        ["(3000000, 0)"],
    ),
    "a head without dimensions": (lambda a: spoil(a, **{"classifier.weight": lambda t: torch.tensor(1.0)}), ["()"]),
}


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(("change", "parts"), SPOILED.values(), ids=SPOILED)
def test_damaged_and_hostile_tensors_are_refused(base, adapter, tmp_path, capsys, change, parts):
    change(adapter)
    assert refused(capsys, adapter, base, tmp_path, *parts)


def test_a_base_without_the_pooler_that_the_head_reads_is_refused(base, adapter, tmp_path, capsys):
    BertForMaskedLM.from_pretrained(base).save_pretrained(tmp_path / "masked")
    assert refused(capsys, adapter, tmp_path / "masked", tmp_path, "brings no bert.pooler.dense")


@pytest.mark.parametrize(
    ("architecture", "modules"), [("T5", ["encoder.embed_tokens"]), ("T5", ["lm_head"]), ("T5", ["shared"])]
)
def test_parameters_of_several_names_that_go_apart_are_refused(tmp_path, capsys, architecture, modules):
    kind = cell(architecture, "ConditionalGeneration")
    make(kind.task, kind.config).save_pretrained(tmp_path / "base")
    model = kind.task.from_pretrained(tmp_path / "base")
    get_peft_model(model, LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=modules)).save_pretrained(
        tmp_path / "adapter"
    )
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    save_file(
        {name: value + 0.3 for name, value in tensors.items()}, tmp_path / "adapter" / "adapter_model.safetensors"
    )
    assert refused(capsys, tmp_path / "adapter", tmp_path / "base", tmp_path, "apart")


def test_labels_belong_to_a_head(tmp_path, capsys):
    kind = cell("GPT-2", "LMHead")
    make(kind.task, kind.config).save_pretrained(tmp_path / "base")
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    train(kind.task.from_pretrained(tmp_path / "base"), config, tmp_path / "adapter")
    more = ["--labels", "a", "b"]
    assert refused(capsys, tmp_path / "adapter", tmp_path / "base", tmp_path, "does not bring", more=more)


@pytest.mark.parametrize("key", ["vocab", "vocab_file", "merges", "tokenizer_file"])
def test_a_tokenizer_does_not_read_other_files(base, adapter, tmp_path, capsys, key):
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET_ONE\nSECRET_TWO\n")
    (adapter / "vocab.txt").write_text("[UNK]\n[PAD]\n[CLS]\n[SEP]\n[MASK]\na\n")
    settings = {"tokenizer_class": "BertTokenizer", key: str(secret)}
    (adapter / "tokenizer_config.json").write_text(json.dumps(settings))
    assert refused(capsys, adapter, base, tmp_path, "names a file of this machine", repr(key))
    # Where a file once was, on the machine of somebody else, is no harm.
    (adapter / "tokenizer_config.json").write_text(json.dumps(settings | {key: "/no/such/vocab.txt"}))
    if key != "vocab" and key != "merges":
        merge_adapter(adapter, base, tmp_path / "merged")
        assert "SECRET" not in (tmp_path / "merged" / "tokenizer.json").read_text()


def test_names_of_modules_that_are_not_there(base, adapter, tmp_path, capsys):
    path = adapter / "adapter_model.safetensors"
    stored = {name.replace("layer.0", "layer.9"): tensor for name, tensor in load_file(path).items()}
    save_file(stored, path)
    assert refused(capsys, adapter, base, tmp_path, "layer.9", "does not have")
    save_file({"bert.x": torch.ones(2)}, path)
    assert refused(capsys, adapter, base, tmp_path, "bert.x", "no part of an adapter")


def test_labels_have_to_fit_the_head(base, adapter, tmp_path, capsys):
    for labels in (["one"], ["a", "a", "b"]):
        assert refused(capsys, adapter, base, tmp_path, "--labels", "3 apart", more=["--labels", *labels])


@pytest.mark.parametrize("share", ["1.1", "-0.1", "nan"])
def test_a_share_is_one(base, adapter, tmp_path, capsys, share):
    assert refused(capsys, adapter, base, tmp_path, "--share", more=["--share", share])


def test_an_output_that_is_taken_is_refused_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    status, _, err = run(capsys, ["merge", "no/such", "--pretrained", "no/base", "--output", tmp_path / "out"])
    assert status == 2 and "already holds something" in err
