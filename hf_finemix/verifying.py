"""`verify()`: a purified model against its manifest, and the manifest against what can be computed again."""

from pathlib import Path

from datasets import Dataset

from .adapter_suspects import Suspect, merged_suspect
from .adapters import resolve_adapter
from .again import Again
from .errors import InputError
from .hashes import sha256_file
from .loading import Checkpoint, resolve_checkpoint
from .manifest import Manifest, SourceRecord, load_manifest
from .masks import MASK_VERSION
from .model_loading import load_tokenizer
from .published import check_outputs, check_publisher, check_report, compare_files, open_published
from .retrain import retrain
from .stored_again import StoredAgain
from .verification import DIFFERENT, NOT_AVAILABLE, SAME, Check, Verification


_UNKNOWN_FILES = "its files were not known when the model was made"


def verify(
    source: str | Path,
    *,
    suspect: str | Path | None = None,
    pretrained: str | Path | None = None,
    retrained: bool = False,
    clean_dataset: str | Path | Dataset | None = None,
    evaluation_dataset: str | Path | Dataset | None = None,
    unlabeled_dataset: str | Path | Dataset | None = None,
    public_key: str | Path | None = None,
    fisher: str | Path | None = None,
    progress: bool = False,
) -> Verification:
    """
    Checks a purified model: its files, what went in, each mixed tensor, and if asked for the fine-tuning.

    Nothing that the publisher wrote is taken on trust but the fine-tuning step: the mixing is done again from the
    suspect and the pretrained weights, which come from the Hub at the recorded commits or from folders of yours.

    Args:
        source (`str` or `Path`): Output folder, Hub id or `id@revision`.
        suspect (`str` or `Path`, *optional*): Where the suspect is, if it is not on the Hub.
        pretrained (`str` or `Path`, *optional*): Where the pretrained weights are, if they are not on the Hub.
        retrained (`bool`, *optional*, defaults to `False`): Repeat the fine-tuning, too.
        clean_dataset (`str`, `Path` or `datasets.Dataset`, *optional*): The clean data, if they are not on the Hub.
        evaluation_dataset (`str`, `Path` or `datasets.Dataset`, *optional*): The same for the evaluation data.
        unlabeled_dataset (`str`, `Path` or `datasets.Dataset`, *optional*): The same for the texts without labels.
        public_key (`str` or `Path`, *optional*): The publisher's key, to check the signature.
        fisher (`str` or `Path`, *optional*): The file of Fisher information, if a mixing from disk to disk had one.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.

    Returns:
        [`~hf_finemix.verification.Verification`]: All lines.

    Raises:
        InputError: If there is no such model, or it has no manifest that can be read, or one of other masks; if an
            input or data that were given cannot be used; if the extra for signatures is not installed.
    """
    published = open_published(source)
    manifest = load_manifest(published.folder)
    if manifest.mask_version != MASK_VERSION:
        raise InputError(
            f"The model was mixed with masks of version {manifest.mask_version}, but this release draws version "
            f"{MASK_VERSION}; verify it with a release that draws them."
        )
    checks = [
        *check_outputs(published, manifest),
        *check_report(published, manifest),
        *check_publisher(published, manifest, public_key),
    ]
    found: dict[str, Checkpoint] = {}
    adapter: Suspect | None = None
    for name, record, given in (
        ("pretrained", manifest.pretrained, pretrained),
        ("suspect", manifest.suspect, suspect),
    ):
        if name == "suspect" and manifest.adapter is not None:
            adapter, reason = _find_adapter(manifest, given, found.get("pretrained"))
            checkpoint = adapter and adapter.origin
        else:
            checkpoint, reason = _find(record, given, f"--{name}")
        if checkpoint is None:
            checks.append(Check(name, record.label, NOT_AVAILABLE, reason))
            continue
        found[name] = checkpoint
        if not record.files:
            checks.append(Check(name, record.label, NOT_AVAILABLE, _UNKNOWN_FILES))
            continue
        checks += compare_files(name, checkpoint.folder, [path.name for path in checkpoint.files], record.files)
    if adapter is not None:
        # It was merged, and what was mixed is the whole.
        found["suspect"] = adapter.model
    checks += _fisher_checks(manifest, fisher)
    moved = None
    if len(found) < 2 or (manifest.fisher is not None and fisher is None):
        reason = "an input is not available"
    else:
        reason = ""
        try:
            again = _again(manifest, found["suspect"], found["pretrained"], fisher)
            tensor_checks, moved = again.tensor_checks(published)
            checks += [*tensor_checks, *again.row_checks(), *again.config_checks(published)]
            checks += _template_checks(manifest, found["suspect"], found["pretrained"])
            if not manifest.fine_tuned:
                untouched = moved == 0 and again.others_are_the_suspects(published)
                checks.append(Check("fine-tuning", "none was done", SAME if untouched else DIFFERENT))
        except InputError as error:
            checks.append(Check("mixed tensor", "all", DIFFERENT, f"they cannot be computed again: {error}"))
    if reason:
        checks += [Check("mixed tensor", record.name, NOT_AVAILABLE, reason) for record in manifest.mixed_tensors]
    if retrained:
        if len(found) < 2:
            checks.append(Check("fine-tuning", "weights", NOT_AVAILABLE, reason))
        else:
            checks += retrain(
                published, manifest, found, clean_dataset, evaluation_dataset, unlabeled_dataset, progress
            )
    return Verification(published.label, tuple(checks), _settings(manifest), manifest.fine_tuned, moved)


