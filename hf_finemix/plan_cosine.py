"""How much the matrices of two checkpoints have in common, from the beginning of each, without torch."""

from collections.abc import Iterator

import numpy as np

from .input_files import InputFiles
from .mix_plan import MixPlan, OutputTensor
from .relatedness import LOOKED_AT, median_cosine
from .stored import Place, width


def plan_cosine(plan: MixPlan) -> float | None:
    """
    Returns the median cosine of the mixed matrices; see [`~hf_finemix.relatedness.median_cosine`].

    Args:
        plan ([`~hf_finemix.mix_plan.MixPlan`]): What is to be mixed.

    Raises:
        InputError: If a file is cut off meanwhile.
    """
    files, matrices = InputFiles(), [tensor for tensor in plan.mixed.values() if len(tensor.suspect[1].shape) > 1]
    try:
        return median_cosine(_pairs(matrices, files), sum(tensor.mixed for tensor in matrices))
    finally:
        files.close()


def _pairs(matrices: list[OutputTensor], files: InputFiles) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for tensor in matrices:
        count = min(LOOKED_AT, tensor.mixed)
        yield _read(tensor.suspect, count, files), _read(tensor.pretrained, count, files)


def _read(place: Place, count: int, files: InputFiles) -> np.ndarray:
    file, stored = place
    wide = width(stored.dtype)
    buffer = np.empty(count * wide, dtype=np.uint8)
    files.open(file.path)
    files.read(file.path, stored.start, buffer.data)
    if stored.dtype == "BF16":
        # The upper half of a float32.
        return (buffer.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return buffer.view(f"<f{wide}")
