"""Parameters with one row for each token, of a base whose vocabulary is not the suspect's."""

import numpy as np
import torch
from transformers import PreTrainedConfig

from .shards import whole


def fit_rows(parameter: torch.Tensor, counterpart: torch.Tensor, rows: np.ndarray | None) -> tuple[torch.Tensor, int]:
    """
    Gives a parameter of the base that has one row a token the suspect's rows.

    Args:
        parameter (`torch.Tensor`): The suspect's, shape (rows, ...).
        counterpart (`torch.Tensor`): The base's, shape (rows of the base, ...).
        rows (`np.ndarray`, *optional*):
            From [`~hf_finemix.vocabularies.align_rows`]; without it, rows of the same number are pairs.

    Returns:
        `tuple[torch.Tensor, int]`: The base's values at the suspect's rows, and how many rows have none. Those at the
        end are left out; with `rows` all are there, and those without a counterpart hold the suspect's own values.
    """
    if counterpart.shape[1:] != parameter.shape[1:]:
        return counterpart, 0
    if rows is None:
        # Tokens are added at the end.
        return counterpart[: len(parameter)], max(0, len(parameter) - len(counterpart))
    known = torch.from_numpy(rows >= 0)
    placed = whole(parameter.detach()).to("cpu", copy=True)
    placed[known] = counterpart.detach().to("cpu", parameter.dtype)[torch.from_numpy(rows[rows >= 0])]
    return placed, int((~known).sum())


def ties(config: PreTrainedConfig) -> bool:
    """Tells whether the output layer of a model is its word embedding."""
    return bool(getattr(config.get_text_config(), "tie_word_embeddings", False))


def resized(config: PreTrainedConfig, size: int | None) -> PreTrainedConfig:
    """Gives a configuration the number of tokens that the base has."""
    part = config.get_text_config()
    if size is not None and getattr(part, "vocab_size", size) != size:
        part.vocab_size = size
        # No row of the base's can be that of a token which was added to it.
        if not 0 <= (getattr(part, "pad_token_id", None) or 0) < size:
            part.pad_token_id = None
    return config
