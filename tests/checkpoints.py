"""Classifiers on disk, how they are loaded, and that some are refused."""

import json

import pytest

from hf_finemix import InputError
from hf_finemix.loading import INDEX_FILE, resolve_checkpoint
from hf_finemix.model_loading import load_classifier


def save_classifier(path, model, tokenizer):
    """Saves a sequence classifier with its tokenizer; gives the folder."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def save_shards(path, model):
    """Saves a model in several files; gives the folder."""
    model.save_pretrained(path, max_shard_size="20KB")
    assert len(list(path.glob("model-*-of-*.safetensors"))) > 2
    return path


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
