"""Texts and labels, from a data set, a local file or the Hub, in one shape: `text`, maybe `text_pair`, and `label`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Value
from transformers import PreTrainedTokenizerBase

from .columns import choose_label_column, choose_text_columns, read_texts
from .config import check_integer
from .errors import InputError
from .labels import map_labels
from .readers import read_table


# Tokenizers that state no limit carry a huge number instead of one.
NO_LIMIT = 100_000
DEFAULT_MAX_LENGTH = 512


def load_examples(
    data: Dataset | str | Path,
    *,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    label2id: dict[str, int] | None = None,
    num_labels: int | None = None,
    argument: str = "--clean-data",
    labeled: bool = True,
) -> Dataset:
    """
    Loads examples for text classification.

    Args:
        data (`datasets.Dataset`, `str` or `Path`):
            A data set, a local csv, tsv, json (array of objects), jsonl or parquet file, or a Hub dataset id: `id`,
            `id:split` or `id:config:split`. The split is `train` unless named.
        text_columns (`Sequence[str]`, *optional*):
            The column of the text, or the two of a sentence pair. Found by the usual names when not given.
        label_column (`str`, *optional*):
            The column of the labels. Found by the usual names when not given.
        label2id (`dict[str, int]`, *optional*):
            The model's label names and their ids, to accept labels given as names.
        num_labels (`int`, *optional*):
            Number of labels of the model; ids must be below it.
        argument (`str`, *optional*, defaults to `"--clean-data"`):
            The argument that `data` came from, for error messages.
        labeled (`bool`, *optional*, defaults to `True`):
            Whether to read labels. Without them the result has no column `label`.

    Returns:
        `datasets.Dataset`: Exactly the columns `text` (string), for pairs `text_pair` (string), and `label` (int64).
        It lies in memory.

    Raises:
        InputError: If the source cannot be read, a column is missing, a text is empty or a label is unknown.
    """
    table = read_table(data, argument)
    names = choose_text_columns(table, text_columns)
    columns = {key: read_texts(table, name) for key, name in zip(("text", "text_pair"), names, strict=False)}
    features = {key: Value("string") for key in columns}
    if labeled:
        name = choose_label_column(table, label_column)
        class_names = table.class_names.get(name)
        columns["label"] = map_labels(table.columns[name], label2id, num_labels, class_names, table.source)
        features["label"] = Value("int64")
    return Dataset.from_dict(columns, features=Features(features))


def load_texts(
    data: Dataset | str | Path, text_columns: Sequence[str] | None = None, argument: str = "--unlabeled-data"
) -> Dataset:
    """
    Loads texts without labels, from all that [`load_examples`] reads and from .txt files with one text per line.

    Args:
        data (`datasets.Dataset`, `str` or `Path`):
            A data set, a local file or a Hub dataset id.
        text_columns (`Sequence[str]`, *optional*):
            The column of the text, or the two of a sentence pair. Found by the usual names when not given.
        argument (`str`, *optional*, defaults to `"--unlabeled-data"`):
            The argument that `data` came from, for error messages.

    Returns:
        `datasets.Dataset`: Exactly the columns `text` and, for pairs, `text_pair`.

    Raises:
        InputError: If the source cannot be read, a column is missing or a text is empty.
    """
    if isinstance(data, (str, Path)) and Path(data).suffix.lower() == ".txt":
        # It has no columns that could be named.
        text_columns = None
    return load_examples(data, text_columns=text_columns, argument=argument, labeled=False)


def check_trainable(examples: Dataset, num_labels: int, argument: str = "--clean-data") -> None:
    """
    Refuses examples that no classifier can be trained on.

    Args:
        examples (`datasets.Dataset`):
            Examples with a column `label`.
        num_labels (`int`):
            Number of labels of the model.
        argument (`str`, *optional*, defaults to `"--clean-data"`):
            The argument that the examples came from, for error messages.

    Raises:
        InputError: If there is no row, or all rows have one label.
    """
    present = set(examples["label"])
    if not present:
        raise InputError(f"{argument} has no rows; at least two examples of different labels are needed.")
    if len(present) == 1:
        raise InputError(
            f"{argument} holds only the label {present.pop()} of the model's {num_labels}; add examples of another."
        )


def fingerprint(examples: Dataset) -> str:
    """
    SHA-256 of the rows in order, the same whatever file format they came from.

    Args:
        examples (`datasets.Dataset`):
            Examples with a column `text` and maybe `text_pair` and `label`, or conversations.

    Returns:
        `str`: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for row in examples:
        content = [row["text"], row.get("text_pair"), row.get("label")]
        # Conversations have these instead.
        content += [row[name] for name in ("response", "context") if name in row]
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()


def tokenize(examples: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> Dataset:
    """
    Tokenizes examples, truncated but not padded.

    Args:
        examples (`datasets.Dataset`):
            At least one example with a column `text` and maybe `text_pair` and `label`.
        tokenizer (`PreTrainedTokenizerBase`):
            The model's tokenizer.
        max_length (`int`, *optional*):
            Longest input in tokens, special tokens included. Defaults to the tokenizer's limit, or to 512 if it states
            none.

    Returns:
        `datasets.Dataset`: The model's inputs, and `labels` if the examples have them. It lies in memory.

    Raises:
        InputError: If `max_length` leaves no room for text or exceeds the tokenizer's limit.
    """
    pairs = list(examples["text_pair"]) if "text_pair" in examples.column_names else None
    limit = tokenizer.model_max_length if tokenizer.model_max_length < NO_LIMIT else None
    if max_length is not None:
        check_integer("max_length", max_length, tokenizer.num_special_tokens_to_add(pairs is not None) + 1, limit)
    encoding = tokenizer(
        list(examples["text"]), pairs, truncation=True, max_length=max_length or limit or DEFAULT_MAX_LENGTH
    )
    columns = dict(encoding)
    if "label" in examples.column_names:
        columns["labels"] = list(examples["label"])
    return Dataset.from_dict(columns)


def split(examples: Dataset, size: int, seed: int) -> tuple[Dataset, Dataset]:
    """
    Splits examples in two, with the labels in proportion.

    Args:
        examples (`datasets.Dataset`):
            Examples with a column `label`.
        size (`int`):
            Number of examples in the first part, from 1 to all of them.
        seed (`int`):
            Seed of the draw, at least 0. With one seed, a larger first part contains a smaller one.

    Returns:
        `tuple[Dataset, Dataset]`: The drawn examples and the others, both in the order of `examples`. Every label is
        among the drawn ones if `size` allows it.

    Raises:
        InputError: If `size` or `seed` is out of range.
    """
    check_integer("size", size, 1, len(examples))
    check_integer("seed", seed, 0)
    labels = np.array(list(examples["label"]))
    order = np.random.default_rng(seed).permutation(len(labels))
    # The k-th example drawn of a label with n examples is due at k / n: taking those due first keeps the proportions.
    due = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        due[members] = np.arange(len(members)) / len(members)
    ranked = np.argsort(due, kind="stable")
    return examples.select(np.sort(ranked[:size])), examples.select(np.sort(ranked[size:]))


def stratified_sample(examples: Dataset, size: int, seed: int) -> Dataset:
    """Returns the first part of [`split`]: `size` examples, with the labels in proportion."""
    return split(examples, size, seed)[0]
