"""`verify()`: a purified model against its manifest, and the manifest against what can be computed again."""

import math
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .embeddings import rank_rows
from .errors import InputError
from .hashes import TensorRecord, describe_tensors
from .loading import Checkpoint, load_tokenizer, resolve_checkpoint
from .manifest import Manifest, SourceRecord, load_manifest
from .masks import MASK_VERSION
from .modeling import plan, score_embeddings
from .published import PublishedFolder, check_outputs, check_publisher, compare_files, open_published
from .recompute import load_pair, mix_again, named_tensors
from .retrain import retrain
from .verification import DIFFERENT, NOT_AVAILABLE, SAME, Check, Verification


# Near ties at the end of the ranking may fall either way on another machine.
_TIE = 1e-9


def verify(
    source: str | Path,
    *,
    suspect: str | Path | None = None,
    pretrained: str | Path | None = None,
    retrained: bool = False,
    clean_dataset: str | Path | Dataset | None = None,
    evaluation_dataset: str | Path | Dataset | None = None,
    public_key: str | Path | None = None,
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
        public_key (`str` or `Path`, *optional*): The publisher's key, to check the signature.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars on standard error.

    Returns:
        [`~hf_finemix.verification.Verification`]: All lines.

    Raises:
        InputError: If there is no such model, or it has no manifest that can be read.
    """
    published = open_published(source)
    manifest = load_manifest(published.folder)
    checks = [*check_outputs(published, manifest), *check_publisher(published, manifest, public_key)]
    found: dict[str, Checkpoint] = {}
    for name, record, given in (
        ("suspect", manifest.suspect, suspect),
        ("pretrained", manifest.pretrained, pretrained),
    ):
        checkpoint, reason = _find(record, given, f"--{name}")
        if checkpoint is None:
            checks.append(Check(name, record.label, NOT_AVAILABLE, reason))
            continue
        found[name] = checkpoint
        checks += compare_files(name, checkpoint.folder, [path.name for path in checkpoint.files], record.files)
    moved = None
    if len(found) < 2:
        reason = "an input is not available"
    elif manifest.mask_version != MASK_VERSION:
        reason = f"masks are of version {manifest.mask_version}, this release draws version {MASK_VERSION}"
    else:
        reason, again = "", _Again(manifest, found["suspect"], found["pretrained"])
        tensor_checks, moved = again.tensor_checks(published)
        checks += [*tensor_checks, *again.row_checks()]
        if not manifest.fine_tuned:
            checks.append(Check("fine-tuning", "none was done", SAME if moved == 0 else DIFFERENT))
    if reason:
        checks += [Check("mixed tensor", record.name, NOT_AVAILABLE, reason) for record in manifest.mixed_tensors]
    if retrained:
        if len(found) < 2:
            checks.append(Check("fine-tuning", "weights", NOT_AVAILABLE, reason))
        else:
            checks += retrain(published, manifest, found, clean_dataset, evaluation_dataset, progress)
    return Verification(published.label, tuple(checks), manifest.fine_tuned, moved)


def _find(record: SourceRecord, given: str | Path | None, argument: str) -> tuple[Checkpoint | None, str]:
    if given is not None:
        return resolve_checkpoint(given, argument), ""
    if not record.files:
        return None, "its files were not known when the model was made"
    if record.repo_id is None or record.commit is None:
        return None, f"it was a local folder; say where it is with {argument}"
    try:
        return resolve_checkpoint(f"{record.repo_id}@{record.commit}", argument), ""
    except InputError as error:
        return None, str(error)


class _Again:
    """The mixing, done again from its inputs and compared tensor by tensor with manifest and output."""

    def __init__(self, manifest: Manifest, suspect: Checkpoint, pretrained: Checkpoint):
        self.manifest = manifest
        self.model, self.twin = load_pair(suspect, pretrained, manifest.architecture, manifest.mixed_tensors)
        self.tokenizer = load_tokenizer(suspect, "--suspect") if suspect.has_tokenizer else None

    def tensor_checks(self, published: PublishedFolder) -> tuple[list[Check], float | None]:
        """Returns a line for each mixed tensor, and how far the output is from all of them."""
        manifest, suspect = self.manifest, named_tensors(self.model)
        records = {record.name: record for record in manifest.mixed_tensors}
        found: dict[str, TensorRecord] = {}
        after = distance = 0.0
        for name, values in mix_again(
            self.model, self.twin, manifest.config, list(records), manifest.embedding, manifest.purified_rows
        ):
            (found[name],) = describe_tensors([(name, values)])
            output = published.tensor(name)
            comparable = output is not None and output.shape == values.shape
            after += float((output.double() - values.double()).square().sum()) if comparable else math.nan
            distance += float((suspect[name].double() - self.twin.tensors[name].double()).square().sum())
        checks = []
        for name, record in records.items():
            note = "" if name in found else "suspect or pretrained weights lack it"
            checks.append(Check("mixed tensor", name, SAME if found.get(name) == record else DIFFERENT, note))
        # A tensor that is not in the list would have kept its value in secret.
        expected = (record.name for record in plan(self.model, self.twin, manifest.config).mixed)
        missing = [name for name in expected if name not in records]
        checks += [Check("mixed tensor", name, DIFFERENT, "not in the manifest") for name in missing]
        moved = math.sqrt(after / distance) if distance else math.nan
        return checks, None if math.isnan(moved) else moved

    def row_checks(self) -> list[Check]:
        """Returns whether the rows that were reset are the most suspicious ones."""
        manifest, rows = self.manifest, set(self.manifest.purified_rows)
        if not rows:
            return []
        item = f"{len(rows)} of {manifest.embedding}"
        if manifest.frequencies not in ("vocabulary", "wordfreq"):
            return [Check("reset rows", item, NOT_AVAILABLE, "their token counts are not part of the model")]
        try:
            # A trainer without a tokenizer ranks without one.
            same = any(self._are_highest(rows, tokenizer) for tokenizer in (self.tokenizer, None))
        except InputError as error:
            return [Check("reset rows", item, NOT_AVAILABLE, str(error))]
        return [
            Check("reset rows", item, SAME) if same else Check("reset rows", item, DIFFERENT, "others rank higher")
        ]

    def _are_highest(self, rows: set[int], tokenizer: PreTrainedTokenizerBase | None) -> bool:
        manifest, floor = self.manifest, self.manifest.config.frequency_floor
        if tokenizer is None and manifest.frequencies != "vocabulary":
            return False
        scores = score_embeddings(
            self.model, self.twin, manifest.frequencies, tokenizer=tokenizer, frequency_floor=floor
        )
        if len(rows) != min(manifest.config.purify_top_k, len(scores)) or not rows <= set(range(len(scores))):
            return False
        last = scores[rank_rows(scores)[len(rows) - 1]]
        return min(scores[row] for row in rows) >= last * (1 - _TIE)
