"""Mixing of two checkpoints from disk to disk: everything that is checked and planned before it begins."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .checks import check_configs
from .config import FineMixConfig
from .errors import InputError
from .layout import OutputFile, lay_out
from .loading import Checkpoint, resolve_checkpoint
from .masks import MASK_VERSION
from .mix_plan import MixPlan, plan_mix
from .pieces import CHUNK, PART
from .stored import StoredCheckpoint


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
    """

    suspect: StoredCheckpoint
    pretrained: StoredCheckpoint
    config: FineMixConfig
    plan: MixPlan
    files: tuple[OutputFile, ...]
    chunk: int
    part: int

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


def prepare_mix(
    suspect: str | Path | Checkpoint,
    pretrained: str | Path | Checkpoint,
    config: FineMixConfig | None = None,
    max_shard_size: int | str | None = None,
) -> MixJob:
    """
    Checks and plans a mixing; takes what [`~hf_finemix.mix_checkpoints`] takes.

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
    check_configs(found.config, base.config, base.source)
    stored = StoredCheckpoint(found, "SUSPECT"), StoredCheckpoint(base, "`pretrained`")
    plan = plan_mix(*stored, config)
    return MixJob(*stored, config, plan, lay_out(plan.tensors, max_shard_size), CHUNK, PART)
