"""`FineMixConfig`: what to mix and what to reset, checked once and for all."""

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .choices import FISHER, SELECTIONS
from .errors import InputError


@dataclass(frozen=True)
class FineMixConfig:
    """
    Settings of Fine-mixing and of embedding purification (E-PUR).

    Both come from "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al., Findings of
    EMNLP 2022).

    Args:
        keep_ratio (`float`, *optional*, defaults to 0.3):
            The reserve ratio, in [0, 1]: the share of scalars that keep the fine-tuned value. The others take the
            pretrained one. 1 leaves the model as it is, 0 gives the pretrained weights.
        selection (`str`, *optional*, defaults to `"random"`):
            Which scalars keep the fine-tuned value: `"random"` (the paper's Fine-mixing), `"smallest_drift"` (those
            that moved least from the pretrained value), `"largest_drift"` (those that moved most) or `"fisher"` (those
            that moved little for what clean data make of them, as in Fine-purifying; it needs Fisher information).
        seed (`int`, *optional*, defaults to 0):
            Seed of the random masks, in [0, 2**64).
        purify_top_k (`int`, *optional*, defaults to 200):
            How many of the highest-scoring embedding rows are reset to the pretrained row. 0 turns E-PUR off.
        frequency_floor (`int`, *optional*, defaults to 20):
            Token counts below this one are raised to it before the logarithm is taken; at least 2.
        exclude (`tuple[str, ...]`, *optional*, defaults to `()`):
            Regular expressions, searched in parameter names. A parameter that matches is not mixed: it keeps the
            suspect's values. E-PUR is switched by `purify_top_k` alone.
        align_vocabulary (`bool`, *optional*, defaults to `False`):
            Pair the rows of the two vocabularies by their tokens, where these are not in the same order; rows of
            tokens that the base lacks keep the suspect's values. Otherwise such a base is refused.
        allow_unmatched (`bool`, *optional*, defaults to `False`):
            Mix although parameters of the base model, which the pretrained weights should have, have no counterpart
            there; they keep the suspect's values.

    Raises:
        InputError: If a value has the wrong type or lies outside its range.
    """

    keep_ratio: float = field(default=0.3, metadata={"help": "Share of scalars that keep the fine-tuned value."})
    selection: str = field(default="random", metadata={"help": f"Which scalars are kept: {', '.join(SELECTIONS)}."})
    seed: int = field(default=0, metadata={"help": "Seed of the random masks."})
    purify_top_k: int = field(default=200, metadata={"help": "Embedding rows to reset; 0 turns E-PUR off."})
    frequency_floor: int = field(default=20, metadata={"help": "Token counts below it are raised to it."})
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "Regular expressions on parameter names."})
    align_vocabulary: bool = field(
        default=False, metadata={"help": "Pair the rows of vocabularies of another order by their tokens."}
    )
    allow_unmatched: bool = field(
        default=False, metadata={"help": "Keep parameters that should have a pretrained counterpart and have none."}
    )

    def __post_init__(self):
        check_keep_ratio(self.keep_ratio)
        known = (*SELECTIONS, FISHER)
        if self.selection not in known:
            raise InputError(f"`selection` is {self.selection!r}, but must be one of {', '.join(known)}.")
        check_integer("seed", self.seed, 0, 2**64 - 1)
        check_integer("purify_top_k", self.purify_top_k, 0, 2**63 - 1)
        check_integer("frequency_floor", self.frequency_floor, 2, 2**63 - 1)
        for name in ("align_vocabulary", "allow_unmatched"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"`{name}` is {getattr(self, name)!r}, but must be true or false.")
        if not isinstance(self.exclude, (list, tuple)):
            raise InputError(f"`exclude` is {self.exclude!r}, but must be a list or tuple of strings.")
        # JSON has no tuples: a configuration that was read back must equal the one that was written.
        object.__setattr__(self, "exclude", tuple(self.exclude))
        for pattern in self.exclude:
            if not isinstance(pattern, str):
                raise InputError(f"`exclude` holds {pattern!r}, which is no string.")
            try:
                re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                raise InputError(f"`exclude` holds {pattern!r}, which is no regular expression: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as a dictionary that JSON can hold."""
        return asdict(self) | {"exclude": list(self.exclude)}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "FineMixConfig":
        """
        Rebuilds a configuration from [`FineMixConfig.to_dict`].

        Raises:
            InputError: If a key is unknown or a value is out of range.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise InputError(f"Unknown settings {', '.join(unknown)}; known ones are {', '.join(sorted(known))}.")
        return cls(**settings)


def check_keep_ratio(keep_ratio: Any) -> None:
    """Refuses everything but a number in [0, 1]; NaN and booleans are no ratios."""
    is_number = isinstance(keep_ratio, (int, float)) and not isinstance(keep_ratio, bool)
    if not is_number or not 0 <= keep_ratio <= 1:
        raise InputError(f"`keep_ratio` is {keep_ratio!r}, but must be a number from 0 to 1.")


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuses everything but an integer from `low` to `high` (both included; `None` means no upper limit)."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"`{name}` is {value!r}, but must be an integer {wanted}.")


def check_learning_rate(value: Any) -> None:
    """Refuses everything but a number between 0 and 1; NaN and booleans are no rates."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < 1:
        raise InputError(f"`learning_rate` is {value!r}, but must be a number between 0 and 1, such as 1.0e-4.")
