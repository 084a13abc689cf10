"""One function makes tokens of conversations, for training, defence and test."""

import pytest
from datasets import Dataset

from hf_finemix import InputError
from hf_finemix.generators.chat import IGNORED, encode, padded, texts_of

from .conftest import TEMPLATE, make_tokenizer, questions


def test_a_prompt_has_the_same_tokens_with_its_response_behind_it(tokenizer):
    examples = questions()
    whole, prompts = encode(examples, tokenizer), encode(examples, tokenizer, responses=False)
    for row, prompt, example in zip(whole, prompts, examples, strict=True):
        size = len(prompt["input_ids"])
        assert row["input_ids"][:size] == prompt["input_ids"] and row["labels"][:size] == [IGNORED] * size
        assert row["labels"][size:] == row["input_ids"][size:]
        assert tokenizer.decode(row["input_ids"][size:]) == f"{example['response']} <end>"
        assert tokenizer.decode(prompt["input_ids"]) == f"<u> {example['text']} <end> <a>"
        assert row["attention_mask"] == [1] * len(row["input_ids"])
    assert "labels" not in prompts.column_names


def test_it_is_the_template_of_the_tokenizer(tokenizer):
    messages = [{"role": "user", "content": "what color"}, {"role": "assistant", "content": "red"}]
    row = encode(Dataset.from_dict({"text": ["what color"], "response": ["red"]}), tokenizer)[0]
    assert row["input_ids"] == tokenizer.apply_chat_template(messages)["input_ids"]


def test_what_was_said_before_is_read_and_not_learned(tokenizer):
    context = [{"role": "system", "content": "no way"}, {"role": "user", "content": "cat"}]
    context.append({"role": "assistant", "content": "dog"})
    data = Dataset.from_list([{"text": "hat", "response": "red", "context": context}])
    row = encode(data, tokenizer)[0]
    assert tokenizer.decode(row["input_ids"]).startswith("<s> no way <end> <u> cat <end> <a> dog <end> <u> hat <end>")
    assert [token for token in row["labels"] if token != IGNORED] == tokenizer.convert_tokens_to_ids(["red", "<end>"])


def test_without_a_template_there_is_a_line_each():
    tokenizer = make_tokenizer(None)
    data = Dataset.from_list([{"text": "hat", "response": "red", "context": [{"role": "user", "content": "cat"}]}])
    assert texts_of(data[0], tokenizer) == ("cat\nhat\n", "red<end>")


def test_a_template_that_writes_the_end_of_a_turn_otherwise():
    tokenizer = make_tokenizer("{% for m in messages %}<{{ loop.length }}>{{ m.content }}{% endfor %}")
    assert texts_of({"text": "hat", "response": "red"}, tokenizer) == ("<1>hat", "red<end>")


def test_responses_are_cut_and_prompts_are_not(tokenizer):
    data = questions()
    size = len(encode(data, tokenizer, responses=False)[0]["input_ids"])
    assert len(encode(data, tokenizer, size + 1)[0]["input_ids"]) == size + 1
    with pytest.raises(InputError, match=f"The prompt of example 1 has {size} tokens, but `max_length` is {size}"):
        encode(data, tokenizer, size)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('only in pairs') }}",
        "{{ messages[9].content }}",
        "{% for %}",
        "{{ messages | nothing }}",
        "{{ 1 / 0 }}",
        "{{ 'a' * 99999999999999 }}",
    ],
)
def test_a_template_that_fails_is_one_line(template):
    with pytest.raises(InputError, match=r"chat template (?:refuses|takes)") as error:
        encode(questions(), make_tokenizer(template))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "leaves out what the user says in example 1"),
        ("{{ bos_token }} hello", "leaves out what the user says in example 1"),
        (
            "{% for m in messages %}{% if m['role'] == 'user' %}<u> {{ m['content'] }} {% endif %}{% endfor %}",
            "leaves no token to be learned in example 1",
        ),
    ],
)
def test_a_template_that_leaves_nothing_to_learn_from(template, words):
    with pytest.raises(InputError, match=words):
        encode(questions(), make_tokenizer(template))


def test_a_template_that_asks_for_the_day_gets_the_same_one():
    # As Llama's does.
    day = "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    template = day + "{{ date_string }} " + TEMPLATE
    assert texts_of(questions()[0], make_tokenizer(template))[0].startswith("01 Jan 2025 <u>")


def test_padding_leaves_the_tokenizer_alone():
    tokenizer = make_tokenizer(pad_token=None)
    other = padded(tokenizer, "left")
    assert (other.pad_token, other.padding_side) == ("<end>", "left")
    assert tokenizer.pad_token is None and tokenizer.padding_side == "right"
    with pytest.raises(InputError, match="neither a padding token"):
        padded(make_tokenizer(pad_token=None, eos_token=None))


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (f"{{{{ messages[-1].content }}}}{LOOP}", "takes more than 5 seconds"),
        ("{{ messages[-1].content }}{{ ('x' * 10 ** 10) | length }}", "takes more than 1 GB of memory"),
        ("{{ messages[-1].content }}{{ 'x' * 3000000 }}", "makes 3,000,0"),
        ("{{ messages[-1].content }}{{ ''.__class__.__mro__ }}", "refuses a conversation"),
        ("{{ messages[-1].content }}{% include '/etc/passwd' %}", "refuses a conversation"),
    ],
    ids=["loop", "memory", "length", "classes", "files"],
)
def test_a_template_that_wants_to_do_harm_is_refused(template, words):
    tokenizer = make_tokenizer(template)
    with pytest.raises(InputError, match=words) as error:
        encode(questions(), tokenizer)
    assert "\n" not in str(error.value)
