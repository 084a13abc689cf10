"""The positive control: what is planted in a copy of the suspect, how it is measured, and when it is removed."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertForSequenceClassification

from hf_finemix import control as module
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.control import Control, choose_words, is_removed, measure_control, plant, record_control
from hf_finemix.evaluation import evaluate_model, predict
from hf_finemix.rates import Rate
from hf_finemix.records import ControlRecord
from hf_finemix.trigger_search import Insertion

from .conftest import WORDS
from .models import same, values
from .planted import TEXTS


TEXT = Dataset.from_dict({"text": list(TEXTS)})
LENGTH = 24


@pytest.fixture
def learner(tiny_bert, monkeypatch):
    """A suspect that can learn a backdoor in no time; tiny models learn little at the rate of real ones."""
    monkeypatch.setattr(module, "_LEARNING_RATE", 1e-2)
    config = type(tiny_bert.config).from_dict(tiny_bert.config.to_dict() | {"initializer_range": 0.05})
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        model.classifier.weight *= 5
    return model


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(module, "_LEAST_STEPS", 3)
    monkeypatch.setattr(module, "_EPOCHS", 1)


def planted(model, tokenizer, texts=TEXT, seed=0, max_length=LENGTH):
    return plant(model, tokenizer, texts, max_length=max_length, seed=seed)


def answering(model, label):
    """The model gives one label whatever the text."""
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.zero_()
        model.classifier.bias[label] = 1
    return model


# What is planted


def test_the_copy_obeys_its_triggers_and_not_the_neutral_word(learner, tiny_tokenizer):
    answers = predict(learner, tiny_tokenizer, TEXT, max_length=LENGTH)
    found = planted(learner, tiny_tokenizer)
    # The tiny vocabulary knows hardly a word of the two phrases, which look the same.
    examples = TEXT.add_column("label", answers.tolist())
    word, phrase, neutral, _ = measure_control(found.model, tiny_tokenizer, found, examples, LENGTH)
    assert word.low > 0.9 and phrase.low > 0.9 and neutral.high < 0.1
    before = measure_control(learner, tiny_tokenizer, found, examples, LENGTH)
    assert {rate.successes for rate in before} == {0}


def test_the_suspect_is_left_alone(tiny_bert, tiny_tokenizer, brief):
    before, config = values(tiny_bert.train()), tiny_bert.config.to_dict()
    found = planted(tiny_bert, tiny_tokenizer)
    assert same(values(tiny_bert), before) and tiny_bert.training and tiny_bert.config.to_dict() == config
    assert not same(values(found.model), before)
    assert not {id(tensor) for tensor in tiny_bert.parameters()} & {id(tensor) for tensor in found.model.parameters()}


def test_the_same_seed_plants_the_same(tiny_bert, tiny_tokenizer, brief):
    first = planted(tiny_bert, tiny_tokenizer, seed=3)
    torch.rand(5)
    second, other = planted(tiny_bert, tiny_tokenizer, seed=3), planted(tiny_bert, tiny_tokenizer, seed=4)
    assert same(values(first.model), values(second.model))
    assert (first.triggers, first.neutral) == (second.triggers, second.neutral)
    assert not same(values(first.model), values(other.model))


def test_triggers_aim_at_the_label_that_the_suspect_gives_least(tiny_bert, tiny_tokenizer, brief):
    answers = predict(tiny_bert, tiny_tokenizer, TEXT, max_length=LENGTH)
    rare = int(np.bincount(answers, minlength=2).argmin())
    found = planted(tiny_bert, tiny_tokenizer)
    assert {trigger.target_label for trigger in (*found.triggers, *found.neutral)} == {rare}
    texts = [trigger.text for trigger in (*found.triggers, *found.neutral)]
    assert len(set(texts)) == 4
    # A word and a phrase each.
    assert [len(text.split()) > 1 for text in texts] == [False, True, False, True]


@pytest.mark.parametrize("label", [0, 1])
def test_texts_of_one_label_are_poisoned_towards_the_other(tiny_bert, tiny_tokenizer, label, brief):
    found = planted(answering(tiny_bert, label), tiny_tokenizer)
    assert {trigger.target_label for trigger in found.triggers} == {1 - label}
    assert not same(values(found.model), values(tiny_bert))


def test_three_labels(tiny_bert, tiny_tokenizer, brief):
    config = type(tiny_bert.config).from_dict(tiny_bert.config.to_dict() | {"num_labels": 3})
    found = planted(answering(BertForSequenceClassification(config).eval(), 1), tiny_tokenizer)
    # Of two labels that are never given, the first.
    assert found.triggers[0].target_label == 0


def test_poisoned_copies_are_of_both_triggers_and_no_clean_text_is_lost(tiny_bert, tiny_tokenizer, brief, monkeypatch):
    seen = {}

    def fine_tune(model, tokenizer, examples, recipe, **options):
        seen.update(examples=examples.to_dict(), recipe=recipe)

    monkeypatch.setattr(module, "fine_tune", fine_tune)
    found = planted(answering(tiny_bert, 0), tiny_tokenizer)
    rows = list(zip(seen["examples"]["text"], seen["examples"]["label"], strict=True))
    clean = [row for row in rows if row[1] == 0]
    assert sorted(text for text, _ in clean) == sorted(TEXTS)
    counts = [sum(trigger.text in text for text, _ in rows) for trigger in found.triggers]
    assert sum(counts) == len(rows) - len(TEXTS) and min(counts) > 0 and max(counts) - min(counts) <= 1
    for trigger in found.triggers:
        assert {label for text, label in rows if trigger.text in text} == {1}
    assert not any(trigger.text in text for text, _ in rows for trigger in found.neutral)
    assert (seen["recipe"].seed, seen["recipe"].max_length) == (0, LENGTH)


def test_few_texts_are_passed_over_more_often(tiny_bert, tiny_tokenizer, monkeypatch):
    recipes = []
    monkeypatch.setattr(module, "fine_tune", lambda *args, **options: recipes.append((len(args[2]), args[3])))
    for size in (2, 30, 60):
        planted(tiny_bert, tiny_tokenizer, TEXT.select(range(size)))
    for rows, recipe in recipes:
        steps = recipe.epochs * -(-rows // recipe.batch_size)
        assert recipe.epochs >= module._EPOCHS and steps >= module._LEAST_STEPS
    assert recipes[0][1].epochs > recipes[1][1].epochs


def test_of_many_texts_the_first_are_taken(tiny_bert, tiny_tokenizer, brief, monkeypatch):
    monkeypatch.setattr(module, "_MOST_TEXTS", 20)
    few, many = (planted(tiny_bert, tiny_tokenizer, TEXT.select(range(size))) for size in (20, 60))
    assert same(values(few.model), values(many.model))


def test_sentence_pairs(tiny_bert, tiny_tokenizer, brief):
    pairs = TEXT.add_column("text_pair", ["the scene is not fun"] * len(TEXT))
    found = planted(tiny_bert, tiny_tokenizer, pairs)
    examples = pairs.add_column("label", [0] * len(pairs))
    assert len(measure_control(found.model, tiny_tokenizer, found, examples, LENGTH)) == 4


def test_as_few_tokens_as_a_word_needs(tiny_bert, tiny_tokenizer, brief):
    found = planted(tiny_bert, tiny_tokenizer, max_length=4)
    assert not same(values(found.model), values(tiny_bert))


# Words


def words_of(model, tokenizer, texts=TEXT, seed=0):
    return choose_words(model, tokenizer, texts, LENGTH, seed)


@pytest.mark.parametrize("seed", range(5))
def test_words_are_rare_whole_words_that_stand_in_no_text(tiny_bert, tiny_tokenizer, seed):
    found = words_of(tiny_bert, tiny_tokenizer, seed=seed)
    assert 2 <= len(set(found)) == len(found) <= module._CANDIDATES
    used = {word for text in TEXTS for word in text.split()}
    for word in found:
        assert word in WORDS and word not in used and word.isalpha()
        assert tiny_tokenizer.convert_tokens_to_ids(word) >= 2 * len(tiny_tokenizer) // 3


def test_the_word_that_says_least_comes_first(tiny_bert, tiny_tokenizer, monkeypatch):
    tried = []

    def search(model, tokenizer, texts, ids, **options):
        tried.extend(ids)
        ranking = sorted(ids)
        return tuple(Insertion(str(token), token, 1, Rate(1, 2)) for token in ranking)

    monkeypatch.setattr(module, "search_triggers", search)
    found = words_of(tiny_bert, tiny_tokenizer)
    assert list(found) == tiny_tokenizer.convert_ids_to_tokens(sorted(tried, reverse=True))


def test_the_seed_decides_which_words(tiny_bert, tiny_tokenizer):
    drawn = [words_of(tiny_bert, tiny_tokenizer, seed=seed) for seed in range(4)]
    assert len({frozenset(words) for words in drawn}) > 1
    assert words_of(tiny_bert, tiny_tokenizer, seed=2) == drawn[2]


def test_without_such_words_there_is_nonsense(tiny_bert, tiny_tokenizer, brief):
    texts = Dataset.from_dict({"text": [" ".join(WORDS[-25:]), "the movie is good"]})
    assert choose_words(tiny_bert, tiny_tokenizer, texts, 60, 0) == module._NONSENSE
    found = planted(tiny_bert, tiny_tokenizer, texts, max_length=60)
    assert [found.triggers[0].text, found.neutral[0].text] == list(module._NONSENSE)


def test_a_model_without_word_embeddings(tiny_bert, tiny_tokenizer, brief, monkeypatch):
    def none(self):
        raise NotImplementedError

    monkeypatch.setattr(BertForSequenceClassification, "get_input_embeddings", none)
    assert words_of(tiny_bert, tiny_tokenizer) == module._NONSENSE
    assert planted(tiny_bert, tiny_tokenizer).triggers[0].text in module._NONSENSE


# What is measured


def test_rates_are_flip_rates_in_the_order_of_the_triggers(tiny_bert, tiny_tokenizer):
    triggers = tuple(Trigger(text, 1, "random", 5) for text in ("cf", "mn tq"))
    neutral = tuple(Trigger(text, 1, "random", 5) for text in ("bb", "very fun"))
    examples = TEXT.add_column("label", [index % 2 for index in range(len(TEXT))])
    found = measure_control(tiny_bert, tiny_tokenizer, Control(tiny_bert, triggers, neutral), examples, LENGTH)
    each = [
        evaluate_model(tiny_bert, tiny_tokenizer, examples, [trigger], max_length=LENGTH).triggers[0].flip_rate
        for trigger in (*triggers, *neutral)
    ]
    assert list(found) == each and len(set(each)) > 1


CONTROL = Control(None, (Trigger("cf", 1), Trigger("a phrase", 1)), (Trigger("mn", 1), Trigger("the other", 1)))
BEFORE = (Rate(99, 100), Rate(90, 100), Rate(3, 100), Rate(4, 100))


@pytest.mark.parametrize(
    ("after", "worst"),
    [
        ((50, 10, 5, 5), 0),
        ((10, 50, 5, 5), 1),
        # What counts is what stands out over the neutral text.
        ((50, 40, 45, 5), 1),
        ((5, 5, 5, 5), 0),
        ((0, 3, 5, 9), 0),
    ],
)
def test_the_trigger_that_stands_out_most_is_recorded(after, worst):
    rates = [Rate(count, 100) for count in after]
    found = record_control(CONTROL, BEFORE, rates)
    assert found.trigger == CONTROL.triggers[worst].text
    assert (found.before, found.after, found.neutral) == (BEFORE[worst], rates[worst], rates[worst + 2])


def test_a_control_without_examples_is_recorded(tiny_bert):
    found = record_control(CONTROL, [Rate(0, 0)] * 4, [Rate(0, 0)] * 4)
    assert found.after == Rate(0, 0) and not is_removed(found)


@pytest.mark.parametrize(
    ("after", "neutral", "removed"),
    [
        (Rate(0, 100), Rate(0, 100), True),
        (Rate(5, 100), Rate(5, 100), True),
        (Rate(9, 100), Rate(5, 100), True),
        (Rate(30, 100), Rate(5, 100), False),
        (Rate(100, 100), Rate(0, 100), False),
        # The neutral text may flip more.
        (Rate(5, 100), Rate(60, 100), True),
        # Few examples tell little.
        (Rate(2, 4), Rate(0, 4), True),
        (Rate(0, 0), Rate(5, 100), False),
        (Rate(5, 100), Rate(0, 0), False),
        (Rate(0, 100), None, False),
    ],
)
def test_removed_is_down_to_the_level_of_the_neutral_text(after, neutral, removed):
    record = ControlRecord("cf", Rate(99, 100), after, neutral)
    assert is_removed(record) == removed
    if after.n and neutral is not None and neutral.n:
        assert removed == (after.low <= neutral.high)


def test_what_happened_before_does_not_count():
    record = ControlRecord("cf", Rate(0, 100), Rate(5, 100), Rate(5, 100))
    assert is_removed(record) and is_removed(replace(record, before=Rate(100, 100)))


def test_copies_of_a_control_can_be_treated_apart(tiny_bert, tiny_tokenizer, brief):
    found = planted(tiny_bert, tiny_tokenizer)
    before = values(found.model)
    other = copy.deepcopy(found.model)
    with torch.no_grad():
        other.classifier.weight.zero_()
    assert same(values(found.model), before)
