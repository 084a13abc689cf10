"""Measures a model: its accuracy, and what triggers do to it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .attacks.trigger import Trigger
from .config import check_integer
from .data import tokenize
from .errors import InputError
from .progress import Bar
from .rates import accuracy, attack_success_rate, flip_rate, robust_accuracy
from .report import Evaluation, TriggerEvaluation


def evaluate_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    triggers: Sequence[Trigger] = (),
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """
    Measures accuracy, and for each trigger attack success rate, robust accuracy and flip rate.

    Args:
        model (`PreTrainedModel`):
            A sequence classifier. It is left as it was, on its device.
        tokenizer (`PreTrainedTokenizerBase`):
            Its tokenizer.
        examples (`datasets.Dataset`):
            Clean examples with the columns `text`, maybe `text_pair`, and `label`.
        triggers (`Sequence[Trigger]`, *optional*, defaults to `()`):
            Triggers to try, one after the other.
        batch_size (`int`, *optional*, defaults to 64):
            Number of examples in one forward pass.
        max_length (`int`, *optional*):
            Longest input in tokens. Defaults to the tokenizer's limit.
        progress (`bool`, *optional*, defaults to `False`):
            Whether to show progress bars on standard error.

    Returns:
        [`Evaluation`]: With one entry per trigger, in their order.

    Raises:
        InputError: If a trigger's target is no label of the model.
        RuntimeError: If the model gives logits that are not finite.
    """
    options = {"batch_size": batch_size, "max_length": max_length, "progress": progress}
    return measure(model, tokenizer, examples, triggers, **options).evaluation


@dataclass(frozen=True)
class Predictions:
    """
    What a model predicted, and the figures that follow from it.

    Args:
        clean (`np.ndarray` of shape `(n,)`, int64): Label ids of the examples without a trigger.
        triggered (`tuple[np.ndarray, ...]`):
            For each trigger, the label ids of the examples of other labels than its target, in their order.
        evaluation ([`Evaluation`]): The figures.
    """

    clean: np.ndarray
    triggered: tuple[np.ndarray, ...]
    evaluation: Evaluation


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    triggers: Sequence[Trigger] = (),
    **options: Any,
) -> Predictions:
    """
    Does what [`evaluate_model`] does and takes what it takes, but gives the predictions, too.

    Raises:
        InputError: If a trigger's target is no label of the model.
        RuntimeError: If the model gives logits that are not finite.
    """
    for trigger in triggers:
        _check_target(trigger, model.config.num_labels)
    references = np.array(list(examples["label"]))
    clean = predict(model, tokenizer, examples, desc="clean", **options)
    evaluations, predictions = [], []
    for trigger in triggers:
        # Examples of the target label count for none of the three rates. The trigger is applied before they are left
        # out, so that its position in a text does not depend on the target.
        others = np.flatnonzero(references != trigger.target_label)
        triggered = predict(
            model, tokenizer, trigger.apply(examples).select(others), desc=f"trigger {trigger.text!r}", **options
        )
        predictions.append(triggered)
        evaluations.append(
            TriggerEvaluation(
                trigger=trigger.text,
                position=trigger.place,
                target_label=trigger.target_label,
                asr=attack_success_rate(triggered, references[others], trigger.target_label),
                ra=robust_accuracy(triggered, references[others], trigger.target_label),
                flip_rate=flip_rate(clean[others], triggered, references[others], trigger.target_label),
                seed=trigger.seed,
            )
        )
    evaluation = Evaluation(accuracy=accuracy(clean, references), triggers=tuple(evaluations))
    return Predictions(clean, tuple(predictions), evaluation)


def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Dataset,
    *,
    batch_size: int = 64,
    max_length: int | None = None,
    progress: bool = False,
    desc: str = "",
) -> np.ndarray:
    """
    Predicts the label of each example.

    Args:
        model (`PreTrainedModel`):
            A sequence classifier. It runs in evaluation mode on its own device and is left as it was.
        tokenizer (`PreTrainedTokenizerBase`):
            Its tokenizer, with a padding token.
        examples (`datasets.Dataset`):
            Examples with a column `text` and maybe `text_pair`; labels are not looked at.
        batch_size (`int`, *optional*, defaults to 64):
            Number of examples in one forward pass.
        max_length (`int`, *optional*):
            Longest input in tokens. Defaults to the tokenizer's limit.
        progress (`bool`, *optional*, defaults to `False`):
            Whether to show a progress bar on standard error.
        desc (`str`, *optional*, defaults to `""`):
            What the progress bar is called.

    Returns:
        `np.ndarray` of shape `(n,)`, int64: Label ids, in the order of the examples.

    Raises:
        InputError: If `batch_size` is below 1.
        RuntimeError: If the model gives logits that are not finite.
    """
    check_integer("batch_size", batch_size, 1)
    if not len(examples):
        return np.empty(0, dtype=np.int64)
    inputs = tokenize(examples, tokenizer, max_length).to_dict()
    inputs.pop("labels", None)
    options = {"batch_size": batch_size, "progress": progress, "desc": desc}
    return compute_logits(model, tokenizer, inputs, **options).argmax(axis=-1)


def compute_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Mapping[str, Sequence[Sequence[int]]],
    *,
    batch_size: int = 64,
    progress: bool = False,
    desc: str = "",
) -> np.ndarray:
    """
    Runs a classifier on inputs of different lengths.

    Args:
        model (`PreTrainedModel`):
            A sequence classifier. It runs in evaluation mode on its own device and is left as it was.
        tokenizer (`PreTrainedTokenizerBase`):
            Its tokenizer, which pads.
        inputs (`Mapping[str, Sequence[Sequence[int]]]`):
            `input_ids` and what else the tokenizer gave, unpadded, at least one row.
        batch_size, progress, desc: As for [`predict`].

    Returns:
        `np.ndarray` of shape `(n, labels)`, float32.

    Raises:
        RuntimeError: If the model gives logits that are not finite.
    """
    # Longest first: batches need little padding, and a lack of memory shows at once.
    order = sorted(range(len(inputs["input_ids"])), key=lambda i: len(inputs["input_ids"][i]), reverse=True)
    found = np.empty((len(order), model.config.num_labels), dtype=np.float32)
    bar = Bar(len(order), desc, progress)
    with evaluation_mode(model), torch.inference_mode(), bar:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            unpadded = {name: [column[i] for i in rows] for name, column in inputs.items()}
            batch = tokenizer.pad(unpadded, return_tensors="pt")
            logits = model(**batch.to(model.device)).logits
            # The largest of NaNs is some label: a broken model would look like a purified one.
            if not torch.isfinite(logits).all():
                raise RuntimeError("The model gives logits that are not finite; its weights are damaged.")
            found[rows] = logits.float().cpu().numpy()
            bar.update(len(rows))
    return found


def longest_input(wanted: int, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    """Returns the wanted number of tokens, or less if tokenizer or model cannot take so many."""
    positions = getattr(model.config, "max_position_embeddings", None) or wanted
    return min(wanted, tokenizer.model_max_length, positions)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode, and each of its modules back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_target(trigger: Trigger, num_labels: int) -> None:
    if trigger.target_label >= num_labels:
        raise InputError(
            f"`target_label` is {trigger.target_label}, but must be a label of the model, from 0 to {num_labels - 1}."
        )
