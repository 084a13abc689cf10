"""The work of mixing two checkpoints, cut into pieces that a cache can hold and parts that a journal can list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .layout import OutputFile
from .masks import BLOCK
from .mix_plan import OutputTensor
from .stored import width


# Bytes that are read at once of each input: with the mask they fit into a core's own cache.
CHUNK = 1 << 19
# Bytes of a part: some ten milliseconds of work.
PART = 1 << 25


@dataclass(frozen=True)
class Piece:
    """
    Some scalars of one tensor.

    Args:
        tensor ([`~hf_finemix.mix_plan.OutputTensor`]): The tensor.
        start (`int`): Offset of the first scalar, in row-major order.
        count (`int`): Number of scalars.
        at (`int`): Where their bytes go in the output file.
    """

    tensor: OutputTensor
    start: int
    count: int
    at: int

    @property
    def is_mixed(self) -> bool:
        """Whether the scalars are mixed; otherwise they are copied."""
        return self.start < self.tensor.mixed

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.count * width(self.tensor.suspect[1].dtype)


@dataclass(frozen=True)
class Part:
    """
    Pieces of one output file that follow each other.

    Args:
        number (`int`): Its number; the same for any number of workers and processes.
        file (`int`): Number of the output file.
        pieces (`tuple[Piece, ...]`): The pieces.
    """

    number: int
    file: int
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return sum(piece.size for piece in self.pieces)


def cut(tensor: OutputTensor, chunk: int, at: int = 0) -> Iterator[Piece]:
    """
    Cuts a tensor into pieces, in order.

    Args:
        tensor ([`~hf_finemix.mix_plan.OutputTensor`]): The tensor.
        chunk (`int`): Most bytes that a piece has in either input; one of a single scalar may have more.
        at (`int`, *optional*, defaults to 0): Where its bytes begin in the output file.
    """
    stored = tensor.suspect[1]
    own = width(stored.dtype)
    base = 0 if tensor.pretrained is None else width(tensor.pretrained[1].dtype)
    step = max(1, chunk // max(own, base))
    # Masks are drawn in blocks: a piece that begins within one would draw it once more.
    step = step // BLOCK * BLOCK or step
    for first, last in ((0, tensor.mixed), (tensor.mixed, stored.numel)):
        for start in range(first, last, step):
            yield Piece(tensor, start, min(step, last - start), at + start * own)


def cut_all(files: Sequence[OutputFile], chunk: int, part: int) -> tuple[Part, ...]:
    """
    Cuts all files into parts.

    Args:
        files (`Sequence[OutputFile]`): The files.
        chunk (`int`): As for [`cut`]; no effect on the bytes that come out.
        part (`int`): Bytes after which a part ends; none either.
    """
    parts: list[Part] = []
    for number, file in enumerate(files):
        held: list[Piece] = []
        size = 0
        for tensor, place in file.tensors:
            for piece in cut(tensor, chunk, place.start):
                held.append(piece)
                size += piece.size
                if size >= part:
                    parts.append(Part(len(parts), number, tuple(held)))
                    held, size = [], 0
        if held:
            parts.append(Part(len(parts), number, tuple(held)))
    return tuple(parts)


def share(parts: Sequence[Part], rank: int, ranks: int) -> tuple[Part, ...]:
    """Returns the parts of one of several processes: a range of the bytes, about as long as that of the others."""
    total, position, own = sum(part.size for part in parts), 0, []
    for part in parts:
        middle = 2 * position + part.size
        if rank * 2 * total <= middle * ranks < (rank + 1) * 2 * total:
            own.append(part)
        position += part.size
    return tuple(own)
