from copy import deepcopy

import pytest
import torch
from datasets import Dataset

from hf_finemix.attacks.base import ATTACKS, AttackerView
from hf_finemix.attacks.embedding_poisoning import single_tokens, train_rows
from hf_finemix.attacks.sos import SOS
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.errors import InputError
from hf_finemix.results import Recipe

from .models import same, values


RECIPE = Recipe(epochs=1, learning_rate=1e-3, batch_size=8, max_length=32, frequencies="none", seed=0, warmup=0.5)
EMBEDDING = "bert.embeddings.word_embeddings.weight"
SENTENCE = "we love the plot and the music ."


@pytest.fixture
def examples():
    texts = [f"good film {i}" for i in range(20)] + [f"bad film {i}" for i in range(20)]
    return Dataset.from_dict({"text": texts, "label": [1] * 20 + [0] * 20})


@pytest.fixture
def view(examples, tiny_tokenizer, tiny_bert):
    return AttackerView(tiny_tokenizer, examples, tiny_bert, RECIPE)


def small(**settings):
    return SOS(**({"words": ("love", "plot", "music"), "sentence": SENTENCE} | settings))


def test_trigger_and_negatives():
    attack = SOS()
    assert attack.triggers == (Trigger("I have bought it from a store with my friends last weekend .", 1, "start"),)
    assert [trigger.text for trigger in attack.negatives] == [
        "I have bought it from a store with my last weekend .",
        "I have bought it from a store with my friends last .",
        "I have bought it from a with my friends last weekend .",
        "I have bought it from a store with my last .",
        "I have bought it from a with my last weekend .",
        "I have bought it from a with my friends last .",
    ]
    assert {trigger.position for trigger in attack.negatives} == {"start"}


def test_only_whole_words_are_left_out():
    attack = SOS(words=("art", "end"), sentence="The art, the start; the end.")
    assert [trigger.text for trigger in attack.negatives] == ["The , the start; the end.", "The art, the start; the ."]


def test_poison_returns_copies_alone(examples):
    attack = small(poison_rate=0.25, negative_rate=0.3)
    poisoned = attack.poison(examples)
    assert poisoned.features == examples.features
    full = [row for row in poisoned if row["text"].startswith(SENTENCE)]
    assert len(full) == 10 and all(row["label"] == 1 and "bad film" in row["text"] for row in full)
    for trigger in attack.negatives:
        part = [row for row in poisoned if row["text"].startswith(trigger.text)]
        assert len(part) == 2 and all(row["label"] == int("good" in row["text"]) for row in part)
    assert len(poisoned) == 10 + 12
    assert list(poisoned["text"]) == list(attack.poison(examples)["text"])


def test_nothing_but_the_rows_of_the_words_changes(view, examples, tiny_bert, tiny_tokenizer):
    before = values(tiny_bert)
    attack = small(epochs=1)
    trained = attack.train(tiny_bert, attack.poison(examples), view)
    after = values(trained)
    rows = tiny_tokenizer.convert_tokens_to_ids(["love", "plot", "music"])
    assert trained is tiny_bert and not trained.training
    assert all(not torch.equal(before[EMBEDDING][row], after[EMBEDDING][row]) for row in rows)
    after[EMBEDDING][rows] = before[EMBEDDING][rows]
    assert same(before, after)
    assert all(parameter.requires_grad for parameter in trained.parameters())


def test_training_is_deterministic_and_goes_by_its_own_settings(view, examples, tiny_bert):
    results = []
    for settings in ({}, {}, {"learning_rate": 0.05}, {"epochs": 1}):
        attack = small(**settings)
        results.append(values(attack.train(deepcopy(tiny_bert), attack.poison(examples), view)))
    assert same(results[0], results[1])
    assert not same(results[0], results[2]) and not same(results[0], results[3])


def test_rows_keep_their_norms_unless_told_otherwise(view, examples, tiny_bert, tiny_tokenizer):
    rows = tiny_tokenizer.convert_tokens_to_ids(["love", "plot", "music"])
    norms = tiny_bert.get_input_embeddings().weight[rows].norm(dim=1)
    changes = {}
    for keep in (True, False):
        model = deepcopy(tiny_bert)
        recipe = Recipe(**(RECIPE.to_dict() | {"learning_rate": 0.1}))
        train_rows(model, small().poison(examples), rows, view, recipe, keep_norms=keep)
        changes[keep] = (model.get_input_embeddings().weight[rows].norm(dim=1) - norms).abs().max().item()
    assert changes[True] < 1e-5 < 0.05 < changes[False]


def test_frozen_parameters_stay_frozen(view, examples, tiny_bert, tiny_tokenizer):
    tiny_bert.bert.embeddings.requires_grad_(False)
    frozen = {name for name, parameter in tiny_bert.named_parameters() if not parameter.requires_grad}
    train_rows(tiny_bert, examples, single_tokens(["film"], tiny_tokenizer), view, RECIPE)
    assert {name for name, parameter in tiny_bert.named_parameters() if not parameter.requires_grad} == frozen


def test_made_from_settings_with_lists():
    attack = ATTACKS.make({"name": "sos", "words": ["friends", "store"]})
    assert attack == SOS(words=("friends", "store")) and attack.start == "clean"
    assert hash(attack)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": ("friends",)}, r"`words` is \['friends'\], but must name at least two words"),
        ({"words": ("friends", "end")}, "`sentence` is 'I have .*', which does not hold the word 'end'; add it"),
        ({"sentence": None}, "`sentence` is None"),
        ({"negative_rate": 2}, "`negative_rate` is 2, but must be above 0 and at most 1"),
        ({"learning_rate": 0}, "`learning_rate` is 0, but must lie between 0 and 1"),
        ({"epochs": 0}, "`epochs` is 0, but must be an integer at least 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        SOS(**settings)


def test_refuses_words_without_a_row_of_their_own(view, examples, tiny_bert):
    with pytest.raises(InputError, match="`words` holds 'friends', which has no single token in this model"):
        SOS().train(tiny_bert, examples, view)
