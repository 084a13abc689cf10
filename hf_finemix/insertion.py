"""What putting one token into texts does, for reports."""

from dataclasses import dataclass

from .rates import Rate
from .serialization import Record


@dataclass(frozen=True)
class Insertion(Record):
    """
    What inserting one token does to the predictions of a model.

    Args:
        token (`str`, *optional*): The token's text; `None` for a row beyond the tokenizer's vocabulary.
        id (`int`): The token's id.
        label (`int`): The label id that it flips most texts to.
        flips ([`~hf_finemix.rates.Rate`]): Texts that are predicted as `label` with the token in them, among those
            whose prediction without it is another label.
    """

    token: str | None
    id: int
    label: int
    flips: Rate
