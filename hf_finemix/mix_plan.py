"""What mixing two checkpoints on the disk does to each tensor, decided from names, shapes and configuration alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .config import FineMixConfig
from .errors import InputError
from .model_names import architecture_of, as_loaded, base_prefix, model_class, ties_words
from .plan import MIXED, MixReport, plan_mixing
from .stored import Place, StoredCheckpoint, same_bytes
from .tensor_names import Shapes, WordEmbedding, find_embedding, may_be_absent, pair_names, vocabulary_size


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
        embedding (`str`): Canonical name of the word embedding; empty if there is none.
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


def plan_mix(
    suspect: StoredCheckpoint, pretrained: StoredCheckpoint, config: FineMixConfig, strict: bool = True
) -> MixPlan:
    """
    Plans the mixing of two checkpoints, as mixing of the loaded models would be planned.

    Args:
        suspect, pretrained ([`~hf_finemix.stored.StoredCheckpoint`]): The two checkpoints.
        config ([`FineMixConfig`]): The settings; `exclude` is applied here.
        strict (`bool`, *optional*, defaults to `True`): Refuse a base that lacks what it should have.

    Raises:
        InputError: If the base does not fit, no word embedding is found, or `exclude` matches no parameter.
    """
    _refuse_experts(suspect)
    suspect, pretrained = as_loaded(suspect), as_loaded(pretrained)
    found = _embeddings(suspect, pretrained)
    tied = _tied(suspect, found[0].name)
    shapes = {name: shape for name, shape in suspect.shapes.items() if name not in tied}
    counterparts, absent = pair_names(shapes, pretrained.shapes, found, suspect.checkpoint.source)
    _pair_untied(shapes, found, counterparts, absent, pretrained)
    # What stands before all names in the model, but not in the suspect's files.
    prefix = _missing_prefix(suspect, found[0])
    report = plan_mixing(
        {prefix + name: shape for name, shape in shapes.items()},
        {prefix + name: place[1].shape for name, place in suspect.tensors.items() if name not in suspect.shapes},
        [prefix + name for name in counterparts],
        {prefix + name: why for name, why in absent.items()},
        config,
        pretrained.checkpoint.label,
        {
            prefix + name: rows
            for name, other in counterparts.items()
            if (rows := _without(shapes, pretrained, name, other))
        },
        [prefix + name for name in absent if not may_be_absent(name, found[0].prefix)],
    )
    if strict:
        report.check(pretrained.checkpoint.source)
    mixed = {record.name for record in report.parameters if record.action == MIXED}
    if not mixed and not counterparts:
        raise InputError(f"{pretrained.what} shares no parameter with the suspect; give its pretrained weights.")
    tensors = []
    for name, place in suspect.tensors.items():
        parameter = tied.get(name, name)
        # In the file a tensor is called as before, so that whoever could load the suspect can load this.
        there = suspect.file_names.get(name, prefix + name)
        if prefix + parameter not in mixed:
            tensors.append(OutputTensor(there, prefix + parameter, place))
            continue
        base = pretrained.tensors[counterparts[parameter]]
        tensors.append(OutputTensor(there, prefix + parameter, place, base, min(place[1].numel, base[1].numel)))
    return MixPlan(report, tuple(tensors), found[0].name and prefix + found[0].name)


def _pair_untied(
    shapes: Shapes,
    found: tuple[WordEmbedding, WordEmbedding],
    counterparts: dict[str, str],
    absent: dict[str, str],
    pretrained: StoredCheckpoint,
) -> None:
    """Pairs an output layer that tuning untied with the base's word embedding, which it began as."""
    like = shapes.get(found[0].name)
    for name in [name for name in absent if like is not None and shapes[name] == like]:
        if may_be_absent(name, found[0].prefix) and ties_words(pretrained):
            counterparts[name] = found[1].name
            del absent[name]


def _without(shapes: Shapes, pretrained: StoredCheckpoint, name: str, other: str) -> int:
    """Returns how many rows of a tensor have no counterpart."""
    base = pretrained.shapes[other]
    return max(0, shapes[name][0] - base[0]) if base else 0


def _refuse_experts(suspect: StoredCheckpoint) -> None:
    name = next((name for name in suspect.tensors if _EXPERT.search(name)), None)
    if name is not None:
        raise InputError(
            f"{suspect.what} stores its experts one by one, among them {name}, which transformers loads as one "
            "parameter; load the model and use `fine_mix_`."
        )


def _embeddings(suspect: StoredCheckpoint, pretrained: StoredCheckpoint) -> tuple[WordEmbedding, WordEmbedding]:
    """Finds the word embeddings, or of models of images and sound what the names of their base models begin with."""
    pair = suspect, pretrained
    found = [find_embedding(stored.shapes, vocabulary_size(stored.checkpoint.config)) for stored in pair]
    if found == [None, None] and not any(vocabulary_size(stored.checkpoint.config) for stored in pair):
        prefixes = [f"{model_class(stored).base_model_prefix}." for stored in pair]
        return tuple(
            WordEmbedding("", prefix if any(name.startswith(prefix) for name in stored.shapes) else "")
            for prefix, stored in zip(prefixes, pair, strict=True)
        )
    for stored, embedding in zip(pair, found, strict=True):
        if embedding is None:
            raise InputError(
                f"{stored.what} has no word embedding of a usual name, by which its tensors are told apart; load the "
                "model and use `fine_mix_`."
            )
    return tuple(found)


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
    # Only such files take the seconds that a look at the model takes.
    return "" if embedding.prefix or _BARE.fullmatch(architecture_of(suspect)) else base_prefix(suspect)
