"""
Suspects and bases that differ as those of the Hub do: what is mixed then, what is kept, what is refused and why.

mergekit's issues 381 (BertForSequenceClassification), 239 (a tensor that one model lacks), 385 and 390, and 425 (rows
of a vocabulary cut off) are of this kind.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from hf_finemix import FineMixConfig, InputError, fine_mix_, mix_checkpoints
from hf_finemix.masks import keep_mask
from hf_finemix.plan import KEPT, REFUSED
from hf_finemix.twin import load_twin, plan

from .architectures import cell
from .files import run
from .models import bits_equal, family, make, same, values
from .streams import CONFIG, change, save_pair, tensors


WEIGHTS = "model.safetensors"
HEAD = {"classifier.weight", "classifier.bias"}
POOLER = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}


def both(folder, task, config=CONFIG):
    """Mixes in memory and from disk to disk, which must agree; gives the model and the reasons by parameter."""
    model = task.from_pretrained(folder / "suspect")
    report = fine_mix_(model, folder / "base", config)
    disk = mix_checkpoints(folder / "suspect", folder / "base", folder / "out", config)
    assert set(report.mixed) == set(disk.mixed)
    assert same(values(task.from_pretrained(folder / "out")), values(model))
    model.save_pretrained(folder / "memory")
    batch = {"input_ids": torch.tensor([[3, 7, 11, 5]])}
    with torch.no_grad():
        answers = [each.eval()(**batch).logits for each in (model, task.from_pretrained(folder / "memory"))]
    assert torch.equal(*answers)
    return model, {record.name: (record.action, record.reason) for record in report.parameters}


def kept(found):
    return {name for name, (action, _) in found.items() if action == KEPT}


def test_a_classifier_is_no_unknown_architecture(tmp_path):
    """What mergekit's issue 381 asks for."""
    save_pair(tmp_path)
    _, found = both(tmp_path, BertForSequenceClassification)
    assert kept(found) == HEAD
    assert found["classifier.weight"] == (KEPT, "not in the pretrained checkpoint")


@pytest.mark.parametrize(
    ("base", "absent"),
    [(BertForMaskedLM, HEAD | POOLER), (BertForTokenClassification, POOLER), (BertForSequenceClassification, set())],
)
def test_a_base_that_was_saved_as_another_task(tmp_path, base, absent):
    config = family("bert").config
    make(BertForSequenceClassification, config, 1).save_pretrained(tmp_path / "suspect")
    make(base, config).save_pretrained(tmp_path / "base")
    _, found = both(tmp_path, BertForSequenceClassification)
    # A head of the same task and size is pretrained like all else; one for tokens is called the same.
    assert kept(found) == absent


@pytest.mark.parametrize("base", [BertForSequenceClassification, BertForTokenClassification])
def test_a_base_with_other_labels(tmp_path, base):
    config = family("bert").config
    make(BertForSequenceClassification, config, 1).save_pretrained(tmp_path / "suspect")
    config.num_labels = 5
    make(base, config).save_pretrained(tmp_path / "base")
    _, found = both(tmp_path, BertForSequenceClassification)
    assert kept(found) >= HEAD
    assert found["classifier.weight"] == (KEPT, "another shape in the pretrained checkpoint")


def test_a_suspect_without_a_pooler(tmp_path):
    config = family("bert").config
    make(BertForTokenClassification, config, 1).save_pretrained(tmp_path / "suspect")
    make(BertModel, config).save_pretrained(tmp_path / "base")
    _, found = both(tmp_path, BertForTokenClassification)
    assert kept(found) == HEAD and not POOLER & found.keys()


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)])
def test_other_dtypes_are_rounded_once_to_the_suspects(tmp_path, dtypes):
    save_pair(tmp_path, dtypes=dtypes)
    model, _ = both(tmp_path, BertForSequenceClassification)
    assert model.dtype == dtypes[0]
    base, name = tensors(tmp_path / "base"), "encoder.layer.0.output.dense.weight"
    mixed, suspect = values(model)[f"bert.{name}"], tensors(tmp_path / "suspect")[f"bert.{name}"]
    assert bits_equal(torch.where(mixed == suspect, mixed, base[name].to(dtypes[0])), mixed)


