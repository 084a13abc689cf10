"""A fresh adapter for the step after mixing: put on the mixed model, trained there, merged into what is saved."""

import copy

from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from .adapter_settings import AdapterSettings
from .errors import InputError
from .records import AdapterRecord
from .twin import unwrap


_MERGED = ("LORA", "IA3")


def check_adapter_config(config: PeftConfig) -> None:
    """
    Checks that an adapter can be merged into its model.

    Raises:
        InputError: If it is no configuration of PEFT, or of a kind that changes inputs instead of weights.
    """
    if not isinstance(config, PeftConfig):
        raise InputError(f"`peft_config` is a {type(config).__name__}, but must be a configuration of PEFT.")
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind not in _MERGED and not config.is_prompt_learning:
        raise InputError(f"`peft_config` is of the kind {kind}; only {', '.join(_MERGED)} are merged into a model.")
    if config.is_prompt_learning:
        raise InputError(
            f"`peft_config` is of the kind {kind}, which changes inputs instead of weights and cannot be merged into "
            "a model; use one such as LoRA."
        )


def add_adapter(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """
    Puts a fresh adapter on a model, whose own weights are frozen from then on.

    Raises:
        InputError: If the model has no module that the configuration names.
    """
    # The configuration takes notes; one that serves several models stays as it was.
    try:
        return get_peft_model(model, copy.deepcopy(config))
    except ValueError as error:
        raise InputError(f"`peft_config` does not fit the model: {' '.join(str(error).split())}") from None


def merged_copy(model: nn.Module) -> PreTrainedModel:
    """Returns a copy of a model with its adapter merged into it; the model itself is not touched."""
    adapted = copy.deepcopy(unwrap(model))
    _untie(adapted.get_base_model())
    merged = adapted.merge_and_unload(safe_merge=True)
    # All of it is the copy's own again.
    return merged.requires_grad_(True)


def _untie(model: PreTrainedModel) -> None:
    """Gives the output layer weights of its own if an adapter changes it, or the word embedding that it shares."""
    layers = model.get_input_embeddings(), model.get_output_embeddings()
    if None in layers or not any(isinstance(layer, BaseTunerLayer) for layer in layers):
        return
    word, output = (layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer for layer in layers)
    if output.weight is word.weight:
        output.weight = nn.Parameter(output.weight.detach().clone())
        model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = False


def is_adapted(model: nn.Module) -> bool:
    """Tells whether a model has an adapter of PEFT on it."""
    return isinstance(unwrap(model), PeftModel)


def describe_adapter(model: nn.Module) -> AdapterRecord:
    """Returns kind, rank and modules of a model's adapter, for a report."""
    adapted = unwrap(model)
    config = adapted.peft_config[adapted.active_adapter]
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    flags = getattr(config, "use_rslora", False), getattr(config, "use_dora", False)
    settings = AdapterSettings(kind, None, None, is_rank_stabilized=flags[0], is_decomposed=flags[1])
    targets = config.target_modules or ()
    modules = (targets,) if isinstance(targets, str) else tuple(sorted(targets))
    return AdapterRecord(settings.method, getattr(config, "r", None), modules)
