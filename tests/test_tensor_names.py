"""Names of tensors in checkpoints: which is the word embedding, and which belong together."""

import pytest

from hf_finemix.errors import InputError
from hf_finemix.tensor_names import (
    WordEmbedding,
    find_embedding,
    is_buffer,
    may_be_absent,
    modern_name,
    pair_names,
    vocabulary_size,
)


ROWS = (50, 4)
SOURCE = "a/suspect"


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("bert.embeddings.word_embeddings.weight", "bert."),
        ("embeddings.word_embeddings.weight", ""),
        ("distilbert.embeddings.word_embeddings.weight", "distilbert."),
        ("model.embed_tokens.weight", "model."),
        ("embed_tokens.weight", ""),
        ("model.decoder.embed_tokens.weight", "model."),
        ("transformer.wte.weight", "transformer."),
        ("wte.weight", ""),
        ("transformer.shared.weight", "transformer."),
        ("shared.weight", ""),
        ("transformer.word_embedding.weight", "transformer."),
        ("gpt_neox.embed_in.weight", "gpt_neox."),
        ("model.embeddings.tok_embeddings.weight", "model."),
        ("backbone.embeddings.weight", "backbone."),
        ("model.language_model.embed_tokens.weight", "model.language_model."),
    ],
)
def test_the_word_embedding_is_found_by_its_name(name, prefix):
    others = {"bert.embeddings.position_embeddings.weight": ROWS, "transformer.wpe.weight": ROWS, "classifier": (50,)}
    assert find_embedding({**others, name: ROWS}, 50) == WordEmbedding(name, prefix)


def test_the_vocabulary_tells_embeddings_apart():
    shapes = {"image.embeddings.weight": (10, 4), "text.embeddings.weight": ROWS}
    assert find_embedding(shapes, 50).name == "text.embeddings.weight"
    assert find_embedding(shapes, 10).name == "image.embeddings.weight"
    # A vocabulary of another size than stated is still one.
    assert find_embedding({"wte.weight": (51, 4)}, 50).name == "wte.weight"


def test_of_a_shared_embedding_and_its_copies_the_shared_one_counts():
    shapes = dict.fromkeys(("decoder.embed_tokens.weight", "encoder.embed_tokens.weight", "shared.weight"), ROWS)
    assert find_embedding(shapes, 50) == WordEmbedding("shared.weight", "")
    del shapes["shared.weight"]
    assert find_embedding(shapes, 50) == WordEmbedding("decoder.embed_tokens.weight", "")


@pytest.mark.parametrize("shapes", [{}, {"linear.weight": ROWS}, {"wte.weight": (50,)}, {"wte.weight": (0, 4)}])
def test_without_such_a_matrix_there_is_none(shapes):
    assert find_embedding(shapes, 50) is None


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"vocab_size": 7}, 7),
        ({"text_config": {"vocab_size": 8}}, 8),
        ({}, None),
        ({"vocab_size": "7"}, None),
        ({"vocab_size": True, "text_config": 3}, None),
    ],
)
def test_the_size_of_the_vocabulary_is_read_from_any_configuration(config, size):
    assert vocabulary_size(config) == size


def test_legacy_names_become_those_of_today():
    assert modern_name("bert.embeddings.LayerNorm.gamma") == "bert.embeddings.LayerNorm.weight"
    assert modern_name("bert.embeddings.LayerNorm.beta") == "bert.embeddings.LayerNorm.bias"
    assert modern_name("layer.gamma") == "layer.gamma"


def test_what_models_compute_is_no_parameter():
    assert is_buffer("h.0.attn.bias", (1, 1, 8, 8)) and is_buffer("h.0.attn.masked_bias", ())
    assert is_buffer("model.layers.0.self_attn.rotary_emb.inv_freq", (4,))
    assert not is_buffer("blocks.0.attn.bias", (8,)) and not is_buffer("h.0.attn.c_attn.bias", (8,))


# Pairs.

SUSPECT = {
    "bert.emb.word_embeddings.weight": ROWS,
    "bert.enc.0.w": (4, 4),
    "bert.enc.1.w": (4, 4),
    "cls.weight": (2, 4),
}
BARE = {name.removeprefix("bert."): shape for name, shape in SUSPECT.items() if name.startswith("bert.")}


def pair(suspect, pretrained, own="bert.", base="bert."):
    name = "emb.word_embeddings.weight"
    return pair_names(suspect, pretrained, (WordEmbedding(own + name, own), WordEmbedding(base + name, base)), SOURCE)


def test_a_prefix_on_one_side_is_seen_through():
    counterparts, absent = pair(SUSPECT, BARE, base="")
    assert counterparts == {name: name.removeprefix("bert.") for name in SUSPECT if name != "cls.weight"}
    assert absent == {"cls.weight": "not in the pretrained checkpoint"}
    counterparts, absent = pair(BARE, SUSPECT, own="")
    assert counterparts == {name: f"bert.{name}" for name in BARE} and not absent


def test_a_head_is_paired_only_with_one_of_the_same_name_and_shape():
    assert pair(SUSPECT, SUSPECT)[0]["cls.weight"] == "cls.weight"
    assert pair(SUSPECT, SUSPECT | {"cls.weight": (3, 4)})[1] == {
        "cls.weight": "another shape in the pretrained checkpoint"
    }
    # In a bare model, a tensor of that name is no head.
    assert "cls.weight" in pair(SUSPECT, BARE | {"cls.weight": (2, 4)}, base="")[1]


def test_a_pooler_may_be_missing_on_either_side():
    pooler = {"bert.pooler.dense.weight": (4, 4)}
    assert pair(SUSPECT | pooler, SUSPECT)[1] == {"bert.pooler.dense.weight": "not in the pretrained checkpoint"}
    assert pair(SUSPECT, SUSPECT | pooler)[1] == {}


def test_embeddings_of_different_names_belong_together():
    both = WordEmbedding("wte.weight", ""), WordEmbedding("shared.weight", "")
    assert pair_names({"wte.weight": ROWS}, {"shared.weight": ROWS}, both, SOURCE)[0] == {
        "wte.weight": "shared.weight"
    }


def test_an_output_layer_that_the_base_alone_stores_is_no_gap():
    assert pair(SUSPECT, BARE | {"enc.copy.weight": ROWS}, base="")[0].keys() == SUSPECT.keys() - {"cls.weight"}


@pytest.mark.parametrize(
    ("suspect", "words"),
    [
        ({"bert.enc.2.w": (4, 4)}, "not in the pretrained checkpoint"),
        ({"bert.enc.1.w": (4, 5)}, "another shape in the pretrained checkpoint"),
    ],
)
def test_gaps_of_the_base_model_are_told_from_those_of_a_head(suspect, words):
    absent = pair(SUSPECT | suspect, SUSPECT)[1]
    assert absent == dict.fromkeys(suspect, words) and not any(may_be_absent(name, "bert.") for name in suspect)
    assert may_be_absent("classifier.weight", "bert.") and may_be_absent("bert.pooler.dense.weight", "bert.")


def test_a_suspect_that_lacks_a_part_of_itself_is_refused():
    with pytest.raises(InputError, match=r"SUSPECT 'a/suspect' lacks weights, among them bert\.enc\.2\.w"):
        pair(SUSPECT, SUSPECT | {"bert.enc.2.w": (4, 4)})