@pytest.mark.parametrize("legacy", ["suspect", "base"])
def test_legacy_names_of_norms(tmp_path, legacy):
    save_pair(tmp_path)
    renamed = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def old(weights):
        for new, name in renamed.items():
            weights = {key.replace(new, name): value for key, value in weights.items()}
        return weights

    expected = values(both(tmp_path, BertForSequenceClassification)[0])
    change(tmp_path / legacy, old)
    for name in ("out", "memory"):
        shutil.rmtree(tmp_path / name)
    model, found = both(tmp_path, BertForSequenceClassification)
    assert same(values(model), expected) and kept(found) == HEAD


@pytest.mark.parametrize("architecture", ["ModernBERT", "Gemma 3"])
def test_architectures_that_are_called_otherwise_on_the_disk(tmp_path, architecture):
    kind = cell(architecture, "SequenceClassification")
    suspect, base = kind.pair()
    suspect.save_pretrained(tmp_path / "suspect")
    base.save_pretrained(tmp_path / "base")
    both(tmp_path, kind.task)


@pytest.mark.parametrize("architecture", [["OldBertForSequenceClassification"], ["../x"], [5], None])
def test_architectures_that_no_longer_exist(tmp_path, architecture):
    save_pair(tmp_path)
    path = tmp_path / "suspect" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": architecture}))
    # In memory the class is the user's own choice, and the disk needs none to mix.
    model = BertForSequenceClassification.from_pretrained(tmp_path / "suspect")
    fine_mix_(model, tmp_path / "base", CONFIG)
    if architecture == ["OldBertForSequenceClassification"]:
        mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", CONFIG)
        assert same(tensors(tmp_path / "out"), {name: value.detach() for name, value in model.named_parameters()})


# Tied and untied.


def llama(tied, seed):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return make(LlamaForCausalLM, LlamaConfig(vocab_size=40, tie_word_embeddings=tied, **sizes), seed)


@pytest.mark.parametrize("tied", [(True, True), (True, False), (False, True), (False, False)])
def test_output_layers_that_one_of_the_two_ties(tmp_path, tied):
    for folder, is_tied, seed in zip(("suspect", "base"), tied, (1, 0), strict=True):
        llama(is_tied, seed).save_pretrained(tmp_path / folder)
    model, found = both(tmp_path, LlamaForCausalLM)
    assert model.config.tie_word_embeddings is tied[0]
    assert ("lm_head.weight" in found) is (not tied[0])
    if not tied[0]:
        # The output layer of a base that ties it is its word embedding.
        assert found["lm_head.weight"] == ("mixed", "has a pretrained counterpart")
        suspect, base = values(llama(False, 1))["lm_head.weight"], values(llama(tied[1], 0))
        base = base["model.embed_tokens.weight" if tied[1] else "lm_head.weight"]
        keep = torch.from_numpy(keep_mask("lm_head.weight", tuple(base.shape), CONFIG.keep_ratio, CONFIG.seed))
        assert bits_equal(values(model)["lm_head.weight"], torch.where(keep, suspect, base))
        other = LlamaForCausalLM.from_pretrained(tmp_path / "suspect")
        fine_mix_(other, LlamaForCausalLM.from_pretrained(tmp_path / "base"), CONFIG)
        # The head of a model object is never taken for pretrained, but a word embedding is no head.
        assert same(values(other), values(model)) is tied[1]


def test_rows_that_no_token_has_stay(tmp_path):
    """Of mergekit's issue 425: a vocabulary that is padded keeps its size."""
    save_pair(tmp_path, "gpt2")
    model, _ = both(tmp_path, GPT2LMHeadModel)
    assert len(model.get_input_embeddings().weight) == len(tensors(tmp_path / "out")["transformer.wte.weight"]) == 48


