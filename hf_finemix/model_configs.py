"""Configurations from checked entries: those that the model's class knows, and no larger than its weights."""

import copy
import dataclasses
import functools
import importlib
import inspect
import logging
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.modules.module import register_module_module_registration_hook
from transformers import CONFIG_MAPPING, PreTrainedConfig

from .errors import InputError
from .loading import Checkpoint
from .plain_config import decoded


# Entries that every configuration has, beside the fields of its class.
_COMMON = {
    *("model_type", "num_labels", "torch_dtype", "finemix", "output_attentions", "tie_word_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id"),
}
# A task model has a head, and maybe a larger vocabulary, beside what its base's weights hold.
_FACTOR, _MARGIN = 2, 1 << 27
# Modules beside those with weights: activations, dropout, lists of layers.
_MODULES_PER_TENSOR, _FEW_MODULES = 20, 1000
# Code that all models share, where it reads their configurations.
_MODULES = (
    "transformers.configuration_utils",
    "transformers.modeling_utils",
    "transformers.modeling_layers",
    "transformers.modeling_rope_utils",
    "transformers.activations",
)
_NAME = re.compile(r"[A-Za-z_]\w*")

logger = logging.getLogger(__name__)


def make_config(cls: Any, checkpoint: Checkpoint, what: str, entries: Mapping[str, Any]) -> PreTrainedConfig:
    """
    Makes the configuration of a checkpoint, with types checked by its class.

    Args:
        cls (`type`): A model class of transformers, or one that finds it by the model's type.
        checkpoint ([`~hf_finemix.loading.Checkpoint`]): The files.
        what (`str`): The model, for messages.
        entries (`Mapping[str, Any]`): Entries that are to be others.

    Raises:
        InputError: If transformers knows no such model.
        ValueError: If an entry has a wrong type.
    """
    kind = getattr(cls, "config_class", None)
    if kind is None:
        name = checkpoint.config.get("model_type")
        if not isinstance(name, str) or name not in CONFIG_MAPPING:
            raise InputError(f"it is a {str(name)[:60]!r}, which is no model type of the installed transformers.")
        kind = CONFIG_MAPPING[name]
    values, left_out = known_entries(decoded(checkpoint.config), kind, cls)
    if left_out:
        logger.info("%s: entries of config.json that its class does not know: %s", what, left_out)
    config = kind.from_dict(values, **entries)
    config._name_or_path = str(checkpoint.folder)
    return config


def known_entries(
    entries: Mapping[str, Any], kind: type[PreTrainedConfig], cls: Any = None
) -> tuple[dict[str, Any], list[str]]:
    """
    Returns the entries that a class of configurations knows, and the names of the others.

    An entry is known if it is a field, or if its name occurs in the code of transformers that reads it: that of the
    configuration, of the model, or of all models. Old entries do, and some that never became fields.

    Args:
        entries (`Mapping[str, Any]`): Entries of config.json.
        kind (`type[PreTrainedConfig]`): The class.
        cls (`type`, *optional*): The model's class, or one that finds it.
    """
    names = {field.name for field in dataclasses.fields(kind)} | set(kind.attribute_map) | _COMMON
    strange = sorted(entries.keys() - names)
    if strange:
        modules = {kind.__module__, kind.__module__.replace(".configuration_", ".modeling_"), *_MODULES}
        models = cls._model_mapping.get(kind, None) if hasattr(cls, "_model_mapping") else cls
        found = models if isinstance(models, (list, tuple)) else (models,)
        modules |= {model.__module__ for model in found if model is not None}
        known = frozenset().union(*map(_words, sorted(modules)))
        strange = [name for name in strange if name not in known]
    return {key: value for key, value in entries.items() if key not in strange}, strange


@functools.cache
def _words(module: str) -> frozenset[str]:
    """Returns the names that occur in a module of transformers; of other modules nothing is taken."""
    if not module.startswith("transformers."):
        return frozenset()
    try:
        return frozenset(_NAME.findall(inspect.getsource(importlib.import_module(module))))
    except (ImportError, OSError, TypeError):
        return frozenset()


def check_size(cls: Any, config: PreTrainedConfig, stored: int, tensors: int) -> None:
    """
    Checks that a model is about as large as the weights that it is to be made of, before memory is given to it.

    Args:
        cls (`type`): Its class, or one that finds it.
        config ([`~transformers.PreTrainedConfig`]): Its configuration.
        stored (`int`): Number of scalars of its weights.
        tensors (`int`): Number of their tensors that hold anything.

    Raises:
        InputError: If it is much larger.
    """
    made = 0

    def count(module: Any, name: str, part: Any) -> None:
        nonlocal made
        made += 1
        if made > _MODULES_PER_TENSOR * tensors + _FEW_MODULES:
            raise InputError(f"its config.json asks for {made:,} modules or more, but has weights for {tensors:,}.")

    hook = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"):
            make = getattr(cls, "_from_config", None) or cls.from_config
            model = make(copy.deepcopy(config))
    finally:
        hook.remove()
    size = sum(parameter.numel() for parameter in model.parameters())
    if size > _FACTOR * stored + _MARGIN:
        raise InputError(f"its config.json asks for {size:,} parameters, but its weights hold {stored:,}.")
