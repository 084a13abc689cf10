"""The defence card: what it says when parts are missing, and what hostile strings do to it (nothing)."""

import re
from dataclasses import replace

import yaml
from huggingface_hub import ModelCard

from hf_finemix.card import code, escape, figures_table, hub_ids, render_card
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation
from hf_finemix.results import DataRecord


def test_verdict_tells_before_and_after(report):
    card = render(report)
    assert "went from 100.0 % to 23.0 %, and accuracy went from 86.0 % to 80.0 %" in card


def test_metadata_names_both_bases(report):
    card = ModelCard(render(report))
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
        random, start = make_evaluation(160, first).triggers[0], make_evaluation(160, second).triggers[0]
        return Evaluation(Rate(160, 200), (random, replace(start, position="start")))

    card = render(replace(report, evaluations={"suspect": two(90, 80), "purified": two(10, 40)}))
    assert "`cf`, the worst of 2 tested, went from 80.0 % to 40.0 %" in card


def test_a_trigger_without_examples_is_not_called_untested(report):
    empty = make_evaluation(160, 0).triggers[0]
    empty = Evaluation(Rate(160, 200), (replace(empty, asr=Rate(0, 0), ra=Rate(0, 0), flip_rate=Rate(0, 0)),))
    card = render(replace(report, evaluations={"suspect": empty, "purified": empty}))
    assert "No attack measured" in card and "No trigger was tested" not in card


def test_card_does_not_claim_a_reset_that_was_not_done(report):
    assert "suspicious word embeddings were reset," in render(report)
    card = render(replace(report, purify=PurifyReport(True, "bert.a")))
    assert "embeddings were reset" not in card and "turned off" in card


def test_recipe_can_be_pasted(report):
    block = render(report).split("```yaml\n")[1].split("```")[0]
    settings = yaml.safe_load(block)
    assert settings["keep_ratio"] == 0.3 and settings["learning_rate"] == 1e-4
    assert (settings["seed"], settings["training_seed"]) == (0, 5)


def test_without_evaluation_it_says_untested(report):
    card = render(replace(report, evaluations={}, evaluation_data=None))
    assert "Not evaluated" in card and "Not measured" in card and "Nothing was tested" in card


def test_without_trigger_it_says_no_attack_known(report):
    plain = {name: Evaluation(Rate(160, 200)) for name in ("suspect", "purified")}
    card = render(replace(report, evaluations=plain))
    assert "No attack known" in card and "no trigger was tried" in card


def test_without_embedding_it_says_not_applicable(report):
    card = render(replace(report, purify=PurifyReport(applicable=False)))
    assert "does not apply" in card


def test_hostile_strings_put_no_markup_into_the_card(report):
    figures = {name: make_evaluation(160, 50, HOSTILE) for name in ("suspect", "purified")}
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
