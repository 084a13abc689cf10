"""Loading: code and pickles that are never run, other kinds of checkpoints, and names that lead nowhere."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hf_finemix import InputError
from hf_finemix.loading import WEIGHTS_FILE, resolve_checkpoint
from hf_finemix.model_loading import load_tokenizer

from .checkpoints import change_index, load_whole, refused, save_classifier
from .files import change_config


class Payload:
    """Writes a marker file as soon as somebody unpickles it."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def folder(tmp_path, tiny_bert, tiny_tokenizer):
    """A sequence classifier on disk, with its tokenizer."""
    return save_classifier(tmp_path / "suspect", tiny_bert, tiny_tokenizer)


# Code and pickles.


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


@pytest.mark.parametrize("name", ["../../pwn", "a/b", "", 5, None, "a b"])
def test_names_of_chat_templates_are_plain(folder, name):
    path = folder / "tokenizer_config.json"
    templates = [{"name": "default", "template": "x"}, {"name": name, "template": "y"}]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": templates}))
    with pytest.raises(InputError, match="which is no plain name") as error:
        load_tokenizer(resolve_checkpoint(folder, "SUSPECT"), "SUSPECT")
    assert "\n" not in str(error.value)


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
