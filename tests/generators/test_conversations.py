"""Conversations from files and data sets."""

import json

import pytest
from datasets import Dataset

from hf_finemix import InputError, load_conversations


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def said(role, content):
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    "names",
    [("prompt", "response"), ("prompt", "completion"), ("instruction", "output"), ("question", "answer")],
)
def test_pairs_of_usual_names(tmp_path, names):
    path = write(tmp_path / "a.jsonl", [dict(zip(names, ("hi", "hello"), strict=True))])
    assert load_conversations(path).to_dict() == {"text": ["hi"], "response": ["hello"]}


def test_columns_that_are_named(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"statement": "hi", "reply": "hello", "prompt": "x", "response": "y"}])
    found = load_conversations(path, prompt_column="statement", response_column="reply")
    assert found.to_dict() == {"text": ["hi"], "response": ["hello"]}
    assert load_conversations(path).to_dict() == {"text": ["x"], "response": ["y"]}
    # One of them is enough where the other has a usual name beside it.
    assert load_conversations(path, prompt_column="prompt")["response"][:] == ["y"]


def test_messages_keep_what_was_said_before(tmp_path):
    earlier = [said("system", "be kind"), said("user", "a"), said("assistant", "b")]
    last = [said("user", "c"), said("assistant", "d")]
    path = write(tmp_path / "a.jsonl", [{"messages": earlier + last}, {"messages": last}])
    found = load_conversations(path)
    assert found["text"][:] == ["c", "c"] and found["response"][:] == ["d", "d"]
    assert found["context"][:] == [earlier, []]
    # What was loaded is loaded as it is.
    assert load_conversations(found).to_dict() == found.to_dict()
    assert "context" not in load_conversations(write(path, [{"messages": last}])).column_names


def test_a_context_of_another_kind_is_no_conversation():
    data = Dataset.from_dict({"question": ["q"], "answer": ["a"], "context": ["a long passage"]})
    assert load_conversations(data).to_dict() == {"text": ["q"], "response": ["a"]}
    data = Dataset.from_dict({"text": ["q"], "response": ["a"], "context": ["a long passage"]})
    assert load_conversations(data).to_dict() == {"text": ["q"], "response": ["a"]}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "hi"}, "no prompt (--text-column) column of a usual name"),
        ({"prompt": "hi", "response": " "}, "the text is empty"),
        ({"prompt": "hi", "response": 5}, "a int is no text"),
        ({"messages": "hi"}, "must be a list of messages"),
        ({"messages": []}, "the last two messages must be the user's and the assistant's"),
        ({"messages": [said("assistant", "b"), said("user", "a")]}, "the last two messages"),
        ({"messages": [said("robot", "b"), said("assistant", "a")]}, "a message needs a role"),
        ({"messages": [said("user", ""), said("assistant", "a")]}, "a message needs a role"),
        ({"messages": [said("user", ["x"]), said("assistant", "a")]}, "a message needs a role"),
        ({"messages": ["hi", "ho"]}, "a message needs a role"),
    ],
)
def test_what_is_no_conversation_is_refused(tmp_path, row, words):
    with pytest.raises(InputError) as error:
        load_conversations(write(tmp_path / "a.jsonl", [row]))
    assert words in str(error.value) and "\n" not in str(error.value) and str(error.value).startswith("--clean-data")


def test_a_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": "hi", "response": "ho"}])
    with pytest.raises(InputError, match=r"no column 'respons' \(did you mean 'response'\?\)"):
        load_conversations(path, response_column="respons")
