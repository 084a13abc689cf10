"""Configurations from checked entries: those that the model's class knows, and no larger than its weights."""

import copy
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedConfig

from .errors import InputError
from .loading import Checkpoint


# Entries that every configuration has, beside the fields of its class.
_COMMON = {
    *("model_type", "num_labels", "torch_dtype", "finemix", "output_attentions", "tie_word_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id"),
}
# A task model has a head, and maybe a larger vocabulary, beside what its base's weights hold.
_FACTOR, _MARGIN = 2, 1 << 27

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
    values, left_out = known_entries(checkpoint.config, kind)
    if left_out:
        logger.info("%s: entries of config.json that its class does not know: %s", what, left_out)
    config = kind.from_dict(values, **entries)
    config._name_or_path = str(checkpoint.folder)
    return config


def known_entries(entries: Mapping[str, Any], kind: type[PreTrainedConfig]) -> tuple[dict[str, Any], list[str]]:
    """
    Returns the entries that a class of configurations knows, and the names of the others.

    An entry is known if it is a field, or if the configuration is another one without it: old names are.

    Args:
        entries (`Mapping[str, Any]`): Entries of config.json.
        kind (`type[PreTrainedConfig]`): The class.
    """
    names = {field.name for field in dataclasses.fields(kind)} | set(kind.attribute_map) | _COMMON
    strange = sorted(entries.keys() - names)
    if not strange:
        return dict(entries), []
    taken, left_out = dict(entries), []
    whole = _content(kind, taken)
    for name in strange:
        rest = {key: value for key, value in taken.items() if key != name}
        if _content(kind, rest) == {key: value for key, value in whole.items() if key != name}:
            left_out.append(name)
            taken, whole = rest, {key: value for key, value in whole.items() if key != name}
    return taken, left_out


def _content(kind: type[PreTrainedConfig], entries: Mapping[str, Any]) -> dict[str, Any]:
    return kind.from_dict(copy.deepcopy(dict(entries))).to_dict()


def check_size(cls: Any, config: PreTrainedConfig, stored: int) -> None:
    """
    Checks that a model is about as large as the weights that it is to be made of, before memory is given to it.

    Args:
        cls (`type`): Its class, or one that finds it.
        config ([`~transformers.PreTrainedConfig`]): Its configuration.
        stored (`int`): Number of scalars of its weights.

    Raises:
        InputError: If it is much larger.
    """
    with torch.device("meta"):
        make = getattr(cls, "_from_config", None) or cls.from_config
        model = make(copy.deepcopy(config))
    size = sum(parameter.numel() for parameter in model.parameters())
    if size > _FACTOR * stored + _MARGIN:
        raise InputError(f"its config.json asks for {size:,} parameters, but its weights hold {stored:,}.")
