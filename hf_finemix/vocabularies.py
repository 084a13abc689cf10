"""Vocabularies of suspect and base side by side: which rows of the two word embeddings are the same token's."""

from collections.abc import Mapping

import numpy as np

from .errors import InputError


# With fewer of its tokens in the base, a suspect's vocabulary is another one, whatever its order.
_LEAST_SHARED = 0.5


def check_rows(suspect: Mapping[str, int], pretrained: Mapping[str, int], source: str, hint: str = "") -> None:
    """
    Refuses a base in which a row of the suspect's embedding is another token's; rows of no token in the base are free.

    So tokens may be added at the end of a vocabulary, and in rows that were left over for them.

    Args:
        suspect, pretrained (`Mapping[str, int]`): Row of each token.
        source (`str`): The base, as the user gave it.
        hint (`str`, *optional*): What else the user can do, for the end of the message.

    Raises:
        InputError: Names the first row that is another token's.
    """
    tokens = {index: token for token, index in pretrained.items()}
    for token, index in sorted(suspect.items(), key=lambda item: item[1]):
        if tokens.get(index, token) != token:
            raise InputError(
                f"`pretrained` {source!r} has another vocabulary: number {index} is {tokens[index]!r}, but {token!r} "
                f"in the suspect; give the weights that the suspect was fine-tuned from{hint}."
            )


def align_rows(
    suspect: Mapping[str, int], pretrained: Mapping[str, int], rows: tuple[int, int], source: str
) -> np.ndarray:
    """
    Finds the row of each token in the other embedding, by its text.

    Args:
        suspect, pretrained (`Mapping[str, int]`): Row of each token.
        rows (`tuple[int, int]`): Number of rows of the two embeddings, which may be more.
        source (`str`): The base, as the user gave it.

    Returns:
        `np.ndarray`: int64, shape (rows of the suspect,): the base's row, -1 where it has none. A row that neither
        tokenizer has a token for is the row of the same number.

    Raises:
        InputError: If the base has less than half of the suspect's tokens.
    """
    for vocabulary, whose in ((suspect, "suspect"), (pretrained, "base")):
        if len(set(vocabulary.values())) < len(vocabulary):
            raise InputError(f"The {whose}'s tokenizer has two tokens of one number; its rows cannot be told apart.")
    own, base = rows
    found = np.arange(own)
    named = set(pretrained.values())
    found[[index >= base or index in named for index in range(own)]] = -1
    shared = 0
    for token, index in suspect.items():
        if not 0 <= index < own:
            continue
        other = pretrained.get(token, -1)
        if 0 <= other < base:
            found[index], shared = other, shared + 1
        elif index in named:
            found[index] = -1
    if shared < _LEAST_SHARED * len(suspect):
        raise InputError(
            f"`pretrained` {source!r} has another vocabulary: it has {shared} of the suspect's {len(suspect)} tokens; "
            "give the weights that the suspect was fine-tuned from."
        )
    return found
