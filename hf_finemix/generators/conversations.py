"""Prompts and responses from a data set, a file or the Hub, in one shape: `text`, `response`, maybe `context`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from ..columns import SURROGATE, check_column, read_texts
from ..errors import InputError
from ..readers import Table, read_table


RESPONSE = "response"
CONTEXT = "context"
MESSAGES = "messages"
PAIRS = (
    ("prompt", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
)
ROLES = ("system", "user", "assistant", "tool")

_FEATURES = {
    "text": Value("string"),
    RESPONSE: Value("string"),
    CONTEXT: [{"role": Value("string"), "content": Value("string")}],
}


def is_conversations(examples: Dataset) -> bool:
    """Tells whether examples are conversations, of which [`load_conversations`] says more."""
    return RESPONSE in examples.column_names


def load_conversations(
    data: Dataset | str | Path,
    *,
    prompt_column: str | None = None,
    response_column: str | None = None,
    argument: str = "--clean-data",
) -> Dataset:
    """
    Loads conversations for a language model.

    Args:
        data (`datasets.Dataset`, `str` or `Path`):
            What [`~hf_finemix.data.load_examples`] reads: with a column of prompts and one of responses, or with a
            column `messages` of lists of `{"role": ..., "content": ...}` whose last two are the user's and the
            assistant's.
        prompt_column, response_column (`str`, *optional*):
            The two columns, found by the usual names when not given.
        argument (`str`, *optional*, defaults to `"--clean-data"`):
            The argument that `data` came from, for error messages.

    Returns:
        `datasets.Dataset`: The columns `text` (the user's last message, which a trigger would be put into),
        `response`, and if there is any, `context` (the messages before).

    Raises:
        InputError: If the source cannot be read, a column is missing, or a conversation is none.
    """
    table = read_table(data, argument)
    if prompt_column is None and response_column is None and MESSAGES in table.columns:
        columns = _from_messages(table)
    else:
        prompt, response = _choose_columns(table, prompt_column, response_column)
        columns = {"text": read_texts(table, prompt), RESPONSE: read_texts(table, response)}
        context = list(table.columns.get(CONTEXT, ()))
        is_loaded = (prompt, response) == ("text", RESPONSE) and all(isinstance(item, list) for item in context)
        if context and is_loaded and isinstance(data, Dataset):
            # Conversations that were loaded before.
            columns[CONTEXT] = [_check_messages(item, f"{table.source}, column {CONTEXT!r}") for item in context]
    if not any(columns.get(CONTEXT, ())):
        columns.pop(CONTEXT, None)
    return Dataset.from_dict(columns, features=Features({name: _FEATURES[name] for name in columns}))


def _choose_columns(table: Table, prompt: str | None, response: str | None) -> tuple[str, str]:
    for name, kind in ((prompt, "text"), (response, "label")):
        if name is not None:
            check_column(table, name, kind)
    # `text` beside `response` is how conversations are once they are loaded.
    for first, second in (*PAIRS, ("text", RESPONSE)):
        if prompt in (None, first) and response in (None, second) and {first, second} <= set(table.columns):
            return first, second
    if prompt is None or response is None:
        missing = "prompt (--text-column)" if prompt is None else "response (--label-column)"
        names = ", ".join(map(repr, table.columns))
        raise InputError(f"{table.source} has no {missing} column of a usual name; choose one from {names}.")
    return prompt, response


def _from_messages(table: Table) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"text": [], RESPONSE: [], CONTEXT: []}
    for row, messages in enumerate(table.columns[MESSAGES], start=1):
        where = f"{table.source}, row {row}"
        found = _check_messages(messages, where)
        if [item["role"] for item in found[-2:]] != ["user", "assistant"]:
            raise InputError(f"{where}: the last two messages must be the user's and the assistant's.")
        columns[CONTEXT].append(found[:-2])
        columns["text"].append(found[-2]["content"])
        columns[RESPONSE].append(found[-1]["content"])
    return columns


def _check_messages(messages: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise InputError(f"{where}: {MESSAGES!r} must be a list of messages, each with a role and a content.")
    found = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if role not in ROLES or not isinstance(content, str) or not content.strip() or SURROGATE.search(content):
            raise InputError(f"{where}: a message needs a role ({', '.join(ROLES)}) and a content that is a text.")
        found.append({"role": role, "content": content})
    return found
