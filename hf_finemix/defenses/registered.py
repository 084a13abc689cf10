"""All defences of the package: importing this registers them."""

from . import fine_pruning, fine_purifying, head_pruning, max_entropy, mixing, tuning, weight_average
from .base import DEFENSES


__all__ = [
    "DEFENSES",
    "fine_pruning",
    "fine_purifying",
    "head_pruning",
    "max_entropy",
    "mixing",
    "tuning",
    "weight_average",
]
