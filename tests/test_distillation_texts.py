"""The texts of a distillation: cut short, spliced from few ones, with triggers put into some."""

from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset

from hf_finemix import InputError
from hf_finemix.distillation import MOST_INSERTED, Lessons, make_examples
from hf_finemix.evaluation import compute_logits
from hf_finemix.made_texts import replace_tokens, splice

from .files import SHORT
from .lessons import ALWAYS, EXACT, TEXT, insertion, lessons_of, make_suspect


@pytest.fixture
def model(tiny_tokenizer):
    return make_suspect(tiny_tokenizer)


# Length


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("max_length", [8, 9, 16])
def test_long_texts_keep_their_ends_and_have_room_for_tokens(model, tiny_tokenizer, pairs, max_length):
    texts = Dataset.from_dict({"text": ["the movie is good and so it is one of the best " * 3] * 20})
    if pairs:
        texts = texts.add_column("text_pair", ["the plot is not very nice but the scene is " * 3] * 20)
    found = lessons_of(model, tiny_tokenizer, texts, tokens=["cf", "mn", "bb", "tq"], max_length=max_length)
    first, last = tiny_tokenizer.cls_token_id, tiny_tokenizer.sep_token_id
    for ids in found.inputs["input_ids"]:
        assert len(ids) == max_length - MOST_INSERTED
        assert ids[0] == first and ids[-1] == last and ids.count(last) == 1 + pairs
    examples = make_examples(found, replace(ALWAYS, epochs=3), tiny_tokenizer, 0)
    lengths = {len(ids) for ids in examples["input_ids"]}
    assert lengths == {max_length - MOST_INSERTED + count for count in range(1, MOST_INSERTED + 1)}
    assert all(ids[0] == first and ids[-1] == last for ids in examples["input_ids"])


def test_as_few_tokens_as_there_can_be(model, tiny_tokenizer):
    least = tiny_tokenizer.num_special_tokens_to_add() + 1
    found = lessons_of(model, tiny_tokenizer, tokens=["cf"], max_length=least)
    assert {len(ids) for ids in found.inputs["input_ids"]} == {least}
    with pytest.raises(InputError, match="max_length"):
        lessons_of(model, tiny_tokenizer, max_length=least - 1)


# What is put into texts


def removed(ids, tokens):
    return [token for token in ids if token not in tokens]


def test_examples_hold_the_lessons_once_a_pass(model, tiny_tokenizer):
    found = lessons_of(model, tiny_tokenizer)
    examples = make_examples(found, replace(ALWAYS, epochs=3), tiny_tokenizer, 0)
    assert set(examples.column_names) == {*found.inputs, "labels"}
    assert examples["input_ids"][:] == found.inputs["input_ids"] * 3  # there are no triggers to put in
    assert examples["labels"][:] == found.answers.tolist() * 3


@pytest.mark.parametrize(("tokens", "most"), [(["cf"], 1), (["cf", "##ly"], 2), (["cf", "mn", "bb", "tq"], 3)])
def test_one_to_three_triggers_go_into_a_text_each_once(model, tiny_tokenizer, tokens, most):
    found = lessons_of(model, tiny_tokenizer, tokens=tokens)
    ids = {item.id for item in found.triggers}
    examples = make_examples(found, replace(ALWAYS, epochs=6), tiny_tokenizer, 0)
    counts = []
    for number, row in enumerate(examples):
        put_in = [token for token in row["input_ids"] if token in ids]
        assert len(set(put_in)) == len(put_in)
        counts.append(len(put_in))
        # All else is as it was, and the label is that of the text alone.
        assert removed(row["input_ids"], ids) == found.inputs["input_ids"][number % len(TEXT)]
        assert row["labels"] == found.answers[number % len(TEXT)].tolist()
        assert {len(row[name]) for name in found.inputs} == {len(row["input_ids"])}
    assert set(counts) == set(range(1, most + 1))


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 0.4, 0.6), (1.0, 1, 1)])
def test_the_share_of_texts_that_get_a_trigger(model, tiny_tokenizer, share, low, high):
    found = lessons_of(model, tiny_tokenizer, tokens=["cf"])
    trigger = found.triggers[0].id
    examples = make_examples(found, replace(EXACT, epochs=30, share=share), tiny_tokenizer, 0)
    assert low <= np.mean([trigger in ids for ids in examples["input_ids"]]) <= high


