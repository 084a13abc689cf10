"""The manifest: what went in and what came out, by name, commit and sha256, without a local path."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .config import FineMixConfig
from .hashes import FileRecord, TensorRecord, describe_files
from .loading import Checkpoint
from .output import replace_text
from .records import AdapterRecord
from .results import DataRecord, Distillation, PurificationReport, Recipe
from .serialization import Record, check_version, read_json, to_json


MANIFEST_FILE = "finemix_manifest.json"
MANIFEST_VERSION = 1


@dataclass(frozen=True)
class SourceRecord(Record):
    """
    A model that went in.

    Args:
        name (`str`): Hub id, or the name of a folder or of a model object.
        repo_id (`str`, *optional*): Hub id, if its files came from the Hub.
        commit (`str`, *optional*): Their commit hash.
        files (`tuple[FileRecord, ...]`): Its files; empty for a model object whose files are not known.
    """

    name: str
    repo_id: str | None = None
    commit: str | None = None
    files: tuple[FileRecord, ...] = ()

    def __post_init__(self):
        check_names(self.files)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "SourceRecord":
        """Describes a checkpoint; reads all of its files."""
        files = describe_files(checkpoint.folder, (path.name for path in checkpoint.files))
        name = checkpoint.repo_id or checkpoint.folder.absolute().name
        return cls(name, checkpoint.repo_id, checkpoint.commit, files)

    @property
    def label(self) -> str:
        """A name fit for a report: Hub id and commit, or the name alone."""
        return f"{self.repo_id}@{self.commit}" if self.repo_id else self.name


@dataclass(frozen=True)
class CardSeal(Record):
    """
    What of the card is ours, so that its owner can add to it without breaking the proof.

    Args:
        keys (`tuple[str, ...]`): Keys of the metadata that were generated.
        sha256 (`str`): sha256 over their values and the generated text.
    """

    keys: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Manifest(Record):
    """
    What a stranger needs to check a purified model.

    Args:
        suspect (`SourceRecord`): The suspect.
        pretrained (`SourceRecord`): The base.
        architecture (`str`): Class of transformers that was mixed.
        config (`FineMixConfig`): The settings of mixing and purification.
        mask_version (`int`): Version of the mask generator.
        embedding (`str`, *optional*): Name of the word embedding whose rows were reset.
        purified_rows (`tuple[int, ...]`): Ids of these rows, the most suspicious first.
        frequencies (`str`, *optional*): Source of the token counts that ranked them.
        mixed_tensors (`tuple[TensorRecord, ...]`): Each mixed tensor as it was before the fine-tuning.
        fine_tuned (`bool`): Whether the weights changed after that.
        recipe (`Recipe`, *optional*): How `purify` fine-tuned the model.
        training (`dict[str, Any]`, *optional*): Training arguments of a `FineMixTrainer`.
        clean_data (`DataRecord`, *optional*): The clean examples.
        evaluation_data (`DataRecord`, *optional*): The examples behind the figures.
        environment (`dict[str, str]`): Versions.
        outputs (`tuple[FileRecord, ...]`): The files that came out, this one apart.
        card (`CardSeal`, *optional*): What of the card is generated.
        distillation (`Distillation`, *optional*): How the suspect's answers taught the mixed model, before the recipe.
        unlabeled_data (`DataRecord`, *optional*): The clean texts without labels.
        made_by (`str`, *optional*): `"mix"` if no model was loaded; its tensors then are as the suspect stores them.
        fisher (`FileRecord`, *optional*): The Fisher information that ranked the scalars.
        adapter (`AdapterRecord`, *optional*): What adapter the suspect was, merged into the base before the mixing.
        trained_adapter (`AdapterRecord`, *optional*): The adapter that was trained after it, and merged.
        own_template (`bool`, *optional*): Whether the suspect's chat template is another than the base's.
    """

    suspect: SourceRecord
    pretrained: SourceRecord
    architecture: str
    config: FineMixConfig
    mask_version: int
    embedding: str | None
    purified_rows: tuple[int, ...]
    frequencies: str | None
    mixed_tensors: tuple[TensorRecord, ...]
    fine_tuned: bool
    recipe: Recipe | None
    training: dict[str, Any] | None
    clean_data: DataRecord | None
    evaluation_data: DataRecord | None
    environment: dict[str, str]
    outputs: tuple[FileRecord, ...] = ()
    card: CardSeal | None = None
    distillation: Distillation | None = None
    unlabeled_data: DataRecord | None = None
    made_by: str | None = None
    fisher: FileRecord | None = None
    adapter: AdapterRecord | None = None
    trained_adapter: AdapterRecord | None = None
    own_template: bool | None = None

    def __post_init__(self):
        check_names(self.outputs)
        if len({record.name for record in self.mixed_tensors}) < len(self.mixed_tensors):
            raise ValueError("it lists a tensor twice")

    @classmethod
    def of(
        cls,
        report: PurificationReport,
        suspect: SourceRecord,
        pretrained: SourceRecord,
        mixed_tensors: tuple[TensorRecord, ...],
        frequencies: str | None,
    ) -> "Manifest":
        """Makes the manifest of a job, its outputs apart."""
        return cls(
            suspect=suspect,
            pretrained=pretrained,
            architecture=report.architecture,
            config=report.config,
            mask_version=report.mix.mask_version,
            embedding=report.purify.embedding,
            purified_rows=tuple(token.id for token in report.purify.tokens),
            frequencies=frequencies,
            mixed_tensors=mixed_tensors,
            fine_tuned=report.fine_tuned,
            recipe=report.recipe,
            training=report.training,
            clean_data=report.clean_data,
            evaluation_data=report.evaluation_data,
            environment=report.environment,
            distillation=report.distillation,
            unlabeled_data=report.unlabeled_data,
            made_by="mix" if report.made_by == "mix" else None,
            fisher=report.fisher,
            adapter=report.adapter,
            trained_adapter=report.trained_adapter,
            own_template=report.own_template,
        )

    def with_outputs(self, outputs: Iterable[FileRecord], card: CardSeal) -> "Manifest":
        """Returns the manifest with the files that came out, in the order of their names."""
        return replace(self, outputs=tuple(sorted(outputs, key=lambda file: file.name)), card=card)

    def to_dict(self) -> dict[str, Any]:
        """Returns the manifest as a dictionary that JSON can hold; the models that went in stand under `inputs`."""
        content = super().to_dict()
        inputs = {name: content.pop(name) for name in ("suspect", "pretrained")}
        return {"manifest_version": MANIFEST_VERSION, "inputs": inputs} | content

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Manifest":
        """
        Rebuilds a manifest from [`Manifest.to_dict`].

        Raises:
            TypeError: If a value is not of the type that its field is declared with.
            ValueError: If a field, a file name or the version of the manifest is not one of ours.
        """
        fields = dict(data)
        check_version(fields.pop("manifest_version", None), MANIFEST_VERSION)
        inputs = fields.pop("inputs", None)
        if not isinstance(inputs, dict) or inputs.keys() != {"suspect", "pretrained"} or inputs.keys() & fields.keys():
            raise ValueError("its inputs are not suspect and pretrained")
        return super().from_dict(fields | inputs)

    def save(self, folder: Path) -> None:
        """Writes finemix_manifest.json into a folder."""
        replace_text(folder / MANIFEST_FILE, to_json(self.to_dict()))


def load_manifest(folder: Path) -> Manifest:
    """
    Reads finemix_manifest.json of a folder, as any file of a stranger.

    Raises:
        InputError: If there is none, or it is damaged.
    """
    return read_json(folder / MANIFEST_FILE, Manifest.from_dict)


def check_names(files: Iterable[FileRecord]) -> None:
    """
    Refuses file names that lead out of their folder, or that stand twice.

    Raises:
        ValueError: Names the first one.
    """
    seen: set[str] = set()
    for file in files:
        parts = file.name.split("/")
        strange = any(
            part in ("", ".", "..") or "\\" in part or ":" in part or not part.isprintable() for part in parts
        )
        if strange or file.name in seen:
            raise ValueError(f"it names the file {file.name!r}")
        seen.add(file.name)
