"""What moved out of line with its tensor."""

import numpy as np
import pytest
import torch

from hf_finemix.outliers import Outlier, find_outliers, log_deviations
from hf_finemix.tensor_drift import measure_drift


def drift(change=None, shape=(64, 48), scale=0.01, seed=0):
    """Drift of a matrix that moved a little everywhere, and more where `change` says so."""
    moved = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if change is not None:
        change(moved)
    moved = moved.reshape(len(moved), -1)
    return measure_drift([(torch.ones_like(moved) + moved, torch.ones_like(moved))])


def first(outliers, kind):
    return next(item for item in outliers if item.kind == kind)


def test_a_row_a_column_and_a_scalar_are_found_with_their_places():
    def row(moved):
        moved[5] *= 10

    def column(moved):
        moved[:, 7] *= 10

    def scalar(moved):
        moved[3, 4] = 0.5

    drifts = {"a": drift(), "b": drift(row), "c": drift(column), "d": drift(scalar), "e": drift(seed=1)}
    found = find_outliers(drifts, "embedding")
    where = [(first(found, kind).tensor, first(found, kind).index) for kind in ("row", "column", "scalar")]
    assert where == [("b", (5,)), ("c", (7,)), ("d", (3, 4))]
    assert first(found, "row").drift == pytest.approx(drifts["b"].rows[5])
    assert all(first(found, kind).deviation > 12 for kind in ("row", "column"))
    assert first(found, "scalar").drift == pytest.approx(0.5, abs=1e-6)
    assert first(found, "scalar").deviation == pytest.approx(0.5 / drifts["d"].typical, rel=1e-6)
    assert first(found, "scalar").deviation > 30


def test_kinds_come_in_order_and_the_farthest_first_at_most_so_many():
    found = find_outliers({str(seed): drift(seed=seed) for seed in range(4)}, "embedding", most=3)
    assert [item.kind for item in found] == ["row"] * 3 + ["column"] * 3 + ["scalar"] * 3
    for kind in ("row", "column", "scalar"):
        deviations = [item.deviation for item in found if item.kind == kind]
        assert deviations == sorted(deviations, reverse=True)


def test_rows_of_the_word_embedding_are_left_to_its_own_ranking():
    def both(moved):
        moved[5] *= 10
        moved[:, 7] *= 10

    found = find_outliers({"w": drift(both)}, "w")
    assert {item.kind for item in found} == {"column", "scalar"}
    assert "row" in {item.kind for item in find_outliers({"w": drift(both)}, "another")}


def test_a_vector_has_scalars_alone():
    def change(moved):
        moved[9] = 1

    found = find_outliers({"bias": drift(change, (40,))}, "embedding")
    assert {item.kind for item in found} == {"scalar"}
    assert found[0].index == (9,)


def test_small_tensors_and_those_that_did_not_move_have_none():
    drifts = {"small": drift(shape=(3, 4)), "still": drift(scale=0), "scalar": drift(shape=(1,))}
    assert find_outliers(drifts, "embedding") == ()


def test_deviations_are_those_of_the_logarithm():
    logs = np.random.default_rng(0).normal(3, 0.5, 5000)
    deviations = log_deviations(np.exp(np.append(logs, 8.0)))
    assert deviations[:-1] == pytest.approx((logs - 3) / 0.5, abs=0.15)
    assert deviations[-1] == pytest.approx(10, abs=0.3)


def test_what_moved_alone_is_the_clearest_case():
    assert log_deviations(np.eye(1, 300, 7)[0]).tolist() == (1000 * np.eye(1, 300, 7)[0]).tolist()
    few = np.zeros(1000)
    few[:5] = 1
    assert log_deviations(few)[:5].tolist() == [1000] * 5
    # Where a good part moved, to have moved is nothing special.
    few[:50] = 1
    assert not log_deviations(few).any()


def test_nothing_is_said_of_a_few_or_of_what_moved_alike():
    assert not log_deviations(np.arange(15.0)).any()
    assert not log_deviations(np.zeros(50)).any()
    assert not log_deviations(np.full(50, 0.3)).any()
    # One that moved by half a percent more than others that moved alike is no outlier.
    assert log_deviations(np.append(np.full(50, 1.0), 1.005)).max() < 1


def test_an_outlier_can_be_written_and_read():
    outlier = Outlier("scalar", "w", (3, 4), 0.5, 12.0)
    assert Outlier.from_dict(outlier.to_dict()) == outlier
    assert outlier.to_dict()["index"] == [3, 4]
