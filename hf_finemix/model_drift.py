"""Drift of a loaded suspect from its pretrained twin, layer by layer; taken before anything is mixed."""

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from .drift_groups import drift_by_group
from .plan import canonical_name
from .records import ScannedGroup
from .tensor_drift import measure_drift
from .threads import one_torch_thread
from .twin import Twin, common_rows


# Scalars that are compared at once, so that the float64 copies of a large matrix stay small.
_PART = 1 << 20


def model_drift(model: PreTrainedModel, twin: Twin) -> tuple[ScannedGroup, ...]:
    """
    Measures how far each layer's modules moved.

    Args:
        model ([`~transformers.PreTrainedModel`]): The suspect, not mixed yet; left as it is.
        twin ([`~hf_finemix.twin.Twin`]): Its pretrained weights.

    Returns:
        `tuple[ScannedGroup, ...]`: Embeddings, the modules of each layer, and the rest, in this order.
    """
    named = {canonical_name(name): parameter for name, parameter in model.named_parameters()}
    with one_torch_thread(), torch.inference_mode():
        drifts = {
            name: measure_drift(_parts(common_rows(named[name], other), other)) for name, other in twin.tensors.items()
        }
    return drift_by_group(drifts, model.base_model_prefix)


def _parts(suspect: torch.Tensor, base: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rows = suspect.reshape(len(suspect) if suspect.dim() else 1, -1), base.reshape(len(base) if base.dim() else 1, -1)
    count = max(1, _PART // max(1, rows[0].shape[1]))
    for start in range(0, len(rows[0]), count):
        yield tuple(part[start : start + count].detach().cpu() for part in rows)
