"""
Fine-mixing for the Hugging Face stack: purify fine-tuned models that may carry a backdoor.

Public names load on first use, so that `import hf_finemix` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__


_MODULES = {
    "adapter_extraction": ("Extraction", "extract_adapter"),
    "adapter_models": ("merge_adapter",),
    "attacks.base": ("Attack", "AttackerView", "register_attack"),
    "attacks.trigger": ("Trigger",),
    "card": ("DefenseCard", "render_card"),
    "config": ("FineMixConfig",),
    "defenses.base": ("DefenderView", "Defense", "register_defense"),
    "embeddings": ("embedding_scores",),
    "errors": ("InputError",),
    "evaluation": ("evaluate_model",),
    "generators.conversations": ("load_conversations",),
    "generators.measuring": ("evaluate_generator",),
    "generators.triggers": ("ResponseTrigger",),
    "laboratory.benching": ("bench",),
    "laboratory.results": ("Results",),
    "metrics": ("AttackSuccessRate", "CleanAccuracy", "RobustAccuracy"),
    "mix_run": ("mix_checkpoints",),
    "mixin": ("FineMixMixin",),
    "modeling": ("PurifyReport", "fine_mix_", "purify_embeddings_", "score_embeddings"),
    "pickles": ("convert_pickle",),
    "pipeline": ("PurifyResult", "purify"),
    "plan": ("MixReport",),
    "publishing": ("publish",),
    "results": ("Distillation", "PurificationReport", "Recipe"),
    "scanning": ("ScanReport", "scan"),
    "trainer": ("FineMixTrainer",),
    "training_args": ("FineMixTrainingArguments",),
    "verification": ("Verification",),
    "verifying": ("verify",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Attack",
    "AttackSuccessRate",
    "AttackerView",
    "CleanAccuracy",
    "DefenderView",
    "Defense",
    "DefenseCard",
    "Distillation",
    "Extraction",
    "FineMixConfig",
    "FineMixMixin",
    "FineMixTrainer",
    "FineMixTrainingArguments",
    "InputError",
    "MixReport",
    "PurificationReport",
    "PurifyReport",
    "PurifyResult",
    "Recipe",
    "ResponseTrigger",
    "Results",
    "RobustAccuracy",
    "ScanReport",
    "Trigger",
    "Verification",
    "__version__",
    "bench",
    "convert_pickle",
    "embedding_scores",
    "evaluate_generator",
    "evaluate_model",
    "extract_adapter",
    "fine_mix_",
    "load_conversations",
    "merge_adapter",
    "mix_checkpoints",
    "publish",
    "purify",
    "purify_embeddings_",
    "register_attack",
    "register_defense",
    "render_card",
    "scan",
    "score_embeddings",
    "verify",
]

if TYPE_CHECKING:
    from .adapter_extraction import Extraction, extract_adapter
    from .adapter_models import merge_adapter
    from .attacks.base import Attack, AttackerView, register_attack
    from .attacks.trigger import Trigger
    from .card import DefenseCard, render_card
    from .config import FineMixConfig
    from .defenses.base import DefenderView, Defense, register_defense
    from .embeddings import embedding_scores
    from .errors import InputError
    from .evaluation import evaluate_model
    from .generators.conversations import load_conversations
    from .generators.measuring import evaluate_generator
    from .generators.triggers import ResponseTrigger
    from .laboratory.benching import bench
    from .laboratory.results import Results
    from .metrics import AttackSuccessRate, CleanAccuracy, RobustAccuracy
    from .mix_run import mix_checkpoints
    from .mixin import FineMixMixin
    from .modeling import PurifyReport, fine_mix_, purify_embeddings_, score_embeddings
    from .pickles import convert_pickle
    from .pipeline import PurifyResult, purify
    from .plan import MixReport
    from .publishing import publish
    from .results import Distillation, PurificationReport, Recipe
    from .scanning import ScanReport, scan
    from .trainer import FineMixTrainer
    from .training_args import FineMixTrainingArguments
    from .verification import Verification
    from .verifying import verify


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
