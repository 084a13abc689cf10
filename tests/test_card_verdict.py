"""The defence card's verdict, and the figures that it rests on."""

from dataclasses import replace

import pytest

from hf_finemix.card_figures import BASELINE, figures
from hf_finemix.card_sections import verdict
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation

from .cards import render, section, tables
from .reports import make_evaluation, several, without_examples


# The verdict


@pytest.mark.parametrize("names", [(), ("suspect",), ("purified",), (BASELINE,)])
def test_verdict_without_both_models_is_not_evaluated(report, names):
    evaluations = {name: make_evaluation(160, 23) for name in names}
    assert verdict(replace(report, evaluations=evaluations)).startswith("**Not evaluated.**")


def test_verdict_without_trigger_knows_nothing_about_a_backdoor(report):
    plain = {"suspect": Evaluation(Rate(172, 200)), "purified": Evaluation(Rate(160, 200))}
    said = verdict(replace(report, evaluations=plain))
    assert said.startswith("**No attack known.**")
    assert "nothing is known about a backdoor. Accuracy fell from 86.0 % to 80.0 %." in said


def test_verdict_without_examples_of_other_labels_measured_no_attack(report):
    said = verdict(replace(report, evaluations={"suspect": without_examples(), "purified": without_examples()}))
    assert said.startswith("**No attack measured.**") and "80.0 % to 80.0 %" in said


@pytest.mark.parametrize(
    ("before", "after", "baseline", "lead"),
    [
        # Weaker only if the intervals lie apart: [40.4, 59.6] before, up to 39.6 or 40.6 now.
        (50, 30, None, "The tested attack is weaker."),
        (50, 31, None, "The tested attack is not measurably weaker."),
        (100, 100, None, "The tested attack is not measurably weaker."),
        # 4 of 100 may be up to 9.8 %.
        (100, 9, 4, "The tested attack is down to the level of ordinary errors."),
        (100, 10, 4, "The tested attack is weaker, but not gone."),
        (50, 31, 4, "The tested attack is not measurably weaker."),
    ],
)
def test_verdict_compares_before_after_and_baseline(report, before, after, baseline, lead):
    evaluations = {"suspect": make_evaluation(172, before), "purified": make_evaluation(160, after)}
    if baseline is not None:
        evaluations[BASELINE] = make_evaluation(180, baseline)
    said = verdict(replace(report, evaluations=evaluations))
    assert said.startswith(f"**{lead}** The trigger `cf` succeeded in {before:.1f} % of tries before")
    assert f"and in {after:.1f} % now" in said
    assert ("no clean model was measured" in said) == (baseline is None)
    assert (f"errs that way in {baseline}.0 %" in said) == (baseline is not None)
    assert said.endswith("Accuracy fell from 86.0 % to 80.0 %. None of this proves that the model is clean.")


@pytest.mark.parametrize(("before", "after", "word"), [(160, 159, "fell"), (160, 160, "went"), (160, 170, "went")])
def test_verdict_says_whether_accuracy_fell(report, before, after, word):
    evaluations = {"suspect": make_evaluation(before, 99), "purified": make_evaluation(after, 3)}
    said = f"Accuracy {word} from {before / 2:.1f} % to {after / 2:.1f} %."
    assert said in verdict(replace(report, evaluations=evaluations))


def test_verdict_takes_no_baseline_from_a_clean_model_without_examples(report):
    said = verdict(replace(report, evaluations=report.evaluations | {BASELINE: without_examples()}))
    assert said.startswith("**The tested attack is weaker.**") and "no clean model was measured" in said


def test_verdict_takes_the_worst_trigger_at_its_own_position(report):
    evaluations = {"suspect": several(90, 80), "purified": several(10, 40), BASELINE: several(39, 3)}
    said = verdict(replace(report, evaluations=evaluations))
    # The baseline of the other trigger would make it ordinary.
    assert said.startswith("**The tested attack is weaker, but not gone.** The trigger `t1`, the worst of 2 tested,")
    assert "80.0 % of tries before and in 40.0 % now" in said and "in 3.0 %" in said


# Figures


def test_figures_have_a_table_for_each_trigger(report):
    evaluations = {"suspect": several(90, 80), "purified": several(10, 40), BASELINE: several(2, 3)}
    shown = figures(replace(report, evaluations=evaluations))
    first, second = tables(shown)
    assert first[0] == second[0] == ["in %", "suspect", "purified", "clean model"]
    assert [row[0] for row in first[1:]] == ["ACC", "ASR", "RA", "flip rate"]
    assert first[1][1] == "80.0 [73.9, 85.0]"
    assert first[2][1:] == ["90.0 [82.6, 94.5]", "10.0 [5.5, 17.4]", "2.0 [0.6, 7.0]"]
    assert [cell.split()[0] for cell in second[2][1:]] == ["80.0", "40.0", "3.0"]
    assert "Trigger `t0` at a random position, target label 1 (positive):" in shown
    assert "Trigger `t1` at the start, target label 1 (positive):" in shown
    assert {line.count("|") for line in shown.splitlines()} == {0, 5}


def test_figures_have_their_counts(report):
    said = "Measured on 200 examples for ACC, 100 for ASR and RA; flip rate on 100 (suspect), 100 (purified)."
    assert said in figures(report)


def test_figures_without_examples_are_no_zeros(report):
    (shown,) = tables(figures(replace(report, evaluations={"purified": without_examples()})))
    assert [row[1] for row in shown[1:]] == ["80.0 [73.9, 85.0]", "no examples", "no examples", "no examples"]


def test_figures_without_trigger_are_accuracy_alone(report):
    shown = figures(replace(report, evaluations={"purified": Evaluation(Rate(160, 200))}))
    assert tables(shown) == [[["in %", "purified"], ["ACC", "80.0 [73.9, 85.0]"]]]
    assert shown.endswith("Measured on 200 examples.")


def test_figures_without_evaluation_are_not_measured(report):
    shown = section(render(replace(report, evaluations={})), "Figures")
    # Neither the key to the figures nor the note on the baseline has anything to explain.
    assert shown == "Not measured: no evaluation data was given."


def test_target_label_may_have_no_name(report):
    assert "target label 1 (no name)" in figures(replace(report, labels={}))


def test_baseline_note(report):
    assert "No clean-model baseline was measured" in section(render(report), "Figures")
    with_baseline = replace(report, evaluations=report.evaluations | {BASELINE: make_evaluation(180, 4)})
    shown = section(render(with_baseline), "Figures")
    # Models stand side by side.
    assert "The column “clean model” is the baseline" in shown and "No clean-model baseline" not in shown
