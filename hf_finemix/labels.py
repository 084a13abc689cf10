"""Turns the labels of a data file, ids or names, into the label ids of a model."""

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import InputError


# "1" and, because tables with gaps store integers as floats, "1.0".
INTEGER = re.compile(r"([+-]?\d+)(\.0*)?", re.ASCII)


def map_labels(
    values: Iterable[Any],
    label2id: dict[str, int] | None,
    num_labels: int | None,
    class_names: Sequence[str] | None,
    source: str,
) -> list[int]:
    """
    Maps label values to the label ids of a model.

    A value is looked up as a name first, exactly and then without regard to case, and is read as an id otherwise.

    Args:
        values (`Iterable[Any]`):
            Names, or ids as integers, integral floats, booleans or strings of digits.
        label2id (`dict[str, int]`, *optional*):
            The model's label names and their ids.
        num_labels (`int`, *optional*):
            Ids must be below it. `None` sets no limit.
        class_names (`Sequence[str]`, *optional*):
            For class ids that have names of their own: the name of each. If the model knows any of these names, ids
            are translated by name, otherwise they are taken for the model's.
        source (`str`):
            What the values were read from, for error messages.

    Returns:
        `list[int]`: One id per value.

    Raises:
        InputError: If a label is unknown or an id out of range; names its row, counted from 1.
    """
    label2id = label2id or {}
    if class_names and any(_find_name(name, label2id) is not None for name in class_names):
        values = [_name_of(value, class_names) for value in values]
    return [
        find_label(value, label2id, num_labels, f"{source}, row {row}") for row, value in enumerate(values, start=1)
    ]


def find_label(value: Any, label2id: dict[str, int], num_labels: int | None, source: str) -> int:
    """
    Maps one label value to a label id of a model; see [`map_labels`].

    Raises:
        InputError: If the label is unknown or the id out of range.
    """
    label = _find_label(value, label2id)
    if label is None or label < 0 or (num_labels is not None and label >= num_labels):
        known = _describe(label2id, num_labels)
        raise InputError(f"{source}: unknown label {reprlib.repr(value)}; known are {known}.")
    return label


def _name_of(class_id: int | None, class_names: Sequence[str]) -> str | int | None:
    """The name of a class id; unlabelled rows, -1 by convention, have none."""
    is_named = class_id is not None and 0 <= class_id < len(class_names)
    return class_names[class_id] if is_named else class_id


def _find_label(value: Any, label2id: dict[str, int]) -> int | None:
    """The label id that a value stands for, or `None`. Numbers of all types are treated as their digits."""
    if not isinstance(value, (str, int, float)):
        return None
    number = _as_integer(value)
    candidates = [str(value).strip()] if number is None else [str(value).strip(), str(number)]
    matches = (_find_name(name, label2id) for name in candidates)
    return next((label for label in matches if label is not None), number)


def _find_name(name: str, label2id: dict[str, int]) -> int | None:
    if name in label2id:
        return label2id[name]
    matches = {label for known, label in label2id.items() if known.casefold() == name.casefold()}
    return matches.pop() if len(matches) == 1 else None


def _as_integer(value: str | float) -> int | None:
    if isinstance(value, str):
        match = INTEGER.fullmatch(value.strip())
        return int(match[1]) if match else None
    # NaN and the infinities fail this comparison.
    return int(value) if value == value // 1 else None


def _describe(label2id: dict[str, int], num_labels: int | None) -> str:
    """The labels that would have been accepted, for error messages."""
    names = ", ".join(f"{name!r} ({label})" for name, label in sorted(label2id.items(), key=lambda item: item[1]))
    if names:
        return f"the names and ids {names}"
    return "the ids from 0" if num_labels is None else f"the ids 0 to {num_labels - 1}"


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of a classifier's labels, in the order of their ids, as its config.json states them."""
    names = config.get("id2label")
    count = config.get("num_labels", 2)
    if not isinstance(names, Mapping):
        names = {}
    elif names:
        count = len(names)
    count = count if isinstance(count, int) and 0 <= count < 2**20 else 0
    return tuple(str(names.get(str(number), f"LABEL_{number}")) for number in range(count))
