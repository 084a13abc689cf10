"""Single rows, columns and scalars that moved out of line with their tensor. Pure functions on what was measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .serialization import Record
from .tensor_drift import TensorDrift


# Of fewer rows or columns it cannot be told what is usual.
_FEWEST = 16
# Those that all moved alike differ by rounding alone; a spread below one percent says nothing.
_LEAST_SPREAD = 0.01
# Where less than this share of a tensor moved at all, what did moved alone.
_ALONE = 0.01
_MOST_DEVIATION = 1000.0


@dataclass(frozen=True)
class Outlier(Record):
    """
    A part of a tensor that moved farther than the rest of it.

    Args:
        kind (`str`): `"row"`, `"column"` or `"scalar"`.
        tensor (`str`): Name of the tensor.
        index (`tuple[int, ...]`): Number of the row or column, or both for a scalar; of a vector's scalar, one.
        drift (`float`): How far it moved: the L2 norm of its difference.
        deviation (`float`): Of rows and columns, robust standard deviations of the logarithm of the drift above its
            median over the tensor, at most 1,000 (which stands for one that moved alone). Of a scalar, its drift over
            the root mean square drift of the tensor.
    """

    kind: str
    tensor: str
    index: tuple[int, ...]
    drift: float
    deviation: float


def log_deviations(drift: np.ndarray) -> np.ndarray:
    """
    Tells how far each row or column of a tensor is out of line.

    Args:
        drift (`np.ndarray`): How far each moved, shape (n,). Those that never moved are left out of median and spread.

    Returns:
        `np.ndarray`: Shape (n,), in robust standard deviations (1.4826 times the median absolute deviation) of the
        logarithm; at most 1,000, which those get that moved almost alone; 0 where nothing can be said.
    """
    moved = drift > 0
    deviations = np.zeros(len(drift))
    if len(drift) < _FEWEST or not moved.any():
        return deviations
    if moved.mean() < _ALONE or moved.sum() == 1:
        deviations[moved] = _MOST_DEVIATION
        return deviations
    logs = np.log(drift[moved])
    median = np.median(logs)
    spread = max(1.4826 * float(np.median(np.abs(logs - median))), _LEAST_SPREAD)
    deviations[moved] = np.minimum((logs - median) / spread, _MOST_DEVIATION)
    return deviations


def find_outliers(drifts: Mapping[str, TensorDrift], embedding: str, most: int = 5) -> tuple[Outlier, ...]:
    """
    Finds what moved farthest out of line, over all tensors.

    Args:
        drifts (`Mapping[str, TensorDrift]`): How far each tensor moved, by its name.
        embedding (`str`): Name of the word embedding. Its rows are left out: they have a ranking of their own, which
            takes into account how often a token occurs.
        most (`int`, *optional*, defaults to 5): How many of each kind.

    Returns:
        `tuple[Outlier, ...]`: Rows, columns, then scalars; of each kind the farthest out of line first.
    """
    found: list[Outlier] = []
    for name, drift in drifts.items():
        if len(drift.columns) > 1:
            if name != embedding:
                found += _lines("row", name, drift.rows, most)
            found += _lines("column", name, drift.columns, most)
        found += _scalars(name, drift)
    kinds = ("row", "column", "scalar")
    ranked = [
        sorted((item for item in found if item.kind == kind), key=lambda item: -item.deviation) for kind in kinds
    ]
    return tuple(item for items in ranked for item in items[:most])


def _lines(kind: str, name: str, drift: np.ndarray, most: int) -> Iterator[Outlier]:
    deviations = log_deviations(drift)
    for number in np.argsort(-deviations, kind="stable")[:most]:
        if deviations[number] > 0:
            yield Outlier(kind, name, (int(number),), float(drift[number]), float(deviations[number]))


def _scalars(name: str, drift: TensorDrift) -> Iterator[Outlier]:
    # The spread of a few scalars is made by the largest of them.
    if drift.scalars < _FEWEST:
        return
    for row, column, moved in drift.largest:
        index = (row, column) if len(drift.columns) > 1 else (row,)
        yield Outlier("scalar", name, index, moved, moved / drift.typical)
