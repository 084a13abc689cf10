"""Mixing of whole tensors in place, by as many threads as torch uses. Pure functions: no model, no file."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch

from .config import FineMixConfig
from .cuts import DriftCut
from .drift import Part
from .masks import BLOCK, THREADED_BLOCKS, Workspace
from .part_mixing import check_alike, is_cpu, mix_part_


# Scalars that a thread takes at a time: some milliseconds of work.
_SPAN = 32 * BLOCK


def mix_each_(
    tensors: Iterable[tuple[str, Part]],
    config: FineMixConfig,
    cut: DriftCut | None = None,
    threads: int | None = None,
    starts: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """
    Mixes tensors in place by the configured selection; on the CPU by several threads, which share the work.

    Args:
        tensors (`Iterable[tuple[str, tuple[torch.Tensor, ...]]]`):
            Canonical name of each parameter with its fine-tuned values (any shape, strides and device; changed in
            place), pretrained values (same shape and dtype, on any device) and, for the selection `"fisher"`, diagonal
            Fisher information (same shape). Gone through once.
        config, cut: As for [`~hf_finemix.part_mixing.mix_part_`].
        threads (`int`, *optional*): Number of threads; by default as many as torch uses. No effect on the bits.
        starts (`Mapping[str, int]`, *optional*):
            Of tensors that are a part of their parameter, the offset of the first scalar in it, in row-major order.

    Returns:
        `dict[str, int]`: How many scalars of each parameter kept their value.

    Raises:
        ValueError: If shape or dtype of a pair differ, or `cut` or the information is missing.
    """
    threads = threads or torch.get_num_threads()
    kept: Counter[str] = Counter()
    copies: list[tuple[torch.Tensor, torch.Tensor]] = []

    def cut_up() -> Iterator[tuple[str, int, Part]]:
        for name, (suspect, pretrained, *fisher) in tensors:
            check_alike(suspect, pretrained)
            kept[name], start = 0, (starts or {}).get(name, 0)
            # Offsets count scalars in row-major order; a tensor stored otherwise is mixed in a row-major copy.
            flat = tuple(tensor.detach().contiguous().view(-1) for tensor in (suspect, pretrained, *fisher))
            if not suspect.is_contiguous():
                copies.append((suspect, flat[0]))
            if not is_cpu(suspect):
                # A device has threads of its own, and room for the work space of one tensor at a time.
                kept[name] = mix_part_(flat[0], flat[1], name, start, config, cut, *(flat[2:] or [None]))
                continue
            size = _SPAN if threads > 1 else max(1, suspect.numel())
            for first in range(0, suspect.numel(), size):
                yield name, start + first, tuple(tensor[first : first + size] for tensor in flat)

    left, lock = cut_up(), threading.Lock()

    def work() -> None:
        workspace = Workspace(THREADED_BLOCKS if threads > 1 else 1)
        while True:
            with lock:
                name, first, (suspect, pretrained, *fisher) = next(left, (None, 0, (None, None)))
            if name is None:
                return
            count = mix_part_(suspect, pretrained, name, first, config, cut, *(fisher or [None]), workspace)
            with lock:
                kept[name] += count

    if threads == 1:
        work()
    else:
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(work) for _ in range(threads)]
            try:
                for future in futures:
                    future.result()
            finally:
                # After an error, too, the others end with what they are at.
                with lock:
                    left = iter(())
    for suspect, values in copies:
        suspect.copy_(values.view(suspect.shape))
    return dict(kept)


def mix_(
    suspect: torch.Tensor,
    pretrained: torch.Tensor,
    name: str,
    config: FineMixConfig,
    cut: DriftCut | None = None,
    fisher: torch.Tensor | None = None,
) -> int:
    """
    Mixes one tensor in place by the configured selection; for the rest see [`mix_each_`].

    Args:
        suspect (`torch.Tensor`): Fine-tuned values, any shape, strides and device; changed in place.
        pretrained (`torch.Tensor`): Pretrained values, same shape and dtype, on any device.
        name (`str`): Canonical parameter name.
        config, cut: As for [`~hf_finemix.part_mixing.mix_part_`].
        fisher (`torch.Tensor`, *optional*): Diagonal Fisher information, same shape.

    Returns:
        `int`: How many scalars kept their value.
    """
    tensors = (suspect, pretrained) if fisher is None else (suspect, pretrained, fisher)
    # A thread takes longer to begin than to mix a small tensor.
    threads = min(torch.get_num_threads(), max(1, suspect.numel() // _SPAN))
    return mix_each_([(name, tensors)], config, cut, threads)[name]


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
        cut ([`~hf_finemix.cuts.DriftCut`]): From [`~hf_finemix.drift.find_cut`] over all mixed parameters.
    """
    selection = "largest_drift" if cut.largest else "smallest_drift"
    return mix_(suspect, pretrained, name, FineMixConfig(selection=selection), cut)
