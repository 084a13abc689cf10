"""What is measured in a job: suspect, purified model and clean model on the evaluation data."""

from collections.abc import Iterator, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .attacks.trigger import Trigger
from .evaluation import Predictions, longest_input, measure
from .generators.measuring import evaluate_generator
from .generators.triggers import ResponseTrigger
from .job import Job
from .model_loading import is_generator, load_model, load_tokenizer
from .report import Evaluation


def measure_job(
    job: Job,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    triggers: Sequence[Trigger | ResponseTrigger],
    **options: Any,
) -> tuple[Evaluation, Predictions | None]:
    """
    Measures a model on the evaluation data of a job.

    Args:
        job ([`~hf_finemix.job.Job`]): The job, with evaluation data.
        model ([`~transformers.PreTrainedModel`]): The model; left as it is.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        triggers (`Sequence[Trigger]` or `Sequence[ResponseTrigger]`): Triggers to try.
        options: `max_length` and `progress` of [`~hf_finemix.evaluate_model`].

    Returns:
        `tuple[Evaluation, Predictions | None]`: The figures, and of a classifier what it predicted.
    """
    if is_generator(job.suspect):
        return evaluate_generator(model, tokenizer, job.evaluation, triggers=triggers, **options), None
    predictions = measure(model, tokenizer, job.evaluation, triggers, **options)
    return predictions.evaluation, predictions


def measure_baseline(job: Job, triggers: Sequence[Trigger | ResponseTrigger], **options: Any) -> Evaluation:
    """Measures the clean model of a job, which has its own tokenizer."""
    model = load_model(job.clean_model, "--clean-model", is_generator(job.suspect))
    tokenizer = load_tokenizer(job.clean_model, "--clean-model")
    limit = longest_input(options["max_length"], tokenizer, model)
    return measure_job(job, model, tokenizer, triggers, **options | {"max_length": limit})[0]


def count_shared(evaluation: Dataset, trained_on: Dataset) -> int:
    """Returns how many of the evaluation examples were trained on, too."""
    seen = set(_texts(trained_on))
    return sum(text in seen for text in _texts(evaluation))


def _texts(examples: Dataset) -> Iterator[tuple[str, str | None]]:
    return ((row["text"], row.get("text_pair")) for row in examples)
