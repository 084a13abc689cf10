"""Mixing of a part of a tensor in place, by each of the selections, on the CPU or where it is. Pure functions."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch

from .array_mixing import mix_array_, select_
from .choices import FISHER
from .config import FineMixConfig
from .cuts import DriftCut, find_key, mask_below
from .device_masks import keep_mask_on_device
from .drift import Part, drift_keys_on_device
from .fisher import purity_keys_on_device
from .masks import BLOCK, Workspace


# Scalars that a device mixes at once: enough to fill it, with some 50 MB of work space for a tensor of any size.
_DEVICE_CHUNK = 64 * BLOCK
# Scalars that a cut is looked up for at once on the CPU: torch starts no threads of its own for so few.
_CUT_CHUNK = 1 << 15
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Keeps = Iterator[tuple[int, int, torch.Tensor]]


def mix_part_(
    suspect: torch.Tensor,
    pretrained: torch.Tensor,
    name: str,
    start: int,
    config: FineMixConfig,
    cut: DriftCut | None = None,
    fisher: torch.Tensor | None = None,
    workspace: Workspace | None = None,
) -> int:
    """
    Mixes a part of a parameter in place: `suspect * m + pretrained * (1 - m)`, with `m` as the selection says.

    The operation is that of "Fine-mixing" (Zhang et al., Findings of EMNLP 2022). How a parameter is cut into parts,
    and in which order they are mixed, changes no bit. Kept values stay bit-exact, and so do replaced ones. One thread
    works; several parts may be mixed at a time.

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, shape (n,), contiguous, on any device; changed in place.
        pretrained (`torch.Tensor`): Pretrained values, same shape and dtype, on any device.
        name (`str`): Canonical parameter name, without wrapper prefixes.
        start (`int`): Offset of the part's first scalar in the parameter, in row-major order.
        config ([`FineMixConfig`]): `selection`, and of a random one `keep_ratio` and `seed`.
        cut ([`~hf_finemix.cuts.DriftCut`], *optional*):
            From [`find_mix_cut`] over all mixed parameters; every selection but the random one needs it.
        fisher (`torch.Tensor`, *optional*):
            Diagonal Fisher information of these scalars, shape (n,), which the selection `"fisher"` needs.
        workspace ([`~hf_finemix.masks.Workspace`], *optional*): The calling thread's, for the CPU; changes no bit.

    Returns:
        `int`: How many scalars kept their value.

    Raises:
        ValueError: If the tensors are not flat or differ in shape or dtype, or `cut` or `fisher` is missing.
    """
    check_alike(suspect, pretrained)
    if suspect.dim() != 1 or not suspect.is_contiguous():
        raise ValueError(f"`suspect` is {tuple(suspect.shape)}, but must be a contiguous tensor of one dimension.")
    suspect, pretrained = suspect.detach(), pretrained.detach()
    tensors = (suspect, pretrained) if fisher is None else (suspect, pretrained, fisher)
    if config.selection != "random":
        _check_complete(config, cut, fisher)
        keeps = _cut_keeps(tensors, start, config.selection, cut.key, cut.limits[name])
    elif is_cpu(suspect):
        return mix_array_(*_bits(suspect, pretrained), name, start, config.keep_ratio, config.seed, workspace)
    else:
        keeps = _random_keeps(name, start, suspect, config)
    if is_cpu(suspect):
        chunks = ((first, last, keep.numpy()) for first, last, keep in keeps)
        return select_(*_bits(suspect, pretrained), chunks, workspace or Workspace())
    return _select_on_device_(suspect, pretrained, keeps)


def find_mix_cut(
    config: FineMixConfig, names: list[str], parts: Callable[[str], Iterable[Part]], numel: Mapping[str, int]
) -> DriftCut | None:
    """
    Finds the cut that the configured selection needs, over all mixed parameters together.

    Args:
        config ([`FineMixConfig`]): `selection` and `keep_ratio`.
        names (`list[str]`): Names of the mixed parameters, any order.
        parts (`Callable`):
            Gives the parts of a name in row-major order: each a tuple of suspect and pretrained tensor, and of the
            Fisher information if the selection is `"fisher"`. Called up to three times for each name.
        numel (`Mapping[str, int]`): Number of scalars of each parameter.

    Returns:
        [`~hf_finemix.cuts.DriftCut`], *optional*: `None` for the random selection, which needs none.
    """
    if config.selection == "random":
        return None

    def keys(name: str) -> Iterator[np.ndarray]:
        for part in parts(name):
            yield _keys(config.selection, part).cpu().numpy().view(np.uint32)

    return DriftCut(*find_key(names, keys, numel, config.keep_ratio), config.selection == "largest_drift")


def _keys(selection: str, part: Part) -> torch.Tensor:
    if selection == FISHER:
        return purity_keys_on_device(*part)
    return drift_keys_on_device(*part[:2], selection == "largest_drift")


def is_cpu(tensor: torch.Tensor) -> bool:
    """Tells whether a tensor lies in the memory of the processor."""
    return tensor.device.type == "cpu"


def _random_keeps(name: str, start: int, part: torch.Tensor, config: FineMixConfig) -> Keeps:
    """Gives the masks of a part's scalars on its device, chunk by chunk, with the part's own offsets."""
    ratio, seed = config.keep_ratio, config.seed
    for first in range(0, len(part), _DEVICE_CHUNK):
        last = min(first + _DEVICE_CHUNK, len(part))
        yield first, last, keep_mask_on_device(name, start + first, start + last, ratio, seed, part.device)


def _cut_keeps(tensors: Part, start: int, selection: str, key: int, limit: int) -> Keeps:
    count, size = len(tensors[0]), _CUT_CHUNK if is_cpu(tensors[0]) else _DEVICE_CHUNK
    for first in range(0, count, size):
        last = min(first + size, count)
        keys = _keys(selection, tuple(tensor[first:last] for tensor in tensors))
        yield first, last, mask_below(keys, key, limit - start - first)


def _bits(suspect: torch.Tensor, pretrained: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Returns tensors of the CPU as integers, the suspect's in the same memory."""
    kind = _INTEGERS[suspect.element_size()]
    return suspect.view(kind).numpy(), pretrained.cpu().contiguous().view(kind).numpy()


def _select_on_device_(suspect: torch.Tensor, pretrained: torch.Tensor, keeps: Keeps) -> int:
    # Counted on the device: the host waits for it once, not at each chunk.
    kept = torch.zeros((), dtype=torch.int64, device=suspect.device)
    for first, last, keep in keeps:
        source = pretrained[first:last].to(suspect.device, non_blocking=True)
        torch.where(keep, suspect[first:last], source, out=suspect[first:last])
        kept += torch.count_nonzero(keep)
    return int(kept)


def _check_complete(config: FineMixConfig, cut: DriftCut | None, fisher: torch.Tensor | None) -> None:
    if cut is None:
        raise ValueError(f"`cut` is missing, but the selection {config.selection!r} needs one.")
    if fisher is None and config.selection == FISHER:
        raise ValueError(f"`fisher` is missing, but the selection {config.selection!r} needs it.")


def check_alike(suspect: torch.Tensor, pretrained: torch.Tensor) -> None:
    """
    Refuses two tensors that cannot be mixed with each other.

    Raises:
        ValueError: If shape or dtype differ.
    """
    if suspect.shape != pretrained.shape or suspect.dtype != pretrained.dtype:
        raise ValueError(
            f"`pretrained` is {tuple(pretrained.shape)} {pretrained.dtype}, but must be like `suspect`, "
            f"{tuple(suspect.shape)} {suspect.dtype}."
        )
