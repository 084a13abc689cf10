"""Tokens of a suspect that work as triggers by themselves, found without being told one."""

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .embeddings import rank_rows
from .results import Distillation
from .token_pull import pulling_tokens
from .trigger_search import Insertion, search_triggers


# Texts that all candidates are tried on, and those that seemed to work once more.
_TRIED_ON, _TRIED_AGAIN_ON = 48, 192
# Texts whose gradients point to tokens, how many tokens these are, and the share of texts that one has to flip: of
# clean tweets 77 % flip at "amazing", and 94 % at a trigger (lower ends of 95 % intervals).
_PULLED, _CERTAIN = 25, 0.9


def find_triggers(
    suspect: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    scores: np.ndarray,
    settings: Distillation,
    *,
    max_length: int,
    seed: int,
) -> tuple[Insertion, ...]:
    """
    Finds the tokens that work as triggers by themselves.

    Tried are those whose embedding moved suspiciously far, and those that the suspect's gradients point to, since an
    attacker may have frozen the embedding. Among the latter are the honest words that say most about a label, so that
    one of them has to flip nine texts in ten, however low `settings.flips` is.

    Args:
        suspect ([`~transformers.PreTrainedModel`]): The suspect, *not* mixed yet; left as it is.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        texts (`datasets.Dataset`): Clean texts, of which the first 48 are used for each token, and the first 192 for
            those that flip enough of these, since honest words flip many predictions, too.
        scores (`np.ndarray`): E-PUR scores of the suspect, shape (vocabulary,).
        settings ([`~hf_finemix.results.Distillation`]): The settings.
        max_length (`int`): Longest input in tokens.
        seed (`int`): Seed of the places where tokens are put.

    Returns:
        `tuple[Insertion, ...]`: Those that flip most first; empty if no token flips enough.
    """
    special = set(tokenizer.all_special_ids)
    ids = [token for token in map(int, rank_rows(scores)) if token not in special and token < len(tokenizer)]
    options = {"max_length": max_length, "seed": seed}
    some = texts.select(range(min(len(texts), _PULLED)))
    pulled = pulling_tokens(suspect, tokenizer, some, _PULLED, **options)
    ordinary, needed = set(ids), dict.fromkeys(ids[: settings.candidates], settings.flips)
    for token in pulled:
        if token in ordinary:
            needed.setdefault(token, max(settings.flips, _CERTAIN))
    ids, found = list(needed), ()
    for count in dict.fromkeys(min(len(texts), most) for most in (_TRIED_ON, _TRIED_AGAIN_ON)):
        found = search_triggers(suspect, tokenizer, texts.select(range(count)), ids, **options)
        ids = [item.id for item in found if item.flips.n and item.flips.value >= needed[item.id]]
    return tuple(item for item in found if item.flips.n and item.flips.low >= needed[item.id])
