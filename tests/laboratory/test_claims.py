"""The paper's claims: each answered yes, no and not measured, from the data alone."""

import pytest

from hf_finemix.laboratory.claims import NO, NOT_MEASURED, YES, claims

from .records import candidate, cell, evaluation, failed, grid, results, suspect


ALL = "all defences measured"
PAPER = "the paper's own rivals"


def find(found, number, *words):
    """The only claim of that number whose statement has these words."""
    claims_of_number = [claim for claim in claims(found) if claim.number == number]
    (claim,) = [claim for claim in claims_of_number if all(word in claim.statement for word in words)]
    return claim


def defended(*methods, task="sst2", attack="word", **changed):
    """A suspect of 90 % ACC and cells of these methods, each with (ACC, ASR)."""
    cells = [cell(name, candidate(*figures), task=task, attack=attack, **changed) for name, figures in methods]
    return [suspect(task=task, attack=attack), *cells]


def lowest(*records):
    return find(results(*records), 1, "(without E-PUR", ALL)


# 1: lowest ASR at matched accuracy


def test_lowest_in_every_task_is_yes_with_figures():
    claim = lowest(
        *defended(("fine_mixing", (88, 20)), ("fine_tuning", (90, 90)), ("none", (90, 5))),
        *defended(("fine_mixing", (89, 30)), ("fine_tuning", (90, 30)), task="qnli"),
    )
    assert claim.answer == YES
    assert "sst2: 20.0 % (fine_mixing) against 90.0 % (fine_tuning)" in claim.figures
    assert claim.figures.startswith("2 points of ACC lost at most")
    # At 1 point Fine-mixing keeps the accuracy in one task only.
    assert "At 1 point: no, 3 points: yes, 5 points: yes" in claim.figures


def test_one_task_with_a_lower_rival_is_no():
    claim = lowest(
        *defended(("fine_mixing", (88, 20)), ("fine_tuning", (90, 90))),
        *defended(("fine_mixing", (89, 31)), ("fine_tuning", (90, 30)), task="qnli"),
    )
    assert claim.answer == NO and "qnli: 31.0 % (fine_mixing) against 30.0 % (fine_tuning)" in claim.figures


def test_asr_is_averaged_over_the_attacks():
    claim = lowest(
        *defended(("fine_mixing", (90, 10)), ("fine_tuning", (90, 90))),
        *defended(("fine_mixing", (90, 50)), ("fine_tuning", (90, 0)), attack="sentence"),
    )
    assert claim.answer == YES and "30.0 % (fine_mixing) against 45.0 % (fine_tuning)" in claim.figures


def test_a_rival_of_later_years_counts_among_all_and_not_among_the_papers():
    found = results(*defended(("fine_mixing", (90, 20)), ("fine_tuning", (90, 90)), ("fine_purifying", (90, 5))))
    assert find(found, 1, "(without", ALL).answer == NO
    assert find(found, 1, "(without", PAPER).answer == YES


def test_another_selection_is_no_rival():
    variant = cell("fine_mixing", candidate(90, 0), defense="by drift", selection="smallest_drift")
    assert lowest(*defended(("fine_mixing", (90, 20)), ("wag", (90, 90))), variant).answer == YES


def test_fine_mixing_that_loses_too_much_is_no():
    claim = lowest(*defended(("fine_mixing", (80, 0)), ("fine_tuning", (90, 90))))
    said = "100.0 % (fine_mixing, keeps it on 0 of 1) against 90.0 % (fine_tuning)"
    assert claim.answer == NO and said in claim.figures


def test_rivals_that_lose_too_much_leave_fine_mixing_lowest():
    claim = lowest(*defended(("fine_mixing", (90, 60)), ("fine_tuning", (80, 0))))
    said = "60.0 % (fine_mixing) against 100.0 % (fine_tuning, keeps it on 0 of 1)"
    assert claim.answer == YES and said in claim.figures


