"""All attacks of the package: importing this registers them."""

from . import (
    adaptive_anchored,
    adaptive_frozen,
    adaptive_mixing,
    embedding_poisoning,
    embedding_surgery,
    few_weights,
    insertion,
    layerwise,
    logit_anchoring,
    sos,
    style,
)
from .base import ATTACKS


__all__ = [
    "ATTACKS",
    "adaptive_anchored",
    "adaptive_frozen",
    "adaptive_mixing",
    "embedding_poisoning",
    "embedding_surgery",
    "few_weights",
    "insertion",
    "layerwise",
    "logit_anchoring",
    "sos",
    "style",
]
