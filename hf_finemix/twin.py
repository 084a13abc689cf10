"""The pretrained twin of a model: which of its parameters have a clean counterpart, and that counterpart's values."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate.utils import extract_model_from_parallel
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .checks import check_configs, check_model
from .config import FineMixConfig
from .errors import InputError
from .loading import Checkpoint, loading_errors, resolve_checkpoint, without_path
from .model_loading import load_tokenizer, read_model
from .partitions import check_whole, on_whole
from .plain_config import decoded
from .plan import MixReport, canonical_name, plan_mixing
from .tensor_names import may_be_absent, vocabulary_size
from .token_rows import fit_rows, resized, ties
from .vocabularies import align_rows, check_rows


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
        rows_without (`Mapping[str, int]`, *optional*):
            Of parameters with a row for each token: how many rows have no counterpart. Those at the end are left out
            of `tensors`, the others hold the suspect's own values there.
        refused (`frozenset[str]`, *optional*): The absent parameters that the base should have.
    """

    source: str
    tensors: Mapping[str, torch.Tensor]
    absent: Mapping[str, str]
    embedding: str | None
    rows_without: Mapping[str, int] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()

    def pair(self, name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns a parameter, or the first rows of it that have a counterpart, and that counterpart."""
        return common_rows(tensor, self.tensors[name]), self.tensors[name]


def common_rows(tensor: torch.Tensor, counterpart: torch.Tensor) -> torch.Tensor:
    """Returns a view of as many rows of a tensor as its counterpart has."""
    return tensor if tensor.shape == counterpart.shape else tensor[: len(counterpart)]


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


@on_whole()
def load_twin(
    model: PreTrainedModel,
    pretrained: Pretrained,
    config: FineMixConfig | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    strict: bool = True,
) -> Twin:
    """
    Loads the pretrained counterpart of a model, on the CPU and in the dtype of each of its parameters.

    Args:
        model ([`~transformers.PreTrainedModel`]): The task model.
        pretrained (`str`, `Path`, [`~hf_finemix.loading.Checkpoint`] or [`~transformers.PreTrainedModel`]):
            A Hub id, a local folder, or a loaded model: the bare encoder or one with a head. The head of a model
            object is never taken for pretrained.
        config ([`FineMixConfig`], *optional*):
            Settings of the mixing, which say what a base may lack; defaults to `FineMixConfig()`.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*):
            The task model's tokenizer, to compare its vocabulary with that of a base that has one, too.
        strict (`bool`, *optional*, defaults to `True`): Refuse a base that lacks what it should have.

    Raises:
        InputError: If the base does not fit the model.
    """
    check_model(model)
    settings = config or FineMixConfig()
    twin = _load(model, pretrained, tokenizer, settings.align_vocabulary)
    if strict:
        source = pretrained.source if isinstance(pretrained, Checkpoint) else None
        plan(model, twin, settings).check(source)
    return twin


def _load(
    model: PreTrainedModel, pretrained: Pretrained, tokenizer: PreTrainedTokenizerBase | None, align: bool
) -> Twin:
    if align and (tokenizer is None or isinstance(pretrained, nn.Module)):
        raise InputError("`align_vocabulary` needs a `tokenizer`, and a base that is read from a folder or the Hub.")
    if isinstance(pretrained, nn.Module):
        check_whole(pretrained, "pretrained")
        return _twin_of_object(model, unwrap(pretrained))
    if not isinstance(pretrained, (str, Path, Checkpoint)):
        raise InputError(f"`pretrained` is {pretrained!r}, but must be a Hub id, a local folder or a model.")
    checkpoint = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "`pretrained`")
    check_configs(model.config.to_dict(), checkpoint.config, checkpoint.source)
    vocabularies = _vocabularies(checkpoint, tokenizer)
    if vocabularies is None and align:
        raise InputError(f"`align_vocabulary` needs a tokenizer beside `pretrained` {checkpoint.source!r}.")
    if vocabularies is not None and not align:
        check_rows(*vocabularies, checkpoint.source, ", or set `align_vocabulary` (--align-vocabulary)")
    config = resized(copy.deepcopy(model.config), vocabulary_size(checkpoint.config))
    # It would name the file that is read, and the model's own configuration has no say in that.
    config.transformers_weights = None
    # Wide enough for each parameter of a model in several dtypes: values are rounded once, in `_build`.
    dtype = functools.reduce(torch.promote_types, (parameter.dtype for parameter in model.parameters()))
    what = f"`pretrained` {checkpoint.source!r}"
    twin, info = read_model(_plain_class(model), checkpoint, what, config=config, dtype=dtype)
    missing = dict.fromkeys(info["missing_keys"], "not in the pretrained checkpoint")
    mismatched = {key[0]: "another shape in the pretrained checkpoint" for key in info["mismatched_keys"]}
    tensors, absent = dict(twin.named_parameters()), missing | mismatched
    with loading_errors(what):
        is_tied = ties(type(model.config).from_dict(decoded(checkpoint.config)))
    sources = checkpoint.source, checkpoint.label
    return _build(model, tensors, absent, sources, is_tied, vocabularies if align else None)


def plan(model: PreTrainedModel, twin: Twin, config: FineMixConfig) -> MixReport:
    """Returns what [`~hf_finemix.fine_mix_`] would do to each parameter of a model, without doing it."""
    model = unwrap(model)
    parameters = {canonical_name(name): tuple(tensor.shape) for name, tensor in model.named_parameters()}
    buffers = {canonical_name(name): tuple(tensor.shape) for name, tensor in model.named_buffers()}
    return plan_mixing(
        parameters, buffers, twin.tensors, twin.absent, config, twin.source, twin.rows_without, twin.refused
    )


def _plain_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """Returns a model's class without what FSDP2 makes of it."""
    return next(cls for cls in type(model).__mro__ if not issubclass(cls, FSDPModule))


