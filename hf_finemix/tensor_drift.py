"""How far a tensor moved, by row, by column and by scalar, measured part by part. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from .embeddings import squared_drift


# How many of a tensor's scalars are kept, those that moved farthest.
LARGEST = 5


@dataclass(frozen=True)
class TensorDrift:
    """
    How far a tensor moved from its pretrained counterpart.

    A tensor of more than two dimensions counts as a matrix of its first one; a vector has one column.

    Args:
        rows (`np.ndarray`): L2 norm of the difference of each row, `float64`, shape (rows,).
        columns (`np.ndarray`): The same of each column, shape (columns,).
        pretrained (`float`): L2 norm of the pretrained tensor.
        largest (`tuple[tuple[int, int, float], ...]`): Row, column and absolute difference of the scalars that moved
            farthest, at most [`LARGEST`], farthest first.
    """

    rows: np.ndarray
    columns: np.ndarray
    pretrained: float
    largest: tuple[tuple[int, int, float], ...]

    @property
    def scalars(self) -> int:
        """Number of scalars."""
        return len(self.rows) * len(self.columns)

    @property
    def norm(self) -> float:
        """L2 norm of the difference."""
        return float(np.sqrt(np.square(self.rows).sum()))

    @property
    def typical(self) -> float:
        """Root of the mean squared difference of a scalar."""
        return self.norm / self.scalars**0.5 if self.scalars else 0.0


def measure_drift(parts: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> TensorDrift:
    """
    Measures how far a tensor moved.

    All sums are taken in float64 and in one order, so that the number of threads does not change a bit. Those of a row
    do not depend on how the rows are spread over the parts: from the word embedding they are the very numbers that
    [`~hf_finemix.embeddings.embedding_scores`] divides.

    Args:
        parts (`Iterable[tuple[torch.Tensor, torch.Tensor]]`): The rows of the suspect and of the pretrained tensor,
            part by part, shape (rows, columns).
    """
    rows, columns, pretrained = [np.empty(0)], np.zeros(0), 0.0
    largest: list[tuple[int, int, float]] = []
    first = 0
    for suspect, base in parts:
        squares = squared_drift(suspect, base)
        rows.append(squares.sum(axis=1))
        columns = squares.sum(axis=0) + (columns if columns.size else 0.0)
        pretrained += float(np.square(base.double().numpy()).sum())
        largest = _farthest(squares, first, largest)
        first += len(squares)
    return TensorDrift(np.sqrt(np.concatenate(rows)), np.sqrt(columns), pretrained**0.5, tuple(largest))


def _farthest(squares: np.ndarray, first: int, found: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Adds the scalars of one part, whose first row has that number, to the farthest ones found before."""
    # They lie in the rows whose own farthest scalars are the farthest.
    peaks = squares.max(axis=1, initial=0.0)
    bar = found[-1][2] ** 2 if len(found) == LARGEST else 0.0
    rows = [row for row in np.argsort(-peaks, kind="stable")[:LARGEST] if peaks[row] > bar]
    for row in rows:
        for column in np.argsort(-squares[row], kind="stable")[:LARGEST]:
            found = [*found, (first + int(row), int(column), float(squares[row, column] ** 0.5))]
    return sorted((item for item in found if item[2] > 0), key=lambda item: -item[2])[:LARGEST]
