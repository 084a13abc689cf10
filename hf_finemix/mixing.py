"""Mixing of two tensors in place, whole or in parts, by each of the selections. Pure functions: no model, no file."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from .choices import FISHER
from .config import FineMixConfig
from .drift import DriftCut, Part, drift_keys_on_device, find_key, mask_below
from .fisher import purity_keys_on_device
from .masks import BLOCK, iter_keep_mask, keep_mask_on_device


# Scalars that a device mixes at once: enough to fill it, with some 50 MB of work space for a tensor of any size.
_DEVICE_CHUNK = 64 * BLOCK
# Scalars of a whole tensor on the CPU that a thread takes at a time: some milliseconds of work.
_SPAN = 32 * BLOCK
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
        cut ([`~hf_finemix.drift.DriftCut`], *optional*):
            From [`find_mix_cut`] over all mixed parameters; every selection but the random one needs it.
        fisher (`torch.Tensor`, *optional*):
            Diagonal Fisher information of these scalars, shape (n,), which the selection `"fisher"` needs.

    Returns:
        `int`: How many scalars kept their value.

    Raises:
        ValueError: If the tensors are not flat or differ in shape or dtype, or `cut` or `fisher` is missing.
    """
    _check_alike(suspect, pretrained)
    if suspect.dim() != 1 or not suspect.is_contiguous():
        raise ValueError(f"`suspect` is {tuple(suspect.shape)}, but must be a contiguous tensor of one dimension.")
    suspect, pretrained = suspect.detach(), pretrained.detach()
    if config.selection == "random":
        keeps = _random_keeps(name, start, suspect, config)
    else:
        _check_complete(config, cut, fisher)
        tensors = (suspect, pretrained) if fisher is None else (suspect, pretrained, fisher)
        keeps = _cut_keeps(tensors, start, config.selection, cut.key, cut.limits[name])
    if _is_cpu(suspect):
        return _select_on_cpu_(suspect, pretrained.cpu().contiguous(), keeps)
    return _select_on_device_(suspect, pretrained, keeps)


def mix_(
    suspect: torch.Tensor,
    pretrained: torch.Tensor,
    name: str,
    config: FineMixConfig,
    cut: DriftCut | None = None,
    fisher: torch.Tensor | None = None,
) -> int:
    """
    Mixes one tensor in place by the configured selection; on the CPU by as many threads as torch uses.

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, any shape, strides and device; changed in place.
        pretrained (`torch.Tensor`): Pretrained values, same shape and dtype, on any device.
        name, config, cut: As for [`mix_part_`].
        fisher (`torch.Tensor`, *optional*): Diagonal Fisher information, same shape; as for [`mix_part_`].

    Returns:
        `int`: How many scalars kept their value.

    Raises:
        ValueError: If shape or dtype differ, or `cut` or `fisher` is missing.
    """
    _check_alike(suspect, pretrained)
    # Offsets count scalars in row-major order; a tensor stored otherwise is mixed in a row-major copy.
    values, *others = (
        None if tensor is None else tensor.detach().contiguous().view(-1) for tensor in (suspect, pretrained, fisher)
    )

    def mix_span(span: slice) -> int:
        source, information = (None if tensor is None else tensor[span] for tensor in others)
        return mix_part_(values[span], source, name, span.start, config, cut, information)

    size = _SPAN if _is_cpu(suspect) else max(1, len(values))
    spans = [slice(first, first + size) for first in range(0, len(values), size)]
    threads = min(torch.get_num_threads(), len(spans))
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            kept = sum(pool.map(mix_span, spans))
    else:
        kept = sum(map(mix_span, spans))
    if not suspect.is_contiguous():
        suspect.copy_(values.view(suspect.shape))
    return kept


def mix_random_(suspect: torch.Tensor, pretrained: torch.Tensor, name: str, keep_ratio: float, seed: int) -> int:
    """
    Replaces a random share of scalars by their pretrained values; for the rest see [`mix_`].

    Args:
        suspect, pretrained, name: As for [`mix_`].
        keep_ratio (`float`): Share of scalars that stay, in [0, 1].
        seed (`int`): Seed of the mask.

    Raises:
        InputError: If `keep_ratio` or `seed` is out of range.
    """
    return mix_(suspect, pretrained, name, FineMixConfig(keep_ratio, "random", seed))


def mix_by_drift_(suspect: torch.Tensor, pretrained: torch.Tensor, name: str, cut: DriftCut) -> int:
    """
    Replaces the scalars that a global drift cut does not keep by their pretrained values; for the rest see [`mix_`].

    Args:
        suspect, pretrained, name: As for [`mix_`].
        cut ([`~hf_finemix.drift.DriftCut`]): From [`~hf_finemix.drift.find_cut`] over all mixed parameters.
    """
    selection = "largest_drift" if cut.largest else "smallest_drift"
    return mix_(suspect, pretrained, name, FineMixConfig(selection=selection), cut)


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
        [`~hf_finemix.drift.DriftCut`], *optional*: `None` for the random selection, which needs none.
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


def _is_cpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu"


def _random_keeps(name: str, start: int, part: torch.Tensor, config: FineMixConfig) -> Keeps:
    """Gives the masks of a part's scalars, chunk by chunk, with the part's own offsets."""
    ratio, seed = config.keep_ratio, config.seed
    if _is_cpu(part):
        # One block at a time, with both its values and the work space, stays in the processor's cache.
        for first, last, keep in iter_keep_mask(name, start, start + len(part), ratio, seed, blocks_per_chunk=1):
            yield first - start, last - start, torch.from_numpy(keep)
        return
    for first in range(0, len(part), _DEVICE_CHUNK):
        last = min(first + _DEVICE_CHUNK, len(part))
        yield first, last, keep_mask_on_device(name, start + first, start + last, ratio, seed, part.device)


def _cut_keeps(tensors: Part, start: int, selection: str, key: int, limit: int) -> Keeps:
    count, size = len(tensors[0]), _CUT_CHUNK if _is_cpu(tensors[0]) else _DEVICE_CHUNK
    for first in range(0, count, size):
        last = min(first + size, count)
        keys = _keys(selection, tuple(tensor[first:last] for tensor in tensors))
        yield first, last, mask_below(keys, key, limit - start - first)


def _select_on_cpu_(suspect: torch.Tensor, pretrained: torch.Tensor, keeps: Keeps) -> int:
    # On the bits, as integers: where a scalar is not kept, the difference of the two is taken away. These three passes
    # over a chunk in the cache branch nowhere, and are several times as fast as a selection by `torch.where`.
    kind = _INTEGERS[suspect.element_size()]
    values, source = (tensor.view(kind).numpy() for tensor in (suspect, pretrained))
    work, kept = np.empty(min(BLOCK, len(values)), dtype=values.dtype), 0
    for first, last, mask in keeps:
        keep, old, difference = mask.numpy(), source[first:last], work[: last - first]
        kept += int(np.count_nonzero(keep))
        np.bitwise_xor(values[first:last], old, out=difference)
        np.multiply(difference, keep, out=difference)
        np.bitwise_xor(difference, old, out=values[first:last])
    return kept


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


def _check_alike(suspect: torch.Tensor, pretrained: torch.Tensor) -> None:
    if suspect.shape != pretrained.shape or suspect.dtype != pretrained.dtype:
        raise ValueError(
            f"`pretrained` is {tuple(pretrained.shape)} {pretrained.dtype}, but must be like `suspect`, "
            f"{tuple(suspect.shape)} {suspect.dtype}."
        )
