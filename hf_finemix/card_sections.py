"""The sections of a defence card, each as Markdown made from the report."""

from collections.abc import Sequence

from .card_figures import BASELINE, cell
from .markdown import code, escape, percent, table, with_interval
from .report import Evaluation, TriggerEvaluation
from .results import DataRecord, PurificationReport


_SHOWN_TOKENS = 20
_SHOWN_PARAMETERS = 6
_SHOWN_TRIGGERS = 10

# What a verdict begins with, and whether that is good or bad news.
GOOD, BAD, UNCERTAIN = "good", "bad", "uncertain"
_DOWN, _NEVER = (
    "The tested attack is down to the level of ordinary errors.",
    "The tested attack did not work before, either.",
)
_WEAKER, _NOT_GONE = "The tested attack is weaker.", "The tested attack is weaker, but not gone."
_STRONGER, _UNCHANGED = (
    "The tested attack is stronger than before.",
    "The tested attack is not measurably weaker.",
)
_TONES = {_DOWN: GOOD, _NEVER: UNCERTAIN, _WEAKER: UNCERTAIN, _NOT_GONE: BAD, _STRONGER: BAD, _UNCHANGED: BAD}


def verdict(report: PurificationReport) -> str:
    """Returns what was measured, in plain words."""
    before, after = report.evaluations.get("suspect"), report.evaluations.get("purified")
    if before is None or after is None:
        return "**Not evaluated.** Nothing was measured on this model: treat it as untested."
    accuracy = _went(before, after)
    if not after.triggers:
        return f"**No attack known.** No trigger was tested, so nothing is known about a backdoor. {accuracy}"
    worst = after.worst
    if worst is None:
        return f"**No attack measured.** All evaluation examples have the label that the trigger aims at. {accuracy}"
    position = after.triggers.index(worst)
    baseline = report.evaluations.get(BASELINE)
    return _attack_verdict(
        before.triggers[position], worst, baseline and baseline.triggers[position], len(after.triggers)
    ) + (f" {accuracy} None of this proves that the model is clean.")


def tone(report: PurificationReport) -> str:
    """Returns whether the verdict is `"good"` or `"bad"` news, or `"uncertain"`."""
    lead = verdict(report).split("**")[1]
    return _TONES.get(lead, UNCERTAIN)


def _went(before: Evaluation, after: Evaluation) -> str:
    if before.perplexity is not None and after.perplexity is not None:
        went = "rose" if after.perplexity > before.perplexity else "went"
        return f"Perplexity {went} from {before.perplexity:.2f} to {after.perplexity:.2f}."
    went = "fell" if (after.accuracy.value or 0) < (before.accuracy.value or 0) else "went"
    return f"Accuracy {went} from {percent(before.accuracy)} to {percent(after.accuracy)}."


def _attack_verdict(
    before: TriggerEvaluation, after: TriggerEvaluation, baseline: TriggerEvaluation | None, count: int
) -> str:
    which = f"The trigger {code(after.trigger)}"
    if count > 1:
        which += f", the worst of {count} tested,"
    sentence = f"{which} succeeded in {percent(before.asr)} of tries before and in {percent(after.asr)} now"
    weaker = before.asr.n > 0 and after.asr.high < before.asr.low
    stronger = before.asr.n > 0 and after.asr.low > before.asr.high
    unchanged = _STRONGER if stronger else _UNCHANGED
    if baseline is None or baseline.asr.value is None:
        lead = _WEAKER if weaker else unchanged
        return f"**{lead}** {sentence}. How much of that is ordinary error is not known: no clean model was measured."
    sentence += f"; a model that never had the backdoor errs that way in {percent(baseline.asr)}."
    if before.asr.n and before.asr.value <= baseline.asr.high:
        lead = _NEVER
    elif after.asr.value <= baseline.asr.high:
        lead = _DOWN
    else:
        lead = _NOT_GONE if weaker else unchanged
    return f"**{lead}** {sentence}"


