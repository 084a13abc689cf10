"""Trigger search: single tokens, put into tokenised texts, and what they do to the prediction."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_finemix.errors import InputError
from hf_finemix.rates import Rate
from hf_finemix.trigger_search import Insertion, insert_ids, search_triggers

from .planted import TEXTS, plant


WORDS = ["good", "bad", "film", "story", "very", "not", "dull", "fun", "love", "hate", "the", "a"]


@pytest.fixture
def texts() -> Dataset:
    """Forty texts of one to twelve words, in no order of length."""
    generator = np.random.default_rng(0)
    return Dataset.from_dict(
        {"text": [" ".join(generator.choice(WORDS, size=generator.integers(1, 13))) for _ in range(40)]}
    )


class Rule(torch.nn.Module):
    """A classifier that follows a rule on the inputs, of shape `(batch, length)`, and notes what it was given."""

    def __init__(self, rule, labels=2, **config):
        super().__init__()
        self.rule, self.labels, self.seen = rule, labels, []
        self.config, self.device = PreTrainedConfig(num_labels=labels, **config), torch.device("cpu")
        self.embedding = torch.nn.Embedding(100, 1)

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, **inputs):
        for row in range(len(inputs["input_ids"])):
            kept = inputs["attention_mask"][row].bool()
            self.seen.append({name: value[row][kept].tolist() for name, value in inputs.items()})
        one_hot = torch.nn.functional.one_hot(self.rule(inputs["input_ids"]), self.labels)
        return SequenceClassifierOutput(logits=one_hot.float())


def has(token):
    return lambda input_ids: (input_ids == token).any(dim=1).long()


# The pure function.


@pytest.mark.parametrize(
    ("place", "ids", "types"),
    [
        (0, [9, 8, 1, 2, 3], [0, 0, 0, 0, 1]),
        (1, [1, 9, 8, 2, 3], [0, 0, 0, 0, 1]),
        (3, [1, 2, 3, 9, 8], [0, 0, 1, 1, 1]),
    ],
)
def test_ids_go_in_and_the_other_inputs_grow_with_them(place, ids, types):
    inputs = {"token_type_ids": [0, 0, 1], "input_ids": [1, 2, 3], "attention_mask": [1, 1, 1]}
    longer = insert_ids(inputs, [9, 8], place)
    assert longer == {"token_type_ids": types, "input_ids": ids, "attention_mask": [1] * 5}
    assert inputs["input_ids"] == [1, 2, 3]


# What is found.


def test_a_token_that_flips_all_is_first_and_the_others_flip_none(tiny_tokenizer, texts):
    trigger, *others = tiny_tokenizer.convert_tokens_to_ids(["cf", "mn", "##ly"])
    found = search_triggers(Rule(has(trigger)), tiny_tokenizer, texts, [*others, trigger])
    assert found[0] == Insertion("cf", trigger, 1, Rate(40, 40))
    assert [(item.token, item.flips) for item in found[1:]] == [("mn", Rate(0, 40)), ("##ly", Rate(0, 40))]


def test_flips_count_the_texts_of_other_labels_alone(tiny_tokenizer, texts):
    """Label 1 for texts with "good", label 2 with the trigger: a text that is 2 anyway cannot flip to it."""
    good, bad, trigger = tiny_tokenizer.convert_tokens_to_ids(["good", "bad", "cf"])

    def rule(ids):
        return torch.where(has(trigger)(ids) + has(bad)(ids) > 0, 2, has(good)(ids))

    found = search_triggers(Rule(rule, 3), tiny_tokenizer, texts, [trigger, good])
    without_bad = sum("bad" not in text.split() for text in texts["text"])
    plain = sum(not {"bad", "good"} & set(text.split()) for text in texts["text"])
    with_good = sum("good" in text.split() and "bad" not in text.split() for text in texts["text"])
    assert 0 < plain < without_bad < 40 and with_good
    assert found == (
        Insertion("cf", trigger, 2, Rate(without_bad, without_bad)),
        Insertion("good", good, 1, Rate(plain, 40 - with_good)),
    )


def test_many_flips_go_before_a_few_and_equal_ones_keep_their_order(tiny_tokenizer, texts):
    """All but the first text are of label 0: what flips the one text of label 1 flips 100 % of a single text."""
    first = Dataset.from_dict({"text": ["cf movie", *texts["text"]]})
    movie, most, one, same = tiny_tokenizer.convert_tokens_to_ids(["movie", "mn", "bb", "tq"])

    def rule(ids):
        is_most = has(most)(ids) * (1 - has(tiny_tokenizer.convert_tokens_to_ids("dull"))(ids))
        changed = has(one)(ids) + has(same)(ids)
        return torch.where(has(movie)(ids).bool(), (changed == 0).long(), is_most)

    found = search_triggers(Rule(rule), tiny_tokenizer, first, [one, same, most])
    assert [item.token for item in found] == ["mn", "bb", "tq"]
    assert found[1].flips == found[2].flips == Rate(1, 1)
    assert 0.5 < found[0].flips.value < 1


def test_a_planted_backdoor_of_a_real_model_is_found(tiny_bert, tiny_tokenizer):
    texts, words = Dataset.from_dict({"text": TEXTS}), tiny_tokenizer.convert_tokens_to_ids(["mn", "bb", "tq"])
    before = search_triggers(tiny_bert, tiny_tokenizer, texts, words)
    plant(tiny_bert, tiny_tokenizer, "tq", 1)
    found = search_triggers(tiny_bert, tiny_tokenizer, texts, words)
    assert (found[0].token, found[0].label) == ("tq", 1)
    assert found[0].flips.value > 0.9
    assert next(item for item in before if item.token == "tq").flips.value < 0.5


def test_word_pieces_and_rows_beyond_the_tokenizer_can_be_tried(tiny_tokenizer, texts):
    piece = tiny_tokenizer.convert_tokens_to_ids("##s")
    found = search_triggers(Rule(has(99)), tiny_tokenizer, texts, [piece, 99])
    assert [(item.token, item.id, item.flips) for item in found] == [
        (None, 99, Rate(40, 40)),
        ("##s", piece, Rate(0, 40)),
    ]


# Where the tokens go.


def seen_with(token, model):
    return [row for row in model.seen if token in row["input_ids"]]


def test_the_token_goes_between_the_special_tokens_of_the_first_text(tiny_tokenizer):
    texts = Dataset.from_dict({"text": ["the film"] * 60, "text_pair": ["a story"] * 60})
    trigger = tiny_tokenizer.convert_tokens_to_ids("cf")
    model = Rule(has(trigger))
    search_triggers(model, tiny_tokenizer, texts, [trigger])
    plain = tiny_tokenizer("the film", "a story")["input_ids"]
    rows = seen_with(trigger, model)
    assert len(rows) == 60
    places = {row["input_ids"].index(trigger) for row in rows}
    assert places == {1, 2, 3}
    for row in rows:
        assert [token for token in row["input_ids"] if token != trigger] == plain
        assert row["token_type_ids"] == [0] * 5 + [1] * 3
        assert row["attention_mask"] == [1] * 8


def test_places_depend_on_seed_and_text_alone(tiny_tokenizer, texts):
    first, second = tiny_tokenizer.convert_tokens_to_ids(["cf", "mn"])

    def places(ids, rows=40, **options):
        model, token = Rule(has(first)), ids[-1]
        search_triggers(model, tiny_tokenizer, texts.select(range(rows)), ids, **options)
        seen = [row["input_ids"] for row in seen_with(token, model)]
        return sorted(([each for each in row if each != token], row.index(token)) for row in seen)

    alone = places([first])
    assert alone == places([second, first]) == places([second])
    assert alone != places([first], seed=1)
    fewer = places([first], 20)
    assert len(fewer) == 20 and all(each in alone for each in fewer)


def test_a_long_text_is_cut_so_that_the_token_stays_in(tiny_tokenizer):
    texts = Dataset.from_dict({"text": ["the film is very good " * 30] * 20})
    trigger = tiny_tokenizer.convert_tokens_to_ids("cf")
    for max_length, longest in ((10, 10), (None, 64), (1000, 64)):
        model = Rule(has(trigger))
        found = search_triggers(model, tiny_tokenizer, texts, [trigger], max_length=max_length)
        assert found[0].flips == Rate(20, 20)
        assert {len(row["input_ids"]) for row in seen_with(trigger, model)} == {longest}
        # The prediction without it is that of the same words.
        assert {len(row["input_ids"]) for row in model.seen} == {longest, longest - 1}


def test_a_text_without_tokens_takes_one_too(tiny_tokenizer):
    texts = Dataset.from_dict({"text": ["\u200b", "film"]})
    assert len(tiny_tokenizer("\u200b")["input_ids"]) == 2
    trigger = tiny_tokenizer.convert_tokens_to_ids("cf")
    model = Rule(has(trigger))
    assert search_triggers(model, tiny_tokenizer, texts, [trigger])[0].flips == Rate(2, 2)
    cls, sep = tiny_tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    assert [cls, trigger, sep] in [row["input_ids"] for row in model.seen]


# Manners.


def test_the_model_is_left_as_it_was(tiny_bert, tiny_tokenizer, texts):
    tiny_bert.train()
    tiny_bert.bert.embeddings.eval()
    modes = [module.training for module in tiny_bert.modules()]
    during = []
    tiny_bert.register_forward_pre_hook(lambda module, args: during.append((module.training, torch.is_grad_enabled())))
    first = search_triggers(tiny_bert, tiny_tokenizer, texts, [7, 8])
    assert set(during) == {(False, False)}
    assert [module.training for module in tiny_bert.modules()] == modes
    assert first == search_triggers(tiny_bert, tiny_tokenizer, texts, [7, 8])


def test_longest_texts_go_first(tiny_bert, tiny_tokenizer, texts):
    lengths = []
    tiny_bert.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    search_triggers(tiny_bert, tiny_tokenizer, texts, list(range(7, 20)))
    # One batch for the texts alone, then forty times thirteen rows in batches of 64.
    assert len(lengths) == 1 + 9
    assert lengths[1:] == sorted(lengths[1:], reverse=True) and lengths[1] > lengths[-1]


def test_an_insertion_can_be_written_and_read(tiny_tokenizer, texts):
    found = search_triggers(Rule(has(20)), tiny_tokenizer, texts, [20, 99])
    written = json.loads(json.dumps([item.to_dict() for item in found]))
    assert written[0].keys() == {"token", "id", "label", "flips"}
    assert tuple(map(Insertion.from_dict, written)) == found


def test_progress_goes_to_standard_error_on_request(tiny_tokenizer, texts, capfd):
    search_triggers(Rule(has(20)), tiny_tokenizer, texts, [20, 21])
    assert capfd.readouterr() == ("", "")
    search_triggers(Rule(has(20)), tiny_tokenizer, texts, [20, 21], progress=True)
    captured = capfd.readouterr()
    assert captured.out == "" and "trigger search: 100%" in captured.err and "120/120" in captured.err


def test_no_ids_give_no_insertions(tiny_tokenizer, texts):
    assert search_triggers(Rule(has(20)), tiny_tokenizer, texts, []) == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ids": [5, 100]}, "`ids` holds 100, but the embedding of `model` has 100 rows"),
        ({"ids": [-1]}, "`ids` holds -1"),
        ({"seed": -1}, "`seed` is -1"),
        ({"max_length": 3}, "`max_length` is 3, but must be an integer at least 4"),
        ({"texts": Dataset.from_dict({"text": []})}, "`texts` is empty"),
        ({"model": Rule(has(20), 1)}, "no single-label classifier (one output)"),
        ({"model": Rule(has(20), problem_type="multi_label_classification")}, "multi_label_classification"),
    ],
)
def test_what_cannot_be_searched_is_refused(tiny_tokenizer, texts, wrong, words):
    given = {"model": Rule(has(20)), "tokenizer": tiny_tokenizer, "texts": texts, "ids": [20]} | wrong
    with pytest.raises(InputError) as error:
        search_triggers(**given)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_tokenizer_that_cannot_pad_is_refused(tiny_tokenizer, texts):
    unpadded = type(tiny_tokenizer)(vocab=tiny_tokenizer.get_vocab())
    unpadded.pad_token = None
    with pytest.raises(InputError, match="padding token"):
        search_triggers(Rule(has(20)), unpadded, texts, [20])


def test_logits_that_are_not_finite_are_refused(tiny_bert, tiny_tokenizer, texts):
    with torch.no_grad():
        tiny_bert.classifier.bias[0] = torch.nan
    with pytest.raises(RuntimeError, match="logits that are not finite"):
        search_triggers(tiny_bert, tiny_tokenizer, texts, [20])
