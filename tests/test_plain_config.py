"""What is taken of a stranger's config.json, and what not."""

import json
import os

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPTNeoXConfig,
    Mamba2Config,
    Mamba2ForCausalLM,
)

from hf_finemix import FineMixConfig, InputError, mix_checkpoints
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.model_configs import check_size, known_entries
from hf_finemix.model_loading import load_classifier, load_generator
from hf_finemix.plain_config import MOST_LABELS, decoded, plain_config
from hf_finemix.suspect_files import check_files, is_deeper, read_json_object
from hf_finemix.twin import load_twin

from .files import change_config


def test_plain_entries_are_taken_as_they_are():
    config = BertConfig(num_labels=3, id2label={0: "a", 1: "b", 2: "auto_map"}).to_dict()
    config = json.loads(json.dumps(config))
    config.pop("_name_or_path")
    assert plain_config(config, "SUSPECT", 30) == config
    # Of other architectures, too: lists of sizes, numbers beyond 32 bits, infinity.
    other = {"depths": [2, 2, 6, 2], "rope_theta": 10**12, "num_experts": 512, "num_hidden_layers": 32}
    assert plain_config(other, "SUSPECT", 10) == other
    # JSON has no infinity: it is written as transformers does, and read again.
    limits = {"time_step_limit": [0.0, {"__float__": "Infinity"}]}
    assert (
        plain_config({"time_step_limit": [0.0, float("inf")]}, "SUSPECT") == plain_config(limits, "SUSPECT") == limits
    )
    assert decoded(limits) == {"time_step_limit": [0.0, float("inf")]}
    assert plain_config({"id2label": {"0": 0, "1": 1}}, "SUSPECT") == {"id2label": {"0": "0", "1": "1"}}


@pytest.mark.parametrize("name", ["auto_map", "custom_pipelines", "_name_or_path", "vocab_file", "data_dir", "url"])
def test_names_of_code_and_places_are_left_out(name):
    assert plain_config({"a": 1, name: "/x", "part": {name: "/x", "b": [{name: "x"}]}}, "SUSPECT") == {
        "a": 1,
        "part": {"b": [{}]},
    }
    # As a label it is a name like any other.
    labels = {"id2label": {"0": name}, "label2id": {name: 0}}
    assert plain_config(labels, "SUSPECT") == labels


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"quantization_config": {}}, "quantised"),
        ({"transformers_weights": "x.bin"}, "names its weights"),
        ({"a": [{"kernel_config": {"x": "a/b:C"}}]}, "code from the Hub"),
        ({"a": {"use_pretrained_backbone": True}}, "another model's weights"),
        ({"num_hidden_layers": 513}, "'num_hidden_layers' is 513"),
        ({"vision": {"depths": [2, 999]}}, "'depths' is 999"),
        ({"num_local_experts": 70000}, "'num_local_experts' is 70000"),
        ({"hidden_size": 2**70}, "a number of 71 bits"),
        ({"id2label": 5}, "no texts"),
        ({"id2label": {"0": None}}, "no texts"),
        ({"id2label": {"0": "x" * 10_001}}, "a label of more than"),
        ({"num_labels": MOST_LABELS + 1}, "more than 65536 labels"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(config, words):
    with pytest.raises(InputError) as error:
        plain_config(config, "SUSPECT 'x'", 40)
    assert words in str(error.value) and str(error.value).startswith("SUSPECT 'x'") and "\n" not in str(error.value)


def test_entries_that_a_class_does_not_know_are_left_out():
    entries = {"model_type": "bert", "hidden_size": 16, "evil": "x", "finemix": {"seed": 1}, "num_labels": 3}
    taken, left_out = known_entries(entries, BertConfig)
    assert left_out == ["evil"] and taken == {key: value for key, value in entries.items() if key != "evil"}
    # Old names mean something, though they are no fields.
    assert known_entries({"n_embd": 16, "hidden_size": 16, "n_ctx": 5}, GPT2Config)[1] == ["n_ctx"]
    old = {"model_type": "gpt_neox", "rotary_pct": 0.5, "rotary_emb_base": 7, "no_such_entry": 1}
    taken, left_out = known_entries(old, GPTNeoXConfig)
    assert left_out == ["no_such_entry"] and {"rotary_pct", "rotary_emb_base"} <= taken.keys()


def test_what_a_class_does_not_know_reaches_no_model(workplace):
    change_config(workplace.suspect, evil="x", sentence_transformers={"activation_fn": "builtins.eval"})
    model = load_classifier(resolve_checkpoint(workplace.suspect, "SUSPECT"), "SUSPECT")
    assert not hasattr(model.config, "evil") and not hasattr(model.config, "sentence_transformers")
    assert model.config.id2label == {0: "negative", 1: "positive"}
    expected = BertForSequenceClassification.from_pretrained(workplace.suspect).config.to_dict()
    found = model.config.to_dict()
    for content in (expected, found):
        for name in ("evil", "sentence_transformers", "_name_or_path"):
            content.pop(name, None)
    assert found == expected


def test_entries_that_are_no_fields_but_are_read_by_the_model_are_taken(tmp_path):
    entries = {"norm_rel_ebd": "layer_norm", "position_buckets": 16, "share_att_key": True, "conv_kernel_size": 3}
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    more = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "vocab_size": 50, "conv_act": "gelu"}
    torch.manual_seed(0)
    plain = DebertaV2ForSequenceClassification(DebertaV2Config(**sizes, **more, **entries)).eval()
    plain.save_pretrained(tmp_path / "suspect")
    found = load_classifier(resolve_checkpoint(tmp_path / "suspect", "SUSPECT"), "SUSPECT")
    assert {name: getattr(found.config, name) for name in entries} == entries
    assert found.state_dict().keys() == plain.state_dict().keys()
    ids = torch.arange(5, 20)[None]
    assert torch.equal(found(ids).logits, plain(ids).logits)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (AlbertConfig(hidden_size=16, intermediate_size=16, num_attention_heads=2), {"inner_group_num": 10**7}),
        (AlbertConfig(hidden_size=16, intermediate_size=16, num_attention_heads=2), {"num_hidden_groups": 10**7}),
        (BertConfig(hidden_size=16, intermediate_size=16, num_attention_heads=2), {"num_hidden_layers": 500}),
    ],
)
def test_modules_are_counted_while_they_are_made(config, changes):
    config.update(changes)
    with pytest.raises(InputError, match="modules or more, but has weights for 25"):
        check_size(AutoModelForSequenceClassification, config, 10**6, 25)


