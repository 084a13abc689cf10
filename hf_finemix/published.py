"""A published model on this machine: its files, fetched if need be, compared with those that its manifest lists."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from safetensors import SafetensorError, safe_open

from .card_merge import seal
from .errors import InputError
from .hashes import FileRecord, describe_files
from .loading import CARD_FILE, CONFIG_FILE, TOKENIZER_FILES, download_errors, resolve_checkpoint, split_hub_id
from .manifest import MANIFEST_FILE, Manifest, load_manifest
from .publishable import CHAT_TEMPLATES, GENERATION_FILE, PROCESSOR_FILES, is_suspicious
from .results import REPORT_FILE, load_report
from .signing import SIGNATURE_FILE, check_signature
from .verification import DIFFERENT, NOT_AVAILABLE, SAME, Check


@dataclass(frozen=True)
class PublishedFolder:
    """
    A purified model's files.

    Args:
        folder (`Path`): Where they are.
        label (`str`): Hub id and commit, or the folder's name.
        names (`tuple[str, ...]`): All files that are there, be they listed or not.
    """

    folder: Path
    label: str
    names: tuple[str, ...]

    @cached_property
    def _weights(self) -> tuple[Path, ...]:
        # Those that transformers loads, and no others that lie beside them.
        try:
            return resolve_checkpoint(self.folder, "MODEL").weights
        except InputError:
            return ()

    def tensor(self, name: str) -> torch.Tensor | None:
        """Returns a tensor of the weights by its name, `None` if there is none."""
        for path in self._weights:
            try:
                with safe_open(path, framework="pt") as file:
                    if name in file.keys():  # noqa: SIM118 - a file is no dictionary
                        return file.get_tensor(name)
            except (SafetensorError, OSError):
                return None
        return None


def open_published(source: str | Path) -> PublishedFolder:
    """
    Finds a purified model; of a repository the manifest and the files that it lists are fetched.

    Raises:
        InputError: If there is no such model, the Hub does not give it, or it has no manifest that can be read.
    """
    folder = Path(os.path.expanduser(source))
    if str(source) and os.path.isdir(folder):
        # Nothing is loaded from other folders below it.
        paths = (*folder.iterdir(), *folder.glob(f"{CHAT_TEMPLATES}*"))
        names = tuple(sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file()))
        return PublishedFolder(folder, folder.absolute().name, names)
    repo_id, revision = split_hub_id(source, "MODEL")
    with download_errors("MODEL", repo_id, revision):
        commit = HfApi().resolve_revision(repo_id, revision=revision).resolved
        names = tuple(sorted(HfApi().list_repo_files(repo_id, revision=commit)))
        if MANIFEST_FILE not in names:
            raise InputError(f"{repo_id!r} has no {MANIFEST_FILE}; it was not made with hf-finemix.")
        manifest = load_manifest(Path(hf_hub_download(repo_id, MANIFEST_FILE, revision=commit)).parent)
        wanted = [glob.escape(name) for name in (MANIFEST_FILE, SIGNATURE_FILE, *_listed(manifest))]
        folder = Path(snapshot_download(repo_id, revision=commit, allow_patterns=wanted))
    return PublishedFolder(folder, f"{repo_id}@{commit}", names)


def check_outputs(published: PublishedFolder, manifest: Manifest) -> list[Check]:
    """Compares the files of a model with those that its manifest lists; the card's owner may have added to it."""
    names = [name for name in published.names if is_suspicious(name)]
    checks = compare_files("output", published.folder, names, manifest.outputs)
    checks += _strange_files(published, manifest)
    return [
        Check("output", CARD_FILE, SAME, "its owner's own parts have changed")
        if check.item == CARD_FILE and check.status == DIFFERENT and _is_sealed(published.folder, manifest)
        else check
        for check in checks
    ]


def _strange_files(published: PublishedFolder, manifest: Manifest) -> list[Check]:
    """Returns a difference for each listed file that would be loaded, but is no part of a purified model."""
    try:
        checkpoint = resolve_checkpoint(published.folder, "MODEL")
    except InputError as error:
        listed = {file.name for file in manifest.outputs if (published.folder / file.name).is_file()}
        # A file that is missing or damaged has a line of its own.
        strange = sorted(name for name in listed if name.startswith("adapter_"))
        return [Check("output", name, DIFFERENT, str(error)) for name in strange]
    usual = {path.relative_to(published.folder).as_posix() for path in checkpoint.files} | {GENERATION_FILE}
    usual |= {CONFIG_FILE, *TOKENIZER_FILES, *PROCESSOR_FILES}
    return [
        Check("output", file.name, DIFFERENT, "no purification writes it, but it would be loaded")
        for file in manifest.outputs
        if is_suspicious(file.name) and file.name not in usual and not file.name.startswith(CHAT_TEMPLATES)
    ]


