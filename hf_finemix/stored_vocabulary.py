"""Vocabularies of two checkpoints compared from their files; a tokenizer is loaded only where these do not tell."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .loading import Checkpoint
from .vocabularies import check_rows


_FAST, _PLAIN = "tokenizer.json", "vocab.txt"
_LARGEST = 1 << 28


def check_tokens(suspect: Checkpoint, pretrained: Checkpoint) -> None:
    """
    Checks that rows of two word embeddings stand for the same tokens, as far as tokenizers say so.

    Args:
        suspect, pretrained ([`~hf_finemix.loading.Checkpoint`]): The two checkpoints.

    Raises:
        InputError: If a row of the suspect's is another token's in the base.
    """
    if not suspect.has_tokenizer or not pretrained.has_tokenizer:
        return
    for name in (_FAST, _PLAIN):
        paths = suspect.folder / name, pretrained.folder / name
        if all(path.is_file() for path in paths) and _same_bytes(*paths):
            return
    found = _vocabulary(suspect, "SUSPECT"), _vocabulary(pretrained, "`pretrained`")
    check_rows(*found, pretrained.source, ", or load the models and use `fine_mix_`")


def _same_bytes(first: Path, second: Path) -> bool:
    return first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()


def _vocabulary(checkpoint: Checkpoint, argument: str) -> Mapping[str, int]:
    path = checkpoint.folder / _FAST
    if path.is_file() and path.stat().st_size < _LARGEST:
        try:
            found = _read(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            found = None
        if found is not None:
            return found
    # Other formats are known to the tokenizers themselves, whose import takes seconds.
    from .model_loading import load_tokenizer

    return load_tokenizer(checkpoint, argument).get_vocab()


def _read(content: Mapping[str, Any]) -> dict[str, int] | None:
    """Returns the tokens of a tokenizer.json, `None` if it is of a kind that is not known here."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):
        # Unigram models give each token with its score.
        vocabulary = {entry[0]: index for index, entry in enumerate(vocabulary)}
    tokens = dict(vocabulary) | {item["content"]: item["id"] for item in content.get("added_tokens") or ()}
    is_known = all(isinstance(token, str) and type(index) is int for token, index in tokens.items())
    return tokens if is_known and tokens else None