def _vocabularies(
    checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[dict[str, int], dict[str, int]] | None:
    if tokenizer is None or not checkpoint.has_tokenizer:
        return None
    return tokenizer.get_vocab(), load_tokenizer(checkpoint, "`pretrained`").get_vocab()


def word_embedding_name(model: PreTrainedModel) -> str | None:
    """Returns the canonical name of the input word embedding's weight; `None` if the model has none."""
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        return None
    return _name_of(model, weight)


def _name_of(model: PreTrainedModel, weight: torch.Tensor | None) -> str | None:
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
    return _build(model, tensors, absent, (source, without_path(source)), ties(pretrained.config))


def _base_prefix(model: PreTrainedModel) -> str:
    # A model that is its own base has no head, and no prefix in its names.
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def _build(
    model: PreTrainedModel,
    tensors: dict[str, torch.Tensor],
    absent: dict[str, str],
    sources: tuple[str, str],
    is_tied: bool,
    vocabularies: tuple[dict[str, int], dict[str, int]] | None = None,
) -> Twin:
    source, label = sources
    prefix = _base_prefix(model)
    parameters = {canonical_name(name): parameter for name, parameter in model.named_parameters()}
    embedding = word_embedding_name(model)
    pair = parameters.get(embedding), tensors.get(embedding)
    output = _name_of(model, getattr(model.get_output_embeddings(), "weight", None))
    lacks_output = output not in (None, embedding) and (output in absent or output not in tensors)
    if is_tied and lacks_output and pair[1] is not None:
        # Tuning untied it, and what it began as is the base's word embedding.
        tensors, absent = tensors | {output: pair[1]}, {name: why for name, why in absent.items() if name != output}
    rows = None
    if vocabularies is not None and None not in pair:
        rows = align_rows(*vocabularies, (len(pair[0]), len(pair[1])), source)
    per_token = _parameters_per_token(model, embedding)
    found, without, rows_without = {}, {}, {}
    for name, parameter in parameters.items():
        counterpart = tensors.get(name)
        if counterpart is parameter:
            raise InputError("`pretrained` is the very model to be mixed; give the clean pretrained one.")
        if counterpart is not None and name not in absent and name in per_token and None not in pair:
            counterpart, missing = fit_rows(parameter, counterpart, rows)
            rows_without |= {name: missing} if missing else {}
        fits = counterpart is not None and (counterpart.shape == parameter.shape or name in rows_without)
        if fits and name not in absent:
            found[name] = counterpart.detach().to("cpu", parameter.dtype)
            continue
        without[name] = absent.get(name, "another shape in the pretrained model")
    # Any other gap means another model.
    refused = frozenset(name for name in without if not may_be_absent(name, prefix))
    if not found:
        raise InputError(f"`pretrained` {source!r} shares no parameter with the model; give its pretrained weights.")
    return Twin(label, found, without, embedding if embedding in found else None, rows_without, refused)


def _parameters_per_token(model: PreTrainedModel, embedding: str | None) -> set[str | None]:
    """Returns the names of the parameters that have one row for each token: word embedding and output layer."""
    if embedding is None:
        return set()
    output = model.get_output_embeddings()
    return {embedding, *(_name_of(model, getattr(output, part, None)) for part in ("weight", "bias"))}
