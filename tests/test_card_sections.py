"""What the sections of the defence card say in every case, and which of them it has."""

from dataclasses import replace

import pytest

from hf_finemix.card_figures import BASELINE
from hf_finemix.card_merge import split_card
from hf_finemix.card_sections import steps
from hf_finemix.modeling import PurifyReport, TokenScore
from hf_finemix.rates import Rate
from hf_finemix.records import AdapterRecord, ControlRecord, FigureRecord
from hf_finemix.report import Evaluation
from hf_finemix.results import DataRecord

from .cards import render, section, tables, titles
from .records import DISTILLED, SEARCH
from .reports import COMMIT, make_evaluation, several


# What was done, and with what


@pytest.mark.parametrize(
    ("maker", "fine_tuned", "said"),
    [
        ("purify", True, "The result was fine-tuned on the clean data below."),
        ("FineMixTrainer", True, "The result was fine-tuned on the clean data below."),
        ("FineMixTrainer", False, "The result was not fine-tuned."),
        ("FineMixMixin", True, "trained it further, in a way that is not recorded here."),
        ("FineMixMixin", False, "Nothing else was done."),
    ],
)
def test_steps_tell_what_followed_the_mixing(report, maker, fine_tuned, said):
    done = steps(replace(report, made_by=maker, fine_tuned=fine_tuned))
    assert done.endswith(said) and "suspicious word embeddings were reset." in done


@pytest.mark.parametrize("purify", [PurifyReport(True, "bert.a"), PurifyReport(applicable=False)])
def test_card_does_not_claim_a_reset_that_was_not_done(report, purify):
    assert "embeddings were reset" not in render(replace(report, purify=purify))


def test_lineage_links_to_the_full_commit(report):
    row = f"| suspect | [someone/suspect](https://huggingface.co/someone/suspect/tree/{COMMIT}) at commit `{COMMIT}` |"
    assert row in section(render(report), "Lineage")


@pytest.mark.parametrize("name", ["suspect", "sus@pect", f"{COMMIT}", f"sus pect@{COMMIT}", f"suspect@{COMMIT[:12]}"])
def test_lineage_links_to_no_folder(report, name):
    lineage = section(render(replace(report, suspect=name)), "Lineage")
    assert f"| suspect | {name} (not from the Hub) |" in lineage and "tree" not in lineage.split("| pretrained")[0]


def test_lineage_names_the_data(report):
    lineage = section(render(replace(report, shared_examples=3)), "Lineage")
    assert f"| clean data | clean.csv, 64 examples, sha256 `{'f' * 16}…` |" in lineage
    assert f"sha256 `{'e' * 16}…`; 3 of them were trained on, too |" in lineage
    assert "trained on, too" not in render(report)


def test_lineage_says_what_is_not_known_of_the_data(report):
    other = replace(report, clean_data=DataRecord("stream", 5, None), evaluation_data=None)
    lineage = section(render(other), "Lineage")
    assert "| clean data | stream, 5 examples, no fingerprint |" in lineage and "| evaluation data | none |" in lineage


# Reset tokens, and what was not tested


def test_reset_tokens_are_named(report):
    said = section(render(report), "Reset tokens")
    assert said.startswith("1 of 100 word embeddings were reset to the pretrained row, the most suspicious first: cf.")
    assert "no proof of a backdoor" in said and "output layer" not in said


@pytest.mark.parametrize(
    ("purify", "said"),
    [
        (PurifyReport(True, "bert.a"), "No word embedding was reset."),
        (PurifyReport(applicable=False), "Not applicable: the model has no word embedding"),
        (PurifyReport(True, "e", 9, (TokenScore(1, 7, None, 0.5),)), "first: id 7."),
        (PurifyReport(True, "e", 9, (TokenScore(1, 7, "cf", 0.5),), True), "cf. The output layer shares these rows"),
        (
            PurifyReport(True, "e", 9999, tuple(TokenScore(rank, rank, f"t{rank}", 0.5) for rank in range(1, 26))),
            "25 of 9,999 word embeddings",
        ),
    ],
)
def test_reset_tokens_in_other_cases(report, purify, said):
    assert said in section(render(replace(report, purify=purify)), "Reset tokens")


def test_reset_tokens_show_twenty(report):
    tokens = tuple(TokenScore(rank, rank, f"t{rank}", 0.5) for rank in range(1, 26))
    said = section(render(replace(report, purify=PurifyReport(True, "e", 100, tokens))), "Reset tokens")
    assert "t19, t20 and 5 more." in said and "t21" not in said


