"""The defence card: what it says when parts are missing, and what hostile strings do to it (nothing)."""

import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from hf_finemix import FineMixConfig
from hf_finemix.card import code, escape, figures_table, hub_ids, render_card
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.plan import plan_mixing
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation, TriggerEvaluation
from hf_finemix.results import DataRecord, PurificationReport, Recipe


COMMIT = "0123456789" * 4
HOSTILE = "cf`|\n# Verified clean <img src=x onerror=alert(1)> {{ card_data }} [x](javascript:1) \x1b[31m"


def evaluation(accuracy: int, asr: int, trigger: str = "cf") -> Evaluation:
    rate = Rate(asr, 100)
    return Evaluation(
        Rate(accuracy, 200), (TriggerEvaluation(trigger, "random", 1, rate, Rate(100 - asr, 100), rate),)
    )


@pytest.fixture
def report() -> PurificationReport:
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
        labels={0: "negative", 1: "positive"},
        mix=mix.with_counts({"bert.a": 30}),
        purify=PurifyReport(True, "bert.a", 100, (TokenScore(1, 7, "cf", 0.5),)),
        recipe=Recipe(8, 1e-4, 8, 128, "vocabulary", 5),
        clean_data=DataRecord("clean.csv", 64, "f" * 64),
        evaluation_data=DataRecord("test.csv", 200, "e" * 64),
        evaluations={"suspect": evaluation(172, 100), "purified": evaluation(160, 23)},
        environment={"torch": "2.13.0"},
    )


def test_verdict_tells_before_and_after(report):
    card = render_card(report, "purified")
    assert "went from 100.0 % to 23.0 %, and accuracy went from 86.0 % to 80.0 %" in card


def test_metadata_names_both_bases(report):
    card = ModelCard(render_card(report, "purified"))
    assert card.data.base_model == ["someone/suspect", "org/base"]
    assert hub_ids(report) == ["someone/suspect", "org/base"]


def test_local_folders_are_no_base_models(report):
    local = replace(report, suspect="sus@pect", pretrained="base")
    assert ModelCard(render_card(local, "purified")).data.base_model is None


def test_figures_have_intervals_and_counts(report):
    table = figures_table(report)
    assert "| purified | 80.0 % [73.9, 85.0], n = 200 | 23.0 % [15.8, 32.2], n = 100 |" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_verdict_takes_the_worst_trigger_at_its_own_position(report):
    def two(first, second):
        random, start = evaluation(160, first).triggers[0], evaluation(160, second).triggers[0]
        return Evaluation(Rate(160, 200), (random, replace(start, position="start")))

    card = render_card(replace(report, evaluations={"suspect": two(90, 80), "purified": two(10, 40)}), "purified")
    assert "`cf`, the worst of 2 tested, went from 80.0 % to 40.0 %" in card


def test_a_trigger_without_examples_is_not_called_untested(report):
    empty = evaluation(160, 0).triggers[0]
    empty = Evaluation(Rate(160, 200), (replace(empty, asr=Rate(0, 0), ra=Rate(0, 0), flip_rate=Rate(0, 0)),))
    card = render_card(replace(report, evaluations={"suspect": empty, "purified": empty}), "purified")
    assert "No attack measured" in card and "No trigger was tested" not in card


def test_card_does_not_claim_a_reset_that_was_not_done(report):
    assert "suspicious word embeddings were reset," in render_card(report, "purified")
    card = render_card(replace(report, purify=PurifyReport(True, "bert.a")), "purified")
    assert "embeddings were reset" not in card and "turned off" in card


def test_recipe_can_be_pasted(report):
    block = render_card(report, "purified").split("```yaml\n")[1].split("```")[0]
    settings = yaml.safe_load(block)
    assert settings["keep_ratio"] == 0.3 and settings["learning_rate"] == 1e-4
    assert (settings["seed"], settings["training_seed"]) == (0, 5)


def test_without_evaluation_it_says_untested(report):
    card = render_card(replace(report, evaluations={}, evaluation_data=None), "purified")
    assert "Not evaluated" in card and "Not measured" in card and "Nothing was tested" in card


def test_without_trigger_it_says_no_attack_known(report):
    plain = {name: Evaluation(Rate(160, 200)) for name in ("suspect", "purified")}
    card = render_card(replace(report, evaluations=plain), "purified")
    assert "No attack known" in card and "no trigger was tried" in card


def test_without_embedding_it_says_not_applicable(report):
    card = render_card(replace(report, purify=PurifyReport(applicable=False)), "purified")
    assert "does not apply" in card


def test_hostile_strings_put_no_markup_into_the_card(report):
    figures = {name: evaluation(160, 50, HOSTILE) for name in ("suspect", "purified")}
    hostile = replace(
        report,
        suspect=HOSTILE,
        purify=PurifyReport(True, HOSTILE, 100, (TokenScore(1, 7, HOSTILE, 0.5),)),
        clean_data=DataRecord(HOSTILE, 64, "f" * 64),
        evaluations=figures,
    )
    card = render_card(hostile, HOSTILE)
    assert "\n# Verified" not in card
    assert "\x1b" not in card
    # Outside of code spans every special character is escaped.
    prose = "".join(
        part for index, part in enumerate(card.replace("```", "").replace("\\`", "").split("`")) if index % 2 == 0
    )
    assert not re.search(r"(?<!\\)<img", prose)
    assert not re.search(r"(?<!\\)\[x", prose)
    assert len({line.count("|") for line in figures_table(hostile).splitlines()}) == 1


def test_escape_and_code():
    assert escape("a*b\n|c") == r"a\*b \|c"
    assert escape("https://evil.example www.evil.example") == r"https\://evil.example www\.evil.example"
    assert code("a`b|c\n") == "`a b c`"
    assert code("") == "` `"
