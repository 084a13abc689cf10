"""One piece of work: its bytes read into buffers that are used again and again, and mixed there."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from .checks import check_finite
from .config import FineMixConfig
from .drift import DriftCut, Part
from .errors import InputError
from .fisher import check_values
from .fisher_file import FisherFile
from .mix_plan import MixPlan
from .mixing import find_mix_cut, mix_part_
from .pieces import Piece, cut
from .stored import Place, width


_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# Sixteen bits without their sign, moved up by one: from here on they stand for infinity or no number.
_INFINITE = {torch.bfloat16: 0x7F80 << 1, torch.float16: 0x7C00 << 1}
_WIDEST = 8


class InputFiles:
    """Open files by path, to read at any place by several threads; closed all at once."""

    def __init__(self):
        self._open: dict[Path, int] = {}
        self._stack = ExitStack()

    def open(self, path: Path) -> None:
        """Opens a file; not for several threads."""
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, self._open[path])

    def close(self) -> None:
        """Closes all files."""
        self._stack.close()
        self._open.clear()

    def expect(self, path: Path, start: int, size: int) -> None:
        """Lets the system read some bytes ahead, unless they are in memory, as far as their end tells."""
        try:
            os.preadv(self._open[path], [bytearray(1)], start + size - 1, os.RWF_NOWAIT)
        except BlockingIOError:
            os.posix_fadvise(self._open[path], start, size, os.POSIX_FADV_WILLNEED)
        except OSError:
            # Not every file system can say, and it is no more than a matter of time.
            return

    def read(self, path: Path, start: int, buffer: memoryview) -> None:
        """
        Fills a buffer with the bytes at some place of a file.

        Raises:
            InputError: If the file ends before.
        """
        done = 0
        while done < len(buffer):
            count = os.preadv(self._open[path], [buffer[done:]], start + done)
            if count == 0:
                raise InputError(f"{path.name} was cut off while it was read; start again with inputs that stay.")
            done += count


class PieceMixer:
    """
    Reads and mixes pieces, one at a time; each thread has its own.

    Args:
        files ([`InputFiles`]): The inputs, open.
        config ([`FineMixConfig`]): The settings.
        chunk (`int`): Most bytes that a piece has in either input.
        cut ([`~hf_finemix.drift.DriftCut`], *optional*): What a selection other than the random one needs.
        fisher ([`~hf_finemix.fisher_file.FisherFile`], *optional*): What the selection `"fisher"` needs beside it.
    """

    def __init__(
        self,
        files: InputFiles,
        config: FineMixConfig,
        chunk: int,
        cut: DriftCut | None = None,
        fisher: FisherFile | None = None,
    ):
        self._files, self._config, self._cut, self._fisher = files, config, cut, fisher
        # Of a piece of one scalar, however small a chunk is, there is room for the widest.
        self._own, self._base, self._raw = (torch.empty(max(chunk, _WIDEST), dtype=torch.uint8) for _ in range(3))
        self._scratch = np.empty(max(chunk, _WIDEST) // 2, dtype=np.uint16)
        self._information = torch.empty(0 if fisher is None else len(self._scratch) * 4, dtype=torch.uint8)

    def __call__(self, piece: Piece) -> tuple[memoryview, int]:
        """
        Returns the bytes of a piece, which the next call overwrites, and how many scalars kept their value.

        Raises:
            InputError: If the input ends before, or holds NaN or infinity where it is mixed, or a value that is no
                Fisher information.
        """
        if not piece.is_mixed:
            return self._read(self._own, piece.tensor.suspect, piece), 0
        suspect, pretrained, *fisher = self.read(piece)
        kept = mix_part_(suspect, pretrained, piece.tensor.parameter, piece.start, self._config, self._cut, *fisher)
        return self._own[: piece.size].numpy().data, kept

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Lets the system read the inputs of these pieces ahead, while others are mixed."""
        for piece in pieces:
            for place in (piece.tensor.suspect, piece.tensor.pretrained if piece.is_mixed else None):
                if place is not None:
                    wide = width(place[1].dtype)
                    self._files.expect(place[0].path, place[1].start + piece.start * wide, piece.count * wide)

    def read(self, piece: Piece) -> Part:
        """
        Reads what a mixed piece is made from, each of shape (count,); the next call overwrites it.

        Returns:
            `tuple[torch.Tensor, ...]`: Suspect and pretrained values, in the suspect's dtype, and the Fisher
            information, float32, if the mixer has some.

        Raises:
            InputError: If an input ends before, or holds NaN or infinity, or a value that is no Fisher information.
        """
        tensor = piece.tensor
        own, base = (_DTYPES[place[1].dtype] for place in (tensor.suspect, tensor.pretrained))
        self._read(self._own, tensor.suspect, piece)
        suspect = self._own[: piece.size].view(own)
        raw = self._base if own == base else self._raw
        pretrained = torch.from_numpy(np.asarray(self._read(raw, tensor.pretrained, piece))).view(base)
        self._check(suspect, "suspect", tensor.parameter)
        if own != base:
            pretrained = self._base[: piece.size].view(own).copy_(pretrained)
        # After the conversion, as of a model that was loaded: a number may be too large for the suspect's dtype.
        self._check(pretrained, "pretrained", tensor.parameter)
        if self._fisher is None:
            return suspect, pretrained
        place = self._fisher.place(tensor.parameter)
        fisher = torch.from_numpy(np.asarray(self._read(self._information, place, piece))).view(torch.float32)
        check_values(tensor.parameter, fisher)
        return suspect, pretrained, fisher

    def _read(self, buffer: torch.Tensor, place: Place, piece: Piece) -> memoryview:
        file, stored = place
        wide = width(stored.dtype)
        view = buffer[: piece.count * wide].numpy().data
        self._files.read(file.path, stored.start + piece.start * wide, view)
        return view

    def _check(self, values: torch.Tensor, argument: str, name: str) -> None:
        if values.dtype in _INFINITE:
            scratch = self._scratch[: len(values)]
            np.left_shift(values.view(torch.int16).numpy().view(np.uint16), 1, out=scratch)
            is_clean = not len(values) or int(scratch.max()) < _INFINITE[values.dtype]
        else:
            is_clean = math.isfinite(float(values.sum()))
        if not is_clean:
            # The sum may have overflowed by itself: this looks at each scalar, and says which tensor it is.
            check_finite([(name, values)], argument)


def cut_of(
    plan: MixPlan, files: InputFiles, config: FineMixConfig, chunk: int, fisher: FisherFile | None = None
) -> DriftCut | None:
    """
    Finds the cut of a selection over two checkpoints, in the memory of a piece.

    Args:
        plan ([`~hf_finemix.mix_plan.MixPlan`]): What is mixed.
        files ([`InputFiles`]): The inputs, open; they are read up to three times.
        config ([`FineMixConfig`]): The settings.
        chunk (`int`): Most bytes that are read at once of each input.
        fisher ([`~hf_finemix.fisher_file.FisherFile`], *optional*): Open among the files; as for [`PieceMixer`].

    Raises:
        InputError: If an input ends before, or holds NaN or infinity, or a value that is no Fisher information.
    """
    mixed, mixer = plan.mixed, PieceMixer(files, config, chunk, fisher=fisher)

    def parts(name: str) -> Iterator[Part]:
        return (mixer.read(piece) for piece in cut(mixed[name], chunk) if piece.is_mixed)

    return find_mix_cut(config, list(mixed), parts, {name: tensor.mixed for name, tensor in mixed.items()})