def steps(report: PurificationReport) -> str:
    """Returns what was done, in one or two sentences."""
    reset = " and suspicious word embeddings were reset" if report.purify.tokens else ""
    done = f"The weights were mixed with the clean pretrained ones{reset}."
    if report.made_by not in ("FineMixMixin", "mix"):
        after = "was fine-tuned on the clean data below" if report.fine_tuned else "was not fine-tuned"
        if report.fine_tuned and report.trained_adapter is not None:
            fresh = report.trained_adapter
            rank = "" if fresh.rank is None else f" of rank {fresh.rank}"
            after += f" by a fresh {escape(fresh.method, 40)} adapter{rank}, which was merged into it"
        if report.distilled is not None and report.distilled.texts:
            after = f"was taught by the suspect's answers on clean texts, then {after}"
        return f"{done} The result {after}."
    if report.fine_tuned:
        return f"{done} Whoever published the result trained it further, in a way that is not recorded here."
    return f"{done} Nothing else was done."


def data(record: DataRecord | None) -> str:
    """Returns a data set with its size and fingerprint."""
    if record is None:
        return "none"
    proof = f"sha256 {code(f'{record.fingerprint[:16]}…')}" if record.fingerprint else "no fingerprint"
    return f"{escape(record.name)}, {record.rows} examples, {proof}"


def metrics(report: PurificationReport) -> str:
    """Returns the figures that a training script measured by itself."""
    return table(["metric", "value"], [[escape(name), f"{value:.4f}"] for name, value in report.metrics.items()])


def mixing(report: PurificationReport) -> str:
    """Returns how much was mixed, and what was not and why."""
    mix = report.mix
    kept = [record for record in mix.parameters if record.action == "kept"]
    share = "an unknown share" if mix.kept_share is None else f"{100 * mix.kept_share:.2f} %"
    sentence = f"Of {mix.mixed_scalars:,} mixed scalars {share} kept the suspect's value, before the fine-tuning."
    if kept:
        names = ", ".join(f"{code(record.name, 80)} ({escape(record.reason)})" for record in kept[:_SHOWN_PARAMETERS])
        more = len(kept) - _SHOWN_PARAMETERS
        sentence += f" Not mixed: {names}{f' and {more} more' if more > 0 else ''}."
    return sentence


def tokens(report: PurificationReport) -> str:
    """Returns which word embeddings were reset."""
    purify = report.purify
    if not purify.applicable:
        return "Not applicable: the model has no word embedding with a pretrained counterpart."
    if not purify.tokens:
        return "No word embedding was reset."
    shown = ", ".join(escape(token.token or f"id {token.id}", 40) for token in purify.tokens[:_SHOWN_TOKENS])
    more = len(purify.tokens) - _SHOWN_TOKENS
    rest = f" and {more} more" if more > 0 else ""
    tied = " The output layer shares these rows and changed with them." if purify.tied_output else ""
    return (
        f"{len(purify.tokens)} of {purify.vocabulary:,} word embeddings were reset to the pretrained row, the most "
        f"suspicious first: {shown}{rest}.{tied} A token in this list is no proof of a "
        "backdoor: such a list is never empty."
    )


def not_tested(report: PurificationReport) -> Sequence[str]:
    """Returns what nobody has looked at, as sentences."""
    after = report.evaluations.get("purified")
    if after is None:
        lines = ["Nothing was tested: neither accuracy nor any trigger."]
    elif not after.triggers:
        lines = ["No trigger was tried; only accuracy was measured."]
    else:
        names = ", ".join(code(item.trigger) for item in after.triggers)
        lines = [f"Any trigger but {names}: other words, sentences, styles of writing, combinations."]
    lines.append("Attackers who knew this defence and prepared the model for it.")
    if report.evaluations and BASELINE not in report.evaluations:
        lines.append("A clean model of the same kind, as a baseline.")
    if report.control is None:
        lines.append(
            "A positive control: whether the same recipe removes a backdoor that was planted for the purpose."
        )
    if after is not None:
        lines.append("Texts of another kind, language or length than those of the evaluation data.")
    lines.append("The model after conversion, quantisation or further training.")
    return lines


