"""Examples that suspect and purified model label differently: kept in the HTML report, and never published."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from .attacks.trigger import Trigger
from .errors import InputError
from .evaluation import Predictions
from .rates import mcnemar
from .serialization import Record


# How many examples are kept of each comparison, and how much of a text.
_MOST, _LONGEST = 50, 400


@dataclass(frozen=True)
class Difference(Record):
    """
    One example that two models label differently.

    Args:
        text (`str`): The text as the models read it, the trigger included; its first 400 characters.
        text_pair (`str`, *optional*): The second text of a pair, the same.
        label (`int`): Its true label.
        before (`int`): The suspect's prediction.
        after (`int`): The purified model's.
    """

    text: str
    text_pair: str | None
    label: int
    before: int
    after: int


@dataclass(frozen=True)
class Comparison(Record):
    """
    Two models on the same examples.

    Args:
        trigger (`str`, *optional*): What was put into the texts; `None` of the texts as they are.
        examples (`int`): Number of examples.
        changed (`int`): How many of them the models label differently.
        only_before (`int`): How many only the suspect labels right.
        only_after (`int`): How many only the purified model labels right.
        p_value (`float`): Exact two-sided McNemar test of both being equally likely.
        differences (`tuple[Difference, ...]`): The first of the examples with different labels.
    """

    trigger: str | None
    examples: int
    changed: int
    only_before: int
    only_after: int
    p_value: float
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Differences(Record):
    """The comparisons (`tuple[Comparison, ...]`): without a trigger, then one for each trigger."""

    comparisons: tuple[Comparison, ...]


def compare_predictions(
    examples: Dataset, triggers: Sequence[Trigger], before: Predictions, after: Predictions
) -> Differences:
    """
    Compares the predictions of two models on the same examples.

    Args:
        examples (`datasets.Dataset`): The examples: `text`, maybe `text_pair`, and `label`.
        triggers (`Sequence[Trigger]`): The triggers that were measured.
        before ([`~hf_finemix.evaluation.Predictions`]): Of the suspect, from [`~hf_finemix.evaluation.measure`].
        after ([`~hf_finemix.evaluation.Predictions`]): Of the purified model, on the same examples.

    Raises:
        InputError: If the two are not of the same examples and triggers.
    """
    if len(before.triggered) != len(triggers) or [len(each) for each in (before.clean, *before.triggered)] != [
        len(each) for each in (after.clean, *after.triggered)
    ]:
        raise InputError("`before` and `after` are not of the same examples and triggers; measure both with the same.")
    references = np.array(list(examples["label"]))
    comparisons = [_compare(None, examples, references, before.clean, after.clean)]
    for trigger, *predicted in zip(triggers, before.triggered, after.triggered, strict=True):
        others = np.flatnonzero(references != trigger.target_label)
        comparisons.append(
            _compare(trigger.text, trigger.apply(examples).select(others), references[others], *predicted)
        )
    return Differences(tuple(comparisons))


def _compare(
    trigger: str | None, examples: Dataset, references: np.ndarray, before: np.ndarray, after: np.ndarray
) -> Comparison:
    changed = np.flatnonzero(before != after)
    test = mcnemar(before == references, after == references)
    shown = changed[:_MOST]
    return Comparison(
        trigger,
        len(references),
        len(changed),
        test["b"],
        test["c"],
        test["p_value"],
        tuple(
            Difference(
                row["text"][:_LONGEST],
                None if row.get("text_pair") is None else row["text_pair"][:_LONGEST],
                int(references[number]),
                int(before[number]),
                int(after[number]),
            )
            for number, row in zip(shown, examples.select(shown.tolist()), strict=True)
        ),
    )
