"""Conversations as tokens: one function for training, defence and test, which the tokenizer's own template shapes."""

import copy
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ..config import check_integer
from ..data import DEFAULT_MAX_LENGTH, NO_LIMIT
from ..errors import InputError, reason
from .conversations import CONTEXT, RESPONSE
from .template_trial import try_template


# Label of what is read, but not learned.
IGNORED = -100

_DAY = "01 Jan 2025"
# Characters that a template may add to what is said.
_LONGEST = 1_000_000


def encode(
    examples: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None, *, responses: bool = True
) -> Dataset:
    """
    Tokenizes conversations. The tokens of a prompt are the same with its response behind it as without.

    Args:
        examples (`datasets.Dataset`): From [`~hf_finemix.generators.conversations.load_conversations`].
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            The model's tokenizer. Without a chat template, prompt and response stand on a line each.
        max_length (`int`, *optional*):
            Longest input in tokens; responses are cut there. Defaults to the tokenizer's limit, or to 512.
        responses (`bool`, *optional*, defaults to `True`): Encode the responses, or else the prompts alone.

    Returns:
        `datasets.Dataset`: `input_ids`, `attention_mask` and with responses `labels`, in which -100 stands for each
        token of the prompt. Unpadded, in memory.

    Raises:
        InputError: If the template cannot be used, or a prompt leaves no room.
    """
    limit = tokenizer.model_max_length if tokenizer.model_max_length < NO_LIMIT else None
    if max_length is not None:
        check_integer("max_length", max_length, 2, limit)
    longest = max_length or limit or DEFAULT_MAX_LENGTH
    if tokenizer.chat_template is not None and len(examples):
        try_template(partial(_apply, tokenizer, _turns(examples[0]), True))
    rows: list[dict[str, list[int]]] = []
    for number, example in enumerate(examples, start=1):
        prompt, answer = texts_of(example, tokenizer)
        ids = _ids(prompt, tokenizer, begins=tokenizer.chat_template is None)
        # One token at least has to be answered.
        if len(ids) >= longest:
            raise InputError(
                f"The prompt of example {number} has {len(ids)} tokens, but `max_length` is {longest}; raise it or "
                "leave the example out."
            )
        if not ids or example["text"].strip() not in prompt:
            raise InputError(f"The tokenizer's chat template leaves out what the user says in example {number}.")
        answered = _ids(answer, tokenizer)[: longest - len(ids)] if responses else []
        if responses and not answered:
            raise InputError(f"The tokenizer's chat template leaves no token to be learned in example {number}.")
        row = {"input_ids": ids + answered, "attention_mask": [1] * (len(ids) + len(answered))}
        if responses:
            row["labels"] = [IGNORED] * len(ids) + answered
        rows.append(row)
    return Dataset.from_list(rows)


def texts_of(example: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """
    Returns a conversation as the model reads it: all up to where its answer begins, and the answer.

    Args:
        example (`Mapping[str, Any]`): A row of conversations.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its chat template is used if it has one.

    Raises:
        InputError: If the template refuses the conversation.
    """
    response, end = example[RESPONSE], tokenizer.eos_token or ""
    if tokenizer.chat_template is None:
        before = [message["content"] for message in example.get(CONTEXT) or ()]
        return "\n".join((*before, example["text"], "")), response + end
    messages = _turns(example)
    prompt = _render(tokenizer, messages, True)
    whole = _render(tokenizer, [*messages, {"role": "assistant", "content": response}], False)
    # Some templates write a turn that is over otherwise than one that begins.
    return prompt, whole.removeprefix(prompt) if whole.startswith(prompt) else response + end


def padded(tokenizer: PreTrainedTokenizerBase, side: str = "right") -> PreTrainedTokenizerBase:
    """Returns a copy of a tokenizer that pads on one side, with the end of a text if it has no token for it."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise InputError("The tokenizer has neither a padding token nor one for the end of a text; add one.")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def batches(inputs: Dataset, size: int) -> Iterator[list[int]]:
    """Gives the numbers of the rows in batches, the longest first: a lack of memory shows at once."""
    lengths = [len(ids) for ids in inputs["input_ids"]]
    order = sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True)
    return (order[start : start + size] for start in range(0, len(order), size))


def _ids(text: str, tokenizer: PreTrainedTokenizerBase, begins: bool = False) -> list[int]:
    # A template writes the special tokens itself.
    ids = list(tokenizer(text, add_special_tokens=begins)["input_ids"])
    return ids[:-1] if begins and ids and ids[-1] == tokenizer.eos_token_id else ids


def _turns(example: Mapping[str, Any]) -> list[dict[str, str]]:
    return [*(example.get(CONTEXT) or ()), {"role": "user", "content": example["text"]}]


def _apply(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], begins: bool) -> str:
    # Some templates tell the model which day it is; a job that is repeated has to see the same one.
    options = {"add_generation_prompt": begins, "date_string": _DAY}
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], begins: bool) -> str:
    try:
        text = _apply(tokenizer, messages, begins)
    except Exception as error:  # it is a stranger's program, and can fail in any way
        raise InputError(f"The tokenizer's chat template refuses a conversation: {reason(error)}") from None
    if len(text) > _LONGEST + 2 * sum(len(message["content"]) for message in messages):
        raise InputError(f"The tokenizer's chat template makes {len(text):,} characters of a conversation.")
    return text
