"""Architectures whose parameters have other names in memory than in their files: asked of transformers itself."""

from typing import TYPE_CHECKING

from .errors import InputError
from .plain_config import decoded
from .stored import StoredCheckpoint


if TYPE_CHECKING:
    from transformers import PreTrainedModel


# What is called in memory as in the files. All else takes the seconds that the import of transformers takes.
PLAIN = frozenset(
    {
        *("albert", "bart", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "gemma", "gemma2"),
        *("gemma3_text", "gpt2", "gpt_neo", "gpt_neox", "llama", "mbart", "mistral", "modernbert", "mpnet", "mt5"),
        *("opt", "phi3", "qwen2", "qwen3", "roberta", "smollm3", "t5", "xlm-roberta"),
    }
)


def architecture_of(stored: StoredCheckpoint) -> str:
    """
    Returns the class of transformers that a checkpoint is of.

    Raises:
        InputError: If its config.json names none.
    """
    named = stored.checkpoint.config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if not isinstance(name, str) or not name.isidentifier():
        raise InputError(f"{stored.what} has the architecture {name!r} in its config.json, but must name a class.")
    return name


def model_class(stored: StoredCheckpoint) -> type:
    """
    Returns the class itself.

    Raises:
        InputError: If transformers has no such model.
    """
    import transformers

    cls = getattr(transformers, architecture_of(stored), None)
    if not isinstance(cls, type) or not issubclass(cls, transformers.PreTrainedModel):
        raise InputError(f"{stored.what} is a {architecture_of(stored)!r}, which is no model class of transformers.")
    return cls


def base_prefix(stored: StoredCheckpoint) -> str:
    """Returns what the names of the base model begin with in memory; empty for a model that is its own base."""
    model = _empty_model(stored)
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def ties_words(stored: StoredCheckpoint) -> bool:
    """Tells whether the output layer of a model is its word embedding, by its config.json or by what is usual."""
    config = stored.checkpoint.config
    parts = [part for part in (config.get("text_config"), config) if isinstance(part, dict)]
    stated = next((part["tie_word_embeddings"] for part in parts if "tie_word_embeddings" in part), None)
    if stated is not None:
        return bool(stated)
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    return kind in CONFIG_MAPPING and bool(getattr(CONFIG_MAPPING[kind]().get_text_config(), "tie_word_embeddings", 0))


def as_loaded(stored: StoredCheckpoint) -> StoredCheckpoint:
    """
    Returns a checkpoint with the names that its parameters have in memory.

    Raises:
        InputError: If parameters are put together from several tensors, or one is cut up: no mask could be drawn.
    """
    kind = stored.checkpoint.config.get("model_type")
    if kind in PLAIN:
        return stored
    try:
        model = _empty_model(stored)
    except InputError:
        # Nothing is known about it; its files have to speak for themselves.
        return stored
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    mapping = get_model_conversion_mapping(model)
    renamings = [step for step in mapping if isinstance(step, WeightRenaming)]
    converters = [step for step in mapping if isinstance(step, WeightConverter)]
    held = model.state_dict()
    names = {}
    for name in stored.tensors:
        names[name], converted = rename_source_key(name, renamings, converters, model.base_model_prefix, held)
        if converted is not None:
            raise InputError(
                f"{stored.what} stores {name} otherwise than transformers loads it; load the model and use "
                "`fine_mix_`."
            )
    if len(set(names.values())) < len(names):
        raise InputError(f"{stored.what} holds a parameter under two names; load the model and use `fine_mix_`.")
    return stored if all(name == new for name, new in names.items()) else stored.renamed(names)


def _empty_model(stored: StoredCheckpoint) -> "PreTrainedModel":
    import torch

    from .loading import loading_errors

    cls = model_class(stored)
    with loading_errors(stored.what), torch.device("meta"):
        return cls(cls.config_class.from_dict(decoded(stored.checkpoint.config)))
