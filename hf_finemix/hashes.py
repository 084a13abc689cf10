"""sha256 of files and of tensors: what a stranger needs to tell whether two of them are the same."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .serialization import Record


if TYPE_CHECKING:
    # What mixes files does not wait for torch.
    import torch


_CHUNK = 1 << 22


@dataclass(frozen=True)
class FileRecord(Record):
    """
    A file that went in or came out.

    Args:
        name (`str`): Its path below the folder it lies in, with forward slashes.
        size (`int`): Size in bytes.
        sha256 (`str`, *optional*): sha256 of its content, in hexadecimal; `None` if nobody was to compute it.
    """

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class TensorRecord(Record):
    """
    A tensor after mixing and before fine-tuning.

    Args:
        name (`str`): Canonical parameter name.
        dtype (`str`): Its dtype without the prefix `torch.`.
        shape (`tuple[int, ...]`): Its shape.
        sha256 (`str`, *optional*): sha256 of its bytes in row-major order, little-endian; `None` if nobody was to
            compute it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str | None


def sha256_file(path: Path) -> str:
    """Returns the sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def describe_files(folder: Path, names: Iterable[str]) -> tuple[FileRecord, ...]:
    """Returns a record of each of a folder's named files, in the order of their names; several are read at a time."""

    def describe(name: str) -> FileRecord:
        path = folder / name
        return FileRecord(name, path.stat().st_size, sha256_file(path))

    # hashlib lets other threads run while it works.
    with ThreadPoolExecutor() as threads:
        return tuple(threads.map(describe, sorted(names)))


def sha256_tensor(tensor: "torch.Tensor") -> str:
    """Returns the sha256 of a tensor's bytes in row-major order, whatever its device and strides, in hexadecimal."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()


def describe_tensors(tensors: Sequence[tuple[str, "torch.Tensor"]]) -> tuple[TensorRecord, ...]:
    """Returns a record of each named tensor, in the given order; several are read at a time."""

    def describe(item: "tuple[str, torch.Tensor]") -> TensorRecord:
        name, tensor = item
        dtype = str(tensor.dtype).removeprefix("torch.")
        return TensorRecord(name, dtype, tuple(tensor.shape), sha256_tensor(tensor))

    with ThreadPoolExecutor() as threads:
        return tuple(threads.map(describe, tensors))
