"""One piece of work: its bytes read into buffers that are used again and again, and mixed there."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from .array_mixing import mix_array_, seems_finite
from .config import FineMixConfig
from .cuts import DriftCut
from .input_files import InputFiles
from .masks import Workspace
from .mix_plan import MixPlan, OutputTensor
from .pieces import Piece, cut
from .stored import TORCH_NAMES, WIDEST, Place, width


if TYPE_CHECKING:
    # Random mixing of tensors of one dtype, the common case, does not wait for torch.
    import torch

    from .fisher_file import FisherFile


def needs_torch(plan: MixPlan, config: FineMixConfig) -> bool:
    """Tells whether the pieces of a plan are mixed with the help of torch: ranked, or converted to another dtype."""
    return config.selection != "random" or any(converts(tensor) for tensor in plan.mixed.values())


class PieceMixer:
    """
    Reads and mixes pieces, one at a time; each thread has its own.

    Args:
        files ([`~hf_finemix.input_files.InputFiles`]): The inputs, open.
        config ([`FineMixConfig`]): The settings.
        chunk (`int`): Most bytes that a piece has in either input.
        cut ([`~hf_finemix.cuts.DriftCut`], *optional*): What a selection other than the random one needs.
        fisher ([`~hf_finemix.fisher_file.FisherFile`], *optional*): What the selection `"fisher"` needs beside it.
        blocks (`int`, *optional*, defaults to 1): Blocks of a mask that are drawn at once; changes no bit.
    """

    def __init__(
        self,
        files: InputFiles,
        config: FineMixConfig,
        chunk: int,
        cut: DriftCut | None = None,
        fisher: "FisherFile | None" = None,
        blocks: int = 1,
    ):
        self._files, self._config, self._cut, self._fisher = files, config, cut, fisher
        self._workspace = Workspace(blocks)
        # Of a piece of one scalar, however small a chunk is, there is room for the widest.
        self._own, self._base, self._raw = (np.empty(max(chunk, WIDEST), dtype=np.uint8) for _ in range(3))
        # Float32, beside scalars of as little as 16 bits.
        self._information = np.empty(0 if fisher is None else max(chunk, WIDEST) * 2, dtype=np.uint8)

    def __call__(self, piece: Piece) -> tuple[memoryview, int]:
        """
        Returns the bytes of a piece, which the next call overwrites, and how many scalars kept their value.

        Raises:
            InputError: If the input ends before, or holds NaN or infinity where it is mixed, or a value that is no
                Fisher information.
        """
        if not piece.is_mixed:
            return self._read(self._own, piece.tensor.suspect, piece).data, 0
        config, name = self._config, piece.tensor.parameter
        if config.selection == "random":
            suspect, pretrained = self._read_pair(piece)
            kept = mix_array_(suspect, pretrained, name, piece.start, config.keep_ratio, config.seed, self._workspace)
        else:
            from .part_mixing import mix_part_

            suspect, pretrained, *fisher = self.read(piece)
            kept = mix_part_(
                suspect, pretrained, name, piece.start, config, self._cut, *(fisher or [None]), self._workspace
            )
        return self._own[: piece.size].data, kept

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Lets the system read the inputs of these pieces ahead, while others are mixed."""
        for piece in pieces:
            for place in self._places(piece):
                wide = width(place[1].dtype)
                self._files.expect(place[0].path, place[1].start + piece.start * wide, piece.count * wide)

    @property
    def pretrained(self) -> memoryview:
        """The pretrained bytes of the piece that was mixed last, in the suspect's dtype, and more behind them."""
        return self._base.data

    def read(self, piece: Piece) -> "tuple[torch.Tensor, ...]":
        """
        Reads what a mixed piece is made from, each of shape (count,); the next call overwrites it.

        Returns:
            `tuple[torch.Tensor, ...]`: Suspect and pretrained values, in the suspect's dtype, and the Fisher
            information, float32, if the mixer has some.

        Raises:
            InputError: If an input ends before, or holds NaN or infinity, or a value that is no Fisher information.
        """
        import torch

        pair = tuple(as_tensor(bits, piece.tensor.suspect[1].dtype) for bits in self._read_pair(piece))
        if self._fisher is None:
            return pair
        from .fisher import check_values

        place = self._fisher.place(piece.tensor.parameter)
        fisher = torch.from_numpy(self._read(self._information, place, piece)).view(torch.float32)
        check_values(piece.tensor.parameter, fisher)
        return *pair, fisher

    def _read_pair(self, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
        """Returns the bits of suspect and pretrained scalars, both in the suspect's dtype."""
        tensor = piece.tensor
        own, base = tensor.suspect[1].dtype, tensor.pretrained[1].dtype
        kind = f"<u{width(own)}"
        suspect = self._read(self._own, tensor.suspect, piece).view(kind)
        pretrained = self._read(self._raw if converts(tensor) else self._base, tensor.pretrained, piece)
        self._check(suspect, own, "suspect", tensor.parameter)
        if converts(tensor):
            there = self._base[: piece.size]
            as_tensor(there, own).copy_(as_tensor(pretrained, base))
            pretrained = there
        # After the conversion, as of a model that was loaded: a number may be too large for the suspect's dtype.
        self._check(pretrained.view(kind), own, "pretrained", tensor.parameter)
        return suspect, pretrained.view(kind)

    def _places(self, piece: Piece) -> list[Place]:
        tensor = piece.tensor
        if not piece.is_mixed:
            return [tensor.suspect]
        fisher = [] if self._fisher is None else [self._fisher.place(tensor.parameter)]
        return [tensor.suspect, tensor.pretrained, *fisher]

    def _read(self, buffer: np.ndarray, place: Place, piece: Piece) -> np.ndarray:
        file, stored = place
        wide = width(stored.dtype)
        there = buffer[: piece.count * wide]
        self._files.read(file.path, stored.start + piece.start * wide, there.data)
        return there

    def _check(self, bits: np.ndarray, dtype: str, argument: str, name: str) -> None:
        if not seems_finite(bits, dtype):
            from .checks import check_finite

            # The sum may have overflowed by itself: this looks at each scalar, and says which tensor it is.
            check_finite([(name, as_tensor(bits, dtype))], argument)


def converts(tensor: OutputTensor) -> bool:
    """Tells whether the pretrained values of a mixed tensor are stored in another dtype than the suspect's."""
    return tensor.suspect[1].dtype != tensor.pretrained[1].dtype


def as_tensor(bits: np.ndarray, dtype: str) -> "torch.Tensor":
    """
    Returns scalars as a tensor in the same memory.

    Args:
        bits (`np.ndarray`): The scalars as integers or bytes, shape (n,).
        dtype (`str`): What they are, as safetensors names it.
    """
    import torch

    return torch.from_numpy(bits.view(np.uint8)).view(getattr(torch, TORCH_NAMES[dtype]))


def cut_of(
    plan: MixPlan, files: InputFiles, config: FineMixConfig, chunk: int, fisher: "FisherFile | None" = None
) -> DriftCut | None:
    """
    Finds the cut of a selection over two checkpoints, in the memory of a piece.

    Args:
        plan ([`~hf_finemix.mix_plan.MixPlan`]): What is mixed.
        files ([`~hf_finemix.input_files.InputFiles`]): The inputs, open; they are read up to three times.
        config ([`FineMixConfig`]): The settings.
        chunk (`int`): Most bytes that are read at once of each input.
        fisher ([`~hf_finemix.fisher_file.FisherFile`], *optional*): Open among the files; as for [`PieceMixer`].

    Raises:
        InputError: If an input ends before, or holds NaN or infinity, or a value that is no Fisher information.
    """
    from .part_mixing import find_mix_cut

    mixed, mixer = plan.mixed, PieceMixer(files, config, chunk, fisher=fisher)

    def parts(name: str) -> "Iterator[tuple[torch.Tensor, ...]]":
        return (mixer.read(piece) for piece in cut(mixed[name], chunk) if piece.is_mixed)

    return find_mix_cut(config, list(mixed), parts, {name: tensor.mixed for name, tensor in mixed.items()})
