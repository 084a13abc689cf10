"""All defences of the package: importing this registers them."""

from . import distilled, fine_pruning, fine_purifying, head_pruning, max_entropy, mixing, tuning, weight_average
from .base import DEFENSES


__all__ = [
    "DEFENSES",
    "distilled",
    "fine_pruning",
    "fine_purifying",
    "head_pruning",
    "max_entropy",
    "mixing",
    "tuning",
    "weight_average",
]
