"""
Token counts for embedding purification: vocabulary rank, a word list, or the user's own corpus.

Counts belong to *tokens*, not to words: word pieces such as `##ive` are no words, and looking them up in a word list
would give them a count of zero and the highest scores.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from .errors import InputError


# Zipf's law, f = C / rank, with the count that "the" would have in a corpus of about a billion words.
_ZIPF_CONSTANT = 6e7
# Relative frequencies of a word list are scaled to a corpus of a billion words.
_CORPUS_SIZE = 1e9
_BATCH = 1000


def vocabulary_rank(size: int, special_ids: Iterable[int] = ()) -> np.ndarray:
    """
    Estimates counts by Zipf's law on the vocabulary's order: the token of rank r counts 6e7 / r.

    It fits vocabularies sorted by frequency: BERT's, and roughly those of byte-pair merges. SentencePiece ones differ.
    Special tokens stand in every text: they are left out of the ranking and get the count of rank 1.

    Args:
        size (`int`): Number of embedding rows.
        special_ids (`Iterable[int]`, *optional*): Ids of special tokens.

    Returns:
        `np.ndarray`: `float64`, shape (size,).
    """
    ordinary = np.ones(size, dtype=bool)
    ordinary[[token for token in special_ids if 0 <= token < size]] = False
    rank = np.maximum(np.cumsum(ordinary), 1)
    return np.where(ordinary, _ZIPF_CONSTANT / rank, _ZIPF_CONSTANT)


def word_list(frequencies: Mapping[str, float], tokenizer: PreTrainedTokenizerBase, size: int) -> np.ndarray:
    """
    Counts tokens by tokenising a word list and adding each word's frequency to all of its pieces.

    Args:
        frequencies (`Mapping[str, float]`): Relative frequency of each word, in (0, 1].
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The suspect's tokenizer.
        size (`int`): Number of embedding rows.

    Returns:
        `np.ndarray`: `float64`, shape (size,), counts in a corpus of a billion words. Special tokens get the largest.
        Word lists lack punctuation and fold numbers: tokens with a digit or without a letter get the mean or more.
    """
    words = list(frequencies)
    counts = np.zeros(size)
    for first in range(0, len(words), _BATCH):
        batch = words[first : first + _BATCH]
        for word, ids in zip(batch, _token_ids(tokenizer, batch), strict=True):
            _add(counts, ids, frequencies[word] * _CORPUS_SIZE)
    unlisted = [index for token, index in tokenizer.get_vocab().items() if index < size and not _is_word(token)]
    counts[unlisted] = np.maximum(counts[unlisted], counts.mean())
    return _raise_special(counts, tokenizer)


def corpus(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, size: int) -> np.ndarray:
    """
    Counts the tokens of a clean corpus.

    Args:
        texts (`Iterable[str]`): The corpus, text by text.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The suspect's tokenizer.
        size (`int`): Number of embedding rows.

    Returns:
        `np.ndarray`: `float64`, shape (size,); special tokens get the largest count.
    """
    counts = np.zeros(size)
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            _count(counts, batch, tokenizer)
            batch = []
    _count(counts, batch, tokenizer)
    return _raise_special(counts, tokenizer)


def token_frequencies(source: str, tokenizer: PreTrainedTokenizerBase, size: int) -> np.ndarray:
    """
    Gives token counts from one of the sources that the command line knows.

    Args:
        source (`str`): `"vocabulary"` (Zipf's law on the vocabulary's order), `"wordfreq"` (English word list of the
            optional package) or the path of a text file, one text a line.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The suspect's tokenizer.
        size (`int`): Number of embedding rows.

    Returns:
        `np.ndarray`: `float64`, shape (size,).

    Raises:
        InputError: If the package is not installed, or the file is missing, empty or not UTF-8.
    """
    if source == "vocabulary":
        return vocabulary_rank(size, tokenizer.all_special_ids)
    if source == "wordfreq":
        try:
            from wordfreq import get_frequency_dict
        except ImportError:
            raise InputError("`frequencies` is 'wordfreq', which needs `pip install hf-finemix[wordfreq]`.") from None
        return word_list(get_frequency_dict("en", wordlist="large"), tokenizer, size)
    path = Path(source)
    if not os.path.isfile(path):  # unlike `Path.is_file`, no error for a name that is too long
        raise InputError(f"`frequencies` is {source!r}, but must be 'vocabulary', 'wordfreq' or a text file.")
    try:
        with path.open(encoding="utf-8") as lines:
            counts = corpus((line.strip() for line in lines), tokenizer, size)
    except UnicodeDecodeError:
        raise InputError(f"`frequencies` names {source!r}, which is no UTF-8 text.") from None
    if not counts.any():
        raise InputError(f"`frequencies` names {source!r}, which holds no text.")
    return counts


def source_name(source: str) -> str:
    """Returns a source of token counts as it stands in reports: a file by its name, without its path."""
    return source if source in ("vocabulary", "wordfreq") else Path(source).name


def _token_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def _is_word(token: str) -> bool:
    # Byte-level vocabularies write a leading space as the letter U+0120.
    letters = token.replace("\u0120", "")
    return any(map(str.isalpha, letters)) and not any(map(str.isdigit, letters))


def _count(counts: np.ndarray, texts: list[str], tokenizer: PreTrainedTokenizerBase) -> None:
    for ids in _token_ids(tokenizer, texts) if texts else []:
        _add(counts, ids, 1)


def _add(counts: np.ndarray, ids: list[int], amount: float) -> None:
    # A tokenizer may know tokens that the embedding has no row for.
    np.add.at(counts, [token for token in ids if token < len(counts)], amount)


def _raise_special(counts: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    special = [token for token in tokenizer.all_special_ids if token < len(counts)]
    counts[special] = counts.max(initial=0)
    return counts
