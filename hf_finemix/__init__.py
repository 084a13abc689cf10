"""
Fine-mixing for the Hugging Face stack: purify fine-tuned models that may carry a backdoor.

Public names load on first use, so that `import hf_finemix` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__


_MODULES = {
    "attacks.trigger": ("Trigger",),
    "config": ("FineMixConfig",),
    "embeddings": ("embedding_scores",),
    "errors": ("InputError",),
    "metrics": ("AttackSuccessRate", "CleanAccuracy", "RobustAccuracy"),
    "mixin": ("FineMixMixin",),
    "modeling": ("PurifyReport", "fine_mix_", "purify_embeddings_", "score_embeddings"),
    "pipeline": ("PurifyResult", "purify"),
    "plan": ("MixReport",),
    "results": ("Recipe",),
    "scanning": ("ScanReport", "scan"),
    "trainer": ("FineMixTrainer",),
    "training_args": ("FineMixTrainingArguments",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AttackSuccessRate",
    "CleanAccuracy",
    "FineMixConfig",
    "FineMixMixin",
    "FineMixTrainer",
    "FineMixTrainingArguments",
    "InputError",
    "MixReport",
    "PurifyReport",
    "PurifyResult",
    "Recipe",
    "RobustAccuracy",
    "ScanReport",
    "Trigger",
    "__version__",
    "embedding_scores",
    "fine_mix_",
    "purify",
    "purify_embeddings_",
    "scan",
    "score_embeddings",
]

if TYPE_CHECKING:
    from .attacks.trigger import Trigger
    from .config import FineMixConfig
    from .embeddings import embedding_scores
    from .errors import InputError
    from .metrics import AttackSuccessRate, CleanAccuracy, RobustAccuracy
    from .mixin import FineMixMixin
    from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
    from .pipeline import PurifyResult, purify
    from .plan import MixReport
    from .results import Recipe
    from .scanning import ScanReport, scan
    from .trainer import FineMixTrainer
    from .training_args import FineMixTrainingArguments


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
