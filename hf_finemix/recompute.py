"""Mixing done again from the inputs, to compare with what somebody recorded."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .choices import FISHER
from .config import FineMixConfig
from .drift import in_parts
from .embeddings import reset_rows_
from .errors import InputError
from .hashes import TensorRecord, describe_tensors
from .loading import Checkpoint
from .mixing import mix_
from .model_loading import read_model
from .modeling import PurifyReport
from .part_mixing import find_mix_cut
from .plan import MixReport, canonical_name
from .shards import whole
from .twin import Twin, load_twin, unwrap


def mixed_tensors(
    model: PreTrainedModel, report: MixReport, purify: PurifyReport | None = None
) -> tuple[TensorRecord, ...]:
    """Records each tensor that was mixed, and the word embedding if rows of it were reset, in its present state."""
    parameters = named_tensors(model)
    names = dict.fromkeys(record.name for record in report.mixed)
    if purify is not None and purify.tokens:
        names[purify.embedding] = None
    return describe_tensors([(name, parameters[name]) for name in names])


def all_tensors(model: PreTrainedModel) -> tuple[TensorRecord, ...]:
    """Records each parameter of a model, mixed or not, in its present state."""
    return describe_tensors(list(named_tensors(model).items()))


def named_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Returns a model's parameters by canonical name, tied ones once."""
    return {canonical_name(name): whole(tensor.detach()) for name, tensor in unwrap(model).named_parameters()}


def load_pair(
    suspect: Checkpoint,
    pretrained: Checkpoint,
    architecture: str,
    tensors: Sequence[TensorRecord],
    config: FineMixConfig | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> tuple[PreTrainedModel, Twin]:
    """
    Loads both inputs of a mixing in the dtypes that it had.

    Args:
        suspect ([`~hf_finemix.loading.Checkpoint`]): The suspect's files.
        pretrained ([`~hf_finemix.loading.Checkpoint`]): The base's files.
        architecture (`str`): Class of transformers that was mixed.
        tensors (`Sequence[TensorRecord]`): The mixed tensors, of which dtypes are taken.
        config, tokenizer: As for [`~hf_finemix.twin.load_twin`].

    Raises:
        InputError: If the class is none of transformers, or one of the inputs cannot be loaded.
    """
    cls = getattr(transformers, architecture, None)
    # The base of all has no configuration of its own, and its bare use changes what later models do.
    if not isinstance(cls, type) or not issubclass(cls, PreTrainedModel) or cls.config_class is None:
        raise InputError(f"The model is a {architecture!r}, which is no model class of the installed transformers.")
    model, _ = read_model(cls, suspect, f"The suspect {suspect.label!r}")
    dtypes = {record.name: getattr(torch, record.dtype, None) for record in tensors}
    for name, parameter in model.named_parameters():
        dtype = dtypes.get(canonical_name(name))
        if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
            parameter.data = parameter.data.to(dtype)
    return model, load_twin(model, pretrained, config, tokenizer)


def mix_again(
    model: PreTrainedModel,
    twin: Twin,
    config: FineMixConfig,
    names: Sequence[str],
    embedding: str | None,
    rows: Sequence[int],
) -> Iterator[tuple[str, torch.Tensor]]:
    """
    Mixes copies of a suspect's tensors and resets embedding rows, as the job did; the model stays as it is.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect.
        twin ([`~hf_finemix.twin.Twin`]): Its pretrained twin.
        config ([`FineMixConfig`]): The settings.
        names (`Sequence[str]`): The tensors that were mixed.
        embedding (`str`, *optional*): The word embedding, be it mixed or not.
        rows (`Sequence[int]`): Rows of it that were reset.

    Yields:
        `tuple[str, torch.Tensor]`: Name and mixed values of each tensor that both models have.

    Raises:
        InputError: If the selection needs more than the two models.
    """
    suspect = named_tensors(model)
    names = [name for name in names if name in suspect and name in twin.tensors]
    if config.selection == FISHER:
        raise InputError(
            f"The selection {FISHER!r} cannot be drawn again without the Fisher information it was made by."
        )
    sizes = {name: twin.tensors[name].numel() for name in names}
    cut = find_mix_cut(config, names, lambda name: in_parts(*twin.pair(name, suspect[name])), sizes)
    reset = [embedding] if rows and embedding in suspect and embedding in twin.tensors else []
    for name in dict.fromkeys((*names, *reset)):
        values = suspect[name].clone()
        if name in names:
            mix_(*twin.pair(name, values), name, config, cut)
        if name in reset:
            # Ids come from a file that anybody may have written.
            count = len(twin.tensors[name])
            valid = np.array([row for row in rows if 0 <= row < count], dtype=np.int64)
            reset_rows_(values, twin.tensors[name], valid)
        yield name, values
