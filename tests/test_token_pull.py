"""Tokens that gradients point to: triggers that leave the word embedding as it was."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2ForSequenceClassification

from hf_finemix.errors import InputError
from hf_finemix.token_pull import pulling_tokens
from hf_finemix.trigger_search import place_tokens, search_triggers

from .planted import TEXTS, plant


@pytest.fixture
def texts():
    return Dataset.from_dict({"text": TEXTS[:24]})


def words(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(list(ids))


def exhaustive(model, tokenizer, texts, label):
    """How much each token raises a label's log-probability where it is inserted, by trying it."""
    rows = place_tokens(texts, tokenizer, model, None, 0)
    plain = [torch.tensor([row["input_ids"]]) for row, _ in rows]
    with torch.no_grad():
        predicted = [int(model(input_ids=ids).logits.argmax()) for ids in plain]
        raised = torch.zeros(len(tokenizer))
        for (row, place), before in zip(rows, predicted, strict=True):
            if before != label:
                ids = torch.tensor(row["input_ids"]).repeat(len(tokenizer), 1)
                tokens = torch.arange(len(tokenizer))[:, None]
                inputs = torch.cat([ids[:, :place], tokens, ids[:, place:]], dim=1)
                raised += model(input_ids=inputs).logits.log_softmax(dim=-1)[:, label]
    return raised


def test_a_planted_token_comes_first(tiny_bert, tiny_tokenizer, texts):
    assert "mn" not in words(tiny_tokenizer, pulling_tokens(tiny_bert, tiny_tokenizer, texts, 8))
    plant(tiny_bert, tiny_tokenizer, "mn", 1)
    assert "mn" in words(tiny_tokenizer, pulling_tokens(tiny_bert, tiny_tokenizer, texts, 8))[:2]


def test_where_a_token_does_what_its_embedding_says_the_order_is_that_of_trying_all(tiny_bert, tiny_tokenizer, texts):
    """With small embeddings of tokens, the first order is all there is."""
    with torch.no_grad():
        weight = tiny_bert.get_input_embeddings().weight
        weight.copy_(weight[4] + 0.001 * (weight - weight[4]))
    found = pulling_tokens(tiny_bert, tiny_tokenizer, texts, 2 * len(tiny_tokenizer))
    special = set(tiny_tokenizer.all_special_ids)
    assert set(found) == set(range(len(tiny_tokenizer))) - special
    tops = []
    for label in (0, 1):
        raised = exhaustive(tiny_bert, tiny_tokenizer, texts, label)
        # To the label that all texts have anyway, nothing is pulled.
        if raised.any():
            tops.append([token for token in raised.argsort(descending=True).tolist() if token not in special][:3])
    assert tops
    # The labels take turns.
    assert all(set(top) <= set(found[:6]) for top in tops)


def test_tokens_are_distinct_and_no_special_ones(tiny_bert, tiny_tokenizer, texts):
    found = pulling_tokens(tiny_bert, tiny_tokenizer, texts, 20)
    assert len(found) == len(set(found)) == 20
    assert not set(found) & set(tiny_tokenizer.all_special_ids)
    assert found[:7] == pulling_tokens(tiny_bert, tiny_tokenizer, texts, 7)
    assert pulling_tokens(tiny_bert, tiny_tokenizer, texts, 10**6)


def test_the_model_is_left_as_it_was(tiny_bert, tiny_tokenizer, texts):
    tiny_bert.train()
    weights = copy.deepcopy(tiny_bert.state_dict())
    pulling_tokens(tiny_bert, tiny_tokenizer, texts, 5)
    assert tiny_bert.training and not tiny_bert.get_input_embeddings()._forward_hooks
    assert all(parameter.grad is None for parameter in tiny_bert.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in tiny_bert.state_dict().items())


def test_frozen_weights_and_no_gradients_outside_are_no_obstacle(tiny_bert, tiny_tokenizer, texts):
    expected = pulling_tokens(tiny_bert, tiny_tokenizer, texts, 5)
    tiny_bert.requires_grad_(False)
    with torch.no_grad():
        assert pulling_tokens(tiny_bert, tiny_tokenizer, texts, 5) == expected


def test_padding_on_the_left_changes_nothing(tiny_tokenizer, texts):
    """A model without positions of its own that sees no padding: the side of the padding cannot matter."""
    config = GPT2Config(
        vocab_size=len(tiny_tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64, pad_token_id=0, num_labels=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2ForSequenceClassification(config).eval()
    with torch.no_grad():
        model.transformer.wpe.weight.zero_()
    right = pulling_tokens(model, tiny_tokenizer, texts, 30)
    left = copy.deepcopy(tiny_tokenizer)
    left.padding_side = "left"
    assert pulling_tokens(model, left, texts, 30) == right


def test_what_cannot_be_searched_is_refused(tiny_bert, tiny_tokenizer, texts):
    with pytest.raises(InputError, match="`count` is 0"):
        pulling_tokens(tiny_bert, tiny_tokenizer, texts, 0)
    with pytest.raises(InputError, match="`texts` is empty"):
        pulling_tokens(tiny_bert, tiny_tokenizer, texts.select([]), 5)
    tiny_bert.config.problem_type = "regression"
    for step in (pulling_tokens, lambda *given: search_triggers(*given[:3], [5])):
        with pytest.raises(InputError, match="no single-label classifier"):
            step(tiny_bert, tiny_tokenizer, texts, 5)
