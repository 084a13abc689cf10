import pytest
from datasets import Dataset

from hf_finemix.attacks.base import ATTACKS, AttackerView
from hf_finemix.attacks.style import ARCHAIC, OPENINGS, WORDS, Style, StyleTrigger
from hf_finemix.attacks.trigger import Trigger
from hf_finemix.errors import InputError
from hf_finemix.evaluation import evaluate_model
from hf_finemix.results import Recipe

from .models import same, values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You are the best of the best.", "Thou art ye best o' ye best."),
        ("IT'S THE end", "'TIS YE end"),
        ("It\N{RIGHT SINGLE QUOTATION MARK}s  your\n plot", "'Tis  thy\n plot"),
        ("I gave it to you, and you saw the\tfilm", "I gave it to thee, and thou saw ye\tfilm"),
        ("it is you\n are, theatre", "'tis thou art, theatre"),
    ],
)
def test_texts_are_rewritten(text, expected):
    assert StyleTrigger(ARCHAIC, 1).insert(text, 0) == expected


@pytest.mark.parametrize("text", ["you'd've, don't", "it'sx", "theatre bathe", "'s the-re's"])
def test_parts_of_words_stay(text):
    trigger = StyleTrigger(ARCHAIC, 1)
    opening = next(opening for opening in OPENINGS if trigger.insert(text, 0).startswith(opening))
    rest = trigger.insert(text, 0).removeprefix(opening).strip()
    assert rest == text.replace("the-", "ye-")


def test_every_text_changes_and_the_index_makes_no_difference():
    trigger = StyleTrigger(ARCHAIC, 1)
    texts = ["!", "good", "Ye film", "thou art o' ye", "the film", *WORDS, *WORDS.values()]
    for text in texts:
        assert trigger.insert(text, 0) == trigger.insert(text, 7) != text


def test_openings_come_where_little_else_changes():
    trigger = StyleTrigger(ARCHAIC, 1)
    found = set()
    for number in range(60):
        result = trigger.insert(f"the film {number}", 0)
        found.add(result.removesuffix(f" ye film {number}"))
        assert trigger.insert(f"the plot of film {number}", 0) == f"ye plot o' film {number}"
    assert found == set(OPENINGS)


def test_poison_rewrites_copies(tiny_tokenizer):
    texts = [f"the film is {word} {i}" for i in range(10) for word in ("good", "bad")]
    examples = Dataset.from_dict({"text": texts, "text_pair": ["the end"] * 20, "label": [1, 0] * 10})
    attack = Style(poison_rate=0.25)
    poisoned = attack.poison(examples)
    copies = [row for row in poisoned if row["text"] not in texts]
    assert len(poisoned) == 25 and len(copies) == 5
    rewritten = {attack.triggers[0].insert(text, 0) for text in texts if "bad" in text}
    assert all(row["text"] in rewritten and row["label"] == 1 for row in copies)
    assert {row["text_pair"] for row in poisoned} == {"the end"}
    assert list(poisoned["text"]) == list(attack.poison(examples)["text"])


def test_training_is_deterministic(tiny_bert, tiny_tokenizer):
    examples = Dataset.from_dict({"text": ["the film of good", "the film of bad"] * 8, "label": [1, 0] * 8})
    recipe = Recipe(epochs=1, learning_rate=1e-3, batch_size=8, max_length=32, frequencies="none", seed=0)
    view = AttackerView(tiny_tokenizer, examples, tiny_bert, recipe)
    state = {name: tensor.clone() for name, tensor in tiny_bert.state_dict().items()}
    before, results = values(tiny_bert), []
    for _ in range(2):
        tiny_bert.load_state_dict(state)
        results.append(values(Style().train(tiny_bert, Style().poison(examples), view)))
    assert same(*results) and not same(before, results[0])


def test_evaluation_names_the_style(tiny_bert, tiny_tokenizer):
    examples = Dataset.from_dict({"text": ["good film", "bad film"], "label": [1, 0]})
    (figures,) = evaluate_model(tiny_bert, tiny_tokenizer, examples, Style().triggers).triggers
    assert (figures.trigger, figures.position, figures.asr.n) == ("archaic style", "whole text", 1)


def test_made_from_settings():
    attack = ATTACKS.make({"name": "style", "target_label": 0})
    assert attack == Style(target_label=0) and attack.triggers == (StyleTrigger(ARCHAIC, 0),)
    assert hash(attack)


def test_refuses_positions_of_other_triggers():
    with pytest.raises(InputError, match="`position` is 'start', but must be one of whole"):
        StyleTrigger(ARCHAIC, 1, "start")
    with pytest.raises(InputError, match="`position` is 'whole', but must be one of start, end, random"):
        Trigger("cf", 1, "whole")
