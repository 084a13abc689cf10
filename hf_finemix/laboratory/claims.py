"""The claims of "Fine-mixing" (Zhang et al., Findings of EMNLP 2022), held against what a bench measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from .e_pur import Gain, gains
from .effects import Effect, mean_effects, ratio_effects, size_effects
from .estimates import TINY
from .matched import MARGINS, Match, MatchedRow, main_margin, matched_rows, matches
from .results import Results
from .summary import groups


YES, NO, NOT_MEASURED = "yes", "no", "not measured"
FINE_MIXING = "fine_mixing"
# What the paper compares Fine-mixing with.
FAMILIES = {
    "fine-tuning": ("fine_tuning",),
    "fine-pruning": ("fine_pruning", "fine_pruning_frozen"),
    "Fine-mixing": (FINE_MIXING,),
}
# ASR this close to the clean model's counts as level with it.
DISTANCE = 0.02
# Smaller changes of ACC and ASR do not count as harm.
HARM = 0.01


@dataclass(frozen=True)
class Claim:
    """
    A claim and what the data say to it.

    Args:
        number (`int`): Number of the claim, from 1 to 5.
        model (`str`): The pretrained model.
        statement (`str`): The claim.
        answer (`str`): `"yes"`, `"no"` or `"not measured"`.
        figures (`str`): What the answer rests on, or what is missing.
    """

    number: int
    model: str
    statement: str
    answer: str
    figures: str


def claims(results: Results, margins: Sequence[float] = MARGINS) -> tuple[Claim, ...]:
    """Returns the claims for every pretrained model, each answered from the main cells of the results."""
    matched, found = matches(results, margins), gains(results)
    sizes, ratios = size_effects(results), ratio_effects(results)
    answered = []
    for model in sorted({record.model for record in (*results.suspects, *results.cells)}):
        ours = [match for match in matched if match.model == model]
        gained = [gain for gain in found if gain.model == model]
        answered += _lowest_claims(model, ours, main_margin(results), bool(results.missing))
        answered += [_lowered(model, gained), _at_baseline(model, gained)]
        answered += [_fewer_examples(model, sizes, e_pur) for e_pur in (False, True)]
        answered += [_higher_ratio(model, ratios, e_pur) for e_pur in (False, True)]
    return tuple(answered)


def with_or_without(e_pur: bool) -> str:
    """Returns `with E-PUR` or `without E-PUR`."""
    return f"with{'' if e_pur else 'out'} E-PUR"


def _lowest_claims(model: str, matched: Sequence[Match], margin: float, unfinished: bool) -> list[Claim]:
    papers = {name for names in FAMILIES.values() for name in names}
    answered = []
    for e_pur in (False, True):
        here = [match for match in matched if match.e_pur == e_pur]
        # Having no defence is no rival, and another selection is no rival but a variant.
        rivals = {match.method for match in here if match.method.split(" ")[0] not in ("none", FINE_MIXING)}
        sides = {"all defences measured": rivals, "the paper's own rivals": rivals & papers}
        for side, names in sides.items():
            if side != "all defences measured" and names == rivals:
                continue
            rows = matched_rows([match for match in here if match.method in names | {FINE_MIXING}])
            answers = {of: _lowest(group, unfinished) for of, group in groups(rows, lambda row: row.margin).items()}
            answer, figures = answers.get(margin, (NOT_MEASURED, "no cell with an ASR"))
            others = ", ".join(f"{_points(of)}: {answers[of][0]}" for of in sorted(answers) if of != margin)
            figures = f"{_points(margin)} of ACC lost at most: {figures}" + (f". At {others}" if others else "")
            statement = f"Fine-mixing has the lowest mean ASR at matched ACC in every task ({with_or_without(e_pur)}"
            answered.append(Claim(1, model, f"{statement}; against {side})", answer, figures))
    return answered


def _lowest(rows: Sequence[MatchedRow], unfinished: bool) -> tuple[str, str]:
    verdicts, texts = [], []
    for task, group in groups(rows, lambda row: row.task).items():
        verdict, text = _lowest_of_task(group, unfinished)
        verdicts.append(verdict)
        texts.append(f"{task}: {text}")
    answer = NO if NO in verdicts else NOT_MEASURED if NOT_MEASURED in verdicts else YES
    return answer, "; ".join(texts)


def _lowest_of_task(rows: Sequence[MatchedRow], unfinished: bool) -> tuple[str, str]:
    ours = [row for row in rows if row.method == FINE_MIXING]
    others = [row for row in rows if row.method != FINE_MIXING]
    mine = min((row for row in ours if row.asr is not None), key=lambda row: row.asr.value, default=None)
    best = min((row for row in others if row.asr is not None), key=lambda row: row.asr.value, default=None)
    if not ours or not others:
        return NOT_MEASURED, "no Fine-mixing" if not ours else "no rival"
    if mine is None or best is None:
        return NOT_MEASURED, "no suspect in common"
    if not any(row.reached for row in rows):
        return NOT_MEASURED, "no defence keeps that ACC on any suspect"
    # What is still to come may be lower.
    lowest = mine.asr.value <= best.asr.value + TINY
    return (NOT_MEASURED if unfinished else YES) if lowest else NO, f"{_asr(mine)} against {_asr(best)}"


def _lowered(model: str, found: Sequence[Gain]) -> Claim:
    statement = "E-PUR lowers the ASR of fine-tuning, fine-pruning and Fine-mixing under embedding attacks"
    rows = [gain for gain in found if gain.attack_name.startswith("embedding")]
    verdicts, texts = [], []
    for family, names in FAMILIES.items():
        known = [gain for gain in rows if gain.method in names]
        verdicts.append(NOT_MEASURED if not known else YES if all(g.lowered.value > TINY for g in known) else NO)
        texts += [f"no {family}"] if not known else []
        texts += [
            f"{g.defense} under {g.attack}: {_percent(g.without.value)} to {_percent(g.asr.value)}" for g in known
        ]
    answer = NO if NO in verdicts else NOT_MEASURED if NOT_MEASURED in verdicts else YES
    return Claim(2, model, statement, answer, "; ".join(texts) if rows else "no embedding attack with both")


def _at_baseline(model: str, found: Sequence[Gain]) -> Claim:
    statement = "With E-PUR, embedding poisoning falls to the ASR of the clean model"
    papers = {name for names in FAMILIES.values() for name in names}
    rows = [g for g in found if g.attack_name == "embedding_poisoning" and g.method in papers and g.with_baseline]
    if not rows:
        return Claim(3, model, statement, NOT_MEASURED, "no embedding poisoning beside a clean model")
    down = [g.at_baseline == g.with_baseline or g.distance.value <= DISTANCE + TINY for g in rows]
    texts = [
        f"{g.defense} under {g.attack}: {_percent(g.asr.value)} against {_percent(g.baseline.value)} "
        f"({g.at_baseline} of {g.with_baseline} within the clean model's interval)"
        for g in rows
    ]
    rule = f"Level is: within every interval, or {_points(DISTANCE)} above at most on average"
    return Claim(3, model, statement, YES if all(down) else NO, f"{'; '.join(texts)}. {rule}")


def _fewer_examples(model: str, effects: Sequence[Effect], e_pur: bool) -> Claim:
    statement = f"Fewer clean examples hurt Fine-mixing ({with_or_without(e_pur)})"
    series = _series(model, effects, e_pur)
    harmed = []
    for values in series.values():
        few, many = values[min(values)], values[max(values)]
        harmed.append(many[0] - few[0] >= HARM - TINY or few[1] - many[1] >= HARM - TINY)
    rule = f"Hurt is: {_points(HARM)} of ACC lost or of ASR gained, from most to fewest"
    return _judge(4, model, statement, harmed, _list(series, "{:g} examples", upwards=False), rule)


def _higher_ratio(model: str, effects: Sequence[Effect], e_pur: bool) -> Claim:
    statement = f"A higher reserve ratio raises the ACC of Fine-mixing, and its ASR ({with_or_without(e_pur)})"
    series = _series(model, effects, e_pur)
    raised = [
        all(values[max(values)][place] > values[min(values)][place] + TINY for place in (0, 1))
        for values in series.values()
    ]
    return _judge(5, model, statement, raised, _list(series, "ratio {:g}", upwards=True), "")


def _judge(number: int, model: str, statement: str, verdicts: list[bool], figures: str, rule: str) -> Claim:
    if not verdicts:
        return Claim(number, model, statement, NOT_MEASURED, "no Fine-mixing at two values on the same suspects")
    return Claim(number, model, statement, YES if all(verdicts) else NO, f"{figures}. {rule}" if rule else figures)


def _series(model: str, effects: Sequence[Effect], e_pur: bool) -> dict[str, dict[float, tuple[float, float]]]:
    found = mean_effects([e for e in effects if (e.model, e.method, e.e_pur) == (model, FINE_MIXING, e_pur)])
    return {key[1]: values for key, values in found.items() if len(values) > 1}


def _list(series: dict[str, dict[float, tuple[float, float]]], name: str, *, upwards: bool) -> str:
    texts = []
    for defense, values in series.items():
        steps = [f"{name.format(at)} ACC {_percent(acc)}, ASR {_percent(asr)}" for at, (acc, asr) in values.items()]
        start, to = (values[of(values)] for of in ((min, max) if upwards else (max, min)))
        moved = f"in all ACC {100 * (to[0] - start[0]):+.1f}, ASR {100 * (to[1] - start[1]):+.1f} points"
        texts.append(f"{defense}: {'; '.join(steps)}; {moved}")
    return ". ".join(texts)


def _asr(row: MatchedRow) -> str:
    kept = "" if row.reached == row.suspects else f", keeps it on {row.reached} of {row.suspects}"
    return f"{_percent(row.asr.value)} ({row.defense}{kept})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(share: float) -> str:
    text = f"{100 * share:g}"
    return f"{text} point" if text == "1" else f"{text} points"
