"""Other ways to mix than that of `purify`, for variants.py. Each changes a model in place."""

import copy
import re
from dataclasses import replace

import torch

from hf_finemix import FineMixConfig
from hf_finemix.mixing import mix_random_
from hf_finemix.modeling import fine_mix_
from hf_finemix.twin import Twin


@torch.no_grad()
def by_layer(model: torch.nn.Module, twin: Twin, config: FineMixConfig) -> None:
    """Keeps more in the early layers and less in the late ones, the mean as in the settings."""
    for name, parameter in model.named_parameters():
        if name in twin.tensors:
            layer = re.search(r"layer\.(\d+)\.", name)
            ratio = config.keep_ratio if layer is None else config.keep_ratio * (2 - 2 * int(layer[1]) / 5)
            mix_random_(parameter.data, twin.tensors[name], name, ratio, config.seed)


@torch.no_grad()
def by_interpolation(model: torch.nn.Module, twin: Twin, config: FineMixConfig) -> None:
    """Moves every scalar, instead of some of them all the way."""
    for name, parameter in model.named_parameters():
        if name in twin.tensors:
            parameter.copy_(twin.tensors[name].lerp(parameter, config.keep_ratio))


@torch.no_grad()
def by_several_masks(model: torch.nn.Module, twin: Twin, config: FineMixConfig) -> None:
    """Averages the mixtures of three seeds."""
    mixed = [copy.deepcopy(model) for _ in range(3)]
    for seed, one in enumerate(mixed):
        fine_mix_(one, twin, replace(config, seed=seed))
    for name, parameter in model.named_parameters():
        parameter.copy_(sum(dict(one.named_parameters())[name] for one in mixed) / 3)


@torch.no_grad()
def by_heads(model: torch.nn.Module, twin: Twin, config: FineMixConfig) -> None:
    """Resets whole attention heads, the half that moved furthest; the rest is mixed as usual."""
    size = model.config.hidden_size // model.config.num_attention_heads
    own = {name: value for name, value in model.named_parameters() if re.search(r"self\.(query|key|value)\.", name)}
    moved = {}
    for name, value in own.items():
        drift = (value - twin.tensors[name]).reshape(-1, size, *value.shape[1:]).flatten(1).square().sum(1)
        layer = int(re.search(r"layer\.(\d+)\.", name)[1])
        for head, part in enumerate(drift.tolist()):
            moved[layer, head] = moved.get((layer, head), 0.0) + part
    reset = sorted(moved, key=moved.__getitem__)[len(moved) // 2 :]
    kept = {name: value.clone() for name, value in own.items()}
    fine_mix_(model, twin, config)
    for name, value in own.items():
        value.copy_(kept[name])
        layer = int(re.search(r"layer\.(\d+)\.", name)[1])
        for head in (head for where, head in reset if where == layer):
            rows = slice(head * size, (head + 1) * size)
            value[rows] = twin.tensors[name][rows]


@torch.no_grad()
def by_group(model: torch.nn.Module, twin: Twin, config: FineMixConfig) -> None:
    """Keeps half of the attention, and of the rest the ratio of the settings."""
    for name, parameter in model.named_parameters():
        if name in twin.tensors:
            ratio = 0.5 if ".attention." in name else config.keep_ratio
            mix_random_(parameter.data, twin.tensors[name], name, ratio, config.seed)
