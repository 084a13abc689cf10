"""What mixing two checkpoints on the disk does to each tensor, decided from names, shapes and configuration alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .config import FineMixConfig
from .errors import InputError
from .plan import MIXED, MixReport, plan_mixing
from .stored import Place, StoredCheckpoint, same_bytes
from .tensor_names import WordEmbedding, find_embedding, pair_names, vocabulary_size


# Classes without a head: their parameters have no prefix.
_BARE = re.compile(r"(?!.*(?:Head|Heads)Model$)\w+Model")
# Old masked language models hold the bias of their output layer under two names.
_SECOND_BIAS = re.compile(r"(.+)\.decoder\.bias")
# Transformers puts the experts of a layer into one parameter, whose mask could not be drawn expert by expert.
_EXPERT = re.compile(r"\.experts\.\d+\.")


@dataclass(frozen=True)
class OutputTensor:
    """
    One tensor of the mixed checkpoint.

    Args:
        name (`str`): Its name there.
        parameter (`str`): Canonical name of the parameter that it is; tied tensors have one in common.
        suspect (`Place`): Where the suspect's values are.
        pretrained (`Place`, *optional*): Where the pretrained ones are; `None` if it is copied as it is.
        mixed (`int`): How many of its scalars are mixed, in row-major order; the others are copied.
    """

    name: str
    parameter: str
    suspect: Place
    pretrained: Place | None = None
    mixed: int = 0


@dataclass(frozen=True)
class MixPlan:
    """
    The whole plan.

    Args:
        report ([`~hf_finemix.plan.MixReport`]): Each parameter and buffer with what is done to it and why.
        tensors (`tuple[OutputTensor, ...]`): All tensors of the output, in the order of the suspect's files.
        embedding (`str`): Canonical name of the word embedding.
    """

    report: MixReport
    tensors: tuple[OutputTensor, ...]
    embedding: str

    @property
    def mixed(self) -> dict[str, OutputTensor]:
        """The mixed parameters by canonical name, tied ones once."""
        names = {record.name for record in self.report.mixed}
        return {tensor.parameter: tensor for tensor in reversed(self.tensors) if tensor.parameter in names}

    def count(self, kept: Mapping[str, int]) -> dict[str, int]:
        """
        Counts the scalars of each mixed parameter that keep the suspect's value.

        Args:
            kept (`Mapping[str, int]`): The same of each output tensor, over those of its scalars that were mixed.
        """
        return {
            name: kept.get(tensor.name, 0) + tensor.suspect[1].numel - tensor.mixed
            for name, tensor in self.mixed.items()
        }


def plan_mix(suspect: StoredCheckpoint, pretrained: StoredCheckpoint, config: FineMixConfig) -> MixPlan:
    """
    Plans the mixing of two checkpoints, as mixing of the loaded models would be planned.

    Args:
        suspect, pretrained ([`~hf_finemix.stored.StoredCheckpoint`]): The two checkpoints.
        config ([`FineMixConfig`]): The settings; `exclude` is applied here.

    Raises:
        InputError: If the base does not fit, no word embedding is found, or `exclude` matches no parameter.
    """
    _refuse_experts(suspect)
    found = _embedding(suspect), _embedding(pretrained)
    base_shapes = _fit_vocabulary(suspect.shapes, pretrained.shapes, found)
    tied = _tied(suspect, found[0].name)
    shapes = {name: shape for name, shape in suspect.shapes.items() if name not in tied}
    sources = suspect.checkpoint.source, pretrained.checkpoint.source
    counterparts, absent = pair_names(shapes, base_shapes, found, sources)
    # What stands before all names in the model, but not in the suspect's files.
    prefix = _missing_prefix(suspect, found[0])
    report = plan_mixing(
        {prefix + name: shape for name, shape in shapes.items()},
        {prefix + name: place[1].shape for name, place in suspect.tensors.items() if name not in suspect.shapes},
        [prefix + name for name in counterparts],
        {prefix + name: why for name, why in absent.items()},
        config,
        pretrained.checkpoint.label,
    )
    mixed = {record.name for record in report.parameters if record.action == MIXED}
    if not mixed and not counterparts:
        raise InputError(f"{pretrained.what} shares no parameter with the suspect; give its pretrained weights.")
    tensors = []
    for name, place in suspect.tensors.items():
        parameter = tied.get(name, name)
        if prefix + parameter not in mixed:
            tensors.append(OutputTensor(prefix + name, prefix + parameter, place))
            continue
        base = pretrained.tensors[counterparts[parameter]]
        tensors.append(
            OutputTensor(prefix + name, prefix + parameter, place, base, min(place[1].numel, base[1].numel))
        )
    return MixPlan(report, tuple(tensors), prefix + found[0].name)


def _refuse_experts(suspect: StoredCheckpoint) -> None:
    name = next((name for name in suspect.tensors if _EXPERT.search(name)), None)
    if name is not None:
        raise InputError(
            f"{suspect.what} stores its experts one by one, among them {name}, which transformers loads as one "
            "parameter; load the model and use `fine_mix_`."
        )


def _embedding(stored: StoredCheckpoint) -> WordEmbedding:
    found = find_embedding(stored.shapes, vocabulary_size(stored.checkpoint.config))
    if found is None:
        raise InputError(
            f"{stored.what} has no word embedding of a usual name, by which its tensors are told apart; load the "
            "model and use `fine_mix_`."
        )
    return found


def _fit_vocabulary(
    suspect: Mapping[str, tuple[int, ...]],
    pretrained: Mapping[str, tuple[int, ...]],
    found: tuple[WordEmbedding, WordEmbedding],
) -> dict[str, tuple[int, ...]]:
    """Gives what has one row a token the suspect's number of rows: tokens are added at the end, others are mixed."""
    own, base = suspect[found[0].name], pretrained[found[1].name]
    if own[0] == base[0] or own[1:] != base[1:]:
        return dict(pretrained)
    return {
        name: (own[0], *shape[1:])
        if shape in (base, base[:1]) and name.split(".")[-1] in ("weight", "bias")
        else shape
        for name, shape in pretrained.items()
    }


def _tied(suspect: StoredCheckpoint, embedding: str) -> dict[str, str]:
    """Returns the tensors that are another one once more, such as an output layer, with the name of that one."""
    if suspect.checkpoint.config.get("tie_word_embeddings") is False:
        return {}
    tied = {}
    for name, shape in suspect.shapes.items():
        match = _SECOND_BIAS.fullmatch(name)
        other = f"{match[1]}.bias" if match else embedding
        if name == other or suspect.shapes.get(other) != shape:
            continue
        places = suspect.tensors[name], suspect.tensors[other]
        if places[0][1].dtype == places[1][1].dtype and same_bytes(*places):
            tied[name] = other
    return tied


def _missing_prefix(suspect: StoredCheckpoint, embedding: WordEmbedding) -> str:
    """Returns what the model's names begin with if its files lack it: some are stored like the base model alone."""
    architecture = architecture_of(suspect)
    if embedding.prefix or _BARE.fullmatch(architecture):
        return ""
    # Only such files take the seconds that this import takes.
    import torch
    import transformers

    from .loading import loading_errors

    cls = getattr(transformers, architecture, None)
    if not isinstance(cls, type) or not issubclass(cls, transformers.PreTrainedModel):
        raise InputError(f"{suspect.what} is a {architecture!r}, which is no model class of transformers.")
    with loading_errors(suspect.what), torch.device("meta"):
        model = cls(cls.config_class.from_dict(suspect.checkpoint.config))
    return "" if model.base_model is model else f"{model.base_model_prefix}."


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
