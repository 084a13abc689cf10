"""`purify()`: the whole job, from a suspect's files to a purified folder with its report, card and manifest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .adapter_suspects import find_suspect, is_language_model
from .attacks.trigger import Trigger
from .card import DefenseCard
from .card_figures import BASELINE
from .choices import AUTO
from .config import FineMixConfig
from .differences import Differences, compare_predictions
from .distillation import review
from .errors import InputError
from .evaluation import longest_input
from .frequencies import source_name
from .frontier import describe_frontier, draw_frontier
from .generators.triggers import ResponseTrigger
from .job import Job, prepare
from .job_checks import check_distillation, check_kind, with_ratio
from .job_figures import count_shared, measure_baseline, measure_job
from .job_output import write_job
from .manifest import Manifest
from .model_drift import model_drift
from .model_loading import is_generator
from .output import check_output
from .provenance import Sources
from .publishing import Published, publish
from .recipes import DEFAULT_DISTILLATION, DEFAULT_RECIPE, usual_settings
from .report import Evaluation
from .results import Distillation, PurificationReport, Recipe, environment
from .search import search
from .together import agreed, check_whole_models, processes
from .treatment import Materials, treat_
from .trust import is_trusted


@dataclass(frozen=True)
class PurifyResult:
    """
    What [`purify`] gives back.

    Args:
        model ([`~transformers.PreTrainedModel`]): The purified model, on the device that it was trained on.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The suspect's tokenizer.
        report ([`~hf_finemix.results.PurificationReport`]): What was done and what was measured.
        folder (`Path`, *optional*): The output folder, if one was asked for.
        differences ([`~hf_finemix.differences.Differences`], *optional*):
            Evaluation examples that suspect and purified model label differently, if a classifier was measured.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    report: PurificationReport
    folder: Path | None
    differences: Differences | None = None

    def push_to_hub(self, repo_id: str, **options: Any) -> Published:
        """
        Publishes the output folder; takes what [`~hf_finemix.publish`] takes.

        Raises:
            InputError: If there is no output folder, or it cannot be published.
        """
        if self.folder is None:
            raise InputError("There is no output folder to publish; give `purify` an `output`.")
        return publish(self.folder, repo_id, **options)


def purify(
    suspect: str | Path,
    pretrained: str | Path,
    clean_dataset: str | Path | Dataset,
    *,
    output: str | Path | None = None,
    config: FineMixConfig | None = None,
    keep_ratio: float | str | None = None,
    recipe: Recipe | None = None,
    distillation: Distillation | None = None,
    unlabeled_dataset: str | Path | Dataset | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str | None = None,
    evaluation_dataset: str | Path | Dataset | None = None,
    triggers: Sequence[Trigger | ResponseTrigger] = (),
    clean_model: str | Path | None = None,
    allow_unrelated: bool = False,
    labels: Sequence[str] | None = None,
    progress: bool = False,
) -> PurifyResult:
    """
    Purifies a fine-tuned model: mix with the pretrained weights, reset suspicious embeddings, distil, fine-tune.

    The method is that of "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al., Findings of
    EMNLP 2022).

    Args:
        suspect (`str` or `Path`):
            Hub id, `id@revision` or local folder of a sequence classifier or a causal language model, or of an adapter
            of PEFT, which is merged into `pretrained` first.
        pretrained (`str` or `Path`): The clean weights that it was fine-tuned from.
        clean_dataset (`str`, `Path` or `datasets.Dataset`):
            A few clean labelled examples: a local csv, tsv, json, jsonl or parquet file, a Hub data set
            (`id:config:split`) or a data set object. Of a language model these are conversations
            ([`~hf_finemix.generators.conversations.load_conversations`]).
        output (`str` or `Path`, *optional*):
            Folder to make, with weights, tokenizer, report, card, manifest, and the report as a page to look at. It
            appears whole or not at all.
        config ([`FineMixConfig`], *optional*):
            Settings of mixing and purification; by default those of [`~hf_finemix.recipes.usual_settings`], which are
            others for language models.
        keep_ratio (`float` or `str`, *optional*):
            The reserve ratio, instead of that of `config`; `"auto"` chooses it ([`~hf_finemix.search`]).
        recipe ([`~hf_finemix.results.Recipe`], *optional*): Settings of the fine-tuning; by default as above.
        distillation ([`~hf_finemix.results.Distillation`], *optional*):
            Settings of the step before it, which classifiers have; by default as above.
        unlabeled_dataset (`str`, `Path` or `datasets.Dataset`, *optional*):
            Clean texts without labels, on which the suspect's answers teach the mixed model: what `clean_dataset` may
            be, or a .txt file with one text a line.
        text_columns (`Sequence[str]`, *optional*):
            One text column, or two for sentence pairs, or that of the prompts; guessed by default.
        label_column (`str`, *optional*): Column of label ids or names, or of the responses; guessed by default.
        evaluation_dataset (`str`, `Path` or `datasets.Dataset`, *optional*):
            Other clean examples, on which the model is measured before and after.
        triggers (`Sequence[Trigger]` or `Sequence[ResponseTrigger]`, *optional*):
            Triggers to measure on them; the latter for a language model.
        clean_model (`str` or `Path`, *optional*):
            A model that was fine-tuned without poison, measured on them as the baseline.
        allow_unrelated (`bool`, *optional*, defaults to `False`):
            Go on with a base whose weights have hardly a direction in common with the suspect's.
        labels (`Sequence[str]`, *optional*): Names of a classifier's labels, which an adapter does not know.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.

    Returns:
        [`PurifyResult`]: The purified model with its report.

    Raises:
        InputError: If an input cannot be used; nothing has been done then.
    """
    if triggers and evaluation_dataset is None:
        raise InputError("`triggers` are given, but no `evaluation_dataset` to measure them on; give one.")
    if output is not None:
        # Before anything is fetched.
        check_output(output)
    found = find_suspect(suspect)
    usual = usual_settings(is_language_model(found))
    recipe, distillation = recipe or usual[1], distillation or usual[2]
    check_distillation(unlabeled_dataset is not None, distillation)
    job = prepare(
        found,
        pretrained,
        clean_dataset,
        output=output,
        config=with_ratio(config or usual[0], keep_ratio),
        text_columns=text_columns,
        label_column=label_column,
        evaluation_dataset=evaluation_dataset,
        clean_model=clean_model,
        unlabeled_dataset=unlabeled_dataset,
        allow_unrelated=allow_unrelated,
        labels=labels,
    )
    auto = keep_ratio == AUTO
    return run(job, recipe, distillation=distillation, auto=auto, triggers=triggers, progress=progress)


