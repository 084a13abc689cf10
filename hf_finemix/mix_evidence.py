"""What lies beside mixed weights: configuration, tokenizer, report, card and manifest."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card import DefenseCard
from .config import FineMixConfig
from .evidence import write_evidence
from .generation_settings import plain_settings
from .hashes import FileRecord, TensorRecord, describe_files
from .labels import label_names
from .layout import index_of
from .licenses import stated_license
from .loading import CONFIG_FILE, TOKENIZER_FILES, Checkpoint
from .manifest import Manifest, SourceRecord
from .masks import MASK_VERSION
from .mix_job import MixJob
from .mix_plan import MixPlan
from .model_names import architecture_of
from .output import replace_text
from .plain_config import NOT_TAKEN
from .plan import MixReport
from .publishable import GENERATION_FILE
from .resets import PurifyReport
from .results import PurificationReport, environment
from .serialization import to_json
from .stored import TORCH_NAMES, StoredCheckpoint
from .suspect_files import read_json_object
from .trust import is_trusted


if TYPE_CHECKING:
    from .fisher_file import FisherFile


def write_beside(folder: Path, job: MixJob, report: MixReport, hashes: Mapping[str, str], title: str) -> None:
    """
    Writes all but the weights into an output folder.

    Args:
        folder (`Path`): The folder, with the weights.
        job ([`~hf_finemix.mix_job.MixJob`]): What was done.
        report ([`~hf_finemix.plan.MixReport`]): What came of it.
        hashes (`Mapping[str, str]`): From [`~hf_finemix.stream_hashes.StreamHashes`]; may be empty.
        title (`str`): Name of the model.
    """
    suspect, pretrained = job.suspect.checkpoint, job.pretrained.checkpoint
    plan, files = job.plan, job.files
    names = {file.name for file in files}
    for name, text in index_of(files).items():
        replace_text(folder / name, text)
        names.add(name)
    for name in TOKENIZER_FILES:
        if (suspect.folder / name).is_file():
            _take(suspect.folder / name, folder / name)
            names.add(name)
    if (suspect.folder / GENERATION_FILE).is_file():
        content = read_json_object(suspect.folder / GENERATION_FILE, suspect.label)
        replace_text(folder / GENERATION_FILE, to_json(plain_settings(content)))
        names.add(GENERATION_FILE)
    sources = _source(job.suspect, "suspect", hashes), _source(job.pretrained, "pretrained", hashes)
    record = PurificationReport(
        suspect=suspect.label,
        pretrained=pretrained.label,
        architecture=architecture_of(job.suspect),
        labels=dict(enumerate(label_names(suspect.config))),
        mix=report,
        purify=PurifyReport(applicable=plan.embedding in plan.mixed),
        made_by="mix",
        fine_tuned=False,
        fisher=None if job.fisher is None else _information(job.fisher, hashes),
        licenses={"suspect": stated_license(suspect), "pretrained": stated_license(pretrained)},
        trusted_base=is_trusted(pretrained.repo_id),
        environment=environment(),
    )
    manifest = Manifest.of(record, *sources, _tensors(plan, hashes), None)
    known = [FileRecord(file.name, file.size, hashes.get(f"output:{file.name}")) for file in files]
    replace_text(folder / CONFIG_FILE, to_json(mixed_config(suspect, report.config, pretrained.label)))
    write_evidence(folder, DefenseCard(record, title), manifest, {*names, CONFIG_FILE}, known, page=False)


def mixed_config(suspect: Checkpoint, config: FineMixConfig, pretrained: str) -> dict[str, Any]:
    """Returns the content of config.json: the suspect's, with the record that mixing in memory leaves, too."""
    record = config.to_dict() | {"pretrained": pretrained, "mask_version": MASK_VERSION}
    return suspect.config | {"finemix": record}


def _take(source: Path, target: Path) -> None:
    """Copies a file of the suspect; what names code in a JSON file stays behind."""
    if source.suffix == ".json":
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict) and NOT_TAKEN & content.keys():
            replace_text(target, to_json({key: value for key, value in content.items() if key not in NOT_TAKEN}))
            return
    shutil.copyfile(source, target)


def _source(stored: StoredCheckpoint, label: str, hashes: Mapping[str, str]) -> SourceRecord:
    checkpoint = stored.checkpoint
    weights = {file.path.name: file.size for file in stored.files}
    others = describe_files(checkpoint.folder, [path.name for path in checkpoint.files if path.name not in weights])
    read = [FileRecord(name, size, hashes.get(f"input:{label}/{name}")) for name, size in weights.items()]
    records = tuple(sorted((*others, *read), key=lambda file: file.name))
    name = checkpoint.repo_id or checkpoint.folder.absolute().name
    return SourceRecord(name, checkpoint.repo_id, checkpoint.commit, records)


def _information(fisher: "FisherFile", hashes: Mapping[str, str]) -> FileRecord:
    return FileRecord(fisher.path.name, fisher.stored.size, hashes.get("input:fisher"))


def _tensors(plan: MixPlan, hashes: Mapping[str, str]) -> tuple[TensorRecord, ...]:
    return tuple(
        TensorRecord(name, TORCH_NAMES[stored.dtype], stored.shape, hashes.get(f"tensor:{tensor.name}"))
        for name, tensor in ((record.name, plan.mixed[record.name]) for record in plan.report.mixed)
        for stored in (tensor.suspect[1],)
    )
