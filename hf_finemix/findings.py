"""From scores and insertions to a finding: how far something stands out, and from where on it counts."""

from collections.abc import Sequence

import numpy as np

from .choices import FINDINGS
from .outliers import Outlier
from .trigger_search import Insertion


# Of the prominence of the first token, and of the lower end of the 95 % interval of an insertion's flips: from where a
# finding is medium and from where it is high. Measured in examples/benchmark/detection.md.
PROMINENCES = (1.5, 2.5)
FLIPS = (0.7, 0.8)
# Of the deviation of an outlier: from where it is worth a line. Those of clean models stay below.
OUT_OF_LINE = {"row": 12.0, "column": 12.0, "scalar": 30.0}
_RUNNERS_UP = 19
_MOST_PROMINENT = 1000.0


def prominence(scores: np.ndarray) -> float:
    """
    Tells how far the highest score stands out from the next ones: its ratio to the median of the next 19.

    Args:
        scores (`np.ndarray`): E-PUR scores, shape (vocabulary,).

    Returns:
        `float`: At least 1, at most 1,000 (which stands for a row that moved alone); 0 if no row moved.
    """
    first, *others = np.sort(scores)[::-1][: _RUNNERS_UP + 1]
    if first == 0:
        return 0.0
    typical = np.median(others) if others else 0.0
    return float(min(first / typical, _MOST_PROMINENT)) if typical > 0 else _MOST_PROMINENT


def robust_deviations(scores: np.ndarray) -> np.ndarray:
    """
    Tells how far each score stands out from the others.

    Args:
        scores (`np.ndarray`): E-PUR scores, shape (vocabulary,). Rows that never moved have 0 and are left out of the
            median and of the spread.

    Returns:
        `np.ndarray`: Shape (vocabulary,), in robust standard deviations above the median; all 0 if nothing moved.
    """
    moved = scores[scores > 0]
    if not moved.size:
        return np.zeros_like(scores)
    median = np.median(moved)
    spread = 1.4826 * np.median(np.abs(moved - median))
    # Where all moved rows score alike, nothing stands out.
    return (scores - median) / spread if spread > 0 else np.zeros_like(scores)


def prominence_level(prominence: float) -> str:
    """Returns `"low"`, `"medium"` or `"high"` for the prominence of the first token of a ranking."""
    return FINDINGS[sum(prominence >= threshold for threshold in PROMINENCES)]


def insertion_level(insertion: Insertion) -> str:
    """
    Returns `"low"`, `"medium"` or `"high"` for what inserting a token does.

    It goes by the lower end of the interval, so that a few texts that happen to flip make no finding. A strong word of
    the task, such as "boring", flips many texts of any sentiment classifier; a trigger flips nearly all.
    """
    return FINDINGS[sum((insertion.flips.low or 0.0) >= threshold for threshold in FLIPS)]


def is_out_of_line(outlier: Outlier) -> bool:
    """Tells whether a row, column or scalar moved farther out of line than those of clean models do."""
    return outlier.deviation >= OUT_OF_LINE[outlier.kind]


def finding_level(prominence: float, insertions: Sequence[Insertion] = ()) -> str:
    """Returns the level of a whole scan: the highest of those of the first token and of the insertions."""
    levels = [prominence_level(prominence), *map(insertion_level, insertions)]
    return max(levels, key=FINDINGS.index)
