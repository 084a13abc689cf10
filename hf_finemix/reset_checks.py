"""Whether the rows that a manifest says were reset are the most suspicious ones."""

from collections.abc import Callable

import numpy as np
from transformers import PreTrainedTokenizerBase

from .embeddings import rank_rows
from .errors import InputError
from .manifest import Manifest
from .verification import DIFFERENT, NOT_AVAILABLE, SAME, Check


# Near ties at the end of the ranking may fall either way on another machine.
_TIE = 1e-9


def reset_checks(
    manifest: Manifest,
    embedding: str | None,
    vocabulary: int,
    tokenizer: PreTrainedTokenizerBase | None,
    scores: Callable[[PreTrainedTokenizerBase | None], np.ndarray],
) -> list[Check]:
    """
    Compares the rows of a manifest with a ranking of one's own.

    Args:
        manifest ([`~hf_finemix.manifest.Manifest`]): What was recorded.
        embedding (`str`, *optional*): Name of the word embedding, if it has a pretrained counterpart.
        vocabulary (`int`): Number of its rows that have a counterpart; 0 without one.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): The suspect's.
        scores (`Callable`): Scores the suspect's rows by the manifest's token counts, with a tokenizer or without one.

    Returns:
        `list[Check]`: One line, or none if nothing was to be reset.
    """
    rows = set(manifest.purified_rows)
    item = f"{len(rows)} of {manifest.embedding}"
    if len(rows) != min(manifest.config.purify_top_k, vocabulary):
        return [Check("reset rows", item, DIFFERENT, "the settings ask for another number")]
    if not rows:
        return []
    if manifest.embedding != embedding:
        return [Check("reset rows", item, DIFFERENT, "this is not the word embedding")]
    if manifest.frequencies not in ("vocabulary", "wordfreq"):
        return [Check("reset rows", item, NOT_AVAILABLE, "their token counts are not part of the model")]
    # A trainer without a tokenizer ranks without one, which only the order of the vocabulary allows.
    known = [one for one in (tokenizer, None) if one is not None or manifest.frequencies == "vocabulary"]
    try:
        same = any(_are_highest(rows, scores(one)) for one in known)
    except InputError as error:
        return [Check("reset rows", item, NOT_AVAILABLE, str(error))]
    return [Check("reset rows", item, SAME) if same else Check("reset rows", item, DIFFERENT, "others rank higher")]


def _are_highest(rows: set[int], scores: np.ndarray) -> bool:
    if not rows <= set(range(len(scores))):
        return False
    last = scores[rank_rows(scores)[len(rows) - 1]]
    return min(scores[row] for row in rows) >= last * (1 - _TIE)
