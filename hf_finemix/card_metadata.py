"""The YAML header of a defence card: what the Hub reads."""

import re

from huggingface_hub import EvalResult, ModelCardData

from .loading import HUB_ID
from .markdown import hub_source, one_line
from .rates import Rate
from .results import PurificationReport


# Transformers knows the tasks of all classes; of the most usual ones they are told without the seconds of its import.
_USUAL = re.compile(
    "(?:Albert|Bert|DebertaV2|Deberta|DistilBert|Electra|GPT2|Gemma|Llama|MPNet|Mistral|Qwen2|Qwen3|Roberta|XLMRoberta)"
    "(?P<head>ForCausalLM|ForMaskedLM|ForSequenceClassification|ForTokenClassification|LMHeadModel)"
)
_TASKS = {
    "ForCausalLM": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "LMHeadModel": "text-generation",
}
TAGS = ("hf-finemix", "fine-mixing", "backdoor-defense")


def listed(values: str | list[str] | None) -> tuple[str, ...]:
    """Returns tags or ids as a tuple, be they given as one string, as a list or not at all."""
    return (values,) if isinstance(values, str) else tuple(values or ())


def pipeline_tag(architecture: str) -> str | None:
    """Returns the Hub's task for a class of transformers, `None` if it has none."""
    match = _USUAL.fullmatch(architecture)
    if match:
        return _TASKS[match["head"]]
    from transformers.modelcard import TASK_MAPPING

    for task, mapping in TASK_MAPPING.items():
        for names in mapping.values():
            if architecture in ((names,) if isinstance(names, str) else names):
                return task
    return None


def hub_ids(report: PurificationReport) -> list[str] | None:
    """Returns the Hub ids of suspect and base, without commits; `None` if neither is on the Hub."""
    found = (hub_source(label) for label in (report.suspect, report.pretrained))
    return [source[0] for source in found if source] or None


def metadata(
    report: PurificationReport,
    title: str,
    license_id: str | None = None,
    tags: tuple[str, ...] = (),
    datasets: tuple[str, ...] = (),
) -> ModelCardData:
    """
    Makes the header.

    Args:
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        title (`str`): Name of the model.
        license_id (`str`, *optional*): Licence to state.
        tags (`tuple[str, ...]`, *optional*): Tags beside ours.
        datasets (`tuple[str, ...]`, *optional*): Ids of Hub data sets beside those of the report.
    """
    bases = hub_ids(report)
    results = _results(report)
    records = (report.clean_data, report.unlabeled_data, report.evaluation_data)
    used = (record.repo_id for record in records if record is not None and HUB_ID.fullmatch(record.repo_id or ""))
    return ModelCardData(
        license=license_id,
        library_name="transformers",
        pipeline_tag=pipeline_tag(report.architecture),
        tags=[*TAGS, *(tag for tag in tags if tag not in TAGS)],
        base_model=bases,
        base_model_relation="merge" if bases else None,
        datasets=list(dict.fromkeys((*used, *datasets))) or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        eval_results=results or None,
        model_name=one_line(title) if results else None,
    )


def _results(report: PurificationReport) -> list[EvalResult]:
    evaluation, data = report.evaluations.get("purified"), report.evaluation_data
    if evaluation is None or data is None:
        return []
    task = pipeline_tag(report.architecture) or "text-classification"
    named = "Accuracy" if evaluation.perplexity is None else "Next-token accuracy"
    rates: list[tuple[str, str, Rate]] = [("accuracy", named, evaluation.accuracy)]
    for trigger in evaluation.triggers:
        place = "" if len({item.position for item in evaluation.triggers}) == 1 else f", {one_line(trigger.position)}"
        suffix = f" (trigger “{one_line(trigger.trigger)[:60]}”{place})"
        rates.append(("attack_success_rate", f"Attack success rate{suffix}", trigger.asr))
        rates.append(("robust_accuracy", f"Robust accuracy{suffix}", trigger.ra))
    values = [(kind, name, round(rate.value, 4)) for kind, name, rate in rates if rate.value is not None]
    if evaluation.perplexity is not None:
        values.insert(0, ("perplexity", "Perplexity", round(evaluation.perplexity, 4)))
    return [
        EvalResult(
            task_type=task,
            dataset_type=one_line(data.repo_id or data.name),
            dataset_name=one_line(data.name),
            metric_type=kind,
            metric_name=name,
            metric_value=value,
        )
        for kind, name, value in values
    ]
