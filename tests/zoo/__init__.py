"""Hostile models: each kind of file that a stranger may put into a folder, and what becomes of it."""

from . import bombs, code, headers, links, texts, weights
from .animals import ANIMALS, Animal


__all__ = ["ANIMALS", "Animal", "bombs", "code", "headers", "links", "texts", "weights"]
