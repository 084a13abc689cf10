"""Accuracy and attack success for `evaluate`, as classes that need no network, and for `Trainer`."""

from collections.abc import Callable

import evaluate
import numpy as np
from datasets import Features, Value
from transformers import EvalPrediction

from .config import check_integer
from .rates import (
    Rate,
    accuracy,
    attack_success_rate,
    flip_rate,
    mcnemar,
    robust_accuracy,
    wilson_interval,
)


__all__ = [
    "AttackSuccessRate",
    "CleanAccuracy",
    "FlipRate",
    "RobustAccuracy",
    "compute_metrics",
    "make_compute_metrics",
    # What they count with.
    "Rate",
    "accuracy",
    "attack_success_rate",
    "flip_rate",
    "mcnemar",
    "robust_accuracy",
    "wilson_interval",
]

Metrics = dict[str, float | int | None]


class RateMetric(evaluate.Metric):
    """
    Base of the metrics below: counts a [`Rate`] and reports its value, 95 % Wilson interval and n.

    `compute` returns `{key: value, key_low: ..., key_high: ..., key_n: ...}`; value and interval are `None` when no
    example counts. `evaluate.combine` hands every keyword to every metric, so all of them accept `target_label` and
    `clean_predictions`, also those that need neither.

    Args:
        target_label (`int`, *optional*):
            Label id that the trigger is meant to cause. May be given to `compute` instead, which takes precedence.
        kwargs (additional keyword arguments, *optional*):
            Passed to `evaluate.Metric`.
    """

    key: str
    description_text: str
    inputs: dict[str, str] = {
        "predictions": "Predicted label ids.",
        "references": "True label ids.",
    }

    def __init__(self, target_label: int | None = None, **kwargs):
        if target_label is not None:
            check_integer("target_label", target_label, 0)
        self.target_label = target_label
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        inputs = "".join(f"\n    {name} (`list[int]`):\n        {text}" for name, text in self.inputs.items())
        return evaluate.MetricInfo(
            description=self.description_text,
            citation="",
            inputs_description=f"\n\nArgs:{inputs}",
            features=Features({name: Value("int64") for name in self.inputs}),
            format="numpy",
        )

    def _compute(
        self,
        predictions: np.ndarray,
        references: np.ndarray,
        clean_predictions: np.ndarray | None = None,
        target_label: int | None = None,
    ) -> Metrics:
        target_label = self.target_label if target_label is None else target_label
        return flatten(self.key, self._count(predictions, references, clean_predictions, target_label))

    def _count(
        self,
        predictions: np.ndarray,
        references: np.ndarray,
        clean_predictions: np.ndarray | None,
        target_label: int | None,
    ) -> Rate:
        raise NotImplementedError


class CleanAccuracy(RateMetric):
    """
    Accuracy (ACC) with its interval, as an `evaluate.Metric`. Needs no target label.

    Example:

    ```py
    >>> from hf_finemix.metrics import CleanAccuracy

    >>> CleanAccuracy().compute(predictions=[0, 1], references=[0, 0])["clean_accuracy"]
    0.5
    ```
    """

    key = "clean_accuracy"
    description_text = "Share of the examples whose prediction is the true label."

    def _count(self, predictions, references, clean_predictions, target_label):
        return accuracy(predictions, references)


class AttackSuccessRate(RateMetric):
    """
    Attack success rate (ASR) with its interval, as an `evaluate.Metric`; see [`attack_success_rate`].

    Example:

    ```py
    >>> from hf_finemix.metrics import AttackSuccessRate

    >>> metric = AttackSuccessRate(target_label=1)
    >>> result = metric.compute(predictions=[1, 1, 0, 1], references=[0, 0, 0, 1])
    >>> result["attack_success_rate_n"]
    3
    ```
    """

    key = "attack_success_rate"
    description_text = "Share of triggered inputs of the other labels that are predicted as the target label."

    def _count(self, predictions, references, clean_predictions, target_label):
        return attack_success_rate(predictions, references, target_label)


class RobustAccuracy(RateMetric):
    """Robust accuracy (RA) with its interval, as an `evaluate.Metric`; see [`robust_accuracy`]."""

    key = "robust_accuracy"
    description_text = "Share of triggered inputs of the other labels that are still given their true label."

    def _count(self, predictions, references, clean_predictions, target_label):
        return robust_accuracy(predictions, references, target_label)


class FlipRate(RateMetric):
    """
    Flip rate with its interval, as an `evaluate.Metric`; see [`flip_rate`].

    `predictions` are those on the triggered inputs; those without the trigger come in as `clean_predictions`.
    """

    key = "flip_rate"
    description_text = "Share of the inputs that are right without the trigger and that it turns to the target label."
    inputs = {**RateMetric.inputs, "clean_predictions": "Label ids predicted without the trigger."}

    def _count(self, predictions, references, clean_predictions, target_label):
        return flip_rate(clean_predictions, predictions, references, target_label)


def flatten(key: str, rate: Rate) -> Metrics:
    """Spells a rate out as flat metrics: `key`, `key_low`, `key_high` and `key_n`."""
    return {key: rate.value, f"{key}_low": rate.low, f"{key}_high": rate.high, f"{key}_n": rate.n}


def compute_metrics(eval_prediction: EvalPrediction) -> Metrics:
    """
    Accuracy with interval and n, for `Trainer(compute_metrics=compute_metrics)`.

    Args:
        eval_prediction (`transformers.EvalPrediction`):
            Logits of shape `(n, num_labels)`, or a tuple that starts with them, and label ids of shape `(n,)`.

    Returns:
        `dict`: `accuracy`, `accuracy_low`, `accuracy_high` and `accuracy_n`.
    """
    return flatten("accuracy", accuracy(_predicted_labels(eval_prediction), eval_prediction.label_ids))


def make_compute_metrics(target_label: int | None = None) -> Callable[[EvalPrediction], Metrics]:
    """
    Returns a function for `Trainer(compute_metrics=...)`.

    Args:
        target_label (`int`, *optional*):
            For an evaluation set that carries a trigger: the label id it is meant to cause. The function then reports
            attack success rate and robust accuracy. Without it, it is [`compute_metrics`].

    Raises:
        InputError: If the target is no label id.
    """
    if target_label is None:
        return compute_metrics
    check_integer("target_label", target_label, 0)

    def compute_attack_metrics(eval_prediction: EvalPrediction) -> Metrics:
        predictions, references = _predicted_labels(eval_prediction), eval_prediction.label_ids
        return {
            **flatten("attack_success_rate", attack_success_rate(predictions, references, target_label)),
            **flatten("robust_accuracy", robust_accuracy(predictions, references, target_label)),
        }

    return compute_attack_metrics


def _predicted_labels(eval_prediction: EvalPrediction) -> np.ndarray:
    """The most likely label id of each example. Models with further outputs hand over a tuple, logits first."""
    logits = eval_prediction.predictions
    return (logits[0] if isinstance(logits, tuple) else logits).argmax(axis=-1)
