"""Reports of jobs that `purify` did not run: a `FineMixTrainer`'s, and that of a model with the mixin."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset as ArrowDataset
from transformers import PreTrainedModel, TrainingArguments

from .adapter_training import describe_adapter, is_adapted
from .config import FineMixConfig
from .provenance import Provenance, Sources
from .recompute import all_tensors
from .report import Evaluation
from .results import DataRecord, PurificationReport, environment
from .trust import is_trusted
from .twin import unwrap


if TYPE_CHECKING:
    from .trainer import FineMixTrainer


# Arguments that the weights depend on. The others say where to write and what to log, and may hold paths and tokens.
_ALWAYS = ("num_train_epochs", "learning_rate", "per_device_train_batch_size", "seed")
_IF_CHANGED = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "average_tokens_across_devices",
    "bf16",
    "auto_find_batch_size",
    "data_seed",
    "dataloader_drop_last",
    "fp16",
    "full_determinism",
    "gradient_accumulation_steps",
    "greater_is_better",
    "label_smoothing_factor",
    "load_best_model_at_end",
    "lr_scheduler_kwargs",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "metric_for_best_model",
    "neftune_noise_alpha",
    "optim",
    "optim_args",
    "optim_target_modules",
    "tf32",
    "torch_compile",
    "train_sampling_strategy",
    "use_liger_kernel",
    "warmup_steps",
    "weight_decay",
)
# A clean set is small; what is larger may take long to read, pictures above all.
_MOST_ROWS = 10_000
# What `Trainer` adds to the metrics that a script computes.
_RUN_TIME = ("runtime", "samples_per_second", "steps_per_second")


def training_settings(args: TrainingArguments, config: FineMixConfig, frequencies: str | None) -> dict[str, Any]:
    """Returns the settings that the weights depend on, fit for `FineMixTrainingArguments(output_dir, **settings)`."""
    given = args.to_dict()
    usual = {item.name: item.default for item in fields(TrainingArguments)}
    settings = {name: given[name] for name in _ALWAYS}
    settings |= {name: given[name] for name in _IF_CHANGED if getattr(args, name) != usual[name]}
    mixing = config.to_dict()
    return {
        "keep_ratio": mixing["keep_ratio"],
        "selection": mixing["selection"],
        "mix_seed": mixing["seed"],
        "purify_top_k": mixing["purify_top_k"],
        "frequency_floor": mixing["frequency_floor"],
        "frequencies": frequencies or "vocabulary",
        "mix_exclude": mixing["exclude"],
        "align_vocabulary": mixing["align_vocabulary"],
        "allow_unmatched": mixing["allow_unmatched"],
    } | settings


def describe_dataset(dataset: Any) -> DataRecord | None:
    """
    Describes a data set of a trainer: rows and, if they are not too many, the sha256 of their content.

    Returns:
        [`~hf_finemix.results.DataRecord`], *optional*: The record; `None` for what is not one data set with a length.
    """
    if not hasattr(dataset, "__len__") or isinstance(dataset, Mapping):
        return None
    name = "in-memory data set"
    if isinstance(dataset, ArrowDataset):
        name = dataset.info.dataset_name or name
        # Columns are read as plain lists, whatever format they are asked for in.
        dataset = dataset.with_format(None)
    if len(dataset) > _MOST_ROWS:
        return DataRecord(name, len(dataset), None)
    digest = hashlib.sha256()
    try:
        # Not every data set of torch ends when it is simply iterated over.
        for index in range(len(dataset)):
            digest.update(json.dumps(dataset[index], sort_keys=True, default=_listed).encode() + b"\n")
    except Exception:  # a data set of a user's own can fail in any way, and the training is done
        return DataRecord(name, len(dataset), None)
    return DataRecord(name, len(dataset), digest.hexdigest())


def _listed(value: Any) -> Any:
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no plain form")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def script_metrics(history: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the figures of the last evaluation in a trainer's log, without its run time."""
    last = next((entry for entry in reversed(history) if "eval_runtime" in entry), {})
    return {
        name: float(value)
        for name, value in last.items()
        if name.startswith("eval_") and not name.endswith(_RUN_TIME) and _is_finite(value)
    }


def trainer_report(
    trainer: "FineMixTrainer", provenance: Provenance, sources: Sources, evaluations: dict[str, Evaluation] | None
) -> PurificationReport:
    """
    Makes the report of a trainer's job.

    Args:
        trainer ([`~hf_finemix.FineMixTrainer`]): The trainer.
        provenance ([`~hf_finemix.provenance.Provenance`]): How its model came to be.
        sources ([`~hf_finemix.provenance.Sources`]): The inputs, as far as they were found.
        evaluations (`dict[str, Evaluation]`, *optional*): Figures by model, `"suspect"` and `"purified"` among them.
    """
    versions = environment()
    if trainer.args.world_size > 1:
        versions["processes"] = str(trainer.args.world_size)
    report = _report(unwrap(trainer.model), provenance, sources, evaluations)
    measured = describe_dataset(trainer.eval_dataset) if evaluations else None
    if measured is not None and measured.rows != report.evaluation_data.rows:
        # The figures were measured on something else.
        measured = None
    adapter = describe_adapter(trainer.model) if is_adapted(trainer.model) else None
    return replace(
        report,
        made_by="FineMixTrainer",
        fine_tuned=trainer.state.global_step > 0
        or (adapter is None and all_tensors(trainer.model) != provenance.weights),
        trained_adapter=adapter,
        training=training_settings(trainer.args, provenance.mix.config, provenance.frequencies),
        metrics=script_metrics(trainer.state.log_history),
        clean_data=describe_dataset(trainer.train_dataset),
        evaluation_data=measured or report.evaluation_data,
        environment=versions,
    )


def mixin_report(
    model: PreTrainedModel, provenance: Provenance, sources: Sources, evaluations: dict[str, Evaluation] | None
) -> PurificationReport:
    """
    Makes the report of a model that was mixed by the mixin's methods; takes what [`trainer_report`] takes.

    Whether the model was trained further shows in its tensors.
    """
    fine_tuned = all_tensors(model) != provenance.weights
    return replace(_report(model, provenance, sources, evaluations), made_by="FineMixMixin", fine_tuned=fine_tuned)


def _report(
    model: PreTrainedModel, provenance: Provenance, sources: Sources, evaluations: dict[str, Evaluation] | None
) -> PurificationReport:
    measured = None
    if evaluations:
        measured = DataRecord("in-memory data set", next(iter(evaluations.values())).accuracy.n, None)
    return PurificationReport(
        suspect=sources.suspect.label,
        pretrained=sources.pretrained.label,
        architecture=provenance.architecture,
        labels=dict(model.config.id2label),
        mix=provenance.mix,
        purify=provenance.purify,
        evaluation_data=measured,
        trusted_base=is_trusted(sources.pretrained.repo_id),
        evaluations=evaluations or {},
        licenses=sources.licenses,
        environment=environment(),
    )
