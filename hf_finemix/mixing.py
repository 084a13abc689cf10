"""Mixing of two tensors, in place, for each of the selections. Pure functions: no model, no file."""

from collections.abc import Iterator

import torch

from .config import FineMixConfig, check_keep_ratio
from .drift import DriftCut, drift_keep_mask
from .masks import BLOCK, iter_keep_mask, keep_mask_on_device


# Scalars that a device mixes at once: large enough to fill it, small enough for its integer work space.
_DEVICE_CHUNK = 256 * BLOCK


def mix_random_(suspect: torch.Tensor, pretrained: torch.Tensor, name: str, keep_ratio: float, seed: int) -> int:
    """
    Replaces a random share of scalars by their pretrained values: `suspect * m + pretrained * (1 - m)`.

    The operation is that of "Fine-mixing" (Zhang et al., Findings of EMNLP 2022); the mask `m` is drawn by
    [`~hf_finemix.masks`]. Kept values stay bit-exact, and so do replaced ones.

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, any shape and device; changed in place.
        pretrained (`torch.Tensor`): Pretrained values, same shape and dtype, on any device.
        name (`str`): Canonical parameter name, part of what the mask depends on.
        keep_ratio (`float`): Share of scalars that stay, in [0, 1].
        seed (`int`): Seed of the mask.

    Returns:
        `int`: How many scalars kept their value.

    Raises:
        ValueError: If shape or dtype differ.
    """
    check_keep_ratio(keep_ratio)
    _check_alike(suspect, pretrained)
    # Offsets count scalars in row-major order; a tensor stored otherwise is mixed in a row-major copy.
    values = suspect.contiguous().view(-1)
    source = pretrained.contiguous().view(-1)
    kept = 0
    for first, last, keep in _keep_masks(name, values.numel(), keep_ratio, seed, suspect.device):
        kept += int(torch.count_nonzero(keep))
        part = source[first:last].to(suspect.device)
        torch.where(keep, values[first:last], part, out=values[first:last])
    if not suspect.is_contiguous():
        suspect.copy_(values.view(suspect.shape))
    return kept


def mix_by_drift_(suspect: torch.Tensor, pretrained: torch.Tensor, name: str, cut: DriftCut) -> int:
    """
    Replaces the scalars that a global drift cut does not keep by their pretrained values.

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, any shape and device; changed in place.
        pretrained (`torch.Tensor`): Pretrained values, same shape and dtype, on any device.
        name (`str`): Canonical parameter name, as in the cut's quotas.
        cut (`DriftCut`): From [`~hf_finemix.drift.find_cut`] over all mixed parameters.

    Returns:
        `int`: How many scalars kept their value.

    Raises:
        ValueError: If shape or dtype differ.
    """
    _check_alike(suspect, pretrained)
    source = pretrained.to(suspect.device)
    keep = drift_keep_mask(suspect, source, cut, name).to(suspect.device)
    suspect.copy_(torch.where(keep, suspect, source))
    return int(torch.count_nonzero(keep))


def mix_(
    suspect: torch.Tensor, pretrained: torch.Tensor, name: str, config: FineMixConfig, cut: DriftCut | None = None
) -> int:
    """
    Mixes one tensor in place by the configured selection.

    Raises:
        ValueError: If shape or dtype differ, or a selection by drift comes without its `cut`.
    """
    if config.selection == "random":
        return mix_random_(suspect, pretrained, name, config.keep_ratio, config.seed)
    if cut is None:
        raise ValueError(f"`cut` is missing, but the selection {config.selection!r} needs one.")
    return mix_by_drift_(suspect, pretrained, name, cut)


def _keep_masks(
    name: str, numel: int, keep_ratio: float, seed: int, device: torch.device
) -> Iterator[tuple[int, int, torch.Tensor]]:
    if device.type == "cpu":
        for first, last, mask in iter_keep_mask(name, 0, numel, keep_ratio, seed):
            yield first, last, torch.from_numpy(mask)
        return
    for first in range(0, numel, _DEVICE_CHUNK):
        last = min(first + _DEVICE_CHUNK, numel)
        yield first, last, keep_mask_on_device(name, first, last, keep_ratio, seed, device)


def _check_alike(suspect: torch.Tensor, pretrained: torch.Tensor) -> None:
    if suspect.shape != pretrained.shape or suspect.dtype != pretrained.dtype:
        raise ValueError(
            f"`pretrained` is {tuple(pretrained.shape)} {pretrained.dtype}, but must be like `suspect`, "
            f"{tuple(suspect.shape)} {suspect.dtype}."
        )
