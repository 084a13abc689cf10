"""What lies beside a language model's weights as generation_config.json: which tokens begin and end, and no more."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from transformers import PreTrainedModel


_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
# What a publisher may choose: none of it can make a model say one thing, or keep it from saying another.
_SAMPLING = (
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "num_beams", "max_length", "max_new_tokens"),
    *("repetition_penalty", "use_cache", "transformers_version", "_from_model_config"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"),
)
_MOST_TOKENS = 1 << 31


def plain_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """
    Returns which tokens begin and end a text, of settings that a stranger wrote.

    The rest can force a token, forbid one or weigh it, which is a backdoor by itself; it is left out.

    Args:
        content (`Mapping[str, Any]`): What generation_config.json holds.
    """
    return {name: content[name] for name in _TOKENS if _is_token(content.get(name))}


def strange_settings(content: Mapping[str, Any]) -> list[str]:
    """Returns the names of settings that can make a model say something, or keep it from saying it."""
    return sorted(
        str(name)[:60]
        for name, value in content.items()
        # 0 is a token as any other, and equal to `False`.
        if value is not None and value is not False and value not in ([], {}) and name not in (*_TOKENS, *_SAMPLING)
    )


def make_settings_plain_(model: "PreTrainedModel") -> None:
    """Leaves a language model none of its settings but which tokens begin and end a text."""
    settings = getattr(model, "generation_config", None)
    if settings is not None:
        model.generation_config = type(settings)(**plain_settings(settings.to_dict()))


def _is_token(value: Any) -> bool:
    values = value if isinstance(value, list) and value else [value]
    return all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < _MOST_TOKENS for item in values)
