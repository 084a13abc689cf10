"""The pretrained twin of a model: which of its parameters have a clean counterpart, and that counterpart's values."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import extract_model_from_parallel
from torch import nn
from transformers import PreTrainedModel

from .checks import check_configs, check_model
from .errors import InputError
from .loading import Checkpoint, loading_errors, resolve_checkpoint, without_path
from .plan import canonical_name
from .tensor_names import may_be_absent


Pretrained = str | Path | Checkpoint | PreTrainedModel


@dataclass(frozen=True)
class Twin:
    """
    Pretrained values under the names of the task model.

    Args:
        source (`str`): Where they came from, fit for a report.
        tensors (`Mapping[str, torch.Tensor]`): Pretrained values by canonical parameter name.
        absent (`Mapping[str, str]`): Parameters without a pretrained counterpart, with the reason.
        embedding (`str`, *optional*): Name of the word embedding, if it has a pretrained counterpart.
    """

    source: str
    tensors: Mapping[str, torch.Tensor]
    absent: Mapping[str, str]
    embedding: str | None


def unwrap(model: nn.Module) -> nn.Module:
    """Takes a model out of DDP, FSDP1, DeepSpeed and `torch.compile`; its parameters stay the same objects."""
    while (inner := extract_model_from_parallel(model, keep_torch_compile=False)) is not model:
        model = inner
    return model


def original_architecture(cls: type) -> type[PreTrainedModel]:
    """
    Returns the class of transformers that a mixin class was made from.

    Raises:
        InputError: If `cls` does not derive from one.
    """
    for base in cls.__mro__:
        if issubclass(base, PreTrainedModel) and base.__module__.startswith("transformers."):
            return base
    raise InputError(f"`{cls.__name__}` derives from no model class of transformers; list one after FineMixMixin.")


def load_twin(model: PreTrainedModel, pretrained: Pretrained) -> Twin:
    """
    Loads the pretrained counterpart of a model, on the CPU and in the dtype of each of its parameters.

    Args:
        model ([`~transformers.PreTrainedModel`]): The task model.
        pretrained (`str`, `Path`, [`~hf_finemix.loading.Checkpoint`] or [`~transformers.PreTrainedModel`]):
            A Hub id, a local folder, or a loaded model: the bare encoder or one with a head. The head of a model
            object is never taken for pretrained.

    Raises:
        InputError: If the base does not fit the model.
    """
    check_model(model)
    if isinstance(pretrained, nn.Module):
        return _twin_of_object(model, unwrap(pretrained))
    if not isinstance(pretrained, (str, Path, Checkpoint)):
        raise InputError(f"`pretrained` is {pretrained!r}, but must be a Hub id, a local folder or a model.")
    checkpoint = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "`pretrained`")
    check_configs(model.config.to_dict(), checkpoint.config, checkpoint.source)
    config = copy.deepcopy(model.config)
    # It would name the file that is read, and the model's own configuration has no say in that.
    config.transformers_weights = None
    # Wide enough for each parameter of a model in several dtypes: values are rounded once, in `_build`.
    dtype = functools.reduce(torch.promote_types, (parameter.dtype for parameter in model.parameters()))
    with loading_errors(f"`pretrained` {checkpoint.source!r}"):
        twin, info = type(model).from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    missing = dict.fromkeys(info["missing_keys"], "not in the pretrained checkpoint")
    mismatched = {key[0]: "another shape in the pretrained checkpoint" for key in info["mismatched_keys"]}
    return _build(model, dict(twin.named_parameters()), missing | mismatched, checkpoint.source, checkpoint.label)


def word_embedding_name(model: PreTrainedModel) -> str | None:
    """Returns the canonical name of the input word embedding's weight; `None` if the model has none."""
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        return None
    return next((canonical_name(name) for name, parameter in model.named_parameters() if parameter is weight), None)


def _twin_of_object(model: PreTrainedModel, pretrained: PreTrainedModel) -> Twin:
    check_model(pretrained, "pretrained")
    source = pretrained.name_or_path or type(pretrained).__name__
    check_configs(model.config.to_dict(), pretrained.config.to_dict(), source)
    prefix = _base_prefix(model)
    base = pretrained.base_model
    tensors = {prefix + canonical_name(name): parameter for name, parameter in base.named_parameters()}
    absent = {
        name: "head" if not name.startswith(prefix) else "not in the pretrained model"
        for name in map(canonical_name, dict(model.named_parameters()))
        if name not in tensors
    }
    return _build(model, tensors, absent, source, without_path(source))


def _base_prefix(model: PreTrainedModel) -> str:
    # A model that is its own base has no head, and no prefix in its names.
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def _build(
    model: PreTrainedModel, tensors: dict[str, torch.Tensor], absent: dict[str, str], source: str, label: str
) -> Twin:
    prefix = _base_prefix(model)
    found, without = {}, {}
    for raw_name, parameter in model.named_parameters():
        name = canonical_name(raw_name)
        counterpart = tensors.get(name)
        if counterpart is parameter:
            raise InputError("`pretrained` is the very model to be mixed; give the clean pretrained one.")
        if counterpart is not None and name not in absent and counterpart.shape == parameter.shape:
            found[name] = counterpart.detach().to("cpu", parameter.dtype)
            continue
        without[name] = absent.get(name, "another shape in the pretrained model")
        # Any other gap means another model.
        if not may_be_absent(name, prefix):
            raise InputError(
                f"`pretrained` {source!r} does not fit: {name} is {without[name]}; "
                "give the weights that the suspect was fine-tuned from."
            )
    if not found:
        raise InputError(f"`pretrained` {source!r} shares no parameter with the model; give its pretrained weights.")
    embedding = word_embedding_name(model)
    return Twin(label, found, without, embedding if embedding in found else None)