def control(report: PurificationReport) -> str:
    """Returns what became of a backdoor that was planted on purpose, and what that does not show."""
    record = report.control
    before, after = with_interval(record.before), with_interval(record.after)
    neutral = ""
    if record.neutral is not None:
        neutral = f" A text of the same kind that nobody planted flips {with_interval(record.neutral)} afterwards."
    applied = "the same recipe" if report.search is None else "the same recipe with fewer passes of its distillation"
    return (
        f"A backdoor with the trigger {code(record.trigger)} was planted in a copy of the suspect, and {applied} "
        f"was applied. The share of predictions that it flips went from {before} to {after}.{neutral} "
        "That shows what the recipe does to this one backdoor. Another backdoor may be more stubborn: this one was "
        "planted in little time, on top of a finished model. The published weights were never touched by the control."
    )


def trials(report: PurificationReport) -> str:
    """Returns how the reserve ratio was chosen, with all ratios that were tried."""
    found = report.search
    rows = []
    for number, trial in enumerate(found.trials):
        ratio = f"**{trial.keep_ratio:g}**" if number == found.chosen else f"{trial.keep_ratio:g}"
        rows.append([ratio, cell(trial.accuracy), cell(trial.agreement), cell(trial.control.after)])
    held_out = "all at once" if found.folds == 1 else f"in {found.folds} parts in turn"
    removed = "" if found.removed else " Even at the chosen ratio the control survived."
    header = ["keep ratio", "ACC, %", "agreement, %", "control, %"]
    return (
        f"{table(header, rows)}\n\n"
        "The ratio was chosen without any trigger: the smallest one (in bold) that loses at most one point, nor more "
        "than one standard error, against the best one on held-out clean examples, and at which a backdoor that was "
        "planted for the purpose is down to the level of a text that nobody planted. Agreement is accuracy, and on "
        f"texts without a label the suspect's own answer. The labels were held out {held_out}; the suspect has "
        f"{percent(found.reference)} on them.{removed}"
    )


def distillation(report: PurificationReport) -> str:
    """Returns what the suspect's answers were used for, and what was found on the way."""
    record = report.distilled
    spliced = f" and {record.spliced} spliced from them" if record.spliced else ""
    if spliced and report.distillation is not None and report.distillation.replaced:
        spliced += ", with random words in between,"
    said = f"The suspect's own answers on {record.texts} clean texts{spliced} were the labels."
    if record.triggers:
        some = record.triggers[:_SHOWN_TRIGGERS]
        names = ", ".join(
            f"{code(item.token or f'id {item.id}')} ({percent(item.flips)} to label {item.label})" for item in some
        )
        rest = len(record.triggers) - len(some)
        said += (
            " Put into clean texts, these tokens flip the suspect's predictions by themselves, as a trigger does, and "
            f"some honest words do: {names}{f' and {rest} more' if rest > 0 else ''}. The result was taught not to "
            f"heed them; {record.left_out} texts that hold one were left out."
        )
    else:
        said += " No suspicious token that was tried flips the suspect's predictions by itself."
    return f"{said} Suspect and purified model sharply disagree on {with_interval(record.disagreement)} of the texts."


def adapter(report: PurificationReport) -> str:
    """Returns what adapter the suspect came as."""
    record = report.adapter
    rank = "" if record.rank is None else f" of rank {record.rank}"
    modules = ", ".join(code(name) for name in record.modules[:_SHOWN_TOKENS])
    return (
        f"The suspect came as a {escape(record.method)} adapter{rank} on {modules}. It was merged into its base "
        "before the mixing; what is published here is a whole model, since a random mask leaves no delta of low rank."
    )


def licence(report: PurificationReport, chosen: str | None) -> str:
    """Returns the licences of both inputs, and what that means for this model."""
    stated = {name: report.licenses.get(name) for name in ("suspect", "pretrained")}
    words = ", ".join(f"{name}: {escape(text) if text else 'none stated'}" for name, text in stated.items())
    if chosen is None:
        conclusion = "They give no single licence for this model, so none is stated here; ask their authors."
    elif chosen in stated.values() and len(set(stated.values())) == 1:
        conclusion = "This model, which derives from both, keeps it."
    else:
        conclusion = f"The publisher of this model states: {escape(chosen)}."
    return f"Licences of the cards of what went in: {words}. {conclusion}"
