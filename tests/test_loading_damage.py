"""Loading: damaged, missing and mismatched files are refused in one line."""

import pytest
from safetensors.torch import load_file, save_file

from hf_finemix.loading import INDEX_FILE, WEIGHTS_FILE

from .checkpoints import change_index, load_whole, refused, save_classifier, save_shards
from .files import change_config


@pytest.fixture
def folder(tmp_path, tiny_bert, tiny_tokenizer):
    """A sequence classifier on disk, with its tokenizer."""
    return save_classifier(tmp_path / "suspect", tiny_bert, tiny_tokenizer)


@pytest.fixture
def sharded(tmp_path, tiny_bert):
    return save_shards(tmp_path / "sharded", tiny_bert)


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
