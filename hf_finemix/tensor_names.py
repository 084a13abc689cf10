"""Names of tensors in two checkpoints: which belong together, found without making a model. Pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError


Shapes = Mapping[str, tuple[int, ...]]

# The usual names of the word embedding; of several in one model, the first of these is the one that others share.
_EMBEDDINGS = (
    "shared",
    "word_embeddings",
    "word_embedding",
    "embed_tokens",
    "wte",
    "tok_embeddings",
    "tokens_embed",
    "embed_in",
    "embeddings",
    "embedding",
)
_EMBEDDING = re.compile(
    r"(?P<prefix>(?:[^.]+\.)*?)(?:(?:encoder|decoder)\.)?(?:embeddings\.)?"
    rf"(?P<kind>{'|'.join(_EMBEDDINGS)})\.weight"
)
# Top-level modules of heads, which models have beside the parts of a base that has no name of its own.
_HEADS = ("classification_head", "classifier", "lm_head", "qa_outputs", "score")
_LEGACY = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
# Old checkpoints store these beside the parameters; models compute them.
_BUFFER = re.compile(r"(?:^|\.)(?:inv_freq|masked_bias|position_ids|token_type_ids)$|\.attn\.bias$")


@dataclass(frozen=True)
class WordEmbedding:
    """
    The word embedding of a checkpoint.

    Args:
        name (`str`): Name of the tensor; empty in a model of images or sound, which has none.
        prefix (`str`): What the names of the base model's tensors begin with, such as `"bert."`; may be empty.
    """

    name: str
    prefix: str


def modern_name(name: str) -> str:
    """Returns a tensor's name as transformers writes it today: old checkpoints call a norm's weight `gamma`."""
    return next((name.removesuffix(old) + new for old, new in _LEGACY.items() if name.endswith(old)), name)


def is_buffer(name: str, shape: tuple[int, ...]) -> bool:
    """Tells whether a tensor is no parameter: attention masks and the like in old checkpoints."""
    # GPT-2's mask has four dimensions; a bias of that name has one.
    return bool(_BUFFER.search(name)) and not (name.endswith(".attn.bias") and len(shape) < 4)


def may_be_absent(name: str, prefix: str) -> bool:
    """
    Tells whether a parameter may do without a pretrained counterpart: the head is the task's own, and so is a pooler.

    Args:
        name (`str`): Canonical name of the parameter.
        prefix (`str`): What the names of the base model's parameters begin with; empty if it has no name.
    """
    parts = name.split(".")
    return not name.startswith(prefix) or "pooler" in parts or (not prefix and parts[0] in _HEADS)


def vocabulary_size(config: Mapping[str, Any]) -> int | None:
    """Returns the number of tokens that a config.json states, `None` if it states none."""
    part = next((item for item in (config, config.get("text_config")) if _has_vocabulary(item)), {})
    return part.get("vocab_size")


def find_embedding(shapes: Shapes, vocabulary: int | None) -> WordEmbedding | None:
    """
    Finds the word embedding by its name.

    Args:
        shapes (`Mapping[str, tuple[int, ...]]`): The shape of each tensor.
        vocabulary (`int`, *optional*): Number of tokens; of several tensors, one with so many rows goes first.

    Returns:
        [`WordEmbedding`]: The embedding, or `None` if no matrix has a usual name.
    """
    matches = [
        match
        for name, shape in shapes.items()
        if len(shape) == 2 and shape[0] and (match := _EMBEDDING.fullmatch(name))
    ]
    best = min(
        matches,
        key=lambda match: (shapes[match[0]][0] != vocabulary, _EMBEDDINGS.index(match["kind"]), match[0]),
        default=None,
    )
    return None if best is None else WordEmbedding(best[0], best["prefix"])


def _fit_vocabulary(
    suspect: Shapes,
    pretrained: Shapes,
    found: tuple[WordEmbedding, WordEmbedding],
) -> dict[str, tuple[int, ...]]:
    """Gives what has one row a token the suspect's number of rows: tokens are added at the end, others are mixed."""
    if not found[0].name:
        return dict(pretrained)
    own, base = suspect[found[0].name], pretrained[found[1].name]
    if own[0] == base[0] or own[1:] != base[1:]:
        return dict(pretrained)
    return {
        name: (own[0], *shape[1:])
        if shape in (base, base[:1]) and name.split(".")[-1] in ("weight", "bias")
        else shape
        for name, shape in pretrained.items()
    }


def pair_names(
    suspect: Shapes, pretrained: Shapes, embeddings: tuple[WordEmbedding, WordEmbedding], source: str
) -> tuple[dict[str, str], dict[str, str]]:
    """
    Finds the pretrained counterpart of each tensor of a suspect.

    What belongs to the base model is told by the prefix that its word embedding has; either side may lack one. The
    rest, the head, has a counterpart only in a checkpoint whose prefix is the same. What has a row for each token may
    have more of them on either side.

    Args:
        suspect, pretrained (`Mapping[str, tuple[int, ...]]`): Shapes by name; tied tensors of the suspect once.
        embeddings (`tuple[WordEmbedding, WordEmbedding]`): Those of suspect and base.
        source (`str`): The suspect as the user gave it, for messages.

    Returns:
        `tuple[dict[str, str], dict[str, str]]`: By the suspect's names, the name of the counterpart, and where there
        is none, why. Of the latter, [`may_be_absent`] tells which are no sign of another model.

    Raises:
        InputError: If the suspect lacks some of the tensors of one of its modules.
    """
    counterparts, absent = {}, {}
    resized = _fit_vocabulary(suspect, pretrained, embeddings)
    for name, shape in suspect.items():
        other = _counterpart(name, *embeddings)
        if other in pretrained and shape in (pretrained[other], resized[other]):
            counterparts[name] = other
            continue
        has_other = other in pretrained
        absent[name] = f"{'another shape' if has_other else 'not'} in the pretrained checkpoint"
    paired = {_counterpart(name, *embeddings) for name in suspect}
    _check_complete(suspect, pretrained, embeddings, paired, source)
    return counterparts, absent


def _counterpart(name: str, own: WordEmbedding, base: WordEmbedding) -> str | None:
    if name == own.name:
        return base.name
    if name.startswith(own.prefix):
        return base.prefix + name.removeprefix(own.prefix)
    return name if own.prefix == base.prefix else None


def _check_complete(
    suspect: Shapes,
    pretrained: Shapes,
    embeddings: tuple[WordEmbedding, WordEmbedding],
    paired: set[str],
    source: str,
) -> None:
    own, base = embeddings
    # A task may do without a whole module: the pooler, or a decoder.
    modules = {name.removeprefix(own.prefix).split(".")[0] for name in suspect if name.startswith(own.prefix)}
    for name, shape in pretrained.items():
        rest = name.removeprefix(base.prefix)
        needed = name.startswith(base.prefix) and rest.split(".")[0] in modules and shape != pretrained.get(base.name)
        if needed and name not in paired:
            raise InputError(f"SUSPECT {source!r} lacks weights, among them {own.prefix + rest}.")


def _has_vocabulary(part: Any) -> bool:
    size = part.get("vocab_size") if isinstance(part, Mapping) else None
    return isinstance(size, int) and not isinstance(size, bool)
