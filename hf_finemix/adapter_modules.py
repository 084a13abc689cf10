"""What an adapter makes of a single module: its parts checked, then put together."""

from collections.abc import Mapping, Sequence

import torch
from transformers.pytorch_utils import Conv1D

from . import adapter_merging as merging
from .adapter_settings import IA3, LORA, AdapterSettings


def merged_module(
    module: torch.nn.Module, name: str, parts: Mapping[str, torch.Tensor], settings: AdapterSettings
) -> dict[str, torch.Tensor]:
    """
    Returns the parameters of a module as an adapter makes them, each in its shape.

    Args:
        module (`torch.nn.Module`): A linear layer, one that stores its weight the other way round, or an embedding.
        name (`str`): Its name in the model.
        parts (`Mapping[str, torch.Tensor]`): The adapter's tensors for it, by PEFT's names.
        settings ([`~hf_finemix.adapter_settings.AdapterSettings`]): What the adapter's configuration says.

    Raises:
        ValueError: If parts are missing, left over, or of another shape.
    """
    parts = {
        part.removesuffix(".weight") if part.startswith("lora_") else part: value for part, value in parts.items()
    }
    _check_parts(parts, settings)
    is_turned = isinstance(module, Conv1D)
    # PEFT saves what lies below a change of an embedding, too, and loads it over the base's.
    weight, bias = parts.get("base_layer.weight", module.weight), getattr(module, "bias", None)
    _same(weight.shape, module.weight.shape)
    if "base_layer.bias" in parts or "lora_B.bias" in parts:
        for part in {"base_layer.bias", "lora_B.bias"} & parts.keys():
            _same(parts[part].shape, () if bias is None else bias.shape)
        bias = parts.get("base_layer.bias", bias)
    # All below is for shape (outputs, inputs).
    weight = weight.T if is_turned else weight
    if "ia3_l" in parts:
        of_inputs = settings.is_feedforward(name)
        _same((parts["ia3_l"].numel(),), (weight.shape[1 if of_inputs else 0],))
        weight = merging.scaled(weight, parts["ia3_l"], of_inputs)
        bias = bias if bias is None or of_inputs else merging.scaled(bias, parts["ia3_l"], of_inputs)
    if "trainable_tokens_delta" in parts:
        rows = settings.rows(name)
        if rows is None or max(rows, default=0) >= len(weight):
            raise ValueError("its configuration does not say which rows are trained")
        _same(parts["trainable_tokens_delta"].shape, (len(rows), weight.shape[1]))
        weight = merging.with_rows(weight, rows, parts["trainable_tokens_delta"])
    if "lora_A" in parts:
        delta = _delta(parts["lora_B"], parts["lora_A"], weight.shape, name, settings)
        if settings.is_decomposed:
            _same((parts["lora_magnitude_vector"].numel(),), (len(weight),))
            weight = merging.with_direction(weight, delta, parts["lora_magnitude_vector"].flatten())
        else:
            weight = merging.with_delta(weight, delta)
        if "lora_B.bias" in parts:
            scaling = settings.scaling(name, len(parts["lora_A"]))
            bias = merging.with_delta(bias, parts["lora_B.bias"].double() * scaling)
    if "lora_embedding_A" in parts:
        turned = _delta(parts["lora_embedding_B"], parts["lora_embedding_A"], weight.shape[::-1], name, settings)
        weight = merging.with_delta(weight, turned.T)
    made = {"weight": weight.T.contiguous() if is_turned else weight}
    return made if bias is None else made | {"bias": bias}


def _check_parts(parts: Mapping[str, torch.Tensor], settings: AdapterSettings) -> None:
    """Refuses parts that would be left over, or that lack another one."""
    below = {"base_layer.weight", "base_layer.bias"}
    cores: list[set[str]] = [{"trainable_tokens_delta"}]
    if settings.kind == IA3:
        cores = [{"ia3_l"}]
    elif settings.kind == LORA:
        pair = {"lora_A", "lora_B", *(["lora_magnitude_vector"] if settings.is_decomposed else [])}
        # An embedding is changed by its own kind of pair, and DoRA has another meaning there.
        cores += [pair, pair | {"lora_B.bias"}]
        cores += [] if settings.is_decomposed else [{"lora_embedding_A", "lora_embedding_B"}]
    if parts.keys() - below not in cores:
        dora = "with" if settings.is_decomposed else "without"
        raise ValueError(f"{', '.join(sorted(parts))} make no whole ({settings.kind} {dora} DoRA)")


def _delta(
    up: torch.Tensor, down: torch.Tensor, shape: Sequence[int], name: str, settings: AdapterSettings
) -> torch.Tensor:
    # Before the product is made: that of two long vectors would not fit into the memory.
    if up.dim() != 2 or down.dim() != 2 or not len(down):
        raise ValueError(f"shapes {tuple(up.shape)} and {tuple(down.shape)} are no pair")
    _same((*up.shape, *down.shape), (shape[0], len(down), len(down), shape[1]))
    return merging.low_rank_delta(up, down, settings.scaling(name, len(down)))


def _same(found: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(found) != tuple(wanted):
        raise ValueError(f"it has shape {tuple(found)} where {tuple(wanted)} is needed")
