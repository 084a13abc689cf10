"""Weights that are numbers no model should have, or not those that its configuration says."""

import torch
from safetensors.torch import save_file

from .animals import HANDLED, MODEL, REFUSED, animal


KIND = "weights"


@animal(KIND, REFUSED, "bert.embeddings.word_embeddings.weight")
def not_a_number(cage):
    """NaN in one scalar of the word embedding"""
    cage.spoil("word_embeddings.weight", lambda tensor: tensor[-1, -1:].fill_(torch.nan))


@animal(KIND, REFUSED, "classifier.bias", MODEL[:2])
def infinity_in_the_head(cage):
    """infinity in the head, which is not mixed"""
    cage.spoil("classifier.bias", lambda tensor: tensor[:1].fill_(torch.inf))


@animal(KIND, HANDLED, "")
def huge_embedding(cage):
    """an embedding of 1e30, whose square is no float32"""
    cage.spoil("word_embeddings.weight", lambda tensor: tensor[7].fill_(1e30))


@animal(KIND, HANDLED, "")
def largest_numbers(cage):
    """the largest float32 in a whole layer"""
    cage.spoil("query.weight", lambda tensor: tensor.fill_(torch.finfo(torch.float32).max))


@animal(KIND, HANDLED, "")
def smallest_numbers(cage):
    """denormal numbers in a whole layer, which slow processors down"""
    cage.spoil("query.weight", lambda tensor: tensor.fill_(1e-42))


@animal(KIND, HANDLED, "")
def zeros(cage):
    """zero in every scalar"""
    cage.save({name: torch.zeros_like(tensor) for name, tensor in cage.tensors().items()})


@animal(KIND, REFUSED, "lacks")
def missing_layer(cage):
    """a tensor of a layer is missing"""
    tensors = cage.tensors()
    tensors.pop(next(name for name in tensors if name.endswith("query.weight")))
    cage.save(tensors)


@animal(KIND, REFUSED, "with shape (3, 5)", MODEL[:1])
def other_shape(cage):
    """a tensor of another shape than config.json says"""
    tensors = cage.tensors()
    name = next(name for name in tensors if name.endswith("query.weight"))
    cage.save(tensors | {name: torch.zeros(3, 5)})


@animal(KIND, REFUSED, "twice")
def tensor_in_two_shards(cage):
    """a tensor is in two shards, with different values"""
    tensors = cage.tensors()
    name = next(iter(tensors))
    cage.index(dict.fromkeys(tensors, "model-1.safetensors") | {name: "model-2.safetensors"})
    save_file(tensors, cage.path("model-1.safetensors"), metadata={"format": "pt"})
    save_file({name: tensors[name] + 1}, cage.path("model-2.safetensors"), metadata={"format": "pt"})


@animal(KIND, HANDLED, "")
def head_of_other_numbers(cage):
    """a head in float64 beside float32"""
    tensors = cage.tensors()
    cage.save({name: tensor.double() if "classifier" in name else tensor for name, tensor in tensors.items()})


@animal(KIND, REFUSED, "is quantised", MODEL[:1])
def whole_numbers(cage):
    """integers where weights belong"""
    cage.save({name: tensor.to(torch.int32) for name, tensor in cage.tensors().items()})