# What is refused, and what a user may know better.


def lacking(folder, part="encoder.layer.1.output.dense"):
    save_pair(folder)
    path = folder / "base" / WEIGHTS
    weights = {name: value for name, value in load_file(path).items() if not name.startswith(part)}
    save_file(weights, path, metadata={"format": "pt"})
    return {f"bert.{part}.weight", f"bert.{part}.bias"}


def test_a_base_that_lacks_what_it_should_have_is_refused(tmp_path):
    """Of mergekit's issue 239."""
    names = lacking(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path / "suspect")
    before = values(model)
    for mix in (
        lambda: fine_mix_(model, tmp_path / "base", CONFIG),
        lambda: mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", CONFIG),
    ):
        with pytest.raises(
            InputError, match=r"output\.dense\.(weight|bias) is not in the pretrained .* \(and 1 more\)"
        ):
            mix()
    assert same(values(model), before) and not hasattr(model.config, "finemix") and not (tmp_path / "out").exists()
    twin = load_twin(model, tmp_path / "base", strict=False)
    report = plan(model, twin, CONFIG)
    assert {record.name for record in report.refused} == twin.refused == names
    assert all(record.action == REFUSED for record in report.refused)
    with pytest.raises(InputError, match="--allow-unmatched"):
        fine_mix_(model, twin, CONFIG)


def test_a_user_may_allow_it(tmp_path):
    names = lacking(tmp_path)
    config = FineMixConfig(0.3, seed=7, purify_top_k=0, allow_unmatched=True)
    model, found = both(tmp_path, BertForSequenceClassification, config)
    assert kept(found) == HEAD | names
    suspect = tensors(tmp_path / "suspect")
    assert all(bits_equal(values(model)[name], suspect[name]) for name in names)


def test_what_is_excluded_needs_no_counterpart(tmp_path):
    names = lacking(tmp_path)
    config = FineMixConfig(0.3, seed=7, purify_top_k=0, exclude=(r"layer\.1\.output\.dense",))
    _, found = both(tmp_path, BertForSequenceClassification, config)
    assert kept(found) == HEAD | names


@pytest.mark.parametrize("command", ["purify", "mix"])
def test_a_dry_run_lists_every_parameter(place, capsys, command):
    path = place.base / WEIGHTS
    weights = load_file(path)
    del weights["encoder.layer.0.output.dense.bias"]
    save_file(weights, path, metadata={"format": "pt"})
    arguments = {
        "purify": place.arguments(),
        "mix": ["mix", place.suspect, f"--pretrained={place.base}", "--keep-ratio=0.3", f"--output={place.output}"],
    }[command]
    status, out, err = run(capsys, [*arguments, "--dry-run"])
    assert status == 2 and err.count("\n") == 1 and "--allow-unmatched" in err
    lines = [line.split(": ") for line in out.splitlines()]
    names = {line[0].split()[-1]: (line[0].split()[0], line[1]) for line in lines if len(line) == 2}
    model = BertForSequenceClassification.from_pretrained(place.suspect)
    assert {name for name, _ in model.named_parameters()} <= names.keys()
    assert names["bert.encoder.layer.0.output.dense.bias"] == (REFUSED, "not in the pretrained checkpoint")
    assert names["bert.encoder.layer.0.output.dense.weight"] == ("mixed", "has a pretrained counterpart")
    assert run(capsys, arguments)[0] == 2 and not place.output.exists()
    status, out, err = run(capsys, [*arguments, "--allow-unmatched"])
    assert status == 0, err
    card = (place.output / "README.md").read_text()
    assert ("--allow-unmatched" if command == "mix" else "allow_unmatched: true") in card
    assert not run(capsys, ["verify", place.output, f"--suspect={place.suspect}", f"--pretrained={place.base}"])[0]