def test_what_is_drawn_depends_on_seed_and_pass_and_text(model, tiny_tokenizer):
    found = lessons_of(model, tiny_tokenizer, tokens=["cf", "mn"])
    settings = replace(EXACT, epochs=2, share=0.5)
    examples = make_examples(found, settings, tiny_tokenizer, 3).to_dict()
    assert make_examples(found, settings, tiny_tokenizer, 3).to_dict() == examples
    assert make_examples(found, settings, tiny_tokenizer, 4).to_dict() != examples
    longer = make_examples(found, replace(settings, epochs=5), tiny_tokenizer, 3).to_dict()
    assert longer["input_ids"][: 2 * len(TEXT)] == examples["input_ids"]
    assert examples["input_ids"][: len(TEXT)] != examples["input_ids"][len(TEXT) :]


@pytest.mark.parametrize("pairs", [False, True])
def test_triggers_stand_between_the_special_tokens_of_the_first_text(model, tiny_tokenizer, pairs):
    texts = Dataset.from_dict({"text": ["movie", "the movie is good", "it is"] * 10})
    if pairs:
        texts = texts.add_column("text_pair", ["the plot is bad"] * 30)
    found = lessons_of(model, tiny_tokenizer, texts, tokens=["cf", "mn", "bb"])
    ids, sep = {item.id for item in found.triggers}, tiny_tokenizer.sep_token_id
    places = set()
    for row in make_examples(found, replace(ALWAYS, epochs=4), tiny_tokenizer, 0):
        end = row["input_ids"].index(sep)
        put_in = [place for place, token in enumerate(row["input_ids"]) if token in ids]
        assert min(put_in) > 0 and max(put_in) < end
        places |= {"start" for place in put_in if place == 1} | {"end" for place in put_in if place == end - 1}
        if pairs:
            assert row["token_type_ids"][: end + 1] == [0] * (end + 1) and set(row["token_type_ids"][end + 1 :]) == {1}
    assert places == {"start", "end"}


def test_a_text_of_special_tokens_alone_keeps_them_outside(tiny_tokenizer):
    first, last = tiny_tokenizer.cls_token_id, tiny_tokenizer.sep_token_id
    inputs = {"input_ids": [[first, last]], "attention_mask": [[1, 1]]}
    trigger = insertion(tiny_tokenizer, "cf")
    found = Lessons(inputs, np.zeros((1, 2), dtype=np.float32), (0,), (trigger,), 0)
    (row,) = make_examples(found, replace(ALWAYS, epochs=1), tiny_tokenizer, 0)
    assert row["input_ids"] == [first, trigger.id, last]


# Spliced texts


def test_spliced_texts_begin_as_one_text_and_end_as_another():
    texts = Dataset.from_dict({"text": ["a1 a2 a3", "b1 b2", "c1"], "text_pair": ["x", "y", "z"]})
    made = splice(texts, 200, seed=0)
    assert made.features == texts.features and len(made) == 200
    found = set()
    for row in made:
        words = row["text"].split()
        firsts = [text.split() for text in texts["text"]]
        head = next(words_of for words_of in firsts if words_of[0] == words[0])
        assert row["text_pair"] == texts["text_pair"][firsts.index(head)]
        cuts = [
            (first, second, cut, start)
            for first, of_first in enumerate(firsts)
            for second, of_second in enumerate(firsts)
            for cut in range(1, len(of_first) + 1)
            for start in range(len(of_second) + 1)
            if of_first[:cut] + of_second[start:] == words
        ]
        assert cuts, words
        found.add(row["text"])
    assert len(found) > 20 and {"a1", "a1 a2 a3 b1 b2", "c1 a3"} <= found


def test_spliced_texts_depend_on_the_seed_alone():
    assert splice(TEXT, 20, seed=1).to_dict() == splice(TEXT, 20, seed=1).to_dict()
    assert splice(TEXT, 20, seed=1).to_dict() != splice(TEXT, 20, seed=2).to_dict()


