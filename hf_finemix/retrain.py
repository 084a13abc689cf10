"""The fine-tuning of a purified model done again, to see how far weights and figures are from the published ones."""

import math
from pathlib import Path

import torch
from datasets import Dataset

from .attacks.trigger import Trigger
from .choices import POSITIONS
from .errors import InputError
from .generators.triggers import ResponseTrigger
from .job import prepare
from .job_checks import check_kind
from .loading import Checkpoint
from .manifest import Manifest
from .model_loading import is_generator
from .pipeline import run
from .published import PublishedFolder
from .rates import Rate
from .readers import HUB_DATASET
from .recompute import mix_again, named_tensors
from .report import Evaluation, TriggerEvaluation
from .results import DataRecord, Distillation, load_report
from .verification import DIFFERENT, NOT_AVAILABLE, SAME, Check


# Sums are rounded in another order on another machine, and training carries the difference on: 6e-5 was the most that
# other thread counts and instruction sets made of it (examples/benchmark/verification.md).
_TOLERANCE = 0.01

Data = str | Path | Dataset


def retrain(
    published: PublishedFolder,
    manifest: Manifest,
    inputs: dict[str, Checkpoint],
    clean_dataset: Data | None,
    evaluation_dataset: Data | None,
    unlabeled_dataset: Data | None,
    progress: bool,
) -> list[Check]:
    """
    Repeats the whole job with the recorded recipe, and compares.

    Args:
        published ([`~hf_finemix.published.PublishedFolder`]): The model.
        manifest ([`~hf_finemix.manifest.Manifest`]): Its manifest.
        inputs (`dict[str, Checkpoint]`): `"suspect"` and `"pretrained"`.
        clean_dataset (`str`, `Path` or `datasets.Dataset`, *optional*): The clean data, if not on the Hub.
        evaluation_dataset (`str`, `Path` or `datasets.Dataset`, *optional*): The same for the evaluation data.
        unlabeled_dataset (`str`, `Path` or `datasets.Dataset`, *optional*): The same for the texts without labels.
        progress (`bool`): Show progress bars on standard error.

    Returns:
        `list[Check]`: A line on the weights and, if the evaluation data are at hand, one on each figure.
    """
    try:
        if manifest.recipe is None or manifest.clean_data is None:
            raise InputError("it was not `purify` that fine-tuned the model")
        if manifest.recipe.frequencies not in ("vocabulary", "wordfreq"):
            raise InputError(f"the token counts of {manifest.recipe.frequencies!r} are not part of the model")
        report = load_report(published.folder)
        clean = _find("--clean-data", manifest.clean_data, clean_dataset)
        unlabeled = None
        if manifest.unlabeled_data is not None:
            unlabeled = _find("--unlabeled-data", manifest.unlabeled_data, unlabeled_dataset)
        evaluation = None
        if manifest.evaluation_data is not None:
            try:
                evaluation = _find("--eval-data", manifest.evaluation_data, evaluation_dataset)
            except InputError:
                if evaluation_dataset is not None:
                    raise
        job = prepare(
            inputs["suspect"].folder,
            inputs["pretrained"].folder,
            clean,
            config=manifest.config,
            text_columns=manifest.clean_data.text_columns,
            label_column=manifest.clean_data.label_column,
            evaluation_dataset=evaluation,
            unlabeled_dataset=unlabeled,
            # What was mixed was mixed; whether that was wise is not the question here.
            allow_unrelated=True,
        )
        recorded_data = (manifest.clean_data, manifest.evaluation_data, manifest.unlabeled_data)
        for record, again in zip(recorded_data, job.records, strict=True):
            if again is not None and again.fingerprint != record.fingerprint:
                return [
                    Check("fine-tuning", record.name, DIFFERENT, "these are other examples than the recorded ones")
                ]
    except InputError as error:
        # What the user gave is the user's mistake; what the publisher wrote is not.
        given = {
            "--clean-data": clean_dataset,
            "--eval-data": evaluation_dataset,
            "--unlabeled-data": unlabeled_dataset,
        }
        if any(data is not None and str(error).startswith(argument) for argument, data in given.items()):
            raise
        return [Check("fine-tuning", "weights", NOT_AVAILABLE, str(error))]
    recorded = report.evaluations.get("purified")
    triggers = []
    unknown = recorded is not None and any(item.position not in POSITIONS for item in recorded.triggers)
    if evaluation is not None and recorded is not None and not unknown:
        try:
            triggers = [_trigger(item) for item in recorded.triggers]
            check_kind(triggers, is_generator(job.suspect), False)
        except (InputError, TypeError) as error:
            return [Check("fine-tuning", "figures", DIFFERENT, str(error))]
    mixed = named_tensors(job.model)
    mixed |= mix_again(
        job.model,
        job.load_twin(),
        manifest.config,
        [record.name for record in job.plan.mixed],
        manifest.embedding,
        manifest.purified_rows,
    )
    mixed = {name: tensor.clone() for name, tensor in mixed.items()}
    # A model of an earlier release has no such step.
    distillation = manifest.distillation or Distillation(epochs=0)
    result = run(job, manifest.recipe, distillation=distillation, triggers=triggers, progress=progress)
    checks = [_compare_weights(published, named_tensors(result.model), mixed)]
    if recorded is not None and evaluation is None:
        checks.append(Check("fine-tuning", "figures", NOT_AVAILABLE, "say where the data are with --eval-data"))
    elif unknown:
        checks.append(Check("fine-tuning", "figures", NOT_AVAILABLE, "a trigger is no text that is put in at a place"))
    elif recorded is not None:
        checks += _compare_figures(recorded, result.report.evaluations["purified"])
    return checks


