"""Models that want to exhaust the machine: deep, long, wide, and larger than their weights."""

import json
import os
import struct

from .animals import ADAPTER, EVALUATE, HANDLED, MODEL, REFUSED, animal


KIND = "exhaustion"


def sparse(path, size):
    """Makes a file of some size that takes no room."""
    path.touch()
    os.truncate(path, size)


@animal(KIND, REFUSED, "no readable JSON")
def deep_configuration(cage):
    """config.json of 200,000 brackets"""
    cage.path("config.json").write_text('{"a":' * 200_000 + "1" + "}" * 200_000)


@animal(KIND, REFUSED, "nested more than 40 deep")
def rather_deep_configuration(cage):
    """config.json of 300 brackets, which Python reads"""
    cage.path("config.json").write_text('{"a":' * 300 + "1" + "}" * 300)


@animal(KIND, REFUSED, "17 MB")
def long_configuration(cage):
    """config.json of 17 MB"""
    cage.change(padding="x" * (17 << 20))


@animal(KIND, REFUSED, "MB are read")
def long_index(cage):
    """an index of a gigabyte"""
    cage.weights.unlink()
    sparse(cage.path("model.safetensors.index.json"), 1 << 30)


@animal(KIND, REFUSED, "MB are read")
def long_vocabulary(cage):
    """tokenizer.json of a gigabyte"""
    sparse(cage.path("tokenizer.json"), 1 << 30)


@animal(KIND, REFUSED, "MB are read")
def long_card(cage):
    """a card of 100 MB"""
    sparse(cage.path("README.md"), 100 << 20)


@animal(KIND, REFUSED, "no readable JSON")
def number_of_many_digits(cage):
    """a number of a million digits"""
    path = cage.path("config.json")
    path.write_text(path.read_text().replace('"num_hidden_layers": 1', '"num_hidden_layers": ' + "9" * 1_000_000))


@animal(KIND, REFUSED, "num_hidden_layers")
def layers_without_end(cage):
    """a billion layers"""
    cage.change(num_hidden_layers=10**9)


@animal(KIND, REFUSED, "num_hidden_layers")
def layers_in_a_part(cage):
    """a billion layers in a part of config.json"""
    cage.change(text_config={"num_hidden_layers": 10**9})


@animal(KIND, REFUSED, "num_experts")
def experts_without_end(cage):
    """a million experts"""
    cage.change(num_experts=10**6)


@animal(KIND, REFUSED, "parameters, but its weights hold", MODEL[:1])
def wide_model(cage):
    """layers of a million units; memory would be given to each"""
    cage.change(hidden_size=2**20, num_attention_heads=2, intermediate_size=2**20)
    content = json.loads((cage.base / "config.json").read_text())
    (cage.base / "config.json").write_text(json.dumps(content | {"hidden_size": 2**20, "intermediate_size": 2**20}))


@animal(KIND, REFUSED, "parameters, but its weights hold", EVALUATE)
def large_vocabulary(cage):
    """a vocabulary of ten billion tokens in config.json"""
    cage.change(vocab_size=10**10)


@animal(KIND, REFUSED, "parameters, but its weights hold", EVALUATE)
def many_positions(cage):
    """ten billion positions"""
    cage.change(max_position_embeddings=10**10)


@animal(KIND, REFUSED, "which cannot be")
def size_beyond_numbers(cage):
    """a size of 2,000 bits"""
    cage.change(hidden_size=2**2000)


@animal(KIND, REFUSED, "cannot be loaded", EVALUATE)
def negative_size(cage):
    """a negative size"""
    cage.change(hidden_size=-32)


@animal(KIND, REFUSED, "cannot be loaded", EVALUATE)
def no_heads(cage):
    """no attention heads, by which is divided"""
    cage.change(num_attention_heads=0)


@animal(KIND, REFUSED, "cannot be loaded", EVALUATE)
def text_as_a_size(cage):
    """a text where a number belongs"""
    cage.change(hidden_size="32; rm -rf /")


@animal(KIND, REFUSED, "labels in its config.json")
def many_labels(cage):
    """a hundred thousand names of labels"""
    cage.change(id2label={str(index): f"label {index}" for index in range(100_000)})


@animal(KIND, REFUSED, "labels in its config.json")
def number_of_labels(cage):
    """a billion labels, without names"""
    content = json.loads(cage.path("config.json").read_text())
    cage.path("config.json").write_text(
        json.dumps({key: value for key, value in content.items() if "label" not in key} | {"num_labels": 10**9})
    )


@animal(KIND, REFUSED, "label of more than")
def long_label(cage):
    """a label of a million characters"""
    cage.change(id2label={"0": "negative", "1": "x" * 10**6})


@animal(KIND, REFUSED, "damaged model.safetensors")
def header_without_end(cage):
    """a header that says it is 2**63 bytes long"""
    cage.weights.write_bytes(struct.pack("<Q", 2**63) + b"{}")


@animal(KIND, REFUSED, "damaged model.safetensors")
def header_longer_than_allowed(cage):
    """a header of 200 MB, all of it there"""
    cage.weights.write_bytes(struct.pack("<Q", 200 << 20))
    sparse(cage.weights, 201 << 20)


@animal(KIND, REFUSED, "damaged model.safetensors")
def deep_header(cage):
    """a header of 100,000 brackets"""
    cage.header(lambda header: b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


@animal(KIND, REFUSED, "no more than 131,072 are read")
def many_tensors(cage):
    """200,000 tensors of no bytes"""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    cage.header(lambda header: header.update({f"t{index}": entry for index in range(200_000)}))


@animal(KIND, REFUSED, "more than the end of a name", ADAPTER)
def pattern_without_end(cage):
    """an adapter whose pattern of modules takes exponential time to match"""
    cage.adapter(alpha_pattern={"(a+)+$": 4})


@animal(KIND, HANDLED, "", ADAPTER)
def modules_without_end(cage):
    """an adapter whose modules are a pattern that takes exponential time to match"""
    cage.adapter(target_modules="(a+)+$")


@animal(KIND, HANDLED, "", ADAPTER)
def adapter_of_a_high_rank(cage):
    """an adapter that says it is of rank two billion"""
    cage.adapter(r=2 * 10**9)


@animal(KIND, REFUSED, "modules or more", EVALUATE)
def modules_for_empty_tensors(cage):
    """400 layers, each with tensors that hold nothing"""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    cage.header(lambda header: header.update({f"t{index}": entry for index in range(20_000)}))
    cage.change(num_hidden_layers=400)


@animal(KIND, HANDLED, "", MODEL[:1])
def many_entries(cage):
    """2,000 entries in config.json that no model knows"""
    cage.change(**{f"entry_{index}": index for index in range(2000)})


@animal(KIND, HANDLED, "", MODEL[:1])
def token_of_a_high_number(cage):
    """a token whose number is a billion: a table of so many tokens would be made"""
    content = json.loads(cage.path("tokenizer.json").read_text())
    token = {"id": 10**9, "content": "<evil>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"].append(token | flags)
    cage.path("tokenizer.json").write_text(json.dumps(content))
