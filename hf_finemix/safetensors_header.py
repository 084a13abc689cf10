"""Headers of safetensors files: read as if a stranger had written them, written as the format's own library does."""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, reason


# The format's own library reads no longer ones.
LONGEST = 100_000_000
# Bits of one scalar, in the order by which that library sorts the tensors of a file, last ones first.
DTYPES = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
_RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES)}
_METADATA = "__metadata__"
# Twice as many as models of a thousand billion parameters have, expert by expert.
_MOST_TENSORS = 1 << 17
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class StoredTensor:
    """
    A tensor in a file.

    Args:
        name (`str`): Its name there.
        dtype (`str`): The format's name of its dtype, such as `"BF16"`.
        shape (`tuple[int, ...]`): Its shape.
        start (`int`): Where its first byte is, counted from the beginning of the file.
        size (`int`): Number of its bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def numel(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class StoredFile:
    """
    A file with what tells whether it is still the same one.

    Args:
        path (`Path`): Where it is.
        tensors (`tuple[StoredTensor, ...]`): Its tensors, in the order of their bytes.
        header (`str`): sha256 of its header.
        size (`int`): Its size in bytes.
        modified (`int`): When it was changed last, in nanoseconds.
        inode (`int`): Its number in the file system.
    """

    path: Path
    tensors: tuple[StoredTensor, ...]
    header: str
    size: int
    modified: int
    inode: int

    def has_changed(self) -> bool:
        """Tells whether the file is gone, was replaced or was written to since its header was read."""
        try:
            now = os.stat(self.path)
        except OSError:
            return True
        return (now.st_size, now.st_mtime_ns, now.st_ino) != (self.size, self.modified, self.inode)

    def identity(self) -> list[Any]:
        """Returns what tells this file from others, in a form that JSON can hold."""
        return [self.path.name, self.size, self.modified, self.inode, self.header]


def read_file(path: Path, what: str) -> StoredFile:
    """
    Reads the header of a safetensors file; nothing of what it says is believed unchecked.

    Args:
        path (`Path`): The file.
        what (`str`): What it belongs to, for messages.

    Raises:
        InputError: If the header is no such header, a tensor's bytes are not as many as its dtype and shape ask for,
            or the tensors do not fill the file without gap or overlap.
    """
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            length = int.from_bytes(file.read(8), "little")
            if state.st_size < 8 or length > min(LONGEST, state.st_size - 8):
                raise ValueError("it is no safetensors file, or was cut off")
            header = file.read(length)
        tensors = _parse(header, 8 + length, state.st_size)
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{what} has a damaged {path.name}: {reason(error)}.") from None
    digest = hashlib.sha256(header).hexdigest()
    return StoredFile(path, tensors, digest, state.st_size, state.st_mtime_ns, state.st_ino)


def order(name: str, dtype: str) -> tuple[int, str]:
    """Returns the key that sorts the tensors of a file: wide ones first, so that all are aligned, then by name."""
    return -_RANKS[dtype], name


def make_header(tensors: Iterable[StoredTensor]) -> bytes:
    """Returns the header, its length in front, of a file whose tensors start where they say, counted from its end."""
    content: dict[str, Any] = {_METADATA: {"format": "pt"}}
    for tensor in tensors:
        offsets = [tensor.start, tensor.start + tensor.size]
        content[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _parse(header: bytes, begin: int, end: int) -> tuple[StoredTensor, ...]:
    content = json.loads(header.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(content, dict):
        raise ValueError("its header is no JSON object")
    if len(content) > _MOST_TENSORS:
        raise ValueError(f"it holds {len(content):,} tensors; no more than {_MOST_TENSORS:,} are read")
    metadata = content.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    found = sorted((_tensor(name, entry, begin) for name, entry in content.items()), key=lambda t: (t.start, t.size))
    position = begin
    for tensor in found:
        if tensor.start != position:
            word = "overlaps another tensor" if tensor.start < position else "comes after a gap"
            raise ValueError(f"{tensor.name!r} {word}")
        position += tensor.size
    if position != end:
        word = "was cut off" if position > end else "holds bytes that belong to no tensor"
        raise ValueError(f"it {word}")
    return tuple(found)


def _tensor(name: str, entry: Any, begin: int) -> StoredTensor:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > 64:
        raise ValueError(f"{name!r} has a shape or offsets that are none")
    size, bits = offsets[1] - offsets[0], math.prod(shape) * DTYPES[dtype]
    if bits % 8 or size != bits // 8:
        raise ValueError(f"{name!r} takes {size} bytes, but its dtype and shape ask for {bits / 8:g}")
    return StoredTensor(name, dtype, tuple(shape), begin + offsets[0], size)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= _LARGEST for value in values)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"it holds {next(name for name, count in counts.items() if count > 1)[:80]!r} twice")
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"its header holds {text}")
