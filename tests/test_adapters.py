"""Adapters are merged as PEFT merges them, into the base that the user names; hostile ones are refused."""

import json
import shutil

import peft
import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, TrainableTokensConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, GPT2Model

from hf_finemix import FineMixConfig, fine_mix_, merge_adapter
from hf_finemix.adapters import resolve_adapter

from .architectures import cell
from .files import run
from .models import make, same, values


LABELS = ["bad", "good", "none"]
ENCODER = {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 6}
KINDS = {
    "LoRA": LoraConfig(**ENCODER, target_modules=["query", "value", "dense"]),
    "ranks and scales by module": LoraConfig(
        **ENCODER,
        target_modules=["query", "key", "value"],
        rank_pattern={"query": 2},
        alpha_pattern={"query": 5, "layer.1.attention.self.value": 7},
    ),
    "rsLoRA": LoraConfig(**ENCODER, target_modules=["query"], use_rslora=True),
    "DoRA": LoraConfig(**ENCODER, target_modules=["query", "dense"], use_dora=True),
    "LoRA with biases": LoraConfig(**ENCODER, target_modules=["query"], lora_bias=True, bias="lora_only"),
    "LoRA of embeddings": LoraConfig(**ENCODER, target_modules=["word_embeddings", "query"]),
    "LoRA and tokens": LoraConfig(
        **ENCODER, target_modules=["query"], trainable_token_indices={"word_embeddings": [7, 3]}
    ),
    "LoRA and a whole module": LoraConfig(
        **ENCODER, target_modules=["query"], modules_to_save=["classifier", "pooler"]
    ),
    "(IA)^3": IA3Config(
        task_type="SEQ_CLS",
        target_modules=["key", "value", "output.dense"],
        feedforward_modules=["output.dense"],
    ),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A bare base model on the disk."""
    folder = tmp_path_factory.mktemp("base") / "base"
    kind = cell("BERT", "SequenceClassification")
    make(kind.bare, kind.config).save_pretrained(folder)
    return folder


def train(model, config, folder):
    """Saves an adapter whose every tensor was drawn; gives what PEFT itself merges."""
    # PEFT fills in what it finds out about a model.
    adapted = get_peft_model(model, type(config)(**config.to_dict()))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    adapted.save_pretrained(folder)
    return adapted.merge_and_unload()


def make_adapter(base, folder, config):
    return train(AutoModelForSequenceClassification.from_pretrained(base, num_labels=3), config, folder)


@pytest.fixture
def adapter(base, tmp_path):
    """A LoRA adapter to spoil."""
    make_adapter(base, tmp_path / "adapter", KINDS["LoRA"])
    return tmp_path / "adapter"


def close(first, second):
    return first.keys() == second.keys() and all(
        torch.allclose(first[name], second[name], rtol=1e-5, atol=1e-6) for name in first
    )


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


# Refusals


def refused(capsys, adapter, base, tmp_path, *parts, more=()):
    """Whether the command refuses with one line that holds these parts, and writes nothing."""
    before = set(tmp_path.iterdir())
    capsys.readouterr()
    status, out, err = run(capsys, ["merge", adapter, "--pretrained", base, "--output", tmp_path / "out", *more])
    assert status == 2 and not out.count("Merged") and err.count("\n") == 1, err
    assert set(tmp_path.iterdir()) == before
    return all(part in err for part in parts)


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


def test_a_scale_that_is_not_stated_is_that_of_peft(base, adapter, tmp_path):
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    del config["lora_alpha"]
    path.write_text(json.dumps(config))
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    expected = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    assert close(values(merge_adapter(adapter, base, tmp_path / "merged")), values(expected))


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


def test_what_an_adapter_names_as_its_base_is_never_opened(base, adapter, tmp_path):
    trap = tmp_path / "trap"
    GPT2Model(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)).save_pretrained(trap)
    configure(adapter, base_model_name_or_path=str(trap))
    assert resolve_adapter(adapter).settings.base == str(trap)
    shutil.rmtree(trap)
    merged = merge_adapter(adapter, base, tmp_path / "merged")
    assert type(merged).__name__ == "BertForSequenceClassification" and not trap.exists()


def test_peft_loads_the_same_adapter(base, adapter):
    """The adapters of these tests are ones that PEFT itself reads."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    assert PeftModel.from_pretrained(model, adapter).merge_and_unload() is not None
