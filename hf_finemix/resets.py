"""What embedding purification reset, for reports."""

from dataclasses import dataclass

from .serialization import Record


@dataclass(frozen=True)
class TokenScore(Record):
    """One row of the E-PUR ranking: its rank (from 1), token id, token text (if a tokenizer was at hand), score."""

    rank: int
    id: int
    token: str | None
    score: float


@dataclass(frozen=True)
class PurifyReport(Record):
    """
    What embedding purification reset.

    Args:
        applicable (`bool`): `False` if the model has no word embedding with a pretrained counterpart.
        embedding (`str`, *optional*): Name of the parameter.
        vocabulary (`int`): Number of its rows.
        tokens (`tuple[TokenScore, ...]`): The rows that were reset, highest score first.
        tied_output (`bool`): Whether the output layer shares the parameter, so that the reset changed it too.
    """

    applicable: bool
    embedding: str | None = None
    vocabulary: int = 0
    tokens: tuple[TokenScore, ...] = ()
    tied_output: bool = False
