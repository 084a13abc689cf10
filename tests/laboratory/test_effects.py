"""Matched accuracy, E-PUR, effects of parameters and McNemar's tests, on records made by hand."""

from pytest import approx

from hf_finemix.laboratory.comparisons import comparisons
from hf_finemix.laboratory.e_pur import gains, rank_rows
from hf_finemix.laboratory.effects import mean_effects, ratio_effects, size_effects
from hf_finemix.laboratory.matched import main_margin, matched_rows, matches, points
from hf_finemix.laboratory.records import RankRecord

from .records import by_name, candidate, cell, evaluation, failed, results, suspect


# Matched accuracy


def test_matched_accuracy_looks_at_all_settings_and_not_only_the_chosen_one():
    tried = candidate(84, 5), candidate(88, 30), candidate(89, 60), candidate(90, 20, 90)
    found = matches(results(suspect(), cell("fine_mixing", *tried, chosen=3)), (0.01, 0.02, 0.05))
    assert [(m.margin, m.accuracy, m.asr) for m in found] == [(0.01, 0.9, 0.55), (0.02, 0.88, 0.3), (0.05, 0.88, 0.3)]


def test_a_floor_that_is_met_exactly_is_met():
    assert 0.53 - 0.05 > 0.48, "so it is in floating point"
    found = matches(results(suspect(53, 100), cell("wag", candidate(48, 30), margin=0.05)), (0.05,))
    assert [m.asr for m in found] == [0.3]


def test_the_margin_of_the_bench_is_always_looked_at():
    found = results(suspect(), *(cell("wag", candidate(80, 60), margin=m, seed=s) for s, m in enumerate((0.04, 0.04))))
    assert main_margin(found) == 0.04
    assert [m.margin for m in matches(found, (0.01,))] == [0.01, 0.04]


def test_matched_average_covers_every_suspect_and_names_the_lowest():
    def cells(name, *figures, **changed):
        attacks = ("word", "sentence")
        return [cell(name, candidate(*f), attack=a, **changed) for a, f in zip(attacks, figures, strict=False)]

    found = results(
        suspect(),
        suspect(attack="sentence"),
        *cells("none", (90, 1), (90, 1)),
        *cells("fine_tuning", (90, 80), (90, 60)),
        *cells("fine_mixing", (88, 10), (89, 40)),
        *cells("fine_pruning", (90, 0), (80, 0)),
        *cells("fine_tuning", (90, 50), (90, 50), e_pur=True),
    )
    rows = by_name(matched_rows(matches(found, (0.02,))))
    assert rows["fine_mixing", False].asr.value == approx(0.25)
    # Where it keeps the accuracy 0, and where it does not the suspect's.
    assert rows["fine_pruning", False].asr.value == approx(0.5)
    assert [key for key, row in rows.items() if row.lowest] == [("fine_tuning", True), ("fine_mixing", False)]
    assert rows["fine_tuning", False].asr.value == approx(0.7)
    counts = {key[0]: (row.reached, row.tried, row.suspects) for key, row in rows.items()}
    assert counts["fine_pruning"] == (1, 2, 2) and counts["fine_mixing"] == (2, 2, 2)


def test_matched_averages_are_of_the_suspects_that_every_defence_was_tried_on():
    found = results(
        *(suspect(seed=seed) for seed in (0, 1)),
        cell("none", candidate(90, 100), seed=1),
        *(cell("fine_mixing", candidate(90, asr), seed=seed) for seed, asr in enumerate((10, 50))),
        cell("wag", candidate(90, 20)),
    )
    rows = by_name(matched_rows(matches(found, (0.02,))))
    assert {key[0]: (row.asr.value, row.tried, row.suspects) for key, row in rows.items()} == {
        "fine_mixing": (0.1, 1, 1),
        "wag": (0.2, 1, 1),
    }


def test_without_a_suspect_in_common_there_is_no_matched_average():
    found = results(
        *(suspect(seed=seed) for seed in (0, 1)),
        cell("fine_mixing", candidate(90, 10)),
        cell("wag", candidate(90, 20), seed=1),
    )
    rows = matched_rows(matches(found, (0.02,)))
    assert [(row.asr, row.tried, row.suspects, row.lowest) for row in rows] == [(None, 1, 2, False)] * 2


def test_matched_accuracy_needs_a_suspect():
    assert not matches(results(cell("wag", candidate(80, 60))))


def test_frontier_leaves_out_what_another_setting_beats():
    tried = candidate(80, 10, keep_ratio=0.1), candidate(80, 20, keep_ratio=0.3), candidate(90, 20, keep_ratio=0.5)
    found = points(results(cell("wag", *tried, chosen=2)).cells)
    assert [(p.setting_text, p.frontier, p.chosen) for p in found] == [
        ("keep_ratio 0.1", True, False),
        ("keep_ratio 0.3", False, False),
        ("keep_ratio 0.5", True, True),
    ]


# E-PUR, effects, tests


