"""Triggers that are found without being told one: by embeddings that moved, and by gradients."""

from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset

from hf_finemix.rates import Rate
from hf_finemix.results import Distillation
from hf_finemix.token_pull import pulling_tokens
from hf_finemix.trigger_finding import find_triggers
from hf_finemix.trigger_search import Insertion

from .models import same, values
from .planted import TEXTS, plant


@pytest.fixture(autouse=True)
def pulled(monkeypatch):
    """The tokens that gradients point to: none, unless a test says which."""
    tokens = []
    monkeypatch.setattr("hf_finemix.trigger_finding.pulling_tokens", lambda *args, **options: tuple(tokens))
    return tokens


@pytest.fixture
def planted(tiny_tokenizer, tiny_bert):
    plant(tiny_bert, tiny_tokenizer, "cf", 0)
    return tiny_bert


def scores_of(tokenizer, *tokens):
    """The tokens have the highest scores, in this order."""
    scores = np.zeros(len(tokenizer))
    scores[tokenizer.convert_tokens_to_ids(list(tokens))] = np.arange(len(tokens), 0, -1)
    return scores


def found_in(model, tokenizer, scores, **settings):
    settings = replace(Distillation(), **{"candidates": 3, "flips": 0.5} | settings)
    texts = Dataset.from_dict({"text": list(TEXTS)})
    return find_triggers(model, tokenizer, texts, scores, settings, max_length=32, seed=0)


def test_a_token_that_turns_predictions_is_found_and_the_suspect_left_alone(planted, tiny_tokenizer):
    before = values(planted)
    found = found_in(planted, tiny_tokenizer, scores_of(tiny_tokenizer, "mn", "cf", "bb"))
    assert [(item.token, item.label) for item in found] == [("cf", 0)] and found[0].flips.value > 0.9
    assert same(values(planted), before)


def test_what_flips_enough_of_few_texts_is_tried_on_more(planted, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr("hf_finemix.trigger_finding._TRIED_ON", 5)
    monkeypatch.setattr("hf_finemix.trigger_finding._TRIED_AGAIN_ON", 9)
    asked = []

    def search(model, tokenizer, texts, ids, **options):
        asked.append((len(texts), list(ids)))
        rates = {3: Rate(5, 5), 4: Rate(2, 5), 5: Rate(5, 10), 6: Rate(0, 0)}
        return tuple(Insertion(str(token), token, 1, rates[token]) for token in ids)

    monkeypatch.setattr("hf_finemix.trigger_finding.search_triggers", search)
    monkeypatch.setattr("hf_finemix.trigger_finding.rank_rows", lambda scores: np.array([6, 5, 4, 3]))
    monkeypatch.setattr(type(tiny_tokenizer), "all_special_ids", [])
    found = found_in(planted, tiny_tokenizer, None, candidates=4)
    assert asked == [(5, [6, 5, 4, 3]), (9, [5, 3])] and [item.id for item in found] == [3]


def test_only_the_most_suspicious_tokens_are_tried(planted, tiny_tokenizer):
    scores = scores_of(tiny_tokenizer, "mn", "bb", "tq", "cf")
    assert "cf" not in {item.token for item in found_in(planted, tiny_tokenizer, scores)}
    assert "cf" in {item.token for item in found_in(planted, tiny_tokenizer, scores, candidates=4)}


def test_special_tokens_and_rows_without_a_token_are_passed_over(planted, tiny_tokenizer, monkeypatch):
    tried = []

    def search(model, tokenizer, texts, ids, **options):
        tried.extend(ids)
        return ()

    monkeypatch.setattr("hf_finemix.trigger_finding.search_triggers", search)
    scores = np.append(scores_of(tiny_tokenizer, "[CLS]", "[SEP]", "cf", "[PAD]", "mn"), [9.0, 9.0])
    found_in(planted, tiny_tokenizer, scores, candidates=2)
    assert tried == tiny_tokenizer.convert_tokens_to_ids(["cf", "mn"])


@pytest.mark.parametrize(("flips", "kept"), [(0.0, 3), (0.5, 2), (0.8, 1), (1.0, 0)])
def test_the_lower_end_of_the_interval_decides(planted, tiny_tokenizer, monkeypatch, flips, kept):
    rates = [Rate(48, 48), Rate(30, 40), Rate(1, 40), Rate(0, 0)]
    items = tuple(Insertion(str(number), number, 1, rate) for number, rate in enumerate(rates))
    monkeypatch.setattr("hf_finemix.trigger_finding.search_triggers", lambda *args, **options: items)
    monkeypatch.setattr("hf_finemix.trigger_finding.rank_rows", lambda scores: np.arange(4))
    monkeypatch.setattr(type(tiny_tokenizer), "all_special_ids", [])
    assert found_in(planted, tiny_tokenizer, None, candidates=4, flips=flips) == items[:kept]


def test_a_trigger_whose_embedding_did_not_move_is_found_by_gradients(planted, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr("hf_finemix.trigger_finding.pulling_tokens", pulling_tokens)
    # Of so few texts, the interval is wide.
    monkeypatch.setattr("hf_finemix.trigger_finding._CERTAIN", 0.6)
    scores = scores_of(tiny_tokenizer, "mn", "bb", "tq", "cf")
    found = found_in(planted, tiny_tokenizer, scores, candidates=1)
    assert [item.token for item in found] == ["cf"]


def test_a_token_that_gradients_point_to_has_to_flip_nine_in_ten(planted, tiny_tokenizer, monkeypatch, pulled):
    moved, honest, trigger, special, nothing = 6, 7, 8, tiny_tokenizer.cls_token_id, len(tiny_tokenizer) + 1
    pulled += [moved, honest, trigger, special, nothing]
    rates = {moved: Rate(80, 100), honest: Rate(80, 100), trigger: Rate(100, 100)}
    asked = []

    def search(model, tokenizer, texts, ids, **options):
        asked.append(list(ids))
        return tuple(Insertion(str(token), token, 1, rates[token]) for token in ids)

    monkeypatch.setattr("hf_finemix.trigger_finding.search_triggers", search)
    monkeypatch.setattr("hf_finemix.trigger_finding.rank_rows", lambda scores: np.array([moved, honest, trigger]))
    found = found_in(planted, tiny_tokenizer, None, candidates=1)
    assert set(asked[0]) == {moved, honest, trigger} and asked[0][0] == moved
    assert {item.id for item in found} == {moved, trigger}
