"""Finds the text and label columns of a table, and checks that the texts are texts."""

import difflib
import re
from collections.abc import Sequence

from .errors import InputError
from .readers import Table


TEXT_COLUMNS = ("text", "sentence", "content")
TEXT_PAIR_COLUMNS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("claim", "evidence"),
    ("text", "text_pair"),
)
LABEL_COLUMNS = ("label", "labels", "class")

# Half a character, as JSON escapes can spell it: it has no UTF-8 form.
SURROGATE = re.compile("[\ud800-\udfff]")


def choose_text_columns(table: Table, wanted: Sequence[str] | None) -> Sequence[str]:
    """
    Returns the names of the one text column or the two of a pair.

    Args:
        table ([`Table`]):
            The table to look in.
        wanted (`Sequence[str]`, *optional*):
            The names that the user gave. When not given, the usual names are tried.

    Raises:
        InputError: If the table lacks them.
    """
    if wanted is None:
        # Pairs first: QNLI's `sentence` alone would be half an example.
        candidates = TEXT_PAIR_COLUMNS + tuple((name,) for name in TEXT_COLUMNS)
        found = next((names for names in candidates if set(names) <= set(table.columns)), None)
        if found is None:
            raise InputError(f"{table.source} has no text column of a usual name; {_choose_one(table, 'text')}")
        return found
    if isinstance(wanted, str) or not 1 <= len(wanted) <= 2:
        raise InputError(f"The text columns are {wanted!r}, but must be a list of one name, or of two for pairs.")
    for name in wanted:
        check_column(table, name, "text")
    return wanted


def choose_label_column(table: Table, wanted: str | None) -> str:
    """
    Returns the name of the label column.

    Args:
        table ([`Table`]):
            The table to look in.
        wanted (`str`, *optional*):
            The name that the user gave. When not given, the usual names are tried.

    Raises:
        InputError: If the table lacks it.
    """
    if wanted is None:
        found = next((name for name in LABEL_COLUMNS if name in table.columns), None)
        if found is None:
            raise InputError(f"{table.source} has no label column of a usual name; {_choose_one(table, 'label')}")
        return found
    check_column(table, wanted, "label")
    return wanted


def read_texts(table: Table, name: str) -> list[str]:
    """
    Returns the values of a text column.

    Args:
        table ([`Table`]):
            The table to read.
        name (`str`):
            One of its columns.

    Raises:
        InputError: If a value is missing, blank or no string; names its row, counted from 1.
    """
    texts = list(table.columns[name])
    for row, text in enumerate(texts, start=1):
        where = f"{table.source}, row {row}, column {name!r}"
        if text is None or (isinstance(text, str) and not text.strip()):
            raise InputError(f"{where}: the text is empty; fill it in or remove the row.")
        if not isinstance(text, str):
            raise InputError(f"{where}: a {type(text).__name__} is no text; choose another column, or make it one.")
        if SURROGATE.search(text):
            raise InputError(f"{where}: the text holds half a character (a lone surrogate); remove it.")
    return texts


def check_column(table: Table, name: str, kind: str) -> None:
    if name not in table.columns:
        nearest = difflib.get_close_matches(name, table.columns, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise InputError(f"{table.source} has no column {name!r}{hint}; {_choose_one(table, kind)}")


def _choose_one(table: Table, kind: str) -> str:
    names = ", ".join(map(repr, table.columns))
    return f"choose a {kind} column (--{kind}-column) from {names}."
