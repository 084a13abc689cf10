"""Mixing of two checkpoints from disk to disk: everything that is checked and planned before it begins."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checks import check_configs
from .choices import FISHER
from .config import FineMixConfig
from .errors import InputError
from .layout import OutputFile, lay_out
from .loading import Checkpoint, resolve_checkpoint
from .masks import MASK_VERSION
from .mix_plan import MixPlan, plan_mix
from .pieces import CHUNK, PART
from .plan_cosine import plan_cosine
from .relatedness import check_related
from .safetensors_header import StoredFile
from .stored import StoredCheckpoint
from .stored_vocabulary import check_tokens


if TYPE_CHECKING:
    from .fisher_file import FisherFile


@dataclass(frozen=True)
class MixJob:
    """
    A mixing that was checked and planned, but not begun.

    Args:
        suspect, pretrained ([`~hf_finemix.stored.StoredCheckpoint`]): The inputs.
        config ([`FineMixConfig`]): The settings.
        plan ([`~hf_finemix.mix_plan.MixPlan`]): What is done to each tensor.
        files (`tuple[OutputFile, ...]`): The files to write.
        chunk, part (`int`): As for [`~hf_finemix.pieces.cut_all`].
        fisher ([`~hf_finemix.fisher_file.FisherFile`], *optional*): What the selection `"fisher"` ranks with.
    """

    suspect: StoredCheckpoint
    pretrained: StoredCheckpoint
    config: FineMixConfig
    plan: MixPlan
    files: tuple[OutputFile, ...]
    chunk: int
    part: int
    fisher: "FisherFile | None" = None

    @property
    def input_files(self) -> tuple[StoredFile, ...]:
        """All files that are read while mixing."""
        fisher = () if self.fisher is None else (self.fisher.stored,)
        return (*self.suspect.files, *self.pretrained.files, *fisher)

    @property
    def size(self) -> int:
        """Bytes of the weights to write."""
        return sum(file.size for file in self.files)

    def identity(self) -> dict[str, Any]:
        """Returns all that the bytes of the output depend on, in a form that JSON can hold."""
        return {
            "config": self.config.to_dict(),
            "mask_version": MASK_VERSION,
            "suspect": self.suspect.identity(),
            "pretrained": self.pretrained.identity(),
            "fisher": self.fisher and self.fisher.stored.identity(),
            "files": [[file.name, file.size, file.digest] for file in self.files],
            "cut": [self.chunk, self.part],
        }

    def check_unchanged(self) -> None:
        """
        Checks that the inputs are still the files that were planned with.

        Raises:
            InputError: Names the first one that is not.
        """
        for stored in (self.suspect, self.pretrained):
            name = stored.changed()
            if name is not None:
                raise InputError(f"{stored.what} changed while it was read ({name}); start again with files at rest.")
        if self.fisher is not None and self.fisher.stored.has_changed():
            raise InputError("The file of Fisher information changed while it was read; start again with one at rest.")


def prepare_mix(
    suspect: str | Path | Checkpoint,
    pretrained: str | Path | Checkpoint,
    config: FineMixConfig | None = None,
    max_shard_size: int | str | None = None,
    fisher: str | Path | None = None,
    check_base: bool = False,
    strict: bool = True,
) -> MixJob:
    """
    Checks and plans a mixing; takes what [`~hf_finemix.mix_checkpoints`] takes.

    Without `strict`, the plan may hold parameters that are refused.

    Raises:
        InputError: If the inputs cannot be mixed.
    """
    config = replace(config or FineMixConfig(), purify_top_k=0)
    found = suspect if isinstance(suspect, Checkpoint) else resolve_checkpoint(suspect, "SUSPECT")
    base = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "`pretrained`")
    if found.folder.resolve() == base.folder.resolve():
        raise InputError(
            f"SUSPECT and --pretrained are both {found.source!r}; give the weights that it was fine-tuned from."
        )
    if found.config.get("finemix"):
        raise InputError(
            f"SUSPECT {found.source!r} was mixed before (its config.json has a `finemix` record); start from the "
            "original suspect."
        )
    if config.align_vocabulary:
        raise InputError("`align_vocabulary` needs loaded models; use `fine_mix_` or `purify`.")
    check_ranking(config, fisher)
    information = None
    if fisher is not None:
        # What ranks needs torch, and what mixes at random does not wait for it.
        from .fisher_file import FisherFile

        information = FisherFile(fisher)
    check_configs(found.config, base.config, base.source)
    stored = StoredCheckpoint(found, "SUSPECT"), StoredCheckpoint(base, "`pretrained`")
    plan = plan_mix(*stored, config, strict)
    if check_base:
        check_related(plan_cosine(plan), base.source)
    check_tokens(found, base)
    if information is not None:
        information.check_fits({name: tensor.suspect[1].shape for name, tensor in plan.mixed.items()})
    return MixJob(*stored, config, plan, lay_out(plan.tensors, max_shard_size), CHUNK, PART, information)


def check_ranking(config: FineMixConfig, fisher: str | Path | None) -> None:
    """
    Checks that there is a file of Fisher information where the selection ranks by it, and only there.

    Raises:
        InputError: If not.
    """
    if (config.selection == FISHER) != (fisher is not None):
        what = "`fisher` is missing" if fisher is None else f"`fisher` is of no use with {config.selection!r}"
        raise InputError(f"{what}; the selection 'fisher', and no other, ranks by a file that `save_fisher` wrote.")
