"""What an adapter's configuration says, taken apart without a look at anything that it names."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError


LORA, IA3, TOKENS = "LORA", "IA3", "TRAINABLE_TOKENS"
_PROMPTS = (
    *("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CARTRIDGE", "CPT"),
)
# What training alone needs to know.
_IDLE = {
    *("base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode"),
    *("init_ia3_weights", "init_weights", "layers_pattern", "layers_to_transform", "lora_bias", "lora_dropout"),
    *("megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "revision"),
    *("runtime_config", "target_modules", "task_type"),
}
_READ = {
    *("alpha_pattern", "fan_in_fan_out", "feedforward_modules", "lora_alpha", "r", "rank_pattern", "token_indices"),
    *("trainable_token_indices", "use_dora", "use_rslora", "init_lora_weights"),
}
# What PEFT takes where nothing is said.
_DEFAULT_ALPHA = 8
# Ways to begin that leave the base's weights as they are; after the others the adapter belongs to another base.
_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")
# Patterns are regular expressions of a stranger: only ends of names are matched.
_PLAIN_PATTERN = re.compile(r"(?:\w|\.|\\\.)+", re.ASCII)


@dataclass(frozen=True)
class AdapterSettings:
    """
    What decides on the weights that an adapter makes.

    Args:
        kind (`str`): `"LORA"`, `"IA3"` or `"TRAINABLE_TOKENS"`, as PEFT names them.
        task (`str`, *optional*): PEFT's name of the task, such as `"SEQ_CLS"`.
        base (`str`, *optional*): The base that the adapter names; told to the user, never followed.
        alpha (`float`): LoRA's scale.
        alphas (`dict[str, float]`): Other scales by the end of a module's name.
        is_rank_stabilized (`bool`): Whether the scale is divided by the root of the rank (rsLoRA), not by the rank.
        is_decomposed (`bool`): Whether directions and magnitudes are apart (DoRA).
        feedforward (`tuple[str, ...]`): Ends of the names of modules whose inputs (IA)^3 scales.
        tokens (`dict[str, tuple[int, ...]]`): Rows of embeddings that are trained, by the end of a module's name.
    """

    kind: str
    task: str | None
    base: str | None
    alpha: float = 1.0
    alphas: dict[str, float] = field(default_factory=dict)
    is_rank_stabilized: bool = False
    is_decomposed: bool = False
    feedforward: tuple[str, ...] = ()
    tokens: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """What the method is usually called."""
        if self.kind == LORA:
            return "DoRA" if self.is_decomposed else "rsLoRA" if self.is_rank_stabilized else "LoRA"
        return "(IA)^3" if self.kind == IA3 else "trainable tokens"

    def scaling(self, module: str, rank: int) -> float:
        """Returns what LoRA multiplies the product of a module's two matrices with."""
        alpha = next((value for end, value in self.alphas.items() if _ends(module, end)), self.alpha)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilized else rank)

    def is_feedforward(self, module: str) -> bool:
        """Tells whether (IA)^3 scales the inputs of a module, not its outputs."""
        return any(_ends(module, end) for end in self.feedforward)

    def rows(self, module: str) -> tuple[int, ...] | None:
        """Returns which rows of an embedding are trained, `None` if it is not said."""
        found = next((rows for end, rows in self.tokens.items() if _ends(module, end)), None)
        # Of a tied output layer the configuration says nothing, nor where only one embedding can be meant.
        return next(iter(self.tokens.values())) if found is None and len(self.tokens) == 1 else found


def read_settings(config: Mapping[str, Any], what: str) -> AdapterSettings:
    """
    Reads the content of adapter_config.json.

    Args:
        config (`Mapping[str, Any]`): The content, from a stranger.
        what (`str`): The adapter, for messages.

    Raises:
        InputError: If its kind makes no weights, or is none of those that can be merged, or it asks for something
            that would change them and is not known here.
    """
    kind = config.get("peft_type")
    if kind in _PROMPTS:
        raise InputError(f"{what} is of the kind {kind}, which learns inputs, not weights: there is nothing to mix.")
    if kind not in (LORA, IA3, TOKENS):
        raise InputError(f"{what} is of the kind {str(kind)[:40]!r}; only LORA, IA3 and TRAINABLE_TOKENS are merged.")
    unknown = sorted(key for key, value in config.items() if value and key not in _IDLE | _READ | _harmless(config))
    if unknown:
        raise InputError(f"{what} sets {unknown[0][:60]!r}, which may change its weights and is not known here.")
    if config.get("init_lora_weights", True) not in _BEGINNINGS:
        raise InputError(
            f"{what} began with init_lora_weights={str(config['init_lora_weights'])[:40]!r}, which changes the base; "
            "convert it to a plain LoRA with PEFT (`path_initial_model_for_weight_conversion`)."
        )
    try:
        return AdapterSettings(
            kind=kind,
            task=_text(config.get("task_type")),
            base=_text(config.get("base_model_name_or_path")),
            alpha=_number(config.get("lora_alpha", _DEFAULT_ALPHA)),
            alphas={_pattern(key): _number(value) for key, value in (config.get("alpha_pattern") or {}).items()},
            is_rank_stabilized=_flag(config, "use_rslora"),
            is_decomposed=_flag(config, "use_dora"),
            feedforward=_names(config.get("feedforward_modules")),
            tokens=_tokens(config),
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{what} has an adapter_config.json that cannot be used: {str(error)[:120]}") from None


def _harmless(config: Mapping[str, Any]) -> set[str]:
    # PEFT writes the settings of LoftQ and the like even where they are not in use.
    return {key for key in ("loftq_config", "corda_config", "lora_ga_config") if key in config}


def _ends(module: str, end: str) -> bool:
    return module == end or module.endswith(f".{end}")


def _pattern(key: str) -> str:
    if not isinstance(key, str) or not _PLAIN_PATTERN.fullmatch(key):
        raise ValueError(f"the pattern {str(key)[:40]!r} is more than the end of a name")
    return key.replace("\\", "")


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else list(value or ())
    return tuple(_pattern(name) for name in names)


def _tokens(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    found = config.get("trainable_token_indices") or {}
    if config.get("peft_type") == TOKENS:
        found = dict.fromkeys(_names(config.get("target_modules")), config.get("token_indices") or ())
    elif isinstance(found, list):
        found = {"": found}
    return {end if end == "" else _pattern(end): tuple(_row(row) for row in rows) for end, rows in found.items()}


def _row(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{str(value)[:20]!r} is no row of an embedding")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:20]!r} is no number")
    return float(value)


def _flag(config: Mapping[str, Any], name: str) -> bool:
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} is {str(value)[:20]!r}, but must be true or false")
    return bool(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
