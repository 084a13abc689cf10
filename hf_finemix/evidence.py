"""Report, card and manifest of a folder: written after everything else, over exactly the files that belong to it."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .card import DefenseCard, read_card, update_card
from .hashes import FileRecord, describe_files
from .html_report.parts import HTML_FILE
from .loading import CARD_FILE, CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, index_shards
from .manifest import MANIFEST_FILE, Manifest, load_manifest
from .output import replace_text, replaced_file
from .publishable import GENERATION_FILE
from .results import REPORT_FILE
from .serialization import to_json


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .differences import Differences


def saved_files(folder: Path) -> set[str]:
    """Returns the names of the files that `save_pretrained` of a model leaves in a folder."""
    names = {WEIGHTS_FILE} if (folder / WEIGHTS_FILE).is_file() else {INDEX_FILE, *index_shards(folder, "the model")}
    if (folder / GENERATION_FILE).is_file():
        names.add(GENERATION_FILE)
    return {CONFIG_FILE, *names}


def saved_tokenizer(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> set[str]:
    """Saves a tokenizer into a folder and returns the names of the files that it wrote, and of no other."""
    paths = (Path(path) for path in tokenizer.save_pretrained(folder) or ())
    return {path.relative_to(folder).as_posix() for path in paths if path.is_file()}


def write_evidence(
    folder: Path,
    card: DefenseCard,
    manifest: Manifest,
    files: Iterable[str],
    known: Iterable[FileRecord] = (),
    *,
    page: bool = True,
    differences: "Differences | None" = None,
) -> Manifest:
    """
    Writes report, card, page and manifest into a folder that holds the model.

    A card that lies there already keeps its owner's own parts.

    Args:
        folder (`Path`): The folder.
        card ([`~hf_finemix.card.DefenseCard`]): The card, with the report.
        manifest ([`~hf_finemix.manifest.Manifest`]): The manifest but for its outputs.
        files (`Iterable[str]`): The files of model and tokenizer.
        known (`Iterable[FileRecord]`, *optional*): Those of them that need not be read for their records.
        page (`bool`, *optional*, defaults to `True`): Whether to write the report as a page, too.
        differences ([`~hf_finemix.differences.Differences`], *optional*): Examples that changed, for the page.

    Returns:
        [`~hf_finemix.manifest.Manifest`]: The manifest as it was written.

    Raises:
        InputError: If the card that lies there cannot be read.
    """
    text, seal = update_card(card, read_card(folder))
    replace_text(folder / REPORT_FILE, to_json(card.report.to_dict()))
    replace_text(folder / CARD_FILE, text)
    figures = [] if card.report.frontier is None else [card.report.frontier.file]
    records = {record.name: record for record in known}
    outputs = describe_files(folder, {*files, *figures, REPORT_FILE, CARD_FILE} - records.keys())
    manifest = manifest.with_outputs([*outputs, *records.values()], seal)
    if page:
        from .html_report.page import write_html

        path = write_html(folder, card.title, card.report, manifest, differences)
        manifest = _with_output(manifest, path.name, path.read_bytes())
    manifest.save(folder)
    return manifest


def rewrite_page(folder: Path, text: str, manifest: Manifest) -> None:
    """Replaces the page of a folder, or adds one, and brings its entry in the manifest up to date."""
    changed = _with_output(manifest, HTML_FILE, text.encode())
    paths = [folder / name for name in (HTML_FILE, MANIFEST_FILE)]
    with _both_or_none(paths), replaced_file(folder / MANIFEST_FILE) as staging:
        staging.write_text(to_json(changed.to_dict()), encoding="utf-8")
        replace_text(folder / HTML_FILE, text)


def _with_output(manifest: Manifest, name: str, content: bytes) -> Manifest:
    record = FileRecord(name, len(content), hashlib.sha256(content).hexdigest())
    return manifest.with_outputs([*(file for file in manifest.outputs if file.name != name), record], manifest.card)


def rewrite_card(folder: Path, card: DefenseCard) -> Path:
    """
    Renders the card of a folder again, and brings its entry in the manifest up to date.

    Returns:
        `Path`: The card.

    Raises:
        InputError: If the folder holds no manifest, or the card that lies there cannot be read.
    """
    manifest = load_manifest(folder)
    text, seal = update_card(card, read_card(folder))
    content = text.encode()
    record = FileRecord(CARD_FILE, len(content), hashlib.sha256(content).hexdigest())
    others = [file for file in manifest.outputs if file.name != CARD_FILE]
    paths = [folder / name for name in (CARD_FILE, MANIFEST_FILE)]
    # The manifest is on the disk before the card is replaced, so that a full one changes neither.
    with _both_or_none(paths), replaced_file(folder / MANIFEST_FILE) as staging:
        staging.write_text(to_json(manifest.with_outputs([*others, record], seal).to_dict()), encoding="utf-8")
        replace_text(folder / CARD_FILE, text)
    return folder / CARD_FILE


@contextmanager
def _both_or_none(paths: Iterable[Path]) -> Iterator[None]:
    """Gives files back their content if the block fails."""
    before = {path: path.read_bytes() if path.is_file() else None for path in paths}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content:
                with replaced_file(path) as staging:
                    staging.write_bytes(content)
        raise
