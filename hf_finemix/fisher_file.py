"""Diagonal Fisher information on disk, so that a selection by it needs no model: written once, read in parts."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .errors import InputError
from .fisher import check_information, check_values
from .output import check_file, replaced_file


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

    Raises:
        InputError: If there is no such file, it is no safetensors file, or a tensor is not float32.
    """

    def __init__(self, path: str | Path):
        self.path = Path(os.path.expanduser(path))
        if not self.path.is_file():
            raise InputError(f"`fisher` {str(path)!r} is no file; name one that `save_fisher` wrote.")
        try:
            # Mapped, not read: what a tensor of it costs in memory, the system can take back at any time.
            self._file = safe_open(self.path, framework="pt")
            parts = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"`fisher` {str(path)!r} is no safetensors file: {error}.") from None
        self._shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
        for name, part in parts.items():
            if part.get_dtype() != "F32":
                raise InputError(f"`fisher` {str(path)!r} holds {name} as {part.get_dtype()}, but must hold float32.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Returns a tensor, float32, in its shape; its memory is the file's own."""
        if name not in self._shapes:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def check_fits(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """
        Refuses a file that does not hold each of these parameters in its shape; reads no value.

        Args:
            shapes (`Mapping[str, tuple[int, ...]]`): Shapes of the mixed parameters.

        Raises:
            InputError: Names the first parameter that is missing or has another shape.
        """
        for name, shape in shapes.items():
            if self._shapes.get(name) != shape:
                found = f"in shape {self._shapes[name]}" if name in self._shapes else "not at all"
                raise InputError(f"`fisher` {str(self.path)!r} has {name} {found}, but the model in {shape}.")

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
        values = self[name].view(-1)[start:stop]
        check_values(name, values)
        return values
