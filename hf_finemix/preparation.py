"""What happens to a suspect before a trainer mixes it: checks, the pretrained twin, the scores of its embeddings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments
from transformers.modeling_utils import is_fsdp_enabled, is_local_dist_rank_0

from .checks import check_model, check_not_mixed
from .config import FineMixConfig
from .errors import InputError
from .frequencies import source_name
from .modeling import score_embeddings
from .partitions import on_whole
from .training_args import FineMixTrainingArguments
from .twin import Pretrained, Twin, load_twin, unwrap


@dataclass(frozen=True)
class Prepared:
    """
    Everything that mixing a model needs, checked; the model is still as it was.

    Args:
        twin ([`~hf_finemix.twin.Twin`]): Its pretrained twin.
        config ([`FineMixConfig`]): The settings.
        scores (`np.ndarray`, *optional*): Score of each word embedding, shape (vocabulary,).
        allow_mixed (`bool`): Whether the model may have been mixed before.
        frequencies (`str`): Name of the source of token counts.
    """

    twin: Twin
    config: FineMixConfig
    scores: np.ndarray | None
    allow_mixed: bool
    frequencies: str


@on_whole()
def prepare(
    model: PreTrainedModel,
    args: TrainingArguments,
    pretrained: Pretrained,
    tokenizer: PreTrainedTokenizerBase | None,
) -> Prepared | None:
    """
    Loads the twin of a model and scores its word embeddings, which must happen before the mixing.

    Under FSDP with `cpu_ram_efficient_loading` one process of each machine holds the weights and mixes them; to the
    others, where nothing is prepared, it sends what it made.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect.
        args ([`~transformers.TrainingArguments`]): Its training arguments, maybe with settings of the mixing.
        pretrained (`str`, `Path`, `Checkpoint` or [`~transformers.PreTrainedModel`]): The base.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): Its tokenizer.

    Returns:
        [`Prepared`], *optional*: `None` in a process that is to be given its weights by another.

    Raises:
        InputError: If the model was mixed before or cannot be mixed, or the base does not fit.
    """
    if isinstance(model, nn.Module) and awaits_weights(model):
        return None
    if isinstance(args, FineMixTrainingArguments):
        config, source, allow_mixed = args.fine_mix_config(), args.frequencies, args.allow_mixed
    else:
        config, source, allow_mixed = FineMixConfig(seed=args.seed), "vocabulary", False
    if isinstance(model, nn.Module):
        model = unwrap(model)
        check_model(model)
    if not isinstance(model, PreTrainedModel):
        raise InputError(f"`model` is a {type(model).__name__}, but must be a model of transformers.")
    if not allow_mixed:
        check_not_mixed(model)
    twin = load_twin(model, pretrained, config, tokenizer)
    # Scores come from the suspect's own weights, so they are taken before these are mixed. A model that was mixed
    # before has none left to score.
    scores = None
    if twin.embedding is not None and config.purify_top_k and not getattr(model.config, "finemix", None):
        if tokenizer is None and source != "vocabulary":
            raise InputError(f"`frequencies` is {source!r}, which needs a tokenizer; pass it as `processing_class`.")
        scores = score_embeddings(model, twin, source, tokenizer=tokenizer, frequency_floor=config.frequency_floor)
    return Prepared(twin, config, scores, allow_mixed, source_name(source))


def awaits_weights(model: nn.Module) -> bool:
    """Tells whether another process of this machine holds a model's weights, and will send them."""
    is_empty = is_fsdp_enabled() and not is_local_dist_rank_0()
    return is_empty and all(parameter.is_meta for parameter in model.parameters())


def find_tokenizer(arguments: dict[str, Any]) -> PreTrainedTokenizerBase | None:
    """Returns the tokenizer among a trainer's arguments, if there is one."""
    # As `Trainer` does when it saves: without a processing class, the tokenizer of the data collator.
    processing_class = arguments.get("processing_class")
    if processing_class is None:
        processing_class = getattr(arguments.get("data_collator"), "tokenizer", None)
    return processing_class if isinstance(processing_class, PreTrainedTokenizerBase) else None