def _trigger(item: TriggerEvaluation) -> Trigger | ResponseTrigger:
    if item.match is None:
        return Trigger(item.trigger, item.target_label, item.position, item.seed)
    return ResponseTrigger(item.trigger, item.target_text, item.match, item.position, item.seed)


def _find(argument: str, record: DataRecord, given: Data | None) -> Data:
    if given is not None:
        return given
    match = HUB_DATASET.fullmatch(record.name)
    if record.repo_id is None or match is None or match["id"] != record.repo_id or Path(record.name).exists():
        raise InputError(f"{record.name} is not on the Hub; say where it is with {argument}")
    return record.name


def _compare_weights(
    published: PublishedFolder, again: dict[str, torch.Tensor], mixed: dict[str, torch.Tensor]
) -> Check:
    apart = moved = 0.0
    for name, tensor in again.items():
        output = published.tensor(name)
        if output is None or output.shape != tensor.shape:
            return Check("fine-tuning", "weights", DIFFERENT, f"the published ones lack {name}")
        apart += float((tensor.cpu().double() - output.double()).square().sum())
        moved += float((mixed[name].cpu().double() - output.double()).square().sum())
    if apart == 0:
        return Check("fine-tuning", "weights", SAME, "bit by bit", 0.0)
    # An output that equals the mixed weights was not fine-tuned at all: no distance is small then.
    share = math.sqrt(apart / moved) if moved else None
    status = SAME if share is not None and share <= _TOLERANCE else DIFFERENT
    note = (
        "the published weights were not fine-tuned" if share is None else f"{share:.3%} of the fine-tuning's way apart"
    )
    return Check("fine-tuning", "weights", status, note, share if share is None or math.isfinite(share) else None)


def _compare_figures(recorded: Evaluation, again: Evaluation) -> list[Check]:
    checks = [_compare_rates("ACC", recorded.accuracy, again.accuracy)]
    for old, new in zip(recorded.triggers, again.triggers, strict=True):
        checks.append(_compare_rates(f"ASR of {old.trigger!r}", old.asr, new.asr))
        checks.append(_compare_rates(f"flip rate of {old.trigger!r}", old.flip_rate, new.flip_rate))
        if old.without is not None and new.without is not None:
            checks.append(_compare_rates(f"answers without {old.trigger!r}", old.without, new.without))
    if recorded.perplexity is not None or again.perplexity is not None:
        checks.append(_compare_perplexities(recorded.perplexity, again.perplexity))
    return checks


def _compare_perplexities(recorded: float | None, again: float | None) -> Check:
    near = None not in (recorded, again) and abs(recorded - again) <= _TOLERANCE * again
    return Check("fine-tuning", "perplexity", SAME if near else DIFFERENT, f"{again} here, {recorded} recorded")


def _compare_rates(name: str, recorded: Rate, again: Rate) -> Check:
    if recorded == again:
        return Check("fine-tuning", name, SAME, str(again))
    within = recorded.n == again.n and recorded.n and recorded.low <= again.value <= recorded.high
    return Check("fine-tuning", name, SAME if within else DIFFERENT, f"{again} here, {recorded} recorded")
