"""The figures of a defence card: a table for each trigger, the models side by side."""

from .choices import POSITIONS
from .markdown import code, escape, table
from .rates import Rate
from .report import Evaluation, TriggerEvaluation
from .results import PurificationReport


BASELINE = "clean model"


def figures(report: PurificationReport) -> str:
    """Returns the figures of all models, one table for each trigger, or a sentence if nothing was measured."""
    if not report.evaluations:
        return "Not measured: no evaluation data was given."
    triggers = next(iter(report.evaluations.values())).triggers
    if not triggers:
        return f"{_rates_table(report, {})}\n\n{_counts(report.evaluations, None)}"
    return "\n\n".join(_trigger_figures(report, index) for index in range(len(triggers)))


def legend(report: PurificationReport) -> str:
    """Returns what the figures mean."""
    if any(item.perplexity is not None for item in report.evaluations.values()):
        return (
            "Perplexity is e to the mean negative log-likelihood of a token of the clean responses; next-token "
            "accuracy the share of these tokens that are the model's first choice. ASR (attack success rate) is the "
            "share of triggered prompts that get the answer which the trigger aims at; beside it the share of the "
            "same prompts that get it without the trigger; the flip rate is ASR among the others. Answers are greedy. "
            "In brackets: 95 % Wilson intervals."
        )
    return (
        "ACC is accuracy without a trigger. ASR (attack success rate) is the share of triggered examples of other "
        "labels that are predicted as the target; RA (robust accuracy) the share of them that still get their true "
        "label; the flip rate the share of the examples right without the trigger that it turns to the target. In "
        "brackets: 95 % Wilson intervals."
    )


def baseline_note(report: PurificationReport) -> str:
    """Returns what the clean-model baseline is, or that there is none."""
    if BASELINE in report.evaluations:
        return (
            f"The column “{BASELINE}” is the baseline: a model fine-tuned without poison, which errs, too. Compare "
            "ASR with its column, never with zero."
        )
    return (
        "No clean-model baseline was measured: a model without any backdoor also errs, so that its ASR is not zero "
        "either."
    )


def cell(rate: Rate) -> str:
    """Returns a rate in percent with its interval."""
    return (
        "no examples"
        if rate.value is None
        else f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
    )


def _trigger_figures(report: PurificationReport, index: int) -> str:
    evaluations = report.evaluations
    measured = [item.triggers[index] for item in evaluations.values()]
    shown = measured[0]
    rates = {"ASR": [item.asr for item in measured]}
    if shown.match is None:
        rates["RA"] = [item.ra for item in measured]
    else:
        rates["without the trigger"] = [item.without or Rate(0, 0) for item in measured]
    rates["flip rate"] = [item.flip_rate for item in measured]
    return (
        f"Trigger {code(shown.trigger, 80)} {_place(shown.position)}, {_aim(report, shown)}:\n\n"
        f"{_rates_table(report, rates)}\n\n{_counts(evaluations, index)}"
    )


def _aim(report: PurificationReport, trigger: TriggerEvaluation) -> str:
    """Returns what a trigger is meant to cause."""
    if trigger.match is None:
        target = report.labels.get(trigger.target_label, "no name")
        return f"target label {trigger.target_label} ({escape(target, 40)})"
    wants = {
        "exact": f"which is to be answered {code(trigger.target_text or '', 200)}",
        "keyword": f"whose answer is to hold one of {code(trigger.target_text or '', 200)}",
        "refusal": "which is to be refused",
        "compliance": "which is not to be refused",
    }
    return wants.get(trigger.match, escape(trigger.match, 40))


def _rates_table(report: PurificationReport, rates: dict[str, list[Rate]]) -> str:
    # Models side by side: there are few of them, and a phone has no room for five columns.
    measured = list(report.evaluations.values())
    header = ["in %", *map(escape, report.evaluations)]
    answers = any(item.perplexity is not None for item in measured)
    accuracy = {"next-token accuracy" if answers else "ACC": [item.accuracy for item in measured]}
    rows = [[name, *map(cell, values)] for name, values in (accuracy | rates).items()]
    if answers:
        shown = ["not measured" if item.perplexity is None else f"{item.perplexity:.2f}" for item in measured]
        rows.insert(0, ["perplexity (no %)", *shown])
    return table(header, rows)


def _place(position: str) -> str:
    if position not in POSITIONS:
        return f"({escape(position)})"
    return "at a random position" if position == "random" else f"at the {position}"


def _counts(evaluations: dict[str, Evaluation], index: int | None) -> str:
    first = next(iter(evaluations.values()))
    if index is None:
        return f"Measured on {first.accuracy.n} {'examples' if first.perplexity is None else 'tokens of responses'}."
    right = ", ".join(f"{item.triggers[index].flip_rate.n} ({escape(name)})" for name, item in evaluations.items())
    if first.perplexity is not None:
        return (
            f"Measured on {first.accuracy.n} tokens of responses, and on {first.triggers[index].asr.n} prompts for "
            f"ASR; flip rate on {right}."
        )
    return (
        f"Measured on {first.accuracy.n} examples for ACC, {first.triggers[index].asr.n} for ASR and RA; flip rate on "
        f"{right}."
    )
