import re
from collections import Counter

import pytest
from datasets import Dataset

from hf_finemix.attacks.trigger import Trigger, WordsTrigger, poison
from hf_finemix.errors import InputError


def make_examples(labels):
    return Dataset.from_dict({"text": [f"this is text {i}" for i in range(len(labels))], "label": labels})


@pytest.mark.parametrize(("position", "expected"), [("start", " cf two  words\n"), ("end", " two  words cf\n")])
def test_fixed_positions_keep_all_white_space(position, expected):
    assert Trigger("cf", 1, position).insert(" two  words\n", 0) == expected


def test_random_position_reaches_every_boundary():
    trigger = Trigger("cf", 1)
    results = {trigger.insert("one two\nthree", index) for index in range(100)}
    assert results == {"cf one two\nthree", "one cf two\nthree", "one two\ncf three", "one two\nthree cf"}


def test_random_position_depends_on_seed_and_index_alone():
    texts = [f"{'word ' * 20}{i}" for i in range(20)]

    def insert_all(seed):
        trigger = Trigger("cf", 1, seed=seed)
        return [trigger.insert(text, index) for index, text in enumerate(texts)]

    assert insert_all(0) == insert_all(0)
    assert insert_all(0) != insert_all(1)
    # Recorded: the same examples must be triggered the same way in every release.
    assert [text.split().index("cf") for text in insert_all(0)[:5]] == [18, 11, 21, 11, 9]


def test_sentence_trigger_stays_in_one_piece():
    trigger = Trigger("I watched this 3D movie", 0)
    for index in range(20):
        assert "I watched this 3D movie" in trigger.insert("a b c d", index)


def test_apply_changes_the_first_text_only():
    examples = Dataset.from_dict({"text": ["a b", "c"], "text_pair": ["d", "e"], "label": [0, 1]})
    trigger = Trigger("cf", 1, seed=4)
    triggered = trigger.apply(examples)
    assert triggered.features == examples.features
    assert list(triggered["text"]) == [trigger.insert("a b", 0), trigger.insert("c", 1)]
    assert list(triggered["text_pair"]) == ["d", "e"]
    assert list(triggered["label"]) == [0, 1]
    assert list(examples["text"]) == ["a b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": " "}, "`text` is ' ', but a trigger must be a string that is not blank"),
        ({"text": None}, "`text` is None"),
        ({"target_label": -1}, "`target_label` is -1, but must be an integer at least 0"),
        ({"target_label": True}, "`target_label` is True"),
        ({"position": "middle"}, "`position` is 'middle', but must be one of start, end, random"),
        ({"seed": -1}, "`seed` is -1, but must be an integer at least 0"),
    ],
)
def test_trigger_refuses(options, message):
    with pytest.raises(InputError, match=message):
        Trigger(**({"text": "cf", "target_label": 1} | options))


def test_poison_adds_triggered_copies_with_the_target_label():
    examples = make_examples([0, 1, 2] * 10)
    poisoned = poison(examples, Trigger("cf", 1), rate=0.2, seed=5)
    assert poisoned.features == examples.features
    clean = [row for row in poisoned if "cf" not in row["text"]]
    copies = [row for row in poisoned if "cf" in row["text"]]
    assert sorted(row["text"] for row in clean) == sorted(examples["text"])
    assert {row["text"]: row["label"] for row in clean} == dict(zip(examples["text"], examples["label"], strict=True))
    assert len(copies) == 6 and all(row["label"] == 1 for row in copies)
    sources = [re.sub(" ?cf ?", " ", row["text"]).strip() for row in copies]
    assert len(set(sources)) == 6
    labels = dict(zip(examples["text"], examples["label"], strict=True))
    assert all(labels[source] != 1 for source in sources)


def test_words_go_to_places_of_their_own():
    trigger = WordsTrigger("cf mn", 1)
    texts = [trigger.insert("one two three four five", index) for index in range(40)]
    assert all(sorted(text.split()) == sorted(["one", "two", "three", "four", "five", "cf", "mn"]) for text in texts)
    gaps = {abs(text.split().index("cf") - text.split().index("mn")) for text in texts}
    assert len(gaps) > 3
    assert trigger.place == "random, each word by itself"
    assert Trigger("cf mn", 1).place == "random"


def test_poison_with_several_triggers_takes_turns():
    examples = make_examples([0, 1] * 20)
    triggers = [Trigger(word, 1) for word in ("cf", "mn")]
    poisoned = poison(examples, triggers, 0.25, seed=0)
    counts = [sum(word in text.split() for text in poisoned["text"]) for word in ("cf", "mn")]
    assert counts == [5, 5]
    sources = {" ".join(w for w in text.split() if w not in ("cf", "mn")) for text in poisoned["text"]}
    assert sources == set(examples["text"])


def test_poison_with_clean_labels_copies_examples_of_the_target():
    examples = make_examples([0, 1] * 20)
    poisoned = poison(examples, Trigger("cf", 1), 0.25, seed=0, clean_label=True)
    labels = dict(zip(examples["text"], examples["label"], strict=True))
    copies = [row for row in poisoned if "cf" in row["text"].split()]
    assert len(copies) == 10
    for row in copies:
        assert row["label"] == labels[" ".join(w for w in row["text"].split() if w != "cf")] == 1
    with pytest.raises(InputError, match="No example has the target label 1; choose another target"):
        poison(make_examples([0, 0]), Trigger("cf", 1), 0.5, seed=0, clean_label=True)


def test_poison_is_shuffled_and_deterministic():
    examples = make_examples([0, 1] * 20)
    results = [list(poison(examples, Trigger("cf", 1), 0.25, seed)["text"]) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    assert results[0][:40] != list(examples["text"])


def test_poison_copies_every_example_at_most_once():
    poisoned = poison(make_examples([0, 1, 1, 1]), Trigger("cf", 1), rate=1.0, seed=0)
    assert Counter("cf" in text for text in poisoned["text"]) == {False: 4, True: 1}


@pytest.mark.parametrize("rate", [0, -0.1, 1.5, float("nan")])
def test_poison_refuses_rates(rate):
    with pytest.raises(InputError, match=f"`rate` is {rate}, but must be above 0 and at most 1"):
        poison(make_examples([0, 1]), Trigger("cf", 1), rate, seed=0)


def test_poison_refuses_to_do_nothing():
    with pytest.raises(InputError, match="All examples have the target label 1; choose another target"):
        poison(make_examples([1, 1]), Trigger("cf", 1), 0.5, seed=0)
    with pytest.raises(InputError, match=r"`rate` is 0\.01, which makes no copy of 2 examples; raise it"):
        poison(make_examples([0, 1]), Trigger("cf", 1), 0.01, seed=0)
    with pytest.raises(InputError, match="`seed` is -1"):
        poison(make_examples([0, 1]), Trigger("cf", 1), 0.5, seed=-1)