def test_few_texts_are_joined_by_spliced_ones(model, tiny_tokenizer):
    few, many = (lessons_of(model, tiny_tokenizer, settings=replace(SHORT, texts=count)) for count in (5, 50))
    assert len(few.answers) == len(few.rows) == len(TEXT)
    assert len(many.answers) == 50 and many.rows == few.rows
    for name, column in few.inputs.items():
        assert many.inputs[name][: len(TEXT)] == column


def test_spliced_texts_that_hold_a_trigger_are_left_out_and_not_counted(model, tiny_tokenizer):
    found = lessons_of(model, tiny_tokenizer, tokens=["good"], settings=replace(SHORT, texts=60))
    trigger = tiny_tokenizer.convert_tokens_to_ids("good")
    assert not any(trigger in ids for ids in found.inputs["input_ids"])
    assert len(TEXT) < len(found.answers) < 60 and found.left_out == 1


# Random tokens


def test_a_share_of_the_tokens_is_replaced_by_any_allowed_one():
    allowed = np.ones(50, dtype=bool)
    allowed[[0, 1, 7]] = False
    texts = [[0, *range(2, 42), 1]] * 400
    made = np.array(replace_tokens(texts, 0.3, allowed, seed=0))
    assert made.shape == (400, 42) and (made[:, 0] == 0).all() and (made[:, -1] == 1).all()
    changed = made != np.array(texts)
    # A replaced token may by chance be the same again: one of 47.
    assert abs(changed[:, 1:-1].mean() - 0.3 * 46 / 47 * 39 / 40) < 0.01
    # What may not be put in may not be taken out either.
    assert not changed[:, 6].any()
    drawn = made[changed]
    assert set(drawn) == set(np.flatnonzero(allowed))
    counts = np.bincount(drawn, minlength=50)[allowed]
    assert counts.min() > 0.7 * counts.mean() and counts.max() < 1.3 * counts.mean()


@pytest.mark.parametrize(("share", "changes"), [(0.0, False), (1.0, True)])
def test_none_or_all_are_replaced(share, changes):
    allowed = np.arange(1000) >= 500
    made = replace_tokens([[600, 3, 700, 800]], share, allowed, seed=0)[0]
    assert made[1] == 3 and (made != [600, 3, 700, 800]) == changes and len(made) == 4


def test_random_tokens_depend_on_the_seed_and_the_number_of_the_text():
    allowed, texts = np.ones(1000, dtype=bool), [[5] * 20] * 3
    made = replace_tokens(texts, 0.5, allowed, seed=0)
    assert made == replace_tokens(texts, 0.5, allowed, seed=0) and made[:2] == replace_tokens(
        texts[:2], 0.5, allowed, 0
    )
    assert made != replace_tokens(texts, 0.5, allowed, seed=1) and made[0] != made[1]
    assert texts == [[5] * 20] * 3


def test_nothing_is_replaced_if_nothing_may_be():
    assert replace_tokens([[1, 2]], 1.0, np.zeros(3, dtype=bool), seed=0) == [[1, 2]]


@pytest.mark.parametrize("tokens", [(), ("good", "dull")])
def test_random_tokens_are_in_spliced_texts_alone_and_no_trigger_is_among_them(model, tiny_tokenizer, tokens):
    settings = replace(SHORT, texts=300)
    whole = lessons_of(model, tiny_tokenizer, tokens=tokens, settings=replace(settings, replaced=0.0))
    found = lessons_of(model, tiny_tokenizer, tokens=tokens, settings=replace(settings, replaced=1.0))
    texts = len(found.rows)
    assert found.rows == whole.rows and found.inputs["input_ids"][:texts] == whole.inputs["input_ids"][:texts]
    special, unwanted = set(tiny_tokenizer.all_special_ids), set(tiny_tokenizer.convert_tokens_to_ids(list(tokens)))
    spliced = found.inputs["input_ids"][texts:]
    assert all(ids[0] in special and ids[-1] in special for ids in spliced)
    drawn = {token for ids in spliced for token in ids[1:-1]}
    assert drawn == set(range(len(tiny_tokenizer))) - special - unwanted
    assert len(found.answers) == len(whole.answers)


def test_answers_are_those_on_the_texts_as_they_are_in_the_end(model, tiny_tokenizer):
    found = lessons_of(model, tiny_tokenizer, settings=replace(SHORT, texts=40, replaced=0.5))
    assert np.array_equal(found.answers, compute_logits(model, tiny_tokenizer, found.inputs))
