"""What a purification is asked to do, and with what, checked before anything is done."""

from collections.abc import Sequence
from dataclasses import replace

from datasets import Dataset
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from .attacks.trigger import Trigger
from .choices import AUTO
from .config import FineMixConfig
from .errors import InputError
from .generators.triggers import ResponseTrigger
from .loading import Checkpoint
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


def check_task(model: PreTrainedModel, what: str) -> None:
    """
    Checks that a model gives each text one of several labels.

    Raises:
        InputError: If it is a regression or a multi-label model.
    """
    kind = model.config.problem_type
    if model.config.num_labels < 2 or kind in ("regression", "multi_label_classification"):
        raise InputError(f"{what} is no single-label classifier ({kind or 'one output'}); none else is supported.")


def check_texts(unlabeled: Dataset, clean: Dataset) -> None:
    """
    Checks that there are unlabelled texts, and that they are pairs just as the clean examples are.

    Raises:
        InputError: If not.
    """
    if not len(unlabeled):
        raise InputError("--unlabeled-data has no rows; leave it out, or give clean texts.")
    pairs = ["text_pair" in examples.column_names for examples in (unlabeled, clean)]
    if pairs[0] != pairs[1]:
        kinds = ["pairs of texts" if is_pair else "single texts" for is_pair in pairs]
        raise InputError(f"--unlabeled-data holds {kinds[0]}, but --clean-data {kinds[1]}; give the same kind.")


def check_labels(config: PreTrainedConfig, clean_model: Checkpoint) -> None:
    """
    Checks that a clean model has the labels of the suspect, under the same ids.

    Raises:
        InputError: If it has others.
    """
    names = AutoConfig.for_model(**clean_model.config).id2label
    if names != config.id2label:
        raise InputError(
            f"--clean-model {clean_model.source!r} has the labels {list(names.values())}, but the suspect "
            f"{list(config.id2label.values())}; give a model of the same labels, in the same order."
        )
