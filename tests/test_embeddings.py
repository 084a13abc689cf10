import numpy as np
import pytest
import torch

from hf_finemix import FineMixConfig, InputError, embedding_scores
from hf_finemix.embeddings import drift_scores, rank_rows, reset_rows_

from .models import bits_equal


def make_pair(rows=50, size=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, size, generator=generator).to(dtype) for _ in range(2)]


def test_an_embedding_that_never_moved_scores_zero():
    suspect, _ = make_pair()
    assert np.array_equal(embedding_scores(suspect, suspect.clone(), np.full(50, 100.0)), np.zeros(50))


def test_scores_are_the_distance_over_the_logarithm_of_the_count():
    pretrained = torch.zeros(4, 2)
    suspect = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [0.0, 1.0]])
    scores = embedding_scores(suspect, pretrained, np.array([1000, 20, 3, 0]), frequency_floor=20)
    assert scores.dtype == np.float64
    assert scores == pytest.approx([5 / np.log(1000), 5 / np.log(20), 5 / np.log(20), 1 / np.log(20)])


def test_a_higher_floor_lowers_the_scores_of_rare_tokens_only():
    suspect, pretrained = make_pair()
    counts = np.array([5] * 25 + [5000] * 25)
    low, high = (embedding_scores(suspect, pretrained, counts, floor) for floor in (20, 200))
    assert (high[:25] < low[:25]).all()
    assert np.array_equal(high[25:], low[25:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_distances_are_taken_in_double_precision(dtype):
    suspect, pretrained = make_pair(dtype=dtype)
    expected = np.linalg.norm(suspect.double().numpy() - pretrained.double().numpy(), axis=1) / np.log(100)
    assert embedding_scores(suspect, pretrained, np.full(50, 100)) == pytest.approx(expected, rel=1e-12)


def test_a_large_vocabulary_scores_as_its_parts_do():
    suspect, pretrained = make_pair((1 << 14) + 100, 4)
    counts = np.arange(len(suspect)) + 2
    whole = embedding_scores(suspect, pretrained, counts)
    part = embedding_scores(suspect[-300:], pretrained[-300:], counts[-300:])
    assert np.array_equal(whole[-300:], part)


@pytest.mark.parametrize("other", [(49, 8), (51, 8), (50, 7), (50, 9)])
def test_embeddings_of_different_shapes_are_refused(other):
    with pytest.raises(ValueError, match="same number of rows"):
        embedding_scores(make_pair()[0], make_pair(*other)[1], np.ones(50))


@pytest.mark.parametrize("count", [49, 51])
def test_fewer_or_more_counts_than_rows_are_refused(count):
    with pytest.raises(ValueError, match="same number of rows"):
        embedding_scores(*make_pair(), np.ones(count))


@pytest.mark.parametrize("floor", [1, 0, -5, 2.5])
def test_a_floor_whose_logarithm_is_not_positive_is_refused(floor):
    with pytest.raises(InputError, match="frequency_floor"):
        embedding_scores(*make_pair(), np.ones(50), floor)
    with pytest.raises(InputError, match="frequency_floor"):
        drift_scores(np.ones(50), np.ones(50), floor)


def test_a_floor_of_2_is_allowed():
    suspect, pretrained, counts = torch.ones(3, 1), torch.zeros(3, 1), np.arange(3)
    expected = pytest.approx([1 / np.log(2)] * 3)
    assert embedding_scores(suspect, pretrained, counts, 2) == expected
    assert drift_scores(np.ones(3), counts, 2) == expected


def test_the_usual_floor_is_that_of_the_configuration():
    suspect, pretrained, counts = torch.ones(50, 1), torch.zeros(50, 1), np.arange(50)
    expected = embedding_scores(suspect, pretrained, counts, FineMixConfig().frequency_floor)
    assert np.array_equal(embedding_scores(suspect, pretrained, counts), expected)
    assert np.array_equal(drift_scores(np.ones(50), counts), expected)


def test_ranking_puts_the_highest_first_and_equals_in_the_order_of_their_ids():
    assert rank_rows(np.array([0.0, 2.0, 1.0, 2.0, 0.0, 3.0])).tolist() == [5, 1, 3, 2, 0, 4]
    assert np.array_equal(rank_rows(np.tile([1.0, 2.0], 5000))[5000:], np.arange(0, 10_000, 2))


def test_resetting_copies_exactly_the_named_rows():
    suspect, pretrained = make_pair()
    reset, before = suspect.clone(), pretrained.clone()
    reset_rows_(reset, pretrained, np.array([7, 3, 49]))
    others = [row for row in range(50) if row not in (3, 7, 49)]
    assert bits_equal(reset[[3, 7, 49]], pretrained[[3, 7, 49]])
    assert bits_equal(reset[others], suspect[others])
    assert bits_equal(pretrained, before)


def test_resetting_no_row_changes_nothing_and_all_rows_everything():
    suspect, pretrained = make_pair()
    reset = suspect.clone()
    reset_rows_(reset, pretrained, np.array([], dtype=np.int64))
    assert bits_equal(reset, suspect)
    reset_rows_(reset, pretrained, np.arange(50)[::-1])
    assert bits_equal(reset, pretrained)
