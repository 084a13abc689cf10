"""Where the report of a published model is: an output folder, or a repository of the Hub."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..differences import Differences
from ..errors import InputError
from ..loading import CARD_FILE, download_errors, split_hub_id
from ..manifest import MANIFEST_FILE, Manifest, load_manifest
from ..results import REPORT_FILE, PurificationReport, load_report
from .page import read_differences


# Bytes; more than the readers of both files take.
_LARGEST = 1 << 26


@dataclass(frozen=True)
class Evidence:
    """
    What a report is rendered from.

    Args:
        title (`str`): Name of the model.
        folder (`Path`, *optional*): The output folder; `None` of a repository.
        report ([`~hf_finemix.results.PurificationReport`]): The record of the job.
        manifest ([`~hf_finemix.manifest.Manifest`]): What went in and what came out.
        differences ([`~hf_finemix.differences.Differences`], *optional*): Examples that changed, if they are there.
    """

    title: str
    folder: Path | None
    report: PurificationReport
    manifest: Manifest
    differences: Differences | None


def find_evidence(source: str | Path) -> Evidence:
    """
    Reads report and manifest of a purified model; of a repository no more than these two are fetched.

    Args:
        source (`str` or `Path`): An output folder, or a Hub id or `id@revision`.

    Raises:
        InputError: If there is no such model, the Hub does not give it, or a file is missing or damaged.
    """
    folder = Path(os.path.expanduser(source))
    if str(source) and os.path.isdir(folder):
        title = _card_title(folder) or folder.absolute().name
        return Evidence(title, folder, load_report(folder), load_manifest(folder), read_differences(folder))
    from huggingface_hub import HfApi, hf_hub_download

    repo_id, revision = split_hub_id(source, "DIR")
    with download_errors("DIR", repo_id, revision):
        commit = HfApi().resolve_revision(repo_id, revision=revision).resolved
        wanted = (REPORT_FILE, MANIFEST_FILE)
        found = HfApi().model_info(repo_id, revision=commit, files_metadata=True).siblings or ()
        sizes = {file.rfilename: file.size or 0 for file in found}
        for name in wanted:
            if sizes.get(name, 0) > _LARGEST:
                raise InputError(f"{name} of {repo_id!r} is larger than any report; it was not made with hf-finemix.")
        report, manifest = (Path(hf_hub_download(repo_id, name, revision=commit)).parent for name in wanted)
    return Evidence(repo_id, None, load_report(report), load_manifest(manifest), None)


def _card_title(folder: Path) -> str | None:
    from ..card import read_card
    from ..card_merge import card_title

    path = folder / CARD_FILE
    existing = read_card(folder) if path.is_file() and not path.is_symlink() else None
    return None if existing is None else card_title(existing)
