"""Texts made from others, so that a suspect that has seen few of them shows more of what it does. Pure functions."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset


def splice(texts: Dataset, count: int, seed: int) -> Dataset:
    """
    Makes new texts from few ones: the first words of one text, then the last words of another.

    They need not read well; the suspect answers them, too, and so they show more of what it does than few texts can.

    Args:
        texts (`datasets.Dataset`): Columns `text` and maybe `text_pair`, at least one row. A pair keeps the second
            text of the first of the two.
        count (`int`): How many to make.
        seed (`int`): Seed of what is drawn.
    """
    columns = {name: list(texts[name]) for name in ("text", "text_pair") if name in texts.column_names}
    words = [text.split() for text in columns["text"]]
    generator = np.random.default_rng((seed, 2))
    made: dict[str, list[str]] = {name: [] for name in columns}
    for _ in range(count):
        first, second = generator.integers(len(words), size=2)
        head = words[first][: generator.integers(1, len(words[first]), endpoint=True)]
        tail = words[second][generator.integers(len(words[second]), endpoint=True) :]
        made["text"].append(" ".join([*head, *tail]))
        if "text_pair" in columns:
            made["text_pair"].append(columns["text_pair"][first])
    return Dataset.from_dict(made, features=texts.features)


def rows_without(input_ids: Sequence[Sequence[int]], tokens: Sequence[int]) -> list[int]:
    """Returns the numbers of the rows that hold none of the tokens."""
    unwanted = set(tokens)
    return [row for row, ids in enumerate(input_ids) if unwanted.isdisjoint(ids)]


def replace_tokens(rows: Sequence[Sequence[int]], share: float, allowed: np.ndarray, seed: int) -> list[list[int]]:
    """
    Replaces some tokens of each text by random ones.

    A classifier answers any sequence of words, and random ones have been enough to copy one ("Thieves on Sesame
    Street!", Krishna et al., ICLR 2020).

    Args:
        rows (`Sequence[Sequence[int]]`): Token ids of each text.
        share (`float`): Share of the tokens to replace, in [0, 1]; each is drawn by itself.
        allowed (`np.ndarray`): Which tokens replace and are replaced, not the special ones: `bool`, (vocabulary,).
        seed (`int`): Seed. What is drawn for a text depends on it and on the text's number alone.
    """
    choices = np.flatnonzero(allowed)
    made = []
    for number, row in enumerate(rows):
        generator = np.random.default_rng((seed, 3, number))
        ids = np.array(row, dtype=np.int64)
        chosen = (generator.random(len(ids)) < share) & allowed[ids]
        if len(choices):
            ids[chosen] = generator.choice(choices, int(chosen.sum()))
        made.append(ids.tolist())
    return made
