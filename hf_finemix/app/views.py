"""What a scan found, what is planned and what was measured, as HTML for people."""

from collections import Counter

from ..findings import insertion_level, is_out_of_line
from ..job import Job
from ..modeling import TokenScore
from ..rates import Rate
from ..report import Evaluation
from ..results import Distillation, Recipe
from ..scan_report import ScanReport, token_text
from .markup import escape, folded, paragraph, table


_SHOWN = 10
_MEANINGS = {
    "low": "Nothing stands out more than in models without a backdoor. That does not prove that this one is clean: a "
    "trigger of common words, or one that lives in the inner layers alone, leaves no such mark.",
    "medium": "Something stands out more than is usual. It may be a strong word of the task, or a trigger: look at "
    "the first tokens and at what they do, and purify the model before you use it.",
    "high": "This looks like a backdoor: a rare token moved much further than its frequency explains, or flips "
    "nearly all examples to one label. Do not use the model as it is.",
}


def show_scan(report: ScanReport) -> str:
    """Returns the finding with its meaning, then tokens, insertions, layers and what else moved out of line."""
    parts = [f'<p class="finding {escape(report.finding)}"><strong>Finding: {escape(report.finding)}</strong></p>']
    parts.append(paragraph(_MEANINGS[report.finding]))
    loud = [item for item in report.insertions if insertion_level(item) != "low"]
    if loud:
        sentences = "".join(f"<li>{escape(report.sentence(item), 400)}.</li>" for item in loud[:_SHOWN])
        parts.append(f"<ul>{sentences}</ul>")
    if report.prominence == 0:
        parts.append(paragraph("No word embedding moved, so that the ranking of the tokens says nothing."))
    parts.append(
        table(
            "Tokens whose embedding moved suspiciously far",
            ["Rank", "Token", "Id", "Score", "Deviations"],
            [[t.rank, t.token, t.id, f"{t.score:.5f}", f"{t.deviation:.1f}"] for t in report.tokens[:_SHOWN]],
            words=2,
        )
    )
    if report.insertions:
        parts.append(
            table(
                f"What inserting a token does to {report.texts} clean texts",
                ["Token", "To label", "Flips"],
                [
                    [token_text(item.token, item.id), _label(report, item.label), percent(item.flips)]
                    for item in report.insertions[:_SHOWN]
                ],
                words=2,
            )
        )
    layers = [[item.group, f"{item.scalars:,}", f"{100 * item.relative_drift:.2f} %"] for item in report.layers]
    parts.append(folded("Drift of each layer", table("Drift of each layer", ["Group", "Scalars", "Drift"], layers)))
    odd = [
        [f"{item.kind} {', '.join(map(str, item.index))}", item.tensor, f"{item.deviation:.1f}"]
        for item in report.outliers
        if is_out_of_line(item)
    ]
    if odd:
        parts.append(folded("Out of line", table("Out of line", ["Place", "Tensor", "Deviations"], odd, words=2)))
    return "".join(parts)


def _label(report: ScanReport, number: int) -> str:
    return f"{number} ({report.labels[number]})" if number < len(report.labels) else str(number)


def show_plan(
    job: Job, rows: tuple[TokenScore, ...], recipe: Recipe, distillation: Distillation, *, auto: bool
) -> str:
    """Returns what a purification would do to the parameters, the word embeddings and the rest."""
    tensors, scalars = Counter(), Counter()
    for record in job.plan.parameters:
        tensors[record.action, record.reason] += 1
        scalars[record.action, record.reason] += record.numel
    share = "a share that is still to be chosen" if auto else f"a share of {job.config.keep_ratio}"
    texts = len(job.clean) + (0 if job.unlabeled is None else len(job.unlabeled))
    parts = [
        table(
            "What happens to the parameters",
            ["Action", "Reason", "Tensors", "Scalars"],
            [[*key, f"{tensors[key]:,}", f"{scalars[key]:,}"] for key in scalars],
            words=2,
        ),
        paragraph(f"Of the mixed scalars {share} keeps the suspect's value; the others take the base's."),
    ]
    if rows:
        first = ", ".join(token_text(row.token, row.id) for row in rows[:_SHOWN])
        parts.append(paragraph(f"Word embeddings to reset: {len(rows)}, the most suspicious first: {first}"))
    if distillation.epochs:
        parts.append(paragraph(f"Distillation: the suspect's answers on {texts} texts, {distillation.epochs} passes."))
    parts.append(paragraph(f"Fine-tuning: {len(job.clean)} labelled examples, {recipe.epochs} passes."))
    listed = [
        [record.name, record.action, "x".join(map(str, record.shape)) or "scalar"] for record in job.plan.parameters
    ]
    every = table("Every parameter", ["Name", "Action", "Shape"], listed, words=2)
    return "".join([*parts, folded(f"All {len(listed)} parameters", every)])


def show_figures(evaluations: dict[str, Evaluation]) -> str:
    """Returns the figures of each model: accuracy, and for each trigger ASR, RA and flip rate, with intervals."""
    if not evaluations:
        return paragraph("Nothing was measured: give evaluation data to see accuracy before and after.")
    found = list(evaluations.values())
    rows = [["Accuracy", *(percent(item.accuracy) for item in found)]]
    notes = "" if found[0].triggers else paragraph("No trigger was given, so that only accuracy was measured.")
    for number, trigger in enumerate(found[0].triggers):
        same = [item.triggers[number] for item in found]
        rows.append(["Attack success", *(percent(item.asr) for item in same)])
        rows.append(["Right nevertheless", *(percent(item.ra) for item in same)])
        rows.append(["Flipped by the trigger", *(percent(item.flip_rate) for item in same)])
        notes += paragraph(f"Trigger: {trigger.trigger}, aiming at label {trigger.target_label}.")
    names = [name[:1].upper() + name[1:] for name in evaluations]
    return table("Before and after, with 95 % intervals", ["Measured", *names], rows) + notes


def percent(rate: Rate) -> str:
    """Returns a rate in percent with its interval and count."""
    if rate.value is None:
        return "no examples"
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}] of {rate.n}"
