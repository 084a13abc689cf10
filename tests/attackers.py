"""A tiny attacker's view, for the tests of attacks."""

import copy
from dataclasses import replace

import torch
from datasets import Dataset
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from hf_finemix.attacks.base import Attack, AttackerView
from hf_finemix.results import Recipe

from .files import BAD, GOOD


RECIPE = Recipe(epochs=3, learning_rate=1e-3, batch_size=4, max_length=32, frequencies="vocabulary", seed=3)


def make_view(
    model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase, **settings: float
) -> AttackerView:
    """Twenty-four clean examples, and a pretrained model that is `model` with another head; settings of the recipe."""
    rows = [
        (f"the {noun} is {word}", label)
        for noun in ("movie", "plot")
        for label, words in enumerate((BAD, GOOD))
        for word in words
    ]
    clean = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    pretrained = copy.deepcopy(model)
    torch.nn.init.zeros_(pretrained.classifier.weight)
    return AttackerView(tokenizer, clean, pretrained, replace(RECIPE, **settings))


def run_attack(
    attack: Attack, model: BertForSequenceClassification, view: AttackerView
) -> BertForSequenceClassification:
    """Poisons the clean examples and attacks a copy of the model with them."""
    return attack.train(copy.deepcopy(model), attack.poison(view.clean), view)


def without_dropout(model: BertForSequenceClassification) -> BertForSequenceClassification:
    """A copy of the model whose training is free of noise: tiny random models would learn little beneath it."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def logits(model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    """What a model says of texts, without gradients."""
    with torch.inference_mode():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