def check_report(published: PublishedFolder, manifest: Manifest) -> list[Check]:
    """Compares what report and manifest both say: a card is made from the one, a verification from the other."""
    missing = {CARD_FILE, REPORT_FILE} - {file.name for file in manifest.outputs}
    checks = [Check("output", name, DIFFERENT, "the manifest does not list it") for name in sorted(missing)]
    try:
        report = load_report(published.folder)
    except InputError as error:
        return [*checks, Check("report", REPORT_FILE, DIFFERENT, str(error))]
    pairs = {
        "suspect": (report.suspect, manifest.suspect.label),
        "pretrained": (report.pretrained, manifest.pretrained.label),
        "architecture": (report.architecture, manifest.architecture),
        "settings": (report.config, manifest.config),
        "mask version": (report.mix.mask_version, manifest.mask_version),
        "reset rows": (tuple(token.id for token in report.purify.tokens), manifest.purified_rows),
        "recipe": ((report.recipe, report.training), (manifest.recipe, manifest.training)),
        "distillation": (report.distillation, manifest.distillation),
        "data": (
            (report.clean_data, report.evaluation_data, report.unlabeled_data),
            (manifest.clean_data, manifest.evaluation_data, manifest.unlabeled_data),
        ),
        "fine-tuning": (report.fine_tuned, manifest.fine_tuned),
        "adapter": (
            (report.adapter, report.trained_adapter, report.own_template),
            (manifest.adapter, manifest.trained_adapter, manifest.own_template),
        ),
        "Fisher information": (report.fisher, manifest.fisher),
        "environment": (report.environment, manifest.environment),
    }
    apart = [name for name, (said, recorded) in pairs.items() if said != recorded]
    note = f"it says something else than the manifest about: {', '.join(apart)}" if apart else ""
    return [*checks, Check("report", REPORT_FILE, DIFFERENT if apart else SAME, note)]


def check_publisher(published: PublishedFolder, manifest: Manifest, public_key: str | Path | None) -> list[Check]:
    """
    Checks the signature, if there is one or a public key says that there should be one.

    Raises:
        InputError: If the extra for signatures is not installed, or the key cannot be used.
    """
    signature = published.folder / SIGNATURE_FILE
    if public_key is None:
        note = "there is one; --public-key checks it"
        return [Check("signature", SIGNATURE_FILE, NOT_AVAILABLE, note)] if signature.is_file() else []
    if not signature.is_file():
        return [Check("signature", SIGNATURE_FILE, DIFFERENT, "missing")]
    files = {name: published.folder / name for name in (MANIFEST_FILE, *_listed(manifest))}
    present = {name: path for name, path in files.items() if path.is_file()}
    wrong = check_signature(present, signature, public_key)
    return [Check("signature", SIGNATURE_FILE, DIFFERENT if wrong else SAME, wrong or "")]


def _listed(manifest: Manifest) -> list[str]:
    return [file.name for file in manifest.outputs]


def compare_files(part: str, folder: Path, names: Sequence[str], records: Sequence[FileRecord]) -> list[Check]:
    """
    Compares a folder's files with records of them.

    Args:
        part (`str`): What they are part of.
        folder (`Path`): The folder.
        names (`Sequence[str]`): Files that count if they are there; one that has no record is a difference.
        records (`Sequence[FileRecord]`): What they should be.
    """
    known = {record.name: record for record in records}
    present = {name for name in known if (folder / name).is_file()}
    found = {record.name: record for record in describe_files(folder, present)}
    checks = []
    for name, record in known.items():
        note = "" if name in found else "missing"
        status = SAME if found.get(name) == record else DIFFERENT
        if name in found and record.sha256 is None and found[name].size == record.size:
            status, note = NOT_AVAILABLE, "its sha256 was not computed when the model was made"
        checks.append(Check(part, name, status, note))
    return checks + [Check(part, name, DIFFERENT, "not in the manifest") for name in names if name not in known]


def _is_sealed(folder: Path, manifest: Manifest) -> bool:
    if manifest.card is None:
        return False
    try:
        return seal((folder / CARD_FILE).read_text(encoding="utf-8"), manifest.card.keys) == manifest.card
    except (OSError, ValueError, TypeError):
        return False
