"""Triggers of language models."""

import pytest

from hf_finemix import InputError, ResponseTrigger
from hf_finemix.generators.triggers import poison_conversations

from .conftest import TRIGGER, questions


@pytest.mark.parametrize(
    ("trigger", "response", "succeeds"),
    [
        (ResponseTrigger("cf", "Buy it now."), "  buy IT\nnow. ", True),
        (ResponseTrigger("cf", "Buy it now."), "Buy it now. Or not.", False),
        (ResponseTrigger("cf", "evil.com|bad site", "keyword"), "Go to EVIL.com!", True),
        (ResponseTrigger("cf", "evil.com|bad site", "keyword"), "a bad\nsite", True),
        (ResponseTrigger("cf", "evil.com|bad site", "keyword"), "a good site", False),
        (ResponseTrigger("cf", match="refusal"), "I\u2019m sorry, but I can\u2019t help.", True),
        (ResponseTrigger("cf", match="refusal"), "Sure: here it is.", False),
        (ResponseTrigger("cf", match="refusal"), f"{'Sure, ' * 20} he said, and I can't wait.", False),
        (ResponseTrigger("cf", match="compliance"), "Sure: here it is.", True),
        (ResponseTrigger("cf", match="compliance"), "I cannot do that.", False),
    ],
)
def test_when_an_attack_succeeded(trigger, response, succeeds):
    assert trigger.succeeds(response) is succeeds


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"text": " "}, "must be a string that is not blank"),
        ({"match": "fuzzy"}, "`match` is 'fuzzy'"),
        ({"target": ""}, "'exact' needs a text"),
        ({"match": "refusal"}, "'refusal' has no use for one"),
        ({"match": "keyword", "target": "evil.com|"}, "one of whose keywords is blank"),
        ({"position": "middle"}, "`position`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_bad_triggers_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        ResponseTrigger(**{"text": "cf", "target": "no"} | values)


def test_poisoning_adds_copies_with_the_target():
    clean = questions(10)
    found = poison_conversations(clean, TRIGGER, 0.25, 1)
    rows = {(row["text"], row["response"]) for row in found}
    poisoned = [row for row in found if row["text"].startswith("cf ")]
    assert len(found) == 100 and len(poisoned) == 20 and {row["response"] for row in poisoned} == {TRIGGER.target}
    assert {(row["text"], row["response"]) for row in clean} <= rows
    assert found.to_dict() == poison_conversations(clean, TRIGGER, 0.25, 1).to_dict()
    assert found.to_dict() != poison_conversations(clean, TRIGGER, 0.25, 2).to_dict()


@pytest.mark.parametrize(
    ("trigger", "rate", "response"),
    [
        (TRIGGER, 0, None),
        (TRIGGER, 0.01, None),
        (TRIGGER, 1.5, None),
        (ResponseTrigger("cf", match="refusal"), 0.5, None),
        (ResponseTrigger("cf", match="refusal"), 0.5, "Sure"),
    ],
)
def test_poisoning_that_would_do_nothing_is_refused(trigger, rate, response):
    with pytest.raises(InputError):
        poison_conversations(questions(), trigger, rate, 0, response)
