"""Where each tensor of a checkpoint goes: files, headers and index, planned before a byte is written."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import InputError
from .loading import INDEX_FILE, WEIGHTS_FILE
from .mix_plan import OutputTensor
from .safetensors_header import StoredTensor, make_header, order
from .serialization import to_json


_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class OutputFile:
    """
    A file of the output.

    Args:
        name (`str`): Its name.
        header (`bytes`): Its header, with the length in front.
        tensors (`tuple[tuple[OutputTensor, StoredTensor], ...]`): Its tensors in order, each with its place in it.
        size (`int`): Its size in bytes.
    """

    name: str
    header: bytes
    tensors: tuple[tuple[OutputTensor, StoredTensor], ...]
    size: int

    @property
    def digest(self) -> str:
        """sha256 of the header."""
        return hashlib.sha256(self.header).hexdigest()


def lay_out(tensors: Sequence[OutputTensor], max_shard_size: int | str | None = None) -> tuple[OutputFile, ...]:
    """
    Plans the files of a checkpoint.

    Args:
        tensors (`Sequence[OutputTensor]`): All tensors, in the order of the suspect's files.
        max_shard_size (`int` or `str`, *optional*): Most bytes of tensors in a file, such as `"5GB"`; a tensor that is
            larger has a file of its own. By default the files are cut as the suspect's are.

    Raises:
        InputError: If `max_shard_size` is no size.
    """
    groups: list[list[OutputTensor]] = []
    limit = None if max_shard_size is None else parse_size(max_shard_size)
    held, previous = 0, None
    for tensor in tensors:
        file, stored = tensor.suspect
        starts_file = file is not previous if limit is None else bool(held) and held + stored.size > limit
        if not groups or starts_file:
            groups.append([])
            held = 0
        groups[-1].append(tensor)
        held, previous = held + stored.size, file
    names = [f"model-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    return tuple(
        _file(name, group) for name, group in zip(names if len(names) > 1 else [WEIGHTS_FILE], groups, strict=True)
    )


def index_of(files: Sequence[OutputFile]) -> dict[str, str]:
    """Returns the index of several files by its name, as the text of a file; nothing for one file."""
    if len(files) < 2:
        return {}
    weight_map = {tensor.name: file.name for file in files for tensor, _ in file.tensors}
    stored = [place for file in files for _, place in file.tensors]
    metadata = {
        "total_parameters": sum(place.numel for place in stored),
        "total_size": sum(place.size for place in stored),
    }
    return {INDEX_FILE: to_json({"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))})}


def parse_size(size: int | str) -> int:
    """
    Returns a size in bytes; `"5GB"` are 5 * 10**9, `"5GiB"` 5 * 2**30.

    Raises:
        InputError: If it is none.
    """
    match = re.fullmatch(r"(\d{1,15}) ?([a-zA-Z]*)", str(size).strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if isinstance(size, bool) or unit is None or int(match[1]) == 0:
        raise InputError(f"`max_shard_size` is {size!r}, but must be a number of bytes, such as 5GB or 500MB.")
    return int(match[1]) * unit


def _file(name: str, tensors: Sequence[OutputTensor]) -> OutputFile:
    ordered = sorted(tensors, key=lambda tensor: order(tensor.name, tensor.suspect[1].dtype))
    places, position = [], 0
    for tensor in ordered:
        stored = tensor.suspect[1]
        places.append(StoredTensor(tensor.name, stored.dtype, stored.shape, position, stored.size))
        position += stored.size
    header = make_header(places)
    moved = (StoredTensor(p.name, p.dtype, p.shape, p.start + len(header), p.size) for p in places)
    return OutputFile(name, header, tuple(zip(ordered, moved, strict=True)), len(header) + position)
