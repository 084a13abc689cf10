"""Figures per task and attack, averages over them and whether attacks work, on records made by hand."""

import pytest
from pytest import approx

from hf_finemix.laboratory.comparisons import comparisons
from hf_finemix.laboratory.condition import attack_rows, speed
from hf_finemix.laboratory.e_pur import gains
from hf_finemix.laboratory.estimates import Estimate, Figures, estimate, grid_mean
from hf_finemix.laboratory.matched import matches
from hf_finemix.laboratory.records import SuspectRecord
from hf_finemix.laboratory.summary import averages, distinct, main_cells, method, overview
from hf_finemix.rates import Rate, wilson_interval
from hf_finemix.report import Evaluation

from .records import by_name, candidate, cell, evaluation, failed, results, suspect


# Estimates


def test_one_seed_has_its_wilson_interval():
    assert estimate([Rate(30, 100)]) == Estimate(0.3, 1, None, *wilson_interval(30, 100))


def test_several_seeds_have_mean_and_sample_deviation():
    found = estimate([Rate(10, 100), Rate(0, 0), 0.2, None, Rate(30, 100)])
    assert (found.value, found.n, found.low) == (approx(0.2), 3, None)
    assert found.sd == approx(0.1)
    assert found.ends == approx((0.1, 0.3))


def test_nothing_measured_is_no_estimate():
    assert estimate([None, Rate(0, 0)]) is None and grid_mean({}) is None and grid_mean({"a": {0: None}}) is None


def test_tasks_count_the_same_however_many_seeds_they_have():
    # Mean of 0.2 (of 0.1 and 0.3) and 0.6; seed 0 alone is everywhere.
    assert grid_mean({"a": {0: 0.1, 1: 0.3}, "b": {0: 0.6}}) == Estimate(approx(0.4), 1)


def test_spread_is_that_of_the_means_over_tasks():
    # Means of the seeds: 0.2 and 0.4. Spread over all four values would be larger.
    found = grid_mean({"a": {0: 0.0, 1: 0.2}, "b": {0: 0.4, 1: 0.6}})
    assert (found.value, found.n, found.sd) == (approx(0.3), 2, approx(0.02**0.5))


def test_several_triggers_give_mean_and_worst():
    found = Figures.of([evaluation(90, 20, 80)])
    assert found.asr == Estimate(0.5, 1) and found.ra == Estimate(0.5, 1)
    assert (found.worst.value, found.worst.low) == (0.8, wilson_interval(80, 100)[0])
    assert [(item.trigger, item.asr.value) for item in found.triggers] == [("cf", 0.2), ("mn", 0.8)]


def test_worst_trigger_is_that_of_each_seed():
    found = Figures.of([evaluation(90, 20, 80), evaluation(90, 60, 40)])
    assert found.worst.value == approx(0.7) and found.asr.value == approx(0.5)


# Overview and averages


def test_overview_has_clean_model_and_suspect_first_and_defences_in_their_order():
    found = results(
        cell("fine_mixing", candidate(88, 20)),
        cell("something_else", candidate(80, 30)),
        cell("none", candidate(90, 100), e_pur=True),
        cell("none", candidate(90, 100)),
        suspect(),
    )
    rows = [(row.role, row.defense, row.e_pur, row.figures.asr.value) for row in overview(found)]
    assert rows == [
        ("clean model", "clean model", False, 0.1),
        ("suspect", "suspect", False, 1.0),
        ("defense", "none", False, 1.0),
        ("defense", "none", True, 1.0),
        ("defense", "fine_mixing", False, 0.2),
        ("defense", "something_else", False, 0.3),
    ]


def test_overview_takes_the_chosen_setting_over_the_seeds():
    tried = candidate(70, 10), candidate(88, 40)
    found = results(
        cell("fine_mixing", *tried, chosen=1), cell("fine_mixing", *tried, chosen=0, seed=1, within_margin=False)
    )
    (row,) = overview(found)
    assert (row.seeds, row.within_margin) == (2, 1)
    assert (row.figures.accuracy.value, row.figures.asr.value) == (approx(0.79), approx(0.25))


def test_failed_cells_and_missing_baselines_have_no_row():
    found = results(suspect(baseline=None), failed("fine_mixing"), suspect(seed=1, baseline=None))
    assert [row.role for row in overview(found)] == ["suspect"]


def test_averages_say_what_they_are_of():
    found = results(
        suspect(),
        suspect(task="qnli"),
        cell("fine_mixing", candidate(88, 20)),
        cell("fine_mixing", candidate(80, 60), task="qnli"),
        cell("wag", candidate(80, 60)),
        failed("wag", task="qnli"),
    )
    rows = by_name(averages(found))
    assert rows["fine_mixing", False].accuracy.value == approx(0.84)
    assert rows["fine_mixing", False].asr.value == approx(0.4)
    assert [(rows[name, False].measured, rows[name, False].planned) for name in ("fine_mixing", "wag")] == [
        (2, 2),
        (1, 2),
    ]


