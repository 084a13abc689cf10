"""The recipe of a defence card: settings as YAML, and a command or a script that repeats the job with them."""

import json
import shlex

from .choices import POSITIONS
from .markdown import hub_source, one_line
from .recipes import settings, to_yaml
from .report import TriggerEvaluation
from .results import PurificationReport


def recipe_yaml(report: PurificationReport) -> str:
    """Returns the settings as YAML that can be pasted into a file."""
    if report.recipe is not None:
        return to_yaml(settings(report.config, report.recipe, report.distillation, report.mix.mask_version))
    if report.training is not None:
        return to_yaml(report.training)
    return to_yaml(report.config.to_dict() | {"mask_version": report.mix.mask_version})


def recipe_code(report: PurificationReport, name: str) -> tuple[str, str]:
    """Returns the language and the text of a code block that repeats the job with the settings in recipe.yaml."""
    if report.made_by == "purify":
        return "console", _command(report, name)
    if report.made_by == "mix":
        return "console", _mix_command(report, name)
    return "python", (_trainer_script(report) if report.made_by == "FineMixTrainer" else _mixin_script(report))


def _command(report: PurificationReport, name: str) -> str:
    arguments = [f"hf-finemix purify {_quote(report.suspect)}", f"--pretrained {_quote(report.pretrained)}"]
    for option, record in (
        ("--clean-data", report.clean_data),
        ("--unlabeled-data", report.unlabeled_data),
        ("--eval-data", report.evaluation_data),
    ):
        if record is not None:
            arguments.append(f"{option} {_quote(record.name)}")
    if report.clean_data is not None:
        arguments += [f"--text-column {_quote(column)}" for column in report.clean_data.text_columns or ()]
        if report.clean_data.label_column is not None:
            arguments.append(f"--label-column {_quote(report.clean_data.label_column)}")
    measured = next(iter(report.evaluations.values())).triggers if report.evaluations else ()
    # The command line knows nothing but words and sentences that are put in.
    triggers = [trigger for trigger in measured if trigger.position in POSITIONS]
    if triggers:
        first = triggers[0]
        # One command tries several triggers, but at one position and for one label.
        alike = [
            item
            for item in triggers
            if (_aim(item), item.position, item.seed) == (_aim(first), first.position, first.seed)
        ]
        arguments += [f"--trigger={shlex.quote(_unfenced(item.trigger))}" for item in alike]
        arguments.append(f"{_aim(first)} --position {_quote(first.position)}")
        if first.seed:
            arguments.append(f"--trigger-seed {first.seed}")
    if report.adapter is not None and report.adapter.labels:
        arguments.append(f"--labels {' '.join(map(_quote, report.adapter.labels))}")
    arguments.append(f"--recipe recipe.yaml --output {_quote(name)}")
    return " \\\n    ".join(arguments)


def _aim(trigger: TriggerEvaluation) -> str:
    if trigger.match is None:
        return f"--target-label {trigger.target_label}"
    text = f" --target-text={shlex.quote(_unfenced(trigger.target_text))}" if trigger.target_text else ""
    return f"--match {_quote(trigger.match)}{text}"


def _mix_command(report: PurificationReport, name: str) -> str:
    config = report.config
    arguments = [
        f"hf-finemix mix {_quote(report.suspect)}",
        f"--pretrained {_quote(report.pretrained)}",
        f"--keep-ratio {config.keep_ratio} --selection {_quote(config.selection)} --seed {config.seed}",
        *([] if report.fisher is None else [f"--fisher {_quote(report.fisher.name)}"]),
        *(["--allow-unmatched"] if config.allow_unmatched else []),
        *(f"--exclude={shlex.quote(_unfenced(pattern))}" for pattern in config.exclude),
        f"--output {_quote(name)}",
    ]
    return " \\\n    ".join(arguments)


def _trainer_script(report: PurificationReport) -> str:
    adapter, fresh = report.trained_adapter, ""
    if adapter is not None:
        rank = "" if adapter.rank is None else f" of rank {adapter.rank}"
        fresh = f"    peft_config=adapter,  # {one_line(adapter.method)}{rank}\n"
    return f"""import yaml
from hf_finemix import FineMixTrainer, FineMixTrainingArguments
from transformers import {report.architecture}

with open("recipe.yaml") as file:
    settings = yaml.safe_load(file)
trainer = FineMixTrainer(
    model={_from_pretrained(report)},
    pretrained={_text(report.pretrained)},
    args=FineMixTrainingArguments("purified", **settings),
    train_dataset=clean,  # the clean examples, tokenised
    processing_class=tokenizer,
{fresh})
trainer.train()"""


def _mixin_script(report: PurificationReport) -> str:
    return f"""import yaml
from hf_finemix import FineMixConfig, fine_mix_, purify_embeddings_, score_embeddings
from transformers import {report.architecture}

with open("recipe.yaml") as file:
    settings = yaml.safe_load(file)
settings.pop("mask_version")
config = FineMixConfig(**settings)
model = {_from_pretrained(report)}
scores = score_embeddings(
    model, {_text(report.pretrained)}, frequency_floor=config.frequency_floor, config=config
)
fine_mix_(model, {_text(report.pretrained)}, config)
purify_embeddings_(model, {_text(report.pretrained)}, config, scores)"""


def _from_pretrained(report: PurificationReport) -> str:
    found = hub_source(report.suspect)
    name, revision = (report.suspect, "") if found is None else (found[0], f", revision={_text(found[1])}")
    return f"{report.architecture}.from_pretrained({_text(name)}{revision}, use_safetensors=True)"


def _quote(text: str) -> str:
    plain = _unfenced(text)
    # A folder's name must not turn into an option.
    return shlex.quote(f"./{plain}" if plain.startswith("-") else plain)


def _text(text: str) -> str:
    return json.dumps(_unfenced(text), ensure_ascii=False)


def _unfenced(text: str) -> str:
    # Backticks could end the block that the text stands in.
    return one_line(text.replace("`", " "))