def _template_checks(manifest: Manifest, suspect: Checkpoint, pretrained: Checkpoint) -> list[Check]:
    if manifest.own_template is None:
        return []
    if not (suspect.has_tokenizer and pretrained.has_tokenizer):
        return [Check("configuration", "chat template", DIFFERENT, "an input has no tokenizer to compare it by")]
    pair = (load_tokenizer(suspect, "--suspect"), load_tokenizer(pretrained, "--pretrained"))
    is_own = pair[0].chat_template != pair[1].chat_template
    is_right = is_own == manifest.own_template
    note = "" if is_right else f"the suspect's is {'not ' if is_own else ''}the base's, which the manifest denies"
    return [Check("configuration", "chat template", SAME if is_right else DIFFERENT, note)]


def _find_adapter(
    manifest: Manifest, given: str | Path | None, pretrained: Checkpoint | None
) -> tuple[Suspect | None, str]:
    record = manifest.suspect
    if given is None and (record.repo_id is None or record.commit is None or not record.files):
        return None, "it was a local folder; say where it is with --suspect"
    if pretrained is None:
        return None, "it is an adapter, and what it was merged into is not available"
    try:
        adapter = resolve_adapter(given or f"{record.repo_id}@{record.commit}", "--suspect")
        return merged_suspect(adapter, pretrained, manifest.adapter.labels or None), ""
    except InputError as error:
        if given is not None:
            raise
        return None, str(error)


def _again(
    manifest: Manifest, suspect: Checkpoint, pretrained: Checkpoint, fisher: str | Path | None
) -> StoredAgain | Again:
    """Mixes again without loading a model where that gives the same."""
    if manifest.made_by == "mix":
        return StoredAgain(manifest, suspect, pretrained, fisher)
    try:
        again = StoredAgain(manifest, suspect, pretrained)
        if again.is_what_was_loaded():
            return again
    except InputError:
        # What cannot be mixed from its files may well be once it is loaded, or there is more to say of it.
        pass
    return Again(manifest, suspect, pretrained)


def _fisher_checks(manifest: Manifest, fisher: str | Path | None) -> list[Check]:
    record = manifest.fisher
    if record is None:
        if fisher is not None:
            raise InputError("--fisher is of no use: the manifest names no Fisher information; leave it out.")
        return []
    if fisher is None:
        return [Check("fisher", record.name, NOT_AVAILABLE, "it was a local file; say where it is with --fisher")]
    path = Path(fisher).expanduser()
    if not path.is_file():
        raise InputError(f"--fisher {str(fisher)!r} is no file; name the one that the model was mixed with.")
    if record.sha256 is None:
        return [Check("fisher", record.name, NOT_AVAILABLE, "its sha256 was not computed when the model was made")]
    return [Check("fisher", record.name, SAME if sha256_file(path) == record.sha256 else DIFFERENT)]


def _settings(manifest: Manifest) -> str:
    config, rows = manifest.config, len(manifest.purified_rows)
    kept = f" but {', '.join(config.exclude)}" if config.exclude else ""
    kept += ", vocabularies paired by token," if config.align_vocabulary else ""
    kept += ", unmatched parameters allowed," if config.allow_unmatched else ""
    return (
        f"{len(manifest.mixed_tensors)} tensors{kept} mixed with keep ratio {config.keep_ratio} ({config.selection}), "
        f"{rows} embedding rows reset"
    )


def _find(record: SourceRecord, given: str | Path | None, argument: str) -> tuple[Checkpoint | None, str]:
    if given is not None:
        return resolve_checkpoint(given, argument), ""
    if not record.files:
        return None, _UNKNOWN_FILES
    if record.repo_id is None or record.commit is None:
        return None, f"it was a local folder; say where it is with {argument}"
    try:
        return resolve_checkpoint(f"{record.repo_id}@{record.commit}", argument), ""
    except InputError as error:
        return None, str(error)
