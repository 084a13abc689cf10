"""Two checkpoints side by side, read part by part from their files: no model is made, and no tensor loaded whole."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from .checks import check_finite
from .errors import InputError
from .loading import Checkpoint
from .tensor_names import (
    WordEmbedding,
    find_embedding,
    is_buffer,
    may_be_absent,
    modern_name,
    pair_names,
    vocabulary_size,
)


# Scalars of one part: 2 MB in float64, which a cache can hold.
PART = 1 << 18
# Pages of a mapped file count as memory for as long as it is open.
_BYTES_OPEN = 1 << 26
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class _Entry:
    path: Path
    name: str
    dtype: torch.dtype


class TensorFiles:
    """
    The floating-point tensors of a checkpoint, read from their files in parts.

    Args:
        checkpoint ([`~hf_finemix.loading.Checkpoint`]): The files.
        argument (`str`): Name of the argument that it came from, for messages.

    Attributes:
        shapes (`dict[str, tuple[int, ...]]`): Shape of each tensor by its present-day name; buffers are left out.

    Raises:
        InputError: If a tensor is in a format of less than 16 bits, or in two files.
    """

    def __init__(self, checkpoint: Checkpoint, argument: str):
        self.source = checkpoint.source
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._entries: dict[str, _Entry] = {}
        self._open: dict[Path, Any] = {}
        self._bytes = 0
        for path in checkpoint.weights:
            with safe_open(path, framework="pt") as file:
                for stored in file.keys():  # noqa: SIM118
                    part = file.get_slice(stored)
                    self._add(path, stored, tuple(part.get_shape()), part.get_dtype(), argument)

    def _add(self, path: Path, stored: str, shape: tuple[int, ...], kind: str, argument: str) -> None:
        name = modern_name(stored)
        if name in self._entries:
            raise InputError(f"{argument} {self.source!r} holds {name} twice; give a checkpoint that holds it once.")
        if kind.startswith(("F8_", "F6_", "F4")):
            raise InputError(f"{argument} {self.source!r} is quantised: {name} is {kind}; give it unquantised.")
        if kind in _FLOATS and not is_buffer(name, shape):
            self.shapes[name] = shape
            self._entries[name] = _Entry(path, stored, _FLOATS[kind])

    def dtype(self, name: str) -> torch.dtype:
        """Returns the dtype that a tensor is stored in."""
        return self._entries[name].dtype

    def read(self, name: str, rows: slice) -> torch.Tensor:
        """
        Reads some rows of a tensor.

        Args:
            name (`str`): Its name.
            rows (`slice`): Which rows; a scalar has one.

        Returns:
            `torch.Tensor`: Shape (rows, columns), in the dtype that it is stored in. A vector has one column, and of
            a tensor of more than two dimensions all but the first are one.
        """
        entry = self._entries[name]
        if self._bytes > _BYTES_OPEN:
            self.close()
        if entry.path not in self._open:
            self._open[entry.path] = safe_open(entry.path, framework="pt")
        file = self._open[entry.path]
        part = file.get_slice(entry.name)[rows] if self.shapes[name] else file.get_tensor(entry.name)
        self._bytes += part.nbytes
        return part.reshape(len(part) if part.dim() else 1, -1) if part.numel() else part.reshape(0, 1)

    def close(self) -> None:
        """Lets go of the files; the next reading opens them again."""
        self._open.clear()
        self._bytes = 0


class TensorPairs:
    """
    The tensors of a suspect with their pretrained counterparts.

    Args:
        suspect, pretrained ([`~hf_finemix.loading.Checkpoint`]): The two checkpoints.

    Attributes:
        shapes (`dict[str, tuple[int, ...]]`): Shapes of the suspect's tensors by name, tied ones once.
        counterparts (`dict[str, str]`): By the suspect's name, the base's name of each pair.
        absent (`dict[str, str]`): The suspect's tensors without a counterpart, with the reason.
        embedding (`str`): Name of the word embedding.
        prefix (`str`): What the names of the base model's tensors begin with in the suspect; may be empty.

    Raises:
        InputError: If no word embedding is found, or the base does not fit.
    """

    def __init__(self, suspect: Checkpoint, pretrained: Checkpoint):
        self._suspect = TensorFiles(suspect, "SUSPECT")
        self._pretrained = TensorFiles(pretrained, "`pretrained`")
        self._dtype = _stated_dtype(suspect.config)
        found = (
            _embedding(self._suspect, suspect, "SUSPECT"),
            _embedding(self._pretrained, pretrained, "`pretrained`"),
        )
        self.embedding, self.prefix = found[0].name, found[0].prefix
        tied = set(self._tied())
        self.shapes = {name: shape for name, shape in self._suspect.shapes.items() if name not in tied}
        self.counterparts, self.absent = pair_names(self.shapes, self._pretrained.shapes, found, suspect.source)
        lacking = [name for name in self.absent if not may_be_absent(name, self.prefix)]
        if lacking:
            raise InputError(
                f"`pretrained` {pretrained.source!r} does not fit: {lacking[0]} is {self.absent[lacking[0]]}; "
                "give the weights that the suspect was fine-tuned from."
            )

    def parts(self, name: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """
        Reads a pair part by part, in the order of its rows; of a vocabulary those that both have.

        Args:
            name (`str`): Name of the pair.

        Returns:
            `Iterator[tuple[torch.Tensor, torch.Tensor]]`: Rows of the suspect and of the pretrained tensor, shape
            (rows, columns), both in the dtype that the suspect would be loaded in.

        Raises:
            InputError: If either holds NaN or infinity.
        """
        other = self.counterparts[name]
        dtype = self._dtype or self._suspect.dtype(name)
        own, base = self.shapes[name], self._pretrained.shapes[other]
        for rows in _slices((min(own[0], base[0]), *own[1:]) if own else own):
            suspect, pretrained = self._suspect.read(name, rows), self._pretrained.read(other, rows)
            check_finite([(name, suspect)], "suspect")
            check_finite([(name, pretrained)], "pretrained")
            yield suspect.to(dtype), pretrained.to(dtype)

    def suspect_parts(self, name: str) -> Iterator[torch.Tensor]:
        """
        Reads a tensor of the suspect, with or without a counterpart, as [`TensorPairs.parts`] does.

        Raises:
            InputError: If it holds NaN or infinity.
        """
        for rows in _slices(self.shapes[name]):
            part = self._suspect.read(name, rows)
            check_finite([(name, part)], "suspect")
            yield part.to(self._dtype or part.dtype)

    def close(self) -> None:
        """Lets go of the files."""
        self._suspect.close()
        self._pretrained.close()

    def _tied(self) -> Iterator[str]:
        """Gives the names under which the suspect holds its word embedding once more, such as an output layer."""
        embedding, shapes = self.embedding, self._suspect.shapes
        for name, shape in shapes.items():
            if name != embedding and shape == shapes[embedding]:
                read = self._suspect.read
                if all(torch.equal(read(name, rows), read(embedding, rows)) for rows in _slices(shape)):
                    yield name


def _embedding(files: TensorFiles, checkpoint: Checkpoint, argument: str) -> WordEmbedding:
    found = find_embedding(files.shapes, vocabulary_size(checkpoint.config))
    if found is None:
        raise InputError(
            f"{argument} {checkpoint.source!r} has no word embedding of a usual name; E-PUR does not apply to it."
        )
    return found


def _slices(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = shape[0] if shape else 1
    step = max(1, PART // max(1, math.prod(shape[1:])))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))


def _stated_dtype(config: Mapping[str, Any]) -> torch.dtype | None:
    """Returns the dtype that a model is loaded in if its config.json states one; otherwise it is that of the file."""
    stated = config.get("dtype", config.get("torch_dtype"))
    return next((dtype for dtype in _FLOATS.values() if str(dtype) == f"torch.{stated}"), None)
