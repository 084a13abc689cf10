"""Lessons of a tiny suspect, for the tests of distillation."""

from dataclasses import replace

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_finemix.distillation import Lessons, prepare_lessons
from hf_finemix.rates import Rate
from hf_finemix.trigger_search import Insertion

from .defender import CLEAN, make_encoders
from .files import SHORT


# Without spliced texts, and with a trigger in each text.
EXACT = replace(SHORT, texts=0)
ALWAYS = replace(EXACT, share=1.0)
TEXT = CLEAN.remove_columns("label")
LENGTH = 16


def make_suspect(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A suspect without dropout, which would be noise here."""
    model = make_encoders("bert", tokenizer)[0]
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def insertion(tokenizer: PreTrainedTokenizerBase, token: str) -> Insertion:
    """A token that was found to work as a trigger."""
    return Insertion(token, tokenizer.convert_tokens_to_ids(token), 1, Rate(9, 10))


def lessons_of(model, tokenizer, texts=TEXT, tokens=(), settings=EXACT, max_length=LENGTH, seed=0) -> Lessons:
    """What the suspect says of texts; some tokens are taken for triggers."""
    triggers = [insertion(tokenizer, token) for token in tokens]
    return prepare_lessons(model, tokenizer, texts, triggers, settings, max_length=max_length, seed=seed)