def run(
    job: Job,
    recipe: Recipe = DEFAULT_RECIPE,
    *,
    distillation: Distillation = DEFAULT_DISTILLATION,
    auto: bool = False,
    triggers: Sequence[Trigger | ResponseTrigger] = (),
    compared: dict[str, Evaluation] | None = None,
    progress: bool = False,
) -> PurifyResult:
    """
    Does a prepared purification. Several processes share the training, and do all else alike; the main one writes.

    Args:
        job ([`Job`]): From [`prepare`]. Its model is changed in place.
        recipe ([`~hf_finemix.results.Recipe`], *optional*): Settings of the fine-tuning.
        distillation ([`~hf_finemix.results.Distillation`], *optional*): Settings of the step before it.
        auto (`bool`, *optional*, defaults to `False`): Choose the reserve ratio, instead of that of the job.
        triggers (`Sequence[Trigger]`, *optional*): Triggers to measure.
        compared (`dict[str, Evaluation]`, *optional*): Figures of other models, to stand in report and card.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.
    """
    check_whole_models("`purify`")
    sources = Sources.of(job.given, job.pretrained)
    model, tokenizer = job.model.to(processes().device), job.tokenizer
    recipe = replace(recipe, max_length=longest_input(recipe.max_length, tokenizer, model))
    evaluations: dict[str, Evaluation] = {}
    options = {"max_length": recipe.max_length, "progress": progress}
    answers = is_generator(job.suspect)
    if answers:
        distillation = replace(distillation, epochs=0)
    check_kind(triggers, answers, auto)
    before = after = None
    if job.evaluation is not None:
        evaluations["suspect"], before = measure_job(job, model, tokenizer, triggers, **options)
    compared = dict(compared or {})
    if job.clean_model is not None:
        compared[BASELINE] = measure_baseline(job, triggers, **options)
    materials = Materials(tokenizer, job.load_twin(), job.clean, job.unlabeled)
    config, found = job.config, None
    if auto:
        config, found = agreed(search(model, materials, config, recipe, distillation, progress=progress))
    drift = model_drift(model, materials.twin)
    treated = treat_(model, materials, config, recipe, distillation, progress=progress)
    if job.evaluation is not None:
        evaluations["purified"], after = measure_job(job, model, tokenizer, triggers, **options)
    differences = None if before is None else compare_predictions(job.evaluation, triggers, before, after)
    trained_on = materials.texts if distillation.epochs else job.clean
    report = PurificationReport(
        suspect=job.given.label,
        pretrained=job.pretrained.label,
        architecture=type(model).__name__,
        labels={} if answers else dict(model.config.id2label),
        mix=treated.mix,
        purify=treated.purify,
        drift=drift,
        recipe=replace(recipe, frequencies=source_name(recipe.frequencies)),
        clean_data=job.records[0],
        evaluation_data=job.records[1],
        shared_examples=0 if job.evaluation is None else count_shared(job.evaluation, trained_on),
        evaluations=evaluations | compared,
        licenses=sources.licenses,
        control=None if found is None else found.trials[found.chosen].control,
        search=found,
        distillation=distillation,
        distilled=None if treated.lessons is None else review(model, tokenizer, treated.lessons),
        unlabeled_data=job.records[2],
        trusted_base=is_trusted(job.pretrained.repo_id),
        own_template=job.own_template,
        adapter=None if job.origin is None else job.origin.adapter,
        environment=environment(),
    )
    if job.output is not None:
        figure = None if found is None else draw_frontier(found)
        if figure is not None:
            report = replace(report, frontier=describe_frontier(found))
        counts = source_name(recipe.frequencies)
        manifest = Manifest.of(report, sources.suspect, sources.pretrained, treated.tensors, counts)
        if processes().is_main_process:
            write_job(job, model, DefenseCard(report, job.output.name), manifest, figure, differences)
        processes().wait_for_everyone()
    return PurifyResult(model, tokenizer, report, job.output, differences)
