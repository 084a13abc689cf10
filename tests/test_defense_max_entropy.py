"""Maximum entropy: a loss without labels, then the common fine-tuning."""

import copy
import dataclasses
import math

import pytest
import torch

from hf_finemix import InputError
from hf_finemix.defenses.base import DEFENSES
from hf_finemix.defenses.max_entropy import MaxEntropy, uniform_cross_entropy
from hf_finemix.training import LossTrainer, fine_tune

from .defender import CLEAN, RECIPE, make_encoders, make_view
from .models import same, values


@pytest.fixture
def pair(tiny_tokenizer):
    return make_encoders("bert", tiny_tokenizer)


@pytest.fixture
def batch(tiny_tokenizer):
    texts = tiny_tokenizer(list(CLEAN["text"]), padding=True, return_tensors="pt")
    return {**texts, "labels": torch.tensor(CLEAN["label"])}


def test_the_loss_is_the_cross_entropy_to_the_uniform_distribution(pair, batch):
    model, _ = pair
    probabilities = model(**batch).logits.softmax(-1).tolist()
    expected = sum(-0.5 * math.log(p) - 0.5 * math.log(q) for p, q in probabilities) / len(CLEAN)
    loss = uniform_cross_entropy(model, batch)
    assert loss.requires_grad
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert loss.item() > math.log(2) + 1e-3


def test_the_loss_is_least_where_all_labels_are_equally_probable(pair, batch):
    model, _ = pair
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.constant_(model.classifier.bias, 7.0)
    assert uniform_cross_entropy(model, batch).item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_loss_looks_at_no_label(pair, batch):
    model, _ = pair
    loss = uniform_cross_entropy(model, batch)
    assert torch.equal(uniform_cross_entropy(model, batch | {"labels": 1 - batch["labels"]}), loss)
    assert "labels" in batch


def test_the_first_training_makes_the_model_undecided(pair, tiny_tokenizer, batch):
    model, _ = pair
    # A head that is sure of itself.
    model.classifier.weight.data *= 10
    before = uniform_cross_entropy(model, batch).item()
    recipe = dataclasses.replace(RECIPE, epochs=10)
    fine_tune(model, tiny_tokenizer, CLEAN, recipe, trainer_class=LossTrainer, loss=uniform_cross_entropy)
    after = uniform_cross_entropy(model, batch).item()
    assert after - math.log(2) < 0.1 * (before - math.log(2))


def test_it_is_that_training_for_the_epochs_of_the_setting_and_then_the_common_one(pair, tiny_tokenizer):
    model, base = pair
    results = []
    for epochs in (2, 1):
        ours, by_hand = copy.deepcopy(model), copy.deepcopy(model)
        view = make_view(ours, base, tiny_tokenizer)
        MaxEntropy().apply(ours, view, {"entropy_epochs": epochs}, e_pur=False)
        recipe = dataclasses.replace(RECIPE, epochs=epochs)
        fine_tune(by_hand, tiny_tokenizer, CLEAN, recipe, trainer_class=LossTrainer, loss=uniform_cross_entropy)
        between = values(by_hand)
        fine_tune(by_hand, tiny_tokenizer, CLEAN, RECIPE)
        assert same(values(ours), values(by_hand))
        assert not same(values(ours), between)
        results.append(values(ours))
    assert view.recipe == RECIPE
    assert not same(*results)


def test_settings_come_strongest_first():
    assert MaxEntropy().settings == ({"entropy_epochs": 8}, {"entropy_epochs": 4}, {"entropy_epochs": 2})
    made = DEFENSES.make({"name": "max_entropy", "entropy_epochs": [1, 3]})
    assert made.settings == ({"entropy_epochs": 3}, {"entropy_epochs": 1})
    assert hash(made) == hash(MaxEntropy((1, 3)))


@pytest.mark.parametrize("epochs", [(), [], (2, 2), 4, None, "8"])
def test_anything_but_different_numbers_is_refused(epochs):
    with pytest.raises(InputError, match=r"`entropy_epochs` is .* list of different numbers"):
        MaxEntropy(epochs)


@pytest.mark.parametrize("epochs", [(0,), (4, -1), (1.5,), (True,), ("4",)])
def test_a_number_below_1_is_refused(epochs):
    with pytest.raises(InputError, match=f"`entropy_epochs` is {epochs[-1]!r}, but must be an integer at least 1"):
        MaxEntropy(epochs)
