"""A checkpoint as it lies on the disk: all its tensors by name, without reading one of them."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from .errors import InputError
from .loading import INDEX_FILE, WEIGHTS_FILE, Checkpoint
from .safetensors_header import DTYPES, StoredFile, StoredTensor, read_file
from .tensor_names import is_buffer, modern_name


# The floating-point numbers that can be mixed, with the names that torch has for them.
TORCH_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# Bytes of the widest of them.
WIDEST = 8
_COMPARED = 1 << 20
_SMALL = ("F8_", "F6_", "F4")

Place = tuple[StoredFile, StoredTensor]


class StoredCheckpoint:
    """
    The tensors of a checkpoint, with their places in its files.

    Args:
        checkpoint ([`~hf_finemix.loading.Checkpoint`]): The checkpoint.
        argument (`str`): Name of the argument that it came from, for messages.

    Attributes:
        what (`str`): Argument and source, for messages.
        files (`tuple[StoredFile, ...]`): Its files of weights.
        tensors (`dict[str, Place]`): Each tensor, with its file, by its present-day name.
        shapes (`dict[str, tuple[int, ...]]`): Shapes of the floating-point tensors that are no buffers.
        file_names (`dict[str, str]`): Where names are not those of the files, the names there.

    Raises:
        InputError: If a file is damaged, a tensor is in a format of less than 16 bits or in two places, or the index
            does not fit.
    """

    def __init__(self, checkpoint: Checkpoint, argument: str):
        self.checkpoint = checkpoint
        self.what = f"{argument} {checkpoint.source!r}"
        self.files = tuple(read_file(path, self.what) for path in checkpoint.weights)
        self.tensors: dict[str, Place] = {}
        self.file_names: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in self.files:
            for tensor in file.tensors:
                self._add(file, tensor)
        if checkpoint.folder / WEIGHTS_FILE not in checkpoint.weights:
            self._check_index()

    def _add(self, file: StoredFile, tensor: StoredTensor) -> None:
        name = modern_name(tensor.name)
        if name in self.tensors:
            raise InputError(f"{self.what} holds {name} twice; give a checkpoint that holds it once.")
        if tensor.dtype.startswith(_SMALL):
            raise InputError(f"{self.what} is quantised: {name} is {tensor.dtype}; give it unquantised.")
        self.tensors[name] = file, tensor
        if tensor.dtype in TORCH_NAMES and not is_buffer(name, tensor.shape):
            self.shapes[name] = tensor.shape

    def _check_index(self) -> None:
        # The loading code has read it before, and knows that it is one and where its names lead.
        index = json.loads((self.checkpoint.folder / INDEX_FILE).read_text(encoding="utf-8"))
        held = {(tensor.name, file.path.name) for file in self.files for tensor in file.tensors}
        for name, file in index["weight_map"].items():
            if (name, file) not in held:
                raise InputError(f"{self.what} has an index that says {name} is in {file}, where it is not.")

    def renamed(self, names: Mapping[str, str]) -> "StoredCheckpoint":
        """Returns the same checkpoint with other names, given by its own ones."""
        other = copy.copy(self)
        other.file_names = {new: name for name, new in names.items()}
        other.tensors = {names[name]: place for name, place in self.tensors.items()}
        other.shapes = {names[name]: shape for name, shape in self.shapes.items()}
        return other

    def holds(self, name: str, place: Place) -> bool:
        """Tells whether a tensor is one of another checkpoint: dtype, shape and every byte."""
        own = self.tensors[name]
        alike = (own[1].dtype, own[1].shape) == (place[1].dtype, place[1].shape)
        return alike and same_bytes(own, place)

    def changed(self) -> str | None:
        """Returns the name of a file that is no longer the one whose header was read, `None` if all are."""
        return next((file.path.name for file in self.files if file.has_changed()), None)

    def identity(self) -> list[list[Any]]:
        """Returns what tells these files from others, in a form that JSON can hold."""
        return [file.identity() for file in self.files]


def width(dtype: str) -> int:
    """Returns the bytes of a scalar of at least eight bits."""
    return DTYPES[dtype] // 8


def same_bytes(first: Place, second: Place) -> bool:
    """Tells whether two tensors hold the same bytes; reads no farther than to the first difference."""
    if first[1].size != second[1].size:
        return False
    with first[0].path.open("rb") as one, second[0].path.open("rb") as other:
        one.seek(first[1].start)
        other.seek(second[1].start)
        left = first[1].size
        while left:
            count = min(left, _COMPARED)
            if one.read(count) != other.read(count):
                return False
            left -= count
    return True
