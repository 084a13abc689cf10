"""Diagonal Fisher information on disk, so that a selection by it needs no model: written once, read in parts."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from .errors import InputError
from .fisher import check_information, check_values
from .output import check_file, replaced_file
from .safetensors_header import StoredFile, StoredTensor, read_file


def save_fisher(fisher: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """
    Writes diagonal Fisher information into a safetensors file, whole or not at all.

    Args:
        fisher (`Mapping[str, torch.Tensor]`):
            By canonical parameter name, in the parameter's shape; from [`~hf_finemix.fisher.fisher_information`].
            Stored in float32.
        path (`str` or `Path`): The file; one that is there is replaced.

    Raises:
        InputError: If a value is negative, infinite or NaN, or the file cannot be written.
    """
    path = check_file(path, "`path`")
    stored = {name: values.detach().to("cpu", torch.float32).contiguous() for name, values in fisher.items()}
    check_information(stored, {name: tuple(values.shape) for name, values in stored.items()})
    with replaced_file(path) as staging:
        save_file(stored, staging, metadata={"format": "pt"})


class FisherFile(Mapping[str, torch.Tensor]):
    """
    The diagonal Fisher information in a file of [`save_fisher`]: a mapping that reads a tensor when it is asked for.

    Args:
        path (`str` or `Path`): The file.

    Attributes:
        stored ([`~hf_finemix.safetensors_header.StoredFile`]): The file with the places of its tensors.

    Raises:
        InputError: If there is no such file, it is no safetensors file, or a tensor is not float32.
    """

    def __init__(self, path: str | Path):
        self.path = Path(os.path.expanduser(path))
        self._what = f"`fisher` {str(path)!r}"
        if not self.path.is_file():
            raise InputError(f"{self._what} is no file; name one that `save_fisher` wrote.")
        self.stored = read_file(self.path, self._what)
        self._tensors = {tensor.name: tensor for tensor in self.stored.tensors}
        for name, tensor in self._tensors.items():
            if tensor.dtype != "F32":
                raise InputError(f"{self._what} holds {name} as {tensor.dtype}, but must hold float32.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Reads a tensor: float32, in its shape."""
        return self._read(name, 0, self._tensors[name].numel).view(self._tensors[name].shape)

    def check_fits(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """
        Refuses a file that does not hold each of these parameters in its shape; reads no value.

        Args:
            shapes (`Mapping[str, tuple[int, ...]]`): Shapes of the mixed parameters.

        Raises:
            InputError: Names the first parameter that is missing or has another shape.
        """
        for name, shape in shapes.items():
            found = self._tensors.get(name)
            if found is None or found.shape != shape:
                where = "not at all" if found is None else f"in shape {found.shape}"
                raise InputError(f"{self._what} has {name} {where}, but the model in {shape}.")

    def place(self, name: str) -> tuple[StoredFile, StoredTensor]:
        """Returns where a parameter's information lies, to read it from an open file."""
        return self.stored, self._tensors[name]

    def part(self, name: str, start: int, stop: int) -> torch.Tensor:
        """
        Reads some scalars of a parameter, in row-major order.

        Args:
            name (`str`): Canonical parameter name.
            start (`int`): Offset of the first scalar.
            stop (`int`): Offset after the last one.

        Returns:
            `torch.Tensor`: float32, shape (`stop` - `start`,).

        Raises:
            InputError: If a value is negative, infinite or NaN.
        """
        values = self._read(name, start, stop)
        check_values(name, values)
        return values

    def _read(self, name: str, start: int, stop: int) -> torch.Tensor:
        # Read, not mapped: a file that is cut off meanwhile would end the process.
        at = self._tensors[name].start + start * 4
        values = np.fromfile(self.path, dtype="<f4", count=stop - start, offset=at)
        if len(values) < stop - start:
            raise InputError(f"{self._what} was cut off while it was read.")
        return torch.from_numpy(values)
