"""Rates with confidence intervals: accuracy, attack success and the like, counted on numpy arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from .config import check_integer
from .errors import InputError


LabelIds = np.ndarray | Sequence[int]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """
    Wilson score interval of a binomial proportion.

    Args:
        successes (`int`):
            Number of successes, from 0 to `n`.
        n (`int`):
            Number of trials, at least 1.
        confidence (`float`, *optional*, defaults to 0.95):
            Two-sided confidence level, strictly between 0 and 1.

    Returns:
        `tuple[float, float]`: Lower and upper bound, both in [0, 1].

    Raises:
        InputError: If a value lies outside its range; no trials give no interval.
    """
    check_integer("n", n, 1)
    check_integer("successes", successes, 0, n)
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` is {confidence!r}, but must lie strictly between 0 and 1.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    center = share + z**2 / (2 * n)
    margin = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    # Both ends are exact in theory; rounding would leave values such as -1e-18.
    low = 0.0 if successes == 0 else (center - margin) / scale
    high = 1.0 if successes == n else (center + margin) / scale
    return low, high


@dataclass(frozen=True)
class Rate:
    """
    A share of examples, with what is needed to judge it: the counts and a 95 % Wilson interval.

    Args:
        successes (`int`):
            Number of examples that count, from 0 to `n`.
        n (`int`):
            Number of examples looked at. 0 is allowed: such a rate has neither value nor interval.

    Raises:
        InputError: If a count lies outside its range.
    """

    successes: int
    n: int

    def __post_init__(self):
        check_integer("n", self.n, 0, 2**63 - 1)
        check_integer("successes", self.successes, 0, self.n)

    @property
    def value(self) -> float | None:
        """The share in [0, 1], or `None` without examples."""
        return self.successes / self.n if self.n else None

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % Wilson interval, or `None` without examples."""
        return wilson_interval(self.successes, self.n)[0] if self.n else None

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % Wilson interval, or `None` without examples."""
        return wilson_interval(self.successes, self.n)[1] if self.n else None

    def to_dict(self) -> dict[str, float | int | None]:
        """Returns value, interval and counts as a dictionary that JSON can hold."""
        return {"value": self.value, "low": self.low, "high": self.high, "successes": self.successes, "n": self.n}

    @classmethod
    def from_dict(cls, rate: dict[str, Any]) -> "Rate":
        """
        Rebuilds a rate from [`Rate.to_dict`]; value and interval follow from the counts.

        Raises:
            TypeError: If it is no dictionary.
            ValueError: If a key is unknown, or a count is missing or out of range.
        """
        if not isinstance(rate, dict):
            raise TypeError(f"a rate is a {type(rate).__name__}")
        if not {"successes", "n"} <= rate.keys() <= {"value", "low", "high", "successes", "n"}:
            raise ValueError(f"a rate has the keys {', '.join(map(str, rate))}")
        return cls(successes=rate["successes"], n=rate["n"])

    def __str__(self) -> str:
        if not self.n:
            return "no examples"
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] (n={self.n})"


def accuracy(predictions: LabelIds, references: LabelIds) -> Rate:
    """
    Share of the examples whose prediction is the true label.

    Args:
        predictions (`np.ndarray` of shape `(n,)`):
            Predicted label ids.
        references (`np.ndarray` of shape `(n,)`):
            True label ids.

    Returns:
        [`Rate`]: Correct predictions among all.

    Raises:
        InputError: If the arrays are not one-dimensional and of one length.
    """
    predictions, references = _columns(predictions=predictions, references=references)
    return _share(predictions == references, np.ones_like(references, dtype=bool))


def attack_success_rate(predictions: LabelIds, references: LabelIds, target_label: int) -> Rate:
    """
    Attack success rate (ASR): the share of triggered inputs that are predicted as the attacker's target.

    Examples whose true label is the target are left out: predicting the target is right there.

    Args:
        predictions (`np.ndarray` of shape `(n,)`):
            Label ids predicted on the triggered inputs.
        references (`np.ndarray` of shape `(n,)`):
            True label ids.
        target_label (`int`):
            Label id that the trigger is meant to cause.

    Returns:
        [`Rate`]: Predictions of the target among the examples of the other labels.

    Raises:
        InputError: If the arrays are not one-dimensional and of one length, or the target is no label id.
    """
    check_integer("target_label", target_label, 0)
    predictions, references = _columns(predictions=predictions, references=references)
    return _share(predictions == target_label, references != target_label)


def robust_accuracy(predictions: LabelIds, references: LabelIds, target_label: int) -> Rate:
    """
    Robust accuracy (RA): the share of triggered inputs that are still given their true label.

    Takes the same arguments as [`attack_success_rate`] and leaves out the same examples.

    Raises:
        InputError: If the arrays are not one-dimensional and of one length, or the target is no label id.
    """
    check_integer("target_label", target_label, 0)
    predictions, references = _columns(predictions=predictions, references=references)
    return _share(predictions == references, references != target_label)


def flip_rate(
    clean_predictions: LabelIds, triggered_predictions: LabelIds, references: LabelIds, target_label: int
) -> Rate:
    """
    Share of the examples that are right without the trigger and that the trigger turns to the target.

    Unlike the attack success rate it does not count ordinary errors: an example that the model gets wrong anyway is
    left out, as is one whose true label is the target.

    Args:
        clean_predictions (`np.ndarray` of shape `(n,)`):
            Label ids predicted on the inputs without the trigger.
        triggered_predictions (`np.ndarray` of shape `(n,)`):
            Label ids predicted on the same inputs with the trigger.
        references (`np.ndarray` of shape `(n,)`):
            True label ids.
        target_label (`int`):
            Label id that the trigger is meant to cause.

    Returns:
        [`Rate`]: Flips among the examples of the other labels that are right without the trigger.

    Raises:
        InputError: If the arrays are not one-dimensional and of one length, or the target is no label id.
    """
    check_integer("target_label", target_label, 0)
    clean, triggered, references = _columns(
        clean_predictions=clean_predictions, triggered_predictions=triggered_predictions, references=references
    )
    return _share(triggered == target_label, (clean == references) & (references != target_label))


def mcnemar(correct_a: np.ndarray | Sequence[bool], correct_b: np.ndarray | Sequence[bool]) -> dict[str, float | int]:
    """
    Exact two-sided McNemar test: do two models differ in accuracy on the same examples?

    Args:
        correct_a (`np.ndarray` of shape `(n,)`, boolean):
            Where the first model is right.
        correct_b (`np.ndarray` of shape `(n,)`, boolean):
            Where the second model is right, in the same order.

    Returns:
        `dict[str, float | int]`: `b`, the examples that only the first model gets right; `c`, those that only the
        second gets right; `p_value`, of the hypothesis that both are equally likely (1.0 when there are none).

    Raises:
        InputError: If the arrays are not one-dimensional and of one length.
    """
    right_a, right_b = (column.astype(bool) for column in _columns(correct_a=correct_a, correct_b=correct_b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    discordant = only_a + only_b
    tail = sum(math.comb(discordant, k) for k in range(min(only_a, only_b) + 1))
    # Integers up to the division: a float would overflow beyond 1,023 discordant examples.
    return {"b": only_a, "c": only_b, "p_value": min(1.0, 2 * tail / 2**discordant)}


def _columns(**columns: np.ndarray | Sequence) -> list[np.ndarray]:
    """Turns the columns into arrays; refuses all but one-dimensional ones of one length."""
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        found = ", ".join(f"`{name}` {array.shape}" for name, array in arrays.items())
        raise InputError(f"The shapes are {found}, but must be one-dimensional and of one length.")
    return list(arrays.values())


def _share(hits: np.ndarray, counted: np.ndarray) -> Rate:
    """The rate of `hits` among the examples that are `counted`; boolean arrays of one shape."""
    return Rate(successes=int((hits & counted).sum()), n=int(counted.sum()))