@pytest.mark.parametrize(
    ("evaluations", "first"),
    [
        ({}, "Nothing was tested: neither accuracy nor any trigger."),
        ({"purified": Evaluation(Rate(160, 200))}, "No trigger was tried; only accuracy was measured."),
        ({"purified": several(10, 40)}, "Any trigger but `t0`, `t1`: other words"),
    ],
)
def test_what_was_not_tested(report, evaluations, first):
    said = section(render(replace(report, evaluations=evaluations)), "What was not tested")
    assert said.startswith(f"- {first}")
    assert ("- A clean model of the same kind" in said) == bool(evaluations)
    assert ("- Texts of another kind" in said) == bool(evaluations)
    assert "- Attackers who knew this defence" in said and "- A positive control" in said


def test_what_was_tested_is_not_listed_as_untested(report):
    evaluations = report.evaluations | {BASELINE: make_evaluation(180, 4)}
    control = ControlRecord("mn", Rate(99, 100), Rate(5, 100))
    said = section(render(replace(report, evaluations=evaluations, control=control)), "What was not tested")
    assert "clean model" not in said and "positive control" not in said


# Optional sections


OPTIONAL = {
    "Adapter": {"adapter": AdapterRecord("LoRA", 8, ("query", "value"))},
    "Frontier": {"frontier": FigureRecord("figures/frontier.png", "Accuracy *against* [ASR]", "All recipes | tried")},
    "Positive control": {"control": ControlRecord("mn", Rate(99, 100), Rate(5, 100))},
    "Choice of the keep ratio": {"search": SEARCH},
    "Distillation": {"distilled": DISTILLED},
    "Metrics of the training script": {"metrics": {"eval_f1": 0.81234, "eval_loss": 2.0}},
}


@pytest.mark.parametrize("title", OPTIONAL)
def test_optional_section_appears_only_with_its_record(report, title):
    assert title not in titles(render(report))
    assert [name for name in titles(render(replace(report, **OPTIONAL[title]))) if name in OPTIONAL] == [title]


def test_optional_sections_say_what_was_recorded(report):
    card = render(replace(report, **{key: value for part in OPTIONAL.values() for key, value in part.items()}))
    assert "a LoRA adapter of rank 8 on `query`, `value`." in section(card, "Adapter")
    control = section(card, "Positive control")
    assert "the trigger `mn`" in control
    assert "from 99.0 % [94.6, 99.8], n = 100 to 5.0 % [2.2, 11.2], n = 100." in control
    metrics = section(card, "Metrics of the training script")
    assert tables(metrics) == [[["metric", "value"], ["eval\\_f1", "0.8123"], ["eval\\_loss", "2.0000"]]]
    assert section(card, "Frontier").split("\n\n") == [
        "![Accuracy \\*against\\* \\[ASR\\]](figures/frontier.png)",
        "All recipes \\| tried",
    ]


def test_adapter_of_unknown_rank(report):
    card = render(replace(report, adapter=AdapterRecord("IA3", None, ("key",))))
    assert "IA3 adapter on `key`" in section(card, "Adapter")


# Licence


@pytest.mark.parametrize(
    ("licenses", "chosen", "said", "stated"),
    [
        ({"suspect": "mit", "pretrained": "mit"}, None, "both, keeps it.", "mit"),
        ({"suspect": "mit", "pretrained": "mit"}, "mit", "both, keeps it.", "mit"),
        ({"suspect": "mit", "pretrained": "apache-2.0"}, None, "They give no single licence", None),
        ({"suspect": None, "pretrained": "mit"}, None, "They give no single licence", None),
        ({"suspect": "other", "pretrained": "other"}, None, "They give no single licence", None),
        ({}, None, "suspect: none stated, pretrained: none stated. They give no single licence", None),
        (
            {"suspect": "mit", "pretrained": "mit"},
            "apache-2.0",
            "The publisher of this model states: apache",
            "apache-2.0",
        ),
        ({}, "apache-2.0", "The publisher of this model states: apache-2.0.", "apache-2.0"),
    ],
)
def test_licence(report, licenses, chosen, said, stated):
    card = render(replace(report, licenses=licenses), license=chosen)
    assert said in section(card, "Licence") and split_card(card)[0].get("license") == stated


def test_environment_is_named(report):
    assert section(render(report), "Environment").startswith("torch 2.13.0. All figures")
