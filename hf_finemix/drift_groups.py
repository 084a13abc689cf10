"""Drift of each layer and module. Pure functions on what was measured and on the names of tensors."""

import re
from collections.abc import Mapping

from .records import ScannedGroup
from .tensor_drift import TensorDrift


_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block|blocks)\.(\d+)\.")
_EMBEDDINGS = ("wte", "wpe", "shared")
_ATTENTION, _FEED_FORWARD, _OTHER = "attention", "feed-forward", "other"
_MODULES = (
    (_ATTENTION, ("attention", "attn", "self_attn", "sa_layer_norm", "ln_1", "SelfAttention", "EncDecAttention")),
    (_FEED_FORWARD, ("mlp", "ffn", "intermediate", "output", "output_layer_norm", "ln_2", "DenseReluDense")),
)


def drift_by_group(drifts: Mapping[str, TensorDrift], prefix: str = "") -> tuple[ScannedGroup, ...]:
    """
    Measures the relative drift of the embeddings, of each layer's modules, and of what else there is, in this order.

    Args:
        drifts (`Mapping[str, TensorDrift]`): How far each tensor moved, by its name.
        prefix (`str`, *optional*): What the names of the base model's tensors begin with.
    """
    moved: dict[str, float] = {}
    base: dict[str, float] = {}
    scalars: dict[str, int] = {}
    for name, drift in drifts.items():
        # A model that is its own base has no prefix, which tells its modules' names from those of a head.
        group = group_of(name if prefix else f"model.{name}")
        moved[group] = moved.get(group, 0.0) + drift.norm**2
        base[group] = base.get(group, 0.0) + drift.pretrained**2
        scalars[group] = scalars.get(group, 0) + drift.scalars
    return tuple(
        ScannedGroup(group, scalars[group], (moved[group] / base[group]) ** 0.5 if base[group] else 0.0)
        for group in sorted(moved, key=_place)
    )


def group_of(name: str) -> str:
    """Names the group of a parameter: its layer and module, or the first module below the model's prefix."""
    layer = _LAYER.search(name)
    if layer is None:
        parts = name.split(".")
        if any("embed" in part or part in _EMBEDDINGS for part in parts):
            return "embeddings"
        # Prefix, module, ..., weight; a head has no prefix.
        return parts[1] if len(parts) > 2 else parts[0]
    rest = name[layer.end() :].split(".")
    module = next((label for label, names in _MODULES if any(part in names for part in rest)), _OTHER)
    return f"layer {layer[1]} {module}"


def _place(group: str) -> tuple[int, int, int, str]:
    match = re.fullmatch(r"layer (\d+) (.+)", group)
    if match is None:
        return (0 if group == "embeddings" else 2, 0, 0, group)
    return (1, int(match[1]), (_ATTENTION, _FEED_FORWARD, _OTHER).index(match[2]), group)
