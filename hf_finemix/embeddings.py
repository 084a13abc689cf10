"""
Embedding purification (E-PUR): score the rows of the word embedding, reset the highest. Pure functions on tensors.

From "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models" (Zhang et al., Findings of EMNLP 2022).
"""

import numpy as np
import torch

from .config import check_integer


_ROWS_AT_ONCE = 1 << 14


def embedding_scores(
    suspect: torch.Tensor, pretrained: torch.Tensor, frequencies: np.ndarray, frequency_floor: int = 20
) -> np.ndarray:
    """
    Scores each row: `||e_i^suspect - e_i^pretrained||_2 / log(max(f_i, frequency_floor))`.

    A rare token whose embedding moved far is suspicious: clean fine-tuning hardly touches it. All steps are taken in
    float64, row by row, so that the number of threads does not change a bit.

    Args:
        suspect (`torch.Tensor`): Fine-tuned embedding *before* any mixing, shape (vocabulary, hidden).
        pretrained (`torch.Tensor`): Pretrained embedding, same shape.
        frequencies (`np.ndarray`): Count of each token in a large clean corpus, shape (vocabulary,).
        frequency_floor (`int`, *optional*, defaults to 20): Smaller counts are raised to it.

    Returns:
        `np.ndarray`: `float64`, shape (vocabulary,).

    Raises:
        ValueError: If the shapes do not match.
        InputError: If `frequency_floor` is less than 2, whose logarithm would not be positive.
    """
    check_integer("frequency_floor", frequency_floor, 2)
    if suspect.shape != pretrained.shape or len(frequencies) != len(suspect):
        raise ValueError(
            f"`suspect` {tuple(suspect.shape)}, `pretrained` {tuple(pretrained.shape)} and `frequencies` "
            f"({len(frequencies)},) must have the same number of rows, the embeddings the same shape."
        )
    drift = np.empty(len(suspect))
    for first in range(0, len(suspect), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        drift[rows] = np.sqrt(squared_drift(suspect[rows], pretrained[rows]).sum(axis=1))
    return drift_scores(drift, frequencies, frequency_floor)


def squared_drift(suspect: torch.Tensor, pretrained: torch.Tensor) -> np.ndarray:
    """Returns the squared difference of each scalar in `float64`, in the shape of the two tensors."""
    return np.square((suspect.detach().cpu().double() - pretrained.detach().cpu().double()).numpy())


def drift_scores(drift: np.ndarray, frequencies: np.ndarray, frequency_floor: int = 20) -> np.ndarray:
    """
    Scores each row by how far it moved: `drift_i / log(max(f_i, frequency_floor))`.

    Args:
        drift (`np.ndarray`): L2 norm of the difference of each row, shape (vocabulary,).
        frequencies (`np.ndarray`): As for [`embedding_scores`].
        frequency_floor (`int`, *optional*, defaults to 20): As for [`embedding_scores`].

    Returns:
        `np.ndarray`: `float64`, shape (vocabulary,).

    Raises:
        InputError: If `frequency_floor` is less than 2, whose logarithm would not be positive.
    """
    check_integer("frequency_floor", frequency_floor, 2)
    return drift / np.log(np.maximum(frequencies, frequency_floor))


def rank_rows(scores: np.ndarray) -> np.ndarray:
    """Returns all row ids, highest score first; equal scores in the order of their ids."""
    return np.argsort(-scores, kind="stable")


def reset_rows_(embedding: torch.Tensor, pretrained: torch.Tensor, rows: np.ndarray) -> None:
    """
    Copies rows of the pretrained embedding into another one, in place.

    Args:
        embedding (`torch.Tensor`): Embedding to purify, shape (vocabulary, hidden).
        pretrained (`torch.Tensor`): Pretrained embedding, same shape.
        rows (`np.ndarray`): Row ids, shape (k,).
    """
    index = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))
    values = pretrained.detach()[index.to(pretrained.device)].to(embedding)
    embedding.index_copy_(0, index.to(embedding.device), values)
