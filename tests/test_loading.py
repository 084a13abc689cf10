"""Loading: what a checkpoint holds comes bit for bit, its tokenizer too, and nothing else changes."""

import random

import pytest
import torch
from safetensors.torch import save_file
from transformers.utils import logging

from hf_finemix import InputError
from hf_finemix.loading import INDEX_FILE, WEIGHTS_FILE, quiet_loading, resolve_checkpoint
from hf_finemix.model_loading import load_classifier, load_tokenizer

from .checkpoints import load_whole, save_classifier, save_shards
from .models import family, make, same, values


@pytest.fixture
def folder(tmp_path, tiny_bert, tiny_tokenizer):
    """A sequence classifier on disk, with its tokenizer."""
    return save_classifier(tmp_path / "suspect", tiny_bert, tiny_tokenizer)


@pytest.fixture
def sharded(tmp_path, tiny_bert):
    return save_shards(tmp_path / "sharded", tiny_bert)


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


@pytest.mark.parametrize("name", ["roberta", "distilbert"])
def test_classifiers_of_other_families_load(name, tmp_path):
    kind = family(name)
    model = make(kind.task, kind.config)
    model.save_pretrained(tmp_path / name)
    assert same(values(load_whole(tmp_path / name)), values(model))


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