def test_averages_that_compare_are_of_the_suspects_that_all_defences_have():
    found = results(
        *(suspect(seed=seed) for seed in (0, 1)),
        suspect(task="qnli"),
        cell("fine_mixing", candidate(88, 20)),
        cell("fine_mixing", candidate(90, 30), seed=1),
        cell("fine_mixing", candidate(80, 60), task="qnli"),
        cell("wag", candidate(80, 70)),
        cell("wag", candidate(70, 90), e_pur=True),
        cell("wag", candidate(60, 80), task="qnli"),
        cell("wag", candidate(50, 10), model="base"),
    )
    rows = by_name(row for row in averages(found, shared=True) if row.model == "tiny")
    asr = {key: row.asr.value for key, row in rows.items()}
    # Of the suspects, that of the first task and seed alone.
    assert asr == {
        ("clean model", False): 0.1,
        ("suspect", False): 1.0,
        ("fine_mixing", False): 0.2,
        ("wag", False): 0.7,
        ("wag", True): 0.9,
    }
    assert {(row.measured, row.planned) for row in rows.values()} == {(1, 1)}
    assert [row.asr.value for row in averages(found, shared=True) if row.model == "base"] == [0.1]


def test_nothing_in_common_leaves_no_averages_that_compare():
    found = results(suspect(), cell("fine_mixing", candidate(88, 20)), cell("wag", candidate(88, 20), seed=1))
    assert averages(found, shared=True) == ()


def test_averages_are_of_one_model_each():
    found = results(cell("wag", candidate(80, 60)), cell("wag", candidate(90, 20), model="base"))
    assert [(row.model, row.asr.value, row.planned) for row in averages(found)] == [("base", 0.2, 1), ("tiny", 0.6, 1)]


def test_without_examples_of_other_labels_there_is_no_asr():
    found = results(suspect(90, None, baseline=None), cell("wag", candidate(80, None)))
    assert [row.figures.asr for row in overview(found)] == [None, None]
    assert [row.asr for row in averages(found)] == [None, None]
    assert not matches(found) and not gains(found) and not comparisons(found)


def test_main_number_of_clean_examples_is_the_most_common_one_of_each_task():
    sizes = [16, 64, 64, 256, 256, 256]
    found = results(*(cell("wag", candidate(80, 60), clean_examples=size) for size in sizes))
    assert {item.clean_examples for item in main_cells(found)} == {256}
    even = results(*(cell("wag", candidate(80, 60), clean_examples=size) for size in (16, 64, 256)))
    assert {item.clean_examples for item in main_cells(even)} == {64}


def test_one_record_of_a_cell_stays_and_a_finished_one_is_preferred():
    found = distinct(results(suspect(), suspect(80), failed("wag"), cell("wag", candidate(80, 60))))
    assert [item.evaluation.accuracy.value for item in found.suspects] == [0.9]
    assert [item.error for item in found.cells] == [None]


def test_other_selections_are_other_methods():
    assert method({"name": "fine_mixing", "selection": "random"}) == method({"name": "fine_mixing"}) == "fine_mixing"
    assert method({"name": "fine_mixing", "selection": "largest_drift"}) == "fine_mixing largest_drift"


# Attacks and speed


@pytest.mark.parametrize(
    ("accuracy", "asr", "works"), [(89, 90, True), (88, 100, False), (91, 89, False), (95, 95, True)]
)
def test_an_attack_works_if_it_succeeds_and_costs_little(accuracy, asr, works):
    # The clean model has 91 %.
    (row,) = attack_rows(results(suspect(accuracy, asr)))
    assert (row.works, row.lost.value) == (works, approx((91 - accuracy) / 100))


def test_whether_an_attack_works_is_open_without_a_clean_model_or_asr():
    rows = attack_rows(results(suspect(baseline=None), suspect(90, None, attack="x")))
    assert [(row.works, row.accuracy.value) for row in rows] == [(None, 0.9), (None, 0.9)]


def test_an_attack_that_failed_has_no_row():
    empty = SuspectRecord("sst2", "tiny", "word", 0, {}, error="out of memory")
    assert attack_rows(results(empty)) == ()
    unmeasured = suspect(baseline=Evaluation(Rate(0, 0)))
    assert [row.lost for row in attack_rows(results(unmeasured))] == [None]


def test_speed_counts_finished_cells_and_all_time():
    found = speed(results(suspect(), cell("wag", candidate(80, 60)), failed("wag", seconds=90.0)))
    assert (found.cells, found.cell_seconds, found.cells_per_hour) == (1, 120.0, 30.0)
    assert (found.suspects, found.suspect_seconds) == (1, 60.0)
    assert speed(results()).cells_per_hour is None
