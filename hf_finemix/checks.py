"""Every compatibility check, made before a weight is touched. Each failure is one line that names the fix."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_mixing import seems_finite
from .errors import InputError


if TYPE_CHECKING:
    # What needs no model does not wait for torch.
    import torch
    from torch import nn


# Scalars of 16 bits that are looked at at once; a cache holds them.
_CHUNK = 1 << 18
_HALVES = {"torch.bfloat16": "BF16", "torch.float16": "F16"}
# Keys of config.json that must agree, with the words for the message.
_MUST_AGREE = {
    "model_type": "architecture",
    "hidden_size": "hidden size",
    "dim": "hidden size",
    "n_embd": "hidden size",
    "d_model": "hidden size",
    "num_hidden_layers": "number of layers",
    "n_layers": "number of layers",
    "n_layer": "number of layers",
    "intermediate_size": "feed-forward size",
    "hidden_dim": "feed-forward size",
    "num_attention_heads": "number of attention heads",
    "n_heads": "number of attention heads",
    "n_head": "number of attention heads",
}


def check_configs(suspect: Mapping[str, Any], pretrained: Mapping[str, Any], source: str) -> None:
    """
    Refuses a base whose configuration cannot belong to the model that the suspect was fine-tuned from.

    Args:
        suspect (`Mapping[str, Any]`): The suspect's configuration.
        pretrained (`Mapping[str, Any]`): The base's configuration.
        source (`str`): The base, as the user gave it.

    Raises:
        InputError: If architecture or a size differ; rows of the vocabulary are another matter.
    """
    for key, words in _MUST_AGREE.items():
        if key in suspect and key in pretrained and suspect[key] != pretrained[key]:
            raise InputError(
                f"`pretrained` {source!r} has another {words} ({pretrained[key]!r}) than the suspect "
                f"({suspect[key]!r}); give the weights that the suspect was fine-tuned from."
            )


def check_model(model: "nn.Module", argument: str = "model") -> None:
    """
    Refuses models whose parameters cannot be mixed as they are.

    Raises:
        InputError: If it is no model of transformers, carries an adapter, is quantised or offloaded.
    """
    # What needs no model needs not wait the seconds for this import, either.
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        if hasattr(model, "peft_config") and hasattr(model, "merge_and_unload"):
            raise InputError(f"`{argument}` is a PEFT model; call `merge_and_unload()` and pass what it returns.")
        raise InputError(f"`{argument}` is a {type(model).__name__}, but must be a model of transformers.")
    if getattr(model, "_hf_peft_config_loaded", False):
        raise InputError(f"`{argument}` has an adapter inside; merge it, or load the model without it.")
    config = getattr(model, "config", None)
    if getattr(model, "is_quantized", False) or getattr(config, "quantization_config", None) is not None:
        raise InputError(f"`{argument}` is quantised; load it without a quantization config.")
    offloaded = {"cpu", "disk"} & {str(device) for device in (getattr(model, "hf_device_map", None) or {}).values()}
    if offloaded and len(model.hf_device_map) > 1:
        raise InputError(f"`{argument}` is offloaded to {', '.join(sorted(offloaded))}; load it without `device_map`.")
    for name, tensor in model.named_parameters():
        if tensor.is_meta:
            raise InputError(f"`{argument}` is offloaded: {name} holds no data; load it without `device_map`.")
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            raise InputError(f"`{argument}` is quantised: {name} is {tensor.dtype}; load it in floating point.")


def was_mixed(model: "nn.Module") -> bool:
    """Tells whether a model's configuration holds a record of mixing."""
    return bool(getattr(getattr(model, "config", None), "finemix", None))


def check_not_mixed(model: "nn.Module", argument: str = "model") -> None:
    """
    Refuses a model that was mixed before: its weights are no longer the suspect's.

    Raises:
        InputError: If the model's configuration holds a record of mixing.
    """
    if was_mixed(model):
        raise InputError(
            f"`{argument}` was mixed before (its config has a `finemix` record); start from the original suspect "
            "(`allow_mixed=True` mixes it again, but nothing can score it any more)."
        )


def check_finite(tensors: Iterable[tuple[str, "torch.Tensor"]], argument: str) -> None:
    """
    Refuses tensors with NaN or infinity: mixing would carry them on, or hide them.

    Raises:
        InputError: Names the first tensor that holds one.
    """
    for name, tensor in tensors:
        if not is_finite(tensor):
            raise InputError(f"`{argument}` holds NaN or infinity in {name}; its weights are damaged.")


def is_finite(tensor: "torch.Tensor") -> bool:
    """Tells whether a tensor holds neither NaN nor infinity."""
    import torch

    return _seems_finite(tensor.detach()) or bool(torch.isfinite(tensor).all())


def _seems_finite(tensor: "torch.Tensor") -> bool:
    import torch

    name = _HALVES.get(str(tensor.dtype))
    if name is None or tensor.device.type != "cpu" or not tensor.is_contiguous():
        # The sum is NaN or infinite if one element is, and needs no mask of the tensor's size; it may also overflow
        # by itself, so only a suspicious sum is looked at element by element.
        return bool(torch.isfinite(tensor.sum(dtype=torch.float32)))
    # Sums of 16 bits take ten times as long as a look at the bits.
    bits = tensor.view(-1).view(torch.int16).numpy().view(np.uint16)
    return all(seems_finite(bits[at : at + _CHUNK], name) for at in range(0, len(bits), _CHUNK))
