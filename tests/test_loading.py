import json
import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from hf_finemix import InputError
from hf_finemix.loading import (
    INDEX_FILE,
    WEIGHTS_FILE,
    load_classifier,
    load_tokenizer,
    quiet_loading,
    resolve_checkpoint,
)

from .models import family, make, same, values


class Payload:
    """Writes a marker file as soon as somebody unpickles it."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def folder(tmp_path, tiny_bert, tiny_tokenizer):
    """A sequence classifier on disk, with its tokenizer."""
    path = tmp_path / "suspect"
    tiny_bert.save_pretrained(path)
    tiny_tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def sharded(tmp_path, tiny_bert):
    path = tmp_path / "sharded"
    tiny_bert.save_pretrained(path, max_shard_size="20KB")
    assert len(list(path.glob("model-*-of-*.safetensors"))) > 2
    return path


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_index(folder, weight_map):
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))


def refused(source, *words, step=resolve_checkpoint):
    """Checks that a source is refused in one line that names the argument and the value."""
    with pytest.raises(InputError) as error:
        load_whole(source) if step is load_whole else step(source, "SUSPECT")
    message = str(error.value)
    assert "\n" not in message
    for word in ("SUSPECT", *words):
        assert word in message, message
    return message


def load_whole(source):
    return load_classifier(resolve_checkpoint(source, "SUSPECT"), "SUSPECT")


# What can be loaded.


def test_a_saved_classifier_loads_bit_for_bit(folder, tiny_bert):
    for source in (folder, str(folder)):
        checkpoint = resolve_checkpoint(source, "SUSPECT")
        model = load_classifier(checkpoint, "SUSPECT")
        assert same(values(model), values(tiny_bert))
        assert not model.training
    assert checkpoint.weights == (folder / WEIGHTS_FILE,)
    assert checkpoint.config["model_type"] == "bert"
    assert (checkpoint.repo_id, checkpoint.commit, checkpoint.label) == (None, None, "suspect")


def test_a_sharded_classifier_loads_bit_for_bit(sharded, tiny_bert):
    checkpoint = resolve_checkpoint(sharded, "SUSPECT")
    assert same(values(load_classifier(checkpoint, "SUSPECT")), values(tiny_bert))
    assert set(checkpoint.weights) == set(sharded.glob("*.safetensors"))
    assert sharded / INDEX_FILE in checkpoint.files


def test_the_dtype_on_disk_is_kept(tmp_path, tiny_bert):
    tiny_bert.bfloat16().save_pretrained(tmp_path / "half")
    assert load_whole(tmp_path / "half").dtype == torch.bfloat16


def test_the_tokenizer_beside_a_model_loads(folder, tiny_tokenizer):
    checkpoint = resolve_checkpoint(folder, "SUSPECT")
    assert checkpoint.has_tokenizer
    assert load_tokenizer(checkpoint, "SUSPECT").get_vocab() == tiny_tokenizer.get_vocab()


def test_the_files_of_a_checkpoint_are_those_that_are_read(folder):
    (folder / "notes.txt").write_text("not mine")
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    names = {path.name for path in resolve_checkpoint(folder, "SUSPECT").files}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_one_file_goes_before_shards_as_in_transformers(sharded, tiny_bert):
    # Otherwise other weights would be checked, and named in the manifest, than are loaded.
    changed = {name: tensor + 1 for name, tensor in tiny_bert.state_dict().items()}
    save_file(changed, sharded / WEIGHTS_FILE, metadata={"format": "pt"})
    checkpoint = resolve_checkpoint(sharded, "SUSPECT")
    assert checkpoint.weights == (sharded / WEIGHTS_FILE,)
    assert sharded / INDEX_FILE not in checkpoint.files
    loaded = load_classifier(checkpoint, "SUSPECT").state_dict()
    assert torch.equal(loaded["classifier.bias"], changed["classifier.bias"])


def test_remote_code_named_in_the_configuration_is_never_run(folder, tmp_path):
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(marker)!r})\nclass Evil: pass\n")
    auto_map = {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"}
    change_config(folder, auto_map=auto_map)
    load_whole(folder)
    change_config(folder, model_type="evil")
    refused(folder, "cannot be loaded", step=load_whole)
    tokenizer_config = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer_config["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    try:
        load_tokenizer(resolve_checkpoint(folder, "SUSPECT"), "SUSPECT")
    except InputError as error:
        assert "\n" not in str(error)
    assert not marker.exists()


# Pickles.


def test_a_suspect_with_pickled_weights_only_is_refused_and_never_unpickled(folder, tmp_path):
    marker = tmp_path / "ran"
    payload = pickle.dumps(Payload(marker))
    pickle.loads(pickle.dumps(Payload(tmp_path / "control")))
    assert (tmp_path / "control").exists()  # the payload works
    (folder / WEIGHTS_FILE).unlink()
    (folder / "pytorch_model.bin").write_bytes(payload)
    (folder / "adapter_model.bin").write_bytes(payload)
    refused(folder, "safetensors", "pytorch_model.bin", step=load_whole)
    # A safetensors file that is a pickle, an index that names a pickle, a configuration that names one.
    (folder / WEIGHTS_FILE).write_bytes(payload)
    refused(folder, "damaged", step=load_whole)
    (folder / WEIGHTS_FILE).unlink()
    change_index(folder, {"a": "pytorch_model.bin"})
    refused(folder, "damaged", step=load_whole)
    change_config(folder, transformers_weights="adapter_model.bin")
    refused(folder, "transformers_weights", step=load_whole)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["other.safetensors", "adapter_model.bin", "../other.safetensors"])
def test_weights_named_in_the_configuration_are_refused(folder, name):
    # They would be loaded in place of the file that was checked.
    change_config(folder, transformers_weights=name)
    refused(folder, "transformers_weights")


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_code_on_the_hub_named_in_the_configuration_is_refused(folder, key):
    change_config(folder, **{key: "org/kernel"})
    refused(folder, "org/kernel")
    change_config(folder, **{key: {"": "org/kernel:function"}})
    refused(folder, "org/kernel")
    change_config(folder, **{key: "sdpa"})
    resolve_checkpoint(folder, "SUSPECT")
    change_config(folder, text_config=[{key: "org/kernel@v1"}])
    refused(folder, "org/kernel@v1")


# Kinds of checkpoints that are no plain model.


def test_an_adapter_folder_is_refused(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    save_file({"a": torch.zeros(1)}, folder / "adapter_model.safetensors")
    refused(folder, str(folder), "adapter", "merge")


def test_an_adapter_inside_a_model_folder_is_refused(folder):
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "adapter")


def test_a_quantised_configuration_is_refused(folder):
    change_config(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    refused(folder, "quantised")


@pytest.mark.parametrize("architectures", [["BertModel"], ["BertForMaskedLM"], [], None, "Bert", 5, [3], {"a": 1}])
def test_another_kind_of_model_is_refused(folder, architectures):
    change_config(folder, architectures=architectures)
    refused(folder, str(folder), "ForSequenceClassification", step=load_whole)


# Damage.


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"PK\x03\x04 not safetensors"])
def test_damaged_weights_are_refused(folder, content):
    (folder / WEIGHTS_FILE).write_bytes(content)
    refused(folder, "damaged", WEIGHTS_FILE)


def test_truncated_weights_are_refused(folder):
    whole = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(whole[: len(whole) // 2])
    refused(folder, "damaged", WEIGHTS_FILE)


def test_a_damaged_shard_is_refused_by_name(sharded):
    shard = min(sharded.glob("model-*.safetensors"))
    shard.write_bytes(b"damaged")
    refused(sharded, "damaged", shard.name)


def test_a_missing_shard_is_refused_by_name(sharded):
    shard = min(sharded.glob("model-*.safetensors"))
    shard.unlink()
    refused(sharded, "lacks", shard.name)


@pytest.mark.parametrize("name", ["../outside.safetensors", "sub/inside.safetensors", "{root}/outside.safetensors"])
def test_an_index_that_points_outside_its_folder_is_refused(folder, tmp_path, name):
    weights = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).unlink()
    (folder / "sub").mkdir()
    for path in (tmp_path / "outside.safetensors", folder / "sub" / "inside.safetensors"):
        path.write_bytes(weights)
    change_index(folder, {"classifier.bias": name.format(root=tmp_path)})
    refused(folder, "outside its folder")


@pytest.mark.parametrize(
    "weight_map",
    [{"a": ""}, {"a": ".."}, {"a": 5}, {"a": ["x"]}, {"a": "x.safetensors", "b": None}, {}, [], "x.safetensors", None],
)
def test_an_index_that_names_no_shards_is_refused(folder, weight_map):
    (folder / WEIGHTS_FILE).unlink()
    change_index(folder, weight_map)
    refused(folder, str(folder))


def test_an_index_that_is_no_json_object_is_refused(folder):
    (folder / WEIGHTS_FILE).unlink()
    for content in ("{", "[]", "null"):
        (folder / INDEX_FILE).write_text(content)
        refused(folder, INDEX_FILE)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_configuration_that_is_no_json_object_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    refused(folder, "config.json")


def test_missing_files_are_refused(folder, tmp_path):
    (folder / WEIGHTS_FILE).unlink()
    refused(folder, "lacks model.safetensors")
    (folder / "config.json").unlink()
    refused(folder, "config.json")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "config.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "x"},
        {"hidden_size": -1},
        {"num_hidden_layers": 2.5},
        {"pad_token_id": 5000},
        {"hidden_act": "nope"},
        {"id2label": 5},
        {"dtype": "nope"},
        {"model_type": "nope"},
        {"model_type": None},
        {"model_type": ["bert"]},
    ],
)
def test_a_configuration_that_makes_no_model_is_refused_in_one_line(folder, changes):
    change_config(folder, **changes)
    refused(folder, str(folder), "cannot be loaded", step=load_whole)


def test_a_classifier_without_its_head_is_refused(folder):
    tensors = {name: tensor for name, tensor in load_file(folder / WEIGHTS_FILE).items() if "classifier" not in name}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    refused(folder, "lacks weights", "classifier.bias", step=load_whole)


def test_weights_of_another_shape_than_configured_are_refused(folder, tiny_bert):
    rows = tiny_bert.config.vocab_size
    change_config(folder, vocab_size=rows + 1)
    message = refused(folder, "word_embeddings.weight", step=load_whole)
    assert f"({rows}, 32)" in message
    assert f"({rows + 1}, 32)" in message


# Names that lead nowhere.


@pytest.mark.parametrize(
    "source",
    [
        "./nowhere",
        "/no/such/folder",
        "a/b/c",
        "~no-such-user/model",
        "",
        " ",
        "./" + "x" * 5000,
        "a\0b",
        "org/../name",
        "@main",
    ],
)
def test_a_path_that_does_not_exist_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(source, "does not exist", "Hub id")


def test_a_path_object_is_never_taken_for_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(Path("org/name"), "does not exist")


def test_a_file_in_place_of_a_folder_is_refused(folder):
    refused(folder / "config.json", "is a file", "folder")


@pytest.mark.parametrize("source", ["org/no-such-model", "org/no-such-model@v1", "no-such-model"])
def test_a_hub_id_that_cannot_be_reached_is_refused(source):
    refused(source, source.partition("@")[0], "Hub")


# Tokenizers.


@pytest.mark.parametrize("left", [(), ("tokenizer_config.json",)])
def test_a_folder_without_a_vocabulary_has_no_tokenizer(folder, left):
    # From tokenizer_config.json alone transformers makes a tokenizer for which every word is unknown.
    for name in {"tokenizer.json", "tokenizer_config.json"} - set(left):
        (folder / name).unlink()
    checkpoint = resolve_checkpoint(folder, "SUSPECT")
    assert not checkpoint.has_tokenizer
    with pytest.raises(InputError, match="no tokenizer files"):
        load_tokenizer(checkpoint, "SUSPECT")


@pytest.mark.parametrize("content", ["{", "{}", '{"version": "1.0", "model": {"type": "Nope"}}', "null"])
def test_a_damaged_tokenizer_is_refused(folder, content):
    (folder / "tokenizer.json").write_text(content)
    checkpoint = resolve_checkpoint(folder, "SUSPECT")
    with pytest.raises(InputError, match="cannot be loaded") as error:
        load_tokenizer(checkpoint, "SUSPECT")
    assert "\n" not in str(error.value)


# Side effects.


def test_loading_leaves_the_random_state_and_the_log_level_alone(folder, capfd):
    logging.set_verbosity_info()
    try:
        before, python = torch.get_rng_state(), random.getstate()
        load_whole(folder)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    assert capfd.readouterr() == ("", "")


def test_a_failure_while_loading_restores_the_log_level_too():
    level = logging.get_verbosity()
    with pytest.raises(RuntimeError), quiet_loading():
        raise RuntimeError
    assert logging.get_verbosity() == level
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("name", ["roberta", "distilbert"])
def test_classifiers_of_other_families_load(name, tmp_path):
    kind = family(name)
    model = make(kind.task, kind.config)
    model.save_pretrained(tmp_path / name)
    assert same(values(load_whole(tmp_path / name)), values(model))