def test_a_suspect_that_cannot_be_helped_at_that_accuracy_counts_as_it_is():
    methods = {"word": (("fine_mixing", (90, 20)), ("fine_tuning", (90, 70)))}
    methods["sentence"] = (("fine_mixing", (80, 0)), ("fine_tuning", (90, 60)))
    claim = lowest(*(record for attack, of in methods.items() for record in defended(*of, attack=attack)))
    said = "60.0 % (fine_mixing, keeps it on 1 of 2) against 65.0 % (fine_tuning)"
    assert claim.answer == YES and said in claim.figures


def test_nobody_who_keeps_the_accuracy_is_not_measured():
    claim = lowest(*defended(("fine_mixing", (80, 0)), ("fine_tuning", (80, 50))))
    assert claim.answer == NOT_MEASURED and "no defence keeps that ACC on any suspect" in claim.figures


@pytest.mark.parametrize(
    ("methods", "said"), [([("wag", (90, 9))], "no Fine-mixing"), ([("fine_mixing", (90, 9))], "no rival")]
)
def test_one_side_alone_is_not_measured(methods, said):
    claim = lowest(*defended(*methods))
    assert claim.answer == NOT_MEASURED and said in claim.figures


def test_only_suspects_that_all_were_tried_on_count():
    methods = ("fine_mixing", (90, 10)), ("fine_tuning", (90, 50))
    other = ("fine_mixing", (90, 90)), ("fine_tuning", (90, 50))
    claim = lowest(*defended(*methods, ("wag", (90, 90))), *defended(*other, attack="sentence"))
    assert claim.answer == YES and "10.0 % (fine_mixing) against 50.0 % (fine_tuning)" in claim.figures
    # The paper's own rivals were tried on both.
    found = results(*defended(*methods, ("wag", (90, 90))), *defended(*other, attack="sentence"))
    claim = find(found, 1, "(without E-PUR", PAPER)
    assert claim.answer == YES and "50.0 % (fine_mixing) against 50.0 % (fine_tuning)" in claim.figures


def test_no_suspect_in_common_is_not_measured():
    claim = lowest(*defended(("fine_mixing", (90, 10))), *defended(("fine_tuning", (90, 50)), attack="sentence"))
    assert claim.answer == NOT_MEASURED and "no suspect in common" in claim.figures


def test_an_unfinished_bench_leaves_a_yes_open_and_not_a_no():
    def answer(asr):
        records = defended(("fine_mixing", (90, asr)), ("fine_tuning", (90, 50)))
        return find(results(*records, cells=["0", "1", "2"]), 1, "(without E-PUR").answer

    assert answer(10) == NOT_MEASURED
    assert answer(60) == NO


# 2 and 3: E-PUR


def embedded(*methods, name="embedding_poisoning", baseline=10):
    """An embedding attack and cells of these methods, each with its ASR without E-PUR and with it."""
    cells = [
        cell(method, candidate(90, asr), attack="ep", e_pur=bool(e_pur))
        for method, *rates in methods
        for e_pur, asr in enumerate(rates)
    ]
    return results(
        suspect(attack="ep", settings={"name": name}, baseline=baseline and evaluation(91, baseline)), *cells
    )


THREE = ("fine_tuning", 99, 12), ("fine_pruning", 80, 10)


@pytest.mark.parametrize(
    ("mixing", "answer"),
    [([("fine_mixing", 30, 9)], YES), ([("fine_mixing", 30, 30)], NO), ([], NOT_MEASURED)],
)
def test_e_pur_lowers_all_three_families(mixing, answer):
    claim = find(embedded(*THREE, *mixing, ("wag", 10, 20)), 2)
    assert claim.answer == answer
    assert "fine_tuning under ep: 99.0 % to 12.0 %" in claim.figures
    assert ("no Fine-mixing" in claim.figures) == (not mixing)


def test_other_attacks_say_nothing_about_embedding_attacks():
    claim = find(embedded(*THREE, ("fine_mixing", 30, 9), name="word"), 2)
    assert (claim.answer, claim.figures) == (NOT_MEASURED, "no embedding attack with both")
    assert find(embedded(*THREE, ("fine_mixing", 30, 9), name="embedding_surgery"), 2).answer == YES
    assert find(embedded(*THREE, ("fine_mixing", 30, 9), name="embedding_surgery"), 3).answer == NOT_MEASURED


