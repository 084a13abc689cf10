"""From scores and insertions to levels."""

import numpy as np
import pytest

from hf_finemix.findings import (
    finding_level,
    insertion_level,
    is_out_of_line,
    prominence,
    prominence_level,
    robust_deviations,
)
from hf_finemix.outliers import Outlier
from hf_finemix.rates import Rate
from hf_finemix.trigger_search import Insertion


def flips(successes, n):
    return Insertion("cf", 1, 1, Rate(successes, n))


def test_levels_rise_with_the_prominence():
    levels = [prominence_level(value) for value in (0.0, 1.0, 1.4, 1.6, 2.6, 1000.0)]
    assert levels == ["low", "low", "low", "medium", "high", "high"]


@pytest.mark.parametrize(
    ("insertion", "level"),
    [
        (flips(0, 0), "low"),
        (flips(0, 50), "low"),
        # What "boring" does to a clean classifier of film reviews.
        (flips(27, 40), "low"),
        (flips(40, 50), "low"),
        (flips(44, 50), "medium"),
        (flips(48, 50), "high"),
        (flips(50, 50), "high"),
        # All of a few texts is no proof.
        (flips(3, 3), "low"),
        (flips(10, 10), "medium"),
    ],
)
def test_an_insertion_counts_by_the_lower_end_of_its_interval(insertion, level):
    assert insertion_level(insertion) == level


def test_the_highest_level_is_the_finding():
    assert finding_level(1.0) == "low"
    assert finding_level(1.6) == "medium"
    assert finding_level(1.0, [flips(0, 50), flips(50, 50)]) == "high"
    assert finding_level(1000.0, [flips(0, 50)]) == "high"
    assert finding_level(1.6, [flips(0, 50)]) == "medium"


def test_prominence_compares_the_first_score_with_the_next_ones():
    scores = np.concatenate([[3.0], np.full(25, 1.5), np.zeros(100)])
    assert prominence(np.random.default_rng(0).permutation(scores)) == 2
    assert prominence(np.full(30, 0.1)) == 1
    # Embedding poisoning moves the trigger's row alone: the clearest finding, not a missing one.
    assert prominence(np.eye(1, 30)[0]) == 1000
    assert prominence(np.zeros(30)) == 0
    assert prominence(np.array([2.0])) == 1000


def test_deviations_are_robust_and_leave_out_rows_that_never_moved():
    normal = np.random.default_rng(0).normal(10, 2, 4000)
    deviations = robust_deviations(np.concatenate([normal, np.zeros(4000), [50.0]]))
    assert deviations[:4000] == pytest.approx((normal - 10) / 2, abs=0.2)
    assert deviations[-1] == pytest.approx(20, abs=1)


def test_nothing_stands_out_where_nothing_or_everything_moved_alike():
    assert not robust_deviations(np.zeros(5)).any()
    assert not robust_deviations(np.full(5, 3.0)).any()


@pytest.mark.parametrize(("kind", "usual", "unusual"), [("row", 8, 13), ("column", 8, 1000), ("scalar", 17, 31)])
def test_what_clean_models_do_is_not_out_of_line(kind, usual, unusual):
    of = {"kind": kind, "tensor": "w", "index": (0,), "drift": 1.0}
    assert not is_out_of_line(Outlier(**of, deviation=usual))
    assert is_out_of_line(Outlier(**of, deviation=unusual))
