"""The defence card: README.md of an output folder, made from the report and one template."""

import re
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData

from .manifest import MANIFEST_FILE
from .rates import Rate
from .report import Evaluation
from .results import DataRecord, PurificationReport


CARD_FILE = "README.md"

# The colon and the "www." for bare addresses, which are links without any markup.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&:-]|(?<=www)\.)", re.IGNORECASE)
# What `Checkpoint.label` gives for a repository; a folder's name alone does not end in a commit.
_HUB_SOURCE = re.compile(r"([\w.-]+(?:/[\w.-]+)?)@[0-9a-f]{40}")
_SHOWN_TOKENS = 20


def escape(text: str, limit: int = 200) -> str:
    """
    Makes a string from a suspect harmless in Markdown: one line, no markup, no control characters.

    Args:
        text (`str`): Anything.
        limit (`int`, *optional*, defaults to 200): Longest result before escaping, in characters.
    """
    visible = "".join(character if character.isprintable() else " " for character in text)
    return _MARKDOWN.sub(r"\\\1", " ".join(visible.split())[:limit])


def code(text: str, limit: int = 60) -> str:
    """Puts a string from a suspect into a code span, where backslashes do not escape: backticks and pipes go."""
    visible = "".join(c if c.isprintable() and c not in "`|" else " " for c in text)
    return f"`{' '.join(visible.split())[:limit] or ' '}`"


def render_card(report: PurificationReport, title: str) -> str:
    """
    Renders the card.

    Args:
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        title (`str`): Name of the model.

    Returns:
        `str`: Markdown with a YAML header that the Hub understands.
    """
    bases = hub_ids(report)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["hf-finemix", "fine-mixing", "backdoor-defense"],
        base_model=bases,
        base_model_relation="merge" if bases else None,
    )
    card = ModelCard.from_template(
        data,
        template_str=files("hf_finemix").joinpath("templates/defense_card.md").read_text(encoding="utf-8"),
        title=escape(title),
        verdict=_verdict(report),
        steps=_steps(report),
        suspect=escape(report.suspect),
        pretrained=escape(report.pretrained),
        clean_data=_data(report.clean_data),
        evaluation_data=_data(report.evaluation_data) + _shared(report.shared_examples),
        manifest_file=MANIFEST_FILE,
        figures=figures_table(report),
        recipe=_recipe(report),
        mixing=_mixing(report),
        tokens=_tokens(report),
        tested=_tested(report),
        environment=", ".join(f"{name} {number}" for name, number in report.environment.items()),
    )
    return str(card)


def write_card(folder: Path, report: PurificationReport, title: str) -> None:
    """Writes the card as README.md into an output folder."""
    (folder / CARD_FILE).write_text(render_card(report, title).rstrip() + "\n", encoding="utf-8")


def hub_ids(report: PurificationReport) -> list[str] | None:
    """Returns the Hub ids of suspect and base, without commits; `None` if neither is on the Hub."""
    matches = (_HUB_SOURCE.fullmatch(source) for source in (report.suspect, report.pretrained))
    return [match[1] for match in matches if match] or None


def figures_table(report: PurificationReport) -> str:
    """Returns the figures of all models as a Markdown table, or a sentence if nothing was measured."""
    if not report.evaluations:
        return "Not measured: no evaluation data was given."
    triggers = next(iter(report.evaluations.values())).triggers
    header = ["model", "ACC"]
    for trigger in triggers:
        name = code(trigger.trigger, 40)
        header += [f"ASR {name}", f"RA {name}", f"flip rate {name}"]
    rows = [[escape(name), *_cells(evaluation)] for name, evaluation in report.evaluations.items()]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(evaluation: Evaluation) -> list[str]:
    rates = [evaluation.accuracy]
    for trigger in evaluation.triggers:
        rates += [trigger.asr, trigger.ra, trigger.flip_rate]
    return [_rate(rate) for rate in rates]


