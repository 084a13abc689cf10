"""What a card says of the search, of the positive control and of the distillation."""

from dataclasses import replace

import pytest

from hf_finemix.card_sections import steps
from hf_finemix.rates import Rate
from hf_finemix.records import ControlRecord, DistillationRecord, SearchRecord, TrialRecord
from hf_finemix.results import DataRecord
from hf_finemix.trigger_search import Insertion

from .cards import blocks, render, section, tables, titles
from .records import CONTROL, DISTILLED, SEARCH
from .reports import HOSTILE


SEARCHED = {"search": SEARCH, "control": CONTROL}


# What was done


@pytest.mark.parametrize(("texts", "taught"), [(64, True), (0, False)])
def test_steps_tell_of_the_distillation(report, texts, taught):
    done = steps(replace(report, distilled=replace(DISTILLED, texts=texts)))
    assert ("was taught by the suspect's answers on clean texts, then was fine-tuned" in done) == taught
    assert done.endswith("was fine-tuned on the clean data below.")
    assert "taught" not in steps(report)


def test_lineage_names_the_texts(report):
    record = DataRecord("org/texts:train", 900, "d" * 64, "org/texts")
    lineage = section(render(replace(report, unlabeled_data=record)), "Lineage")
    assert "| unlabelled data | " in lineage and "900 examples" in lineage and "org/texts" in lineage
    rows = [row[0] for row in tables(lineage)[0]]
    assert rows[1:] == ["suspect", "pretrained", "clean data", "unlabelled data", "evaluation data"]
    assert "unlabelled" not in section(render(report), "Lineage")


def test_header_names_the_texts_that_are_on_the_hub(report):
    record = DataRecord("org/texts:train", 900, "d" * 64, "org/texts")
    assert "datasets:\n- org/texts\n" in render(replace(report, unlabeled_data=record))
    assert "datasets:" not in render(replace(report, unlabeled_data=replace(record, repo_id=None)))


def test_command_names_the_texts(report):
    record = DataRecord("my texts.txt", 900, "d" * 64)
    (command,) = [
        content
        for kind, content in blocks(render(replace(report, unlabeled_data=record)))
        if "hf-finemix purify" in content
    ]
    assert "--unlabeled-data 'my texts.txt'" in command
    assert "--unlabeled-data" not in render(report)


# The choice of the ratio


def test_all_trials_are_shown_and_the_chosen_one_is_bold(report):
    said = section(render(replace(report, **SEARCHED)), "Choice of the keep ratio")
    ((header, *rows),) = tables(said)
    assert len(header) == 4
    assert rows == [
        ["0.05", "78.1 [66.6, 86.5]", "78.1 [72.7, 82.8]", "7.0 [3.4, 13.7]"],
        ["**0.1**", "90.6 [81.0, 95.6]", "93.8 [90.1, 96.1]", "7.0 [3.4, 13.7]"],
    ]
    assert (
        "without any trigger" in said
        and "at most one point, nor more than one standard error, against the best one" in said
    )
    assert "the suspect has 93.8 % on them." in said


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        ({"folds": 2}, "held out in 2 parts in turn", "all at once"),
        ({"folds": 1}, "held out all at once", "in turn"),
        ({"removed": True}, "on them.", "the control survived"),
        ({"removed": False}, "Even at the chosen ratio the control survived.", "zzz"),
        ({"chosen": 0}, "**0.05**", "**0.1**"),
    ],
)
def test_choice_in_other_cases(report, changes, said, not_said):
    text = section(render(replace(report, search=replace(SEARCH, **changes))), "Choice of the keep ratio")
    assert said in text and not_said not in text


def test_trials_without_examples(report):
    empty = Rate(0, 0)
    control = ControlRecord("mn", empty, empty, empty)
    search = SearchRecord(empty, 1, (TrialRecord(0.1, "random", empty, empty, control),), 0, False)
    card = render(replace(report, search=search, control=control))
    assert tables(section(card, "Choice of the keep ratio"))[0][1] == ["**0.1**"] + ["no examples"] * 3
    assert "went from no examples to no examples" in section(card, "Positive control")


# The positive control


def test_control_is_compared_with_a_neutral_text(report):
    said = section(render(replace(report, **SEARCHED)), "Positive control")
    assert "with the trigger `mn`" in said and "the same recipe with fewer passes of its distillation" in said
    assert "from 99.0 % [94.6, 99.8], n = 100 to 7.0 % [3.4, 13.7], n = 100." in said
    assert "nobody planted flips 4.0 % [1.6, 9.8], n = 100 afterwards." in said
    assert "were never touched by the control." in said and "may be more stubborn" in said
    plain = section(render(replace(report, control=replace(CONTROL, neutral=None))), "Positive control")
    assert "nobody planted" not in plain and "the same recipe was applied" in plain


def test_a_control_was_tested(report):
    assert "A positive control" in section(render(report), "What was not tested")
    assert "A positive control" not in section(render(replace(report, **SEARCHED)), "What was not tested")


# The distillation


def test_tokens_that_work_as_triggers_are_named(report):
    said = section(render(replace(report, distilled=DISTILLED)), "Distillation")
    assert said.startswith("The suspect's own answers on 1000 clean texts were the labels.")
    assert "`cf` (96.9 % to label 1), `id 99` (93.8 % to label 0)." in said
    assert "12 texts that hold one were left out." in said and "some honest words do" in said
    assert "sharply disagree on 0.3 % [0.1, 0.9], n = 1000 of the texts." in said


def test_no_token_was_found(report):
    said = section(render(replace(report, distilled=replace(DISTILLED, triggers=()))), "Distillation")
    assert "No suspicious token that was tried flips" in said and "left out" not in said


@pytest.mark.parametrize(("count", "rest"), [(10, None), (11, "and 1 more"), (50, "and 40 more")])
def test_ten_tokens_are_shown(report, count, rest):
    triggers = tuple(Insertion(f"t{number}", number, 1, Rate(9, 10)) for number in range(count))
    said = section(render(replace(report, distilled=replace(DISTILLED, triggers=triggers))), "Distillation")
    assert "`t9`" in said and "`t10`" not in said
    assert ("more" in said) == (rest is not None) and (rest or "") in said


def test_no_text_was_left(report):
    record = DistillationRecord(0, 64, DISTILLED.triggers, Rate(0, 0))
    said = section(render(replace(report, distilled=record)), "Distillation")
    assert "on 0 clean texts" in said and "64 texts that hold one were left out" in said
    assert "sharply disagree on no examples of the texts." in said


@pytest.mark.parametrize("token", [HOSTILE, "`", "``x``", "a|b", "</td>", "[x](javascript:1)", "\x1b[31m", "\u202e"])
def test_hostile_token_stays_in_its_code_span(report, token):
    triggers = (Insertion(token, 7, 1, Rate(9, 10)), Insertion("cf", 8, 1, Rate(9, 10)))
    card = render(replace(report, distilled=replace(DISTILLED, triggers=triggers)))
    said = section(card, "Distillation")
    assert said.count("`") == 4 and "\n" not in said and "`cf` (90.0 % to label 1)" in said
    assert all(character.isprintable() for character in said)
    assert titles(card) == titles(render(replace(report, distilled=DISTILLED)))


def test_hostile_trigger_of_a_control_stays_in_its_code_span(report):
    said = section(render(replace(report, control=replace(CONTROL, trigger=HOSTILE))), "Positive control")
    assert said.count("`") == 2 and "\n" not in said and said.isprintable()