@pytest.mark.parametrize(
    # 10 of 100 may be up to 17.4 %; 60 of 100 up to 69.1 %.
    ("asr", "baseline", "answer"),
    [(17, 10, YES), (18, 10, NO), (69, 60, YES), (70, 60, NO)],
)
def test_falls_to_the_clean_model_within_its_interval(asr, baseline, answer):
    claim = find(embedded(("fine_mixing", 100, asr), baseline=baseline), 3)
    assert claim.answer == answer
    assert f"{asr}.0 % against {baseline}.0 % ({int(answer == YES)} of 1 within" in claim.figures


def test_falls_to_the_clean_model_if_close_on_average():
    # 7 points above and 5 below: one outside its interval, 1 point above on average.
    found = embedded(("fine_mixing", 100, 18))
    more = [
        cell("fine_mixing", candidate(90, asr), attack="ep", e_pur=e, seed=1) for e, asr in ((False, 99), (True, 4))
    ]
    other = suspect(attack="ep", seed=1, settings={"name": "embedding_poisoning"})
    claim = find(results(*found.suspects, other, *found.cells, *more), 3)
    assert claim.answer == YES and "11.0 % against 10.0 % (1 of 2" in claim.figures


def test_without_a_clean_model_there_is_nothing_to_fall_to():
    found = embedded(("fine_mixing", 100, 5), baseline=None)
    assert find(found, 3).answer == NOT_MEASURED


# 4 and 5: clean examples and reserve ratio


@pytest.mark.parametrize(
    ("few", "answer"), [((89, 20), YES), ((90, 21), YES), ((90, 20), NO), ((95, 5), NO), (None, NOT_MEASURED)]
)
def test_fewer_clean_examples_hurt(few, answer):
    cells = [cell("fine_mixing", candidate(90, 20), clean_examples=256)]
    cells += [cell("fine_mixing", candidate(*few), clean_examples=16)] if few else []
    claim = find(results(suspect(), *cells), 4, "(without")
    assert claim.answer == answer
    if few == (89, 20):
        assert "16 examples ACC 89.0 %, ASR 20.0 %; 256 examples ACC 90.0 %, ASR 20.0 %" in claim.figures
        assert "in all ACC -1.0, ASR +0.0 points" in claim.figures


@pytest.mark.parametrize(("high", "answer"), [((90, 60), YES), ((90, 10), NO), ((80, 60), NO), (None, NOT_MEASURED)])
def test_a_higher_ratio_raises_both(high, answer):
    tried = [candidate(80, 10, keep_ratio=0.1), *([candidate(*high, keep_ratio=0.7)] if high else [])]
    claim = find(results(suspect(), cell("fine_mixing", *tried)), 5, "(without")
    assert claim.answer == answer
    if answer == YES:
        assert "ratio 0.1 ACC 80.0 %, ASR 10.0 %; ratio 0.7 ACC 90.0 %, ASR 60.0 %" in claim.figures
        assert "in all ACC +10.0, ASR +50.0 points" in claim.figures


# All together


def test_each_pretrained_model_is_judged_by_itself():
    good = defended(("fine_mixing", (90, 1)), ("wag", (90, 90)))
    bad = [cell("fine_mixing", candidate(90, 90), model="base"), cell("wag", candidate(90, 1), model="base")]
    found = [c for c in claims(results(*good, suspect(model="base"), *bad)) if c.number == 1 and ALL in c.statement]
    assert [(c.model, c.answer) for c in found if "without" in c.statement] == [("base", NO), ("tiny", YES)]


def test_nothing_measured_claims_nothing():
    assert claims(results()) == ()
    failures = claims(results(failed("fine_mixing")))
    assert {claim.answer for claim in failures} == {NOT_MEASURED} and len(failures) == 8


def test_a_whole_grid_answers_every_claim():
    found = claims(grid(("sst2", "qnli")))
    assert [claim.number for claim in found] == [1, 1, 1, 1, 2, 3, 4, 4, 5, 5]
    assert all(claim.figures for claim in found)
