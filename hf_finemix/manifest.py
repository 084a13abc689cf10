"""The manifest: model files and data that went in, files that came out, by name and sha256, without a local path."""

import hashlib
from pathlib import Path
from typing import Any

from .loading import Checkpoint
from .results import PurificationReport, write_json


MANIFEST_FILE = "finemix_manifest.json"
MANIFEST_VERSION = 1

_CHUNK = 1 << 22


def sha256_file(path: Path) -> str:
    """Returns the sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns a checkpoint's Hub id, commit, and the name, size and sha256 of each of its files."""
    return {
        "name": checkpoint.repo_id or checkpoint.folder.absolute().name,
        "repo_id": checkpoint.repo_id,
        "commit": checkpoint.commit,
        "files": [describe_file(path) for path in checkpoint.files],
    }


def describe_file(path: Path, folder: Path | None = None) -> dict[str, Any]:
    """Returns a file's name (its path below `folder`, if given), size in bytes and sha256."""
    name = path.name if folder is None else path.relative_to(folder).as_posix()
    return {"name": name, "size": path.stat().st_size, "sha256": sha256_file(path)}


def write_manifest(
    folder: Path, report: PurificationReport, suspect: dict[str, Any], pretrained: dict[str, Any]
) -> dict[str, Any]:
    """
    Writes finemix_manifest.json over all files that lie in an output folder.

    Args:
        folder (`Path`): The output folder, complete but for the manifest.
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        suspect (`dict[str, Any]`): From [`describe_checkpoint`], made before the job began.
        pretrained (`dict[str, Any]`): The same for the base.

    Returns:
        `dict[str, Any]`: The manifest.
    """
    content = report.to_dict()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST_FILE]
    manifest = {
        "manifest_version": MANIFEST_VERSION,
        "inputs": {"suspect": suspect, "pretrained": pretrained},
        "clean_data": content["clean_data"],
        "evaluation_data": content["evaluation_data"],
        "config": report.config.to_dict(),
        "mask_version": report.mix.mask_version,
        "purified_rows": [token.id for token in report.purify.tokens],
        "recipe": content["recipe"],
        "environment": report.environment,
        "outputs": [describe_file(path, folder) for path in files],
    }
    write_json(folder / MANIFEST_FILE, manifest)
    return manifest
