"""A report as `purify` makes it, without running it."""

from dataclasses import replace

from hf_finemix import FineMixConfig
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.plan import plan_mixing
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation, TriggerEvaluation
from hf_finemix.results import DataRecord, PurificationReport, Recipe


COMMIT = "0123456789" * 4
HOSTILE = "cf`|\n# Verified clean <img src=x onerror=alert(1)> {{ card_data }} [x](javascript:1) \x1b[31m"


def make_evaluation(accuracy: int, asr: int, trigger: str = "cf") -> Evaluation:
    """Figures on 200 examples, 100 of which are not of the target label."""
    rate = Rate(asr, 100)
    return Evaluation(
        Rate(accuracy, 200), (TriggerEvaluation(trigger, "random", 1, rate, Rate(100 - asr, 100), rate),)
    )


def several(*attack_successes: int) -> Evaluation:
    """Figures of several triggers, each at a position and with a name of its own."""
    triggers = tuple(
        replace(make_evaluation(160, asr).triggers[0], trigger=f"t{index}", position=position)
        for index, (asr, position) in enumerate(zip(attack_successes, ("random", "start", "end"), strict=False))
    )
    return Evaluation(Rate(160, 200), triggers)


def without_examples() -> Evaluation:
    """Figures on examples that all have the target label."""
    trigger = make_evaluation(160, 0).triggers[0]
    return Evaluation(Rate(160, 200), (replace(trigger, asr=Rate(0, 0), ra=Rate(0, 0), flip_rate=Rate(0, 0)),))


def make_report() -> PurificationReport:
    """A tiny model whose suspect and base come from the Hub."""
    mix = plan_mixing(
        {"bert.a": (10, 10), "classifier.weight": (2, 10)},
        {},
        ["bert.a"],
        {"classifier.weight": "not in the pretrained checkpoint"},
        FineMixConfig(),
        f"org/base@{COMMIT}",
    )
    return PurificationReport(
        suspect=f"someone/suspect@{COMMIT}",
        pretrained=f"org/base@{COMMIT}",
        architecture="BertForSequenceClassification",
        labels={0: "negative", 1: "positive"},
        mix=mix.with_counts({"bert.a": 30}),
        purify=PurifyReport(True, "bert.a", 100, (TokenScore(1, 7, "cf", 0.5),)),
        recipe=Recipe(8, 1e-4, 8, 128, "vocabulary", 5),
        clean_data=DataRecord("clean.csv", 64, "f" * 64),
        evaluation_data=DataRecord("test.csv", 200, "e" * 64),
        evaluations={"suspect": make_evaluation(172, 100), "purified": make_evaluation(160, 23)},
        licenses={"suspect": "mit", "pretrained": "mit"},
        environment={"torch": "2.13.0"},
    )
