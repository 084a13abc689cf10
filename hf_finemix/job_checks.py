"""What a purification is asked to do, checked before anything is loaded or done."""

from collections.abc import Sequence
from dataclasses import replace

from .attacks.trigger import Trigger
from .choices import AUTO
from .config import FineMixConfig
from .errors import InputError
from .generators.triggers import ResponseTrigger
from .results import Distillation


def check_distillation(unlabeled: bool, distillation: Distillation) -> None:
    """
    Refuses texts without labels where nothing would be learned from them.

    Raises:
        InputError: If there are some and the distillation has no epochs.
    """
    if unlabeled and not distillation.epochs:
        raise InputError("--unlabeled-data is used by the distillation, which has 0 epochs; leave one of them out.")


def with_ratio(config: FineMixConfig, keep_ratio: float | str | None) -> FineMixConfig:
    """
    Returns settings with another reserve ratio, if one is given; `"auto"` leaves it to the search.

    Raises:
        InputError: If it is neither a ratio nor `"auto"`.
    """
    if keep_ratio is None or keep_ratio == AUTO:
        return config
    if isinstance(keep_ratio, str):
        raise InputError(f"`keep_ratio` is {keep_ratio!r}, but must be a number from 0 to 1, or {AUTO!r}.")
    return replace(config, keep_ratio=keep_ratio)


def check_kind(triggers: Sequence[Trigger | ResponseTrigger], answers: bool, auto: bool) -> None:
    """
    Checks that triggers, and the way to choose the reserve ratio, are of the kind that a model has.

    Raises:
        InputError: If a classifier is to say a text, or a language model to give a label or to be searched.
    """
    if answers and auto:
        raise InputError("--keep-ratio auto is for classifiers; of a language model, compare some ratios yourself.")
    if any(isinstance(trigger, ResponseTrigger) != answers for trigger in triggers):
        raise InputError(
            "The suspect is a language model, whose triggers aim at a text (--target-text, --match)."
            if answers
            else "The suspect is a classifier, whose triggers aim at a label (--target-label)."
        )