def _rate(rate: Rate) -> str:
    if rate.value is None:
        return "no examples"
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}], n = {rate.n}"


def _verdict(report: PurificationReport) -> str:
    before, after = report.evaluations.get("suspect"), report.evaluations.get("purified")
    if before is None or after is None:
        return "**Not evaluated.** Nothing was measured on this model: treat it as untested."
    accuracy = f"accuracy went from {_percent(before.accuracy)} to {_percent(after.accuracy)}"
    if not after.triggers:
        return f"**No attack known.** No trigger was tested; {accuracy}."
    worst = after.worst
    if worst is None:
        return f"**No attack measured.** All evaluation examples have the label that the trigger aims at; {accuracy}."
    asr = before.triggers[after.triggers.index(worst)].asr
    which = f"the trigger {code(worst.trigger)}"
    if len(after.triggers) > 1:
        which += f", the worst of {len(after.triggers)} tested,"
    return f"The attack success rate of {which} went from {_percent(asr)} to {_percent(worst.asr)}, and {accuracy}."


def _steps(report: PurificationReport) -> str:
    reset = ", suspicious word embeddings were reset" if report.purify.tokens else ""
    return (
        f"The weights were mixed with the clean pretrained ones{reset}, and the result was fine-tuned on a small "
        "clean data set."
    )


def _percent(rate: Rate) -> str:
    return "no examples" if rate.value is None else f"{100 * rate.value:.1f} %"


def _data(record: DataRecord | None) -> str:
    if record is None:
        return "none"
    return f"{escape(record.name)}, {record.rows} examples, sha256 {record.fingerprint[:16]}"


def _shared(count: int) -> str:
    return f"; {count} of them were trained on, too" if count else ""


def _recipe(report: PurificationReport) -> str:
    recipe = asdict(report.recipe)
    # The seed of the masks is called `seed`, too.
    recipe["training_seed"] = recipe.pop("seed")
    settings = report.config.to_dict() | recipe | {"mask_version": report.mix.mask_version}
    return yaml.safe_dump(settings, sort_keys=False).strip()


def _mixing(report: PurificationReport) -> str:
    mix = report.mix
    kept = [record for record in mix.parameters if record.action == "kept"]
    share = "an unknown share" if mix.kept_share is None else f"{100 * mix.kept_share:.2f} %"
    sentence = f"Of {mix.mixed_scalars:,} mixed scalars {share} kept the suspect's value, before the fine-tuning."
    if kept:
        names = ", ".join(f"{code(record.name, 80)} ({record.reason})" for record in kept[:6])
        more = f" and {len(kept) - 6} more" if len(kept) > 6 else ""
        sentence += f" Not mixed: {names}{more}."
    return sentence


def _tokens(report: PurificationReport) -> str:
    purify = report.purify
    if not purify.applicable:
        return "Embedding purification does not apply: the word embedding has no pretrained counterpart."
    if not purify.tokens:
        return "Embedding purification was turned off."
    shown = ", ".join(escape(token.token or f"id {token.id}", 40) for token in purify.tokens[:_SHOWN_TOKENS])
    more = len(purify.tokens) - _SHOWN_TOKENS
    rest = f" and {more} more" if more > 0 else ""
    tied = " The output layer shares these rows and changed with them." if purify.tied_output else ""
    return (
        f"{len(purify.tokens)} of {purify.vocabulary:,} word embeddings were reset to the pretrained row, the most "
        f"suspicious first: {shown}{rest}.{tied}"
    )


def _tested(report: PurificationReport) -> str:
    after = report.evaluations.get("purified")
    if after is None:
        return "Nothing was tested."
    if not after.triggers:
        return "Only accuracy was tested; no trigger was tried."
    names = ", ".join(f"{code(item.trigger)} ({item.position} position)" for item in after.triggers)
    return f"Tested: {names}. Nothing else was."