def test_gain_compares_twins_with_the_clean_model():
    found = results(
        suspect(baseline=evaluation(91, 10)),
        suspect(seed=1, baseline=None),
        *(cell("wag", candidate(90, asr), seed=seed) for seed, asr in enumerate((60, 80))),
        *(cell("wag", candidate(88, asr), seed=seed, e_pur=True) for seed, asr in enumerate((17, 30))),
        cell("fine_tuning", candidate(90, 60)),
        failed("fine_tuning", e_pur=True),
    )
    (gain,) = gains(found)
    assert (gain.defense, gain.attack_name, gain.cells) == ("wag", "word", 2)
    assert (gain.without.value, gain.asr.value) == (approx(0.7), approx(0.235))
    assert (gain.lowered.value, gain.lowered.sd) == (approx(0.465), approx(0.035 * 2**0.5))
    assert gain.accuracy.value == approx(-0.02)
    # 10 of 100 may be up to 17.4 %.
    assert (gain.distance.value, gain.at_baseline, gain.with_baseline) == (approx(0.07), 1, 1)


def test_every_trigger_must_be_at_the_baseline():
    baseline = evaluation(91, 10, 10)
    found = results(
        suspect(90, 100, 100, baseline=baseline),
        cell("wag", candidate(90, 60, 60)),
        cell("wag", candidate(90, 2, 18), e_pur=True),
    )
    (gain,) = gains(found)
    assert (gain.distance.value, gain.at_baseline) == (approx(0.0), 0)


def test_ranks_are_summed_up_per_attack_and_source():
    def ranks(*values):
        return tuple(RankRecord("cf", "vocabulary", "cf", value, 1000) for value in values)

    found = results(suspect(ranks=ranks(1, 900)), suspect(seed=1, ranks=ranks(4)), suspect(attack="x"))
    (row,) = rank_rows(found)
    assert (row.ranks, row.median, row.worst, row.reset, row.vocabulary) == ((1, 4, 900), 4, 900, 2, 1000)


def test_ratio_effects_take_every_setting_of_the_suspects_that_have_all():
    found = results(
        cell("wag", candidate(80, 10, keep_ratio=0.1), candidate(90, 50, keep_ratio=0.5)),
        cell("wag", candidate(70, 20, keep_ratio=0.1), candidate(80, 70, keep_ratio=0.5), task="qnli"),
        cell("wag", candidate(10, 99, keep_ratio=0.1), task="unfinished"),
        cell("fine_tuning", candidate(80, 10)),
        cell("high_rate_fine_tuning", candidate(80, 10, factor=2), candidate(80, 10, factor=5)),
    )
    effects = ratio_effects(found)
    assert [(e.defense, e.value, e.suspects) for e in effects] == [("wag", 0.1, 2), ("wag", 0.5, 2)]
    assert [(e.accuracy.value, e.asr.value) for e in effects] == [(0.75, approx(0.15)), (approx(0.85), 0.6)]
    assert mean_effects(effects) == {
        ("tiny", "wag", "wag", False): {0.1: (0.75, approx(0.15)), 0.5: (approx(0.85), 0.6)}
    }


def test_size_effects_take_the_chosen_setting():
    tried = candidate(80, 10), candidate(90, 50)
    found = results(
        *(cell("wag", *tried, chosen=number, clean_examples=size) for number, size in enumerate((16, 256))),
        cell("wag", *tried, clean_examples=16, task="qnli"),
        cell("fine_tuning", *tried),
    )
    effects = size_effects(found)
    assert [(e.defense, e.value, e.accuracy.value, e.suspects) for e in effects] == [
        ("wag", 16, 0.8, 1),
        ("wag", 256, 0.9, 1),
    ]


def test_best_defence_meets_its_best_rival_of_another_name():
    found = results(
        cell("fine_mixing", candidate(90, 10), outcomes={"trigger 0": "1000", "clean": "111"}),
        cell("fine_mixing", candidate(90, 15), defense="variant", outcomes={}),
        cell("wag", candidate(90, 30), e_pur=True, outcomes={"trigger 0": "0111", "clean": "110"}),
        cell("wag", candidate(90, 40)),
        cell("fine_tuning", candidate(60, 0), within_margin=False),
        failed("fine_pruning"),
    )
    (found,) = comparisons(found)
    assert (found.best, found.best_asr, found.rival, found.rival_e_pur) == ("fine_mixing", 0.1, "wag", True)
    # One discordant example against three: 2 * (1 + 4) / 2^4.
    assert found.triggered == {"b": 1, "c": 3, "p_value": 0.625}
    assert found.clean == {"b": 1, "c": 0, "p_value": 1.0}


def test_outcomes_that_do_not_match_are_not_tested():
    found = results(
        cell("wag", candidate(90, 10), outcomes={"trigger 0": "10"}),
        cell("none", candidate(90, 90), outcomes={"trigger 0": "101"}),
    )
    (found,) = comparisons(found)
    assert (found.triggered, found.clean) == (None, None)
    assert not comparisons(results(cell("wag", candidate(90, 10))))
