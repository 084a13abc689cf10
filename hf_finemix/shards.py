"""Parameters that several processes share, as FSDP2 cuts them: which part is here, and the whole."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from .checks import is_finite
from .embeddings import reset_rows_
from .errors import InputError


def is_sharded(tensor: torch.Tensor) -> bool:
    """Tells whether a tensor is cut up over several processes."""
    return isinstance(tensor, DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor as it is, or gathered; for a sharded one, every process has to call this."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def rows_here(tensor: torch.Tensor) -> tuple[torch.Tensor, int] | None:
    """
    Returns the rows of a tensor that this process holds, and the number of the first one.

    Args:
        tensor (`torch.Tensor`): Sharded or not.

    Returns:
        `tuple[torch.Tensor, int]`, *optional*: The rows, in the memory of the tensor; all of them if it is not
        sharded. `None` if it is cut along another dimension.
    """
    if not is_sharded(tensor):
        return tensor, 0
    if any(not isinstance(place, (Shard, Replicate)) or getattr(place, "dim", 0) != 0 for place in tensor.placements):
        return None
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    local = tensor.to_local()
    return local, int(offset[0]) if local.dim() and local.numel() else 0


def set_whole_(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """
    Writes values into a tensor, each process its part of them.

    Args:
        tensor (`torch.Tensor`): Sharded or not; changed in place.
        values (`torch.Tensor`): All of them, the same on each process.
    """
    if not is_sharded(tensor):
        tensor.copy_(values)
        return
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    here = tuple(slice(first, first + size) for first, size in zip(offset, shape, strict=True))
    local = tensor.to_local()
    if local.numel():
        local.copy_(values[here])


class Shares:
    """
    The parts of a model's parameters that this process mixes: of a parameter that is not sharded, all of it.

    Args:
        parameters (`Mapping[str, torch.Tensor]`): The parameters by name.

    Attributes:
        starts (`dict[str, int]`): Of each part that was asked for, the offset of its first scalar.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor]):
        self.parameters = parameters
        self.starts: dict[str, int] = {}
        self._gathered: dict[str, torch.Tensor] = {}

    def part(self, name: str, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """
        Returns the part of a parameter that is here, and the same part of tensors that are whole.

        Args:
            name (`str`): Name of the parameter.
            others (`torch.Tensor`): Tensors like it, or with fewer rows, the first of the parameter's.
        """
        parameter, count = self.parameters[name].detach(), others[0].shape
        found = rows_here(parameter)
        if found is None:
            self._gathered[name] = whole(parameter)
            found = self._gathered[name], 0
        local, first = found
        if local.shape == count:
            return local, *others
        last = max(first, min(first + len(local), count[0]))
        self.starts[name] = first * row_size(parameter)
        return local[: last - first], *(other[first:last] for other in others)

    def finish(self, kept: dict[str, int]) -> dict[str, int]:
        """
        Puts back what had to be gathered, and adds up the counts of all processes.

        Args:
            kept (`dict[str, int]`): What was counted in the parts that are here.
        """
        for name, values in self._gathered.items():
            set_whole_(self.parameters[name].detach(), values)
        parts = {name: count for name, count in kept.items() if name not in self._gathered}
        return kept | count_together(parts, self.parameters)


def count_together(counts: dict[str, int], tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """
    Adds up what each process counted in its part of some parameters.

    Args:
        counts (`dict[str, int]`): The counts here, by name.
        tensors (`Mapping[str, torch.Tensor]`): The parameters; a count of one that is not sharded stays as it is.
    """
    together = dict(counts)
    for name, count in counts.items():
        tensor = tensors[name]
        if is_sharded(tensor):
            # Copies of a part are counted once, its different parts added up.
            places = [Replicate() if isinstance(place, Replicate) else Partial() for place in tensor.placements]
            local = torch.tensor(count, dtype=torch.int64, device=tensor.device)
            together[name] = int(DTensor.from_local(local, tensor.device_mesh, places, run_check=False).full_tensor())
    return together


def check_finite_together(tensors: Iterable[tuple[str, torch.Tensor]], argument: str) -> None:
    """
    Does what [`~hf_finemix.checks.check_finite`] does, where some tensors are sharded: all processes agree.

    Raises:
        InputError: Names the first tensor that holds NaN or infinity, on every process.
    """
    names, found = [], []
    device = torch.device("cpu")
    for name, tensor in tensors:
        device = tensor.device
        names.append(name)
        found.append(0 if is_finite(tensor.to_local() if is_sharded(tensor) else tensor) else 1)
    broken = torch.tensor(found, dtype=torch.int32, device=device)
    dist.all_reduce(broken, dist.ReduceOp.MAX)
    first = next((name for name, flag in zip(names, broken.tolist(), strict=True) if flag), None)
    if first is not None:
        raise InputError(f"`{argument}` holds NaN or infinity in {first}; its weights are damaged.")


def reset_rows_here_(tensor: torch.Tensor, pretrained: torch.Tensor, rows: np.ndarray) -> None:
    """
    Copies rows of a whole tensor into a sharded one, each process those that it holds.

    Args:
        tensor (`torch.Tensor`): Sharded; changed in place.
        pretrained (`torch.Tensor`): Rows to copy from, on any device.
        rows (`np.ndarray`): Row ids, shape (k,).
    """
    found = rows_here(tensor)
    if found is None:
        values = whole(tensor)
        reset_rows_(values, pretrained, rows)
        set_whole_(tensor, values)
        return
    local, first = found
    mine = rows[(rows >= first) & (rows < first + len(local))]
    index = torch.from_numpy(np.ascontiguousarray(mine, dtype=np.int64))
    if len(index):
        values = pretrained.detach()[index.to(pretrained.device)].to(local)
        local.index_copy_(0, (index - first).to(local.device), values)


def row_size(tensor: torch.Tensor) -> int:
    """Returns how many scalars a row of a tensor has."""
    return math.prod(tensor.shape[1:])