def test_a_model_may_be_somewhat_larger_than_its_weights():
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16)
    check_size(BertForSequenceClassification, config, 1, 30)
    config.vocab_size = 1 << 24
    check_size(BertForSequenceClassification, config, 1 << 27, 30)
    with pytest.raises(
        InputError, match="asks for 268,4.. ... parameters, but its weights hold 1".replace(" ...", ",...")
    ):
        check_size(BertForSequenceClassification, config, 1, 30)


def test_files_that_change_while_they_are_read_are_refused(workplace, monkeypatch):
    found = resolve_checkpoint(workplace.suspect, "SUSPECT")
    weights = workplace.suspect / "model.safetensors"
    real = BertForSequenceClassification.from_pretrained.__func__

    def swap(cls, *args, **options):
        model = real(cls, *args, **options)
        os.replace(workplace.base / "model.safetensors", weights)
        return model

    monkeypatch.setattr(BertForSequenceClassification, "from_pretrained", classmethod(swap))
    with pytest.raises(InputError, match=r"changed while it was read: model\.safetensors is another file now"):
        load_classifier(found, "SUSPECT")


def test_a_configuration_that_changes_after_the_check_is_not_read_again(workplace):
    found = resolve_checkpoint(workplace.suspect, "SUSPECT")
    change_config(workplace.suspect, num_hidden_layers=10**9, transformers_weights="evil.bin")
    assert load_classifier(found, "SUSPECT").config.num_hidden_layers == 2


@pytest.mark.parametrize(("content", "depth"), [(1, 0), ([], 1), ({}, 1), ([[], [[1]]], 3), ({"a": [{"b": []}]}, 4)])
def test_depth(content, depth):
    assert not is_deeper(content, depth) and (not depth or is_deeper(content, depth - 1))


def test_links_into_the_blobs_of_the_same_repository_are_taken(tmp_path):
    folder = tmp_path / "models--org--name" / "snapshots" / "abc"
    blobs = tmp_path / "models--org--name" / "blobs"
    other = tmp_path / "models--org--other" / "blobs"
    for place in (folder, blobs, other):
        place.mkdir(parents=True)
    (blobs / "1").write_text("{}")
    (other / "2").write_text("{}")
    os.symlink("../../blobs/1", folder / "config.json")
    check_files(folder, ["*.json"], "SUSPECT")
    assert read_json_object(folder / "config.json", "SUSPECT") == {}
    os.symlink(other / "2", folder / "tokenizer.json")
    with pytest.raises(InputError, match=r"tokenizer\.json that is a link to a place outside its folder"):
        check_files(folder, ["*.json"], "SUSPECT")
    # A folder may be a link itself.
    (folder / "tokenizer.json").unlink()
    os.symlink(folder, tmp_path / "model")
    check_files(tmp_path / "model", ["*.json"], "SUSPECT")


@pytest.mark.parametrize("literal", [False, True], ids=["as transformers writes it", "as JSON of Python"])
def test_infinity_in_a_configuration_hinders_nothing(tmp_path, literal):
    sizes = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_heads": 4,
        "head_dim": 8,
        "state_size": 4,
        "num_hidden_layers": 1,
    }
    for name, seed in (("base", 0), ("suspect", 1)):
        torch.manual_seed(seed)
        Mamba2ForCausalLM(Mamba2Config(**sizes, n_groups=1, chunk_size=8)).save_pretrained(tmp_path / name)
        path = tmp_path / name / "config.json"
        assert '"__float__": "Infinity"' in path.read_text()
        if literal:
            path.write_text(json.dumps(decoded(json.loads(path.read_text()))))
    found = resolve_checkpoint(tmp_path / "suspect", "SUSPECT")
    model = load_generator(found, "SUSPECT")
    assert model.config.time_step_limit[1] == float("inf")
    load_twin(model, tmp_path / "base")
    mix_checkpoints(tmp_path / "suspect", tmp_path / "base", tmp_path / "out", FineMixConfig(0.5))
    assert load_generator(resolve_checkpoint(tmp_path / "out", "SUSPECT"), "SUSPECT").config.time_step_limit[1] > 1e30
