"""Scan: rank suspicious tokens and layers of a fine-tuned model against its pretrained weights. Changes nothing."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .checks import check_finite, check_vocabularies
from .choices import FINDINGS
from .config import check_integer
from .embeddings import rank_rows
from .errors import InputError
from .frequencies import source_name
from .loading import Checkpoint, load_classifier, load_tokenizer, resolve_checkpoint
from .modeling import TokenScore, name_tokens, score_embeddings
from .plan import canonical_name
from .twin import Twin, load_twin


# Prominence of the first token from which a finding is medium and from which it is high; set between the suspects and
# the clean models of examples/benchmark/detection.md, which are few.
_THRESHOLDS = (1.25, 1.6)
_RUNNERS_UP = 19
_MOST_PROMINENT = 1000.0

_LAYER = re.compile(r"\.(?:layers?|h|block|blocks)\.(\d+)\.")
_MODULES = (
    ("attention", ("attention", "attn", "self_attn", "sa_layer_norm", "ln_1")),
    ("feed-forward", ("mlp", "ffn", "intermediate", "output", "output_layer_norm", "ln_2")),
)


@dataclass(frozen=True)
class ScannedToken:
    """
    One token of the ranking.

    Args:
        rank (`int`): Place in the ranking, from 1.
        token (`str`): Its text.
        id (`int`): Its id.
        score (`float`): Its E-PUR score.
        deviation (`float`): How far the score lies above the median of all tokens that moved, in robust standard
            deviations (1.4826 times the median absolute deviation).
    """

    rank: int
    token: str
    id: int
    score: float
    deviation: float


@dataclass(frozen=True)
class ScannedGroup:
    """
    Drift of one group of parameters.

    Args:
        group (`str`): Such as `"layer 3 attention"` or `"embeddings"`.
        scalars (`int`): Number of scalars.
        relative_drift (`float`): `||suspect - pretrained|| / ||pretrained||`, over all scalars of the group.
    """

    group: str
    scalars: int
    relative_drift: float


@dataclass(frozen=True)
class ScanReport:
    """
    What a scan found.

    Args:
        suspect (`str`): The suspect.
        pretrained (`str`): The base.
        finding (`str`): `"low"`, `"medium"` or `"high"`, by the prominence. A trigger made of common words, or one
            that lives in the encoder alone, can stay `"low"`.
        prominence (`float`): Score of the first token over the median score of the next 19, at most 1,000.
        tokens (`tuple[ScannedToken, ...]`): Most suspicious first.
        layers (`tuple[ScannedGroup, ...]`): In the model's order.
        frequencies (`str`): Source of the token counts.
    """

    suspect: str
    pretrained: str
    finding: str
    prominence: float
    tokens: tuple[ScannedToken, ...]
    layers: tuple[ScannedGroup, ...]
    frequencies: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as a dictionary that JSON can hold."""
        return asdict(self) | {
            "tokens": [asdict(token) for token in self.tokens],
            "layers": [asdict(group) for group in self.layers],
        }


def scan(
    suspect: str | Path | Checkpoint,
    pretrained: str | Path | Checkpoint,
    *,
    top: int = 20,
    frequencies: str = "vocabulary",
    frequency_floor: int = 20,
) -> ScanReport:
    """
    Ranks the tokens whose embedding moved suspiciously far (E-PUR) and measures the drift of each layer.

    Args:
        suspect (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]):
            Hub id, `id@revision` or local folder of a sequence classifier.
        pretrained (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]): The weights that it was fine-tuned from.
        top (`int`, *optional*, defaults to 20): How many tokens to report.
        frequencies (`str`, *optional*, defaults to `"vocabulary"`): Source of the token counts; see
            [`~hf_finemix.frequencies.token_frequencies`].
        frequency_floor (`int`, *optional*, defaults to 20): Token counts below it are raised to it.

    Raises:
        InputError: If a checkpoint cannot be read or holds NaN or infinity, or the base does not fit.
    """
    check_integer("top", top, 1)
    suspect = suspect if isinstance(suspect, Checkpoint) else resolve_checkpoint(suspect, "SUSPECT")
    pretrained = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "`pretrained`")
    check_apart(suspect, pretrained)
    tokenizer = load_tokenizer(suspect, "SUSPECT")
    if pretrained.has_tokenizer:
        base_vocabulary = load_tokenizer(pretrained, "`pretrained`").get_vocab()
        check_vocabularies(tokenizer.get_vocab(), base_vocabulary, pretrained.source)
    model = load_classifier(suspect, "SUSPECT")
    twin = load_twin(model, pretrained)
    parameters = {canonical_name(name): tensor for name, tensor in model.named_parameters()}
    check_finite(parameters.items(), "suspect")
    check_finite(twin.tensors.items(), "pretrained")
    scores = score_embeddings(model, twin, frequencies, tokenizer=tokenizer, frequency_floor=frequency_floor)
    deviations = robust_deviations(scores)
    tokens = tuple(
        ScannedToken(item.rank, _text(item), item.id, item.score, float(deviations[item.id]))
        for item in name_tokens(rank_rows(scores)[:top], scores, tokenizer)
    )
    prominent = prominence(scores)
    return ScanReport(
        suspect.label,
        pretrained.label,
        finding_level(prominent),
        prominent,
        tokens,
        drift_by_group(parameters, twin),
        source_name(frequencies),
    )


def check_apart(suspect: Checkpoint, pretrained: Checkpoint) -> None:
    """
    Checks that suspect and base are not the same files: nothing would be found, and nothing purified.

    Raises:
        InputError: If they are.
    """
    if suspect.folder.resolve() == pretrained.folder.resolve():
        raise InputError(
            f"SUSPECT and --pretrained are both {suspect.source!r}; give the weights that it was fine-tuned from."
        )


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


def finding_level(prominence: float) -> str:
    """Returns `"low"`, `"medium"` or `"high"` for the prominence of the first token of a ranking."""
    return FINDINGS[sum(prominence >= threshold for threshold in _THRESHOLDS)]


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


def drift_by_group(parameters: dict[str, torch.Tensor], twin: Twin) -> tuple[ScannedGroup, ...]:
    """Measures the relative drift of each layer's modules, in the order in which they first appear."""
    moved: dict[str, float] = {}
    base: dict[str, float] = {}
    scalars: dict[str, int] = {}
    for name, pretrained in twin.tensors.items():
        group = group_of(name)
        clean = pretrained.double()
        difference = parameters[name].detach().cpu().double() - clean
        moved[group] = moved.get(group, 0.0) + float(difference.square().sum())
        base[group] = base.get(group, 0.0) + float(clean.square().sum())
        scalars[group] = scalars.get(group, 0) + clean.numel()
    return tuple(
        ScannedGroup(group, scalars[group], (moved[group] / base[group]) ** 0.5 if base[group] else 0.0)
        for group in moved
    )


def group_of(name: str) -> str:
    """Names the group of a parameter: its layer and module, or the first module below the model's prefix."""
    layer = _LAYER.search(name)
    if layer is None:
        parts = name.split(".")
        if any("embed" in part or part in ("wte", "wpe") for part in parts):
            return "embeddings"
        # Prefix, module, ..., weight; a head has no prefix.
        return parts[1] if len(parts) > 2 else parts[0]
    rest = name[layer.end() :].split(".")
    module = next((label for label, names in _MODULES if any(part in names for part in rest)), "other")
    return f"layer {layer[1]} {module}"


def _text(token: TokenScore) -> str:
    # An embedding may have more rows than the tokenizer has tokens.
    return token.token if token.token is not None else f"<row {token.id}>"
