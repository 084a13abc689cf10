"""The rule of the search: bisection, and when one model is as accurate as another."""

import itertools
from math import sqrt

import numpy as np
import pytest

from hf_finemix import search as module
from hf_finemix.search import find_smallest, is_as_accurate


# Bisection


@pytest.mark.parametrize("last", range(14))
def test_bisection_finds_what_trying_all_would_find(last):
    for smallest in range(last + 1):
        asked = []

        def is_good(number, smallest=smallest, asked=asked):
            asked.append(number)
            return number >= smallest

        assert find_smallest(last, is_good) == smallest
        # The largest is good by assumption, and none is asked twice.
        assert last not in asked and len(set(asked)) == len(asked) <= last.bit_length()


@pytest.mark.parametrize("last", range(8))
def test_bisection_gives_a_good_one_above_a_bad_one_whatever_the_others_are(last):
    for answers in itertools.product([False, True], repeat=last):
        good = [*answers, True]
        found = find_smallest(last, good.__getitem__)
        assert good[found] and (found == 0 or not good[found - 1])


# As accurate


def test_within_one_point_and_one_standard_error_is_as_accurate(monkeypatch):
    # On so few examples a point is next to nothing: the standard error is looked at alone.
    monkeypatch.setattr(module, "_TOLERANCE", 1.0)
    seen = set()
    for losses, gains, ties in itertools.product(range(8), range(8), range(12)):
        n = losses + gains + ties
        if not n:
            continue
        right = np.array([False] * losses + [True] * gains + [True] * ties)
        reference = np.array([True] * losses + [False] * gains + [True] * ties)
        mean = (losses - gains) / n
        error = sqrt(max((losses + gains) / n - mean**2, 0) / n)
        if abs(mean - error) < 1e-9:
            continue
        seen.add(is_as_accurate(right, reference))
        assert is_as_accurate(right, reference) == (mean < error), (losses, gains, ties)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("right", "reference", "answer"),
    [
        ([1, 1, 0, 1], [1, 1, 0, 1], True),
        ([0, 0], [0, 0], True),
        ([1, 1, 1], [0, 1, 1], True),
        ([0, 1, 1], [1, 1, 1], False),
        ([0, 0, 0], [1, 1, 1], False),
        # Not the same examples, but no more of them.
        ([1, 0, 1, 1], [0, 1, 1, 1], True),
        ([0], [1], False),
    ],
)
def test_differences_are_paired(right, reference, answer):
    assert is_as_accurate(np.array(right, dtype=bool), np.array(reference, dtype=bool)) is answer


@pytest.mark.parametrize(("lost", "answer"), [(0, True), (10, True), (11, False), (-40, True)])
def test_more_than_a_point_is_never_as_accurate(lost, answer):
    # 1,000 examples of which the models disagree on a third: a standard error of 1.8 points.
    reference = np.arange(1000) % 2 == 0
    right = reference.copy()
    right[np.flatnonzero(reference)[: 160 + lost]] = False
    right[np.flatnonzero(~reference)[:160]] = True
    assert is_as_accurate(right, reference) is answer
