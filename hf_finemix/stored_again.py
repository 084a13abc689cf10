"""A mixing done again from the files of its inputs, piece by piece, and compared with what was recorded: no model."""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from transformers import PreTrainedTokenizerBase

from .again import config_checks
from .embeddings import drift_scores, squared_drift
from .errors import InputError
from .hashes import TensorRecord
from .input_files import InputFiles
from .loading import Checkpoint, resolve_checkpoint
from .manifest import Manifest
from .mix_job import prepare_mix
from .mix_plan import OutputTensor
from .model_loading import load_tokenizer
from .model_names import architecture_of
from .modeling import count_tokens
from .piece_mixing import PieceMixer, as_tensor, converts, cut_of
from .pieces import CHUNK, Piece, cut
from .plan import COPIED
from .published import PublishedFolder
from .reset_checks import reset_checks
from .stored import TORCH_NAMES, WIDEST, StoredCheckpoint, width
from .threads import available_workers, one_torch_thread
from .verification import DIFFERENT, SAME, Check


@dataclass(frozen=True)
class _Again:
    """One tensor, mixed again: its record, whether the output holds its very bytes, and squared distances."""

    record: TensorRecord
    is_there: bool
    after: float
    drift: float


class StoredAgain:
    """
    The mixing, done again in bounded memory; gives the checks that [`~hf_finemix.again.Again`] gives.

    Args:
        manifest ([`~hf_finemix.manifest.Manifest`]): What was recorded.
        suspect, pretrained ([`~hf_finemix.loading.Checkpoint`]): The inputs.
        fisher (`str` or `Path`, *optional*): The Fisher information that it ranked with.

    Raises:
        InputError: If these cannot be mixed.
    """

    def __init__(
        self, manifest: Manifest, suspect: Checkpoint, pretrained: Checkpoint, fisher: str | Path | None = None
    ):
        self.manifest, self.suspect = manifest, suspect
        self._job = prepare_mix(suspect, pretrained, manifest.config, fisher=fisher)
        # Ids come from a file that anybody may have written.
        rows = self._vocabulary()
        self._rows = sorted({row for row in manifest.purified_rows if 0 <= row < rows})
        self._tokenizer = load_tokenizer(suspect, "--suspect") if suspect.has_tokenizer else None

    def is_what_was_loaded(self) -> bool:
        """
        Tells whether models that are loaded would be mixed just so: the same tensors, each in the dtype on the disk.

        Otherwise they have to be loaded, to see what the record is worth.
        """
        manifest, plan = self.manifest, self._job.plan
        mixed = plan.mixed
        stored = {name: (TORCH_NAMES[t.suspect[1].dtype], t.suspect[1].shape) for name, t in mixed.items()}
        # A base in another dtype is rounded on its way through the widest one of the model.
        dtypes = {place[1].dtype for place in self._job.suspect.tensors.values()} & TORCH_NAMES.keys()
        is_rounded_once = len(dtypes) == 1 or not any(converts(tensor) for tensor in mixed.values())
        # What saves a model leaves out all but one of the names of a tied tensor.
        is_stored_once = len({tensor.parameter for tensor in plan.tensors}) == len(plan.tensors)
        return (
            is_rounded_once
            and is_stored_once
            and not manifest.config.align_vocabulary
            and manifest.architecture == architecture_of(self._job.suspect)
            and stored == {record.name: (record.dtype, record.shape) for record in manifest.mixed_tensors}
            and all(tensor.mixed == tensor.suspect[1].numel for tensor in mixed.values())
            and (not manifest.purified_rows or (manifest.embedding == plan.embedding and plan.embedding in mixed))
        )

    def tensor_checks(self, published: PublishedFolder) -> tuple[list[Check], float | None]:
        """Returns a line for each mixed tensor, and how far the output is from all of them."""
        records = {record.name: record for record in self.manifest.mixed_tensors}
        again = self._again(_output(published))
        checks = []
        # In the order of the manifest, and of the files where that says nothing.
        for name in dict.fromkeys((*(name for name in records if name in again), *again)):
            found = again[name]
            # A tensor that is not in the list would have kept its value in secret.
            record = records.pop(name, None)
            is_same = record is not None and record == found.record
            if record is not None and record.sha256 is None:
                is_same = found.is_there and (record.dtype, record.shape) == (found.record.dtype, found.record.shape)
            note = "not in the manifest" if record is None else ""
            checks.append(Check("mixed tensor", name, SAME if is_same else DIFFERENT, note))
        note = "by its settings, or for want of a counterpart, it cannot have been mixed"
        checks += [Check("mixed tensor", name, DIFFERENT, note) for name in records]
        if not self.manifest.fine_tuned:
            return checks, 0.0 if all(found.is_there for found in again.values()) else None
        after, drift = (sum(getattr(found, name) for found in again.values()) for name in ("after", "drift"))
        moved = math.sqrt(after / drift) if drift else math.nan
        return checks, moved if math.isfinite(moved) else None

    def others_are_the_suspects(self, published: PublishedFolder) -> bool:
        """Tells whether all that was not mixed is in the output as it is in the suspect."""
        output, plan = _output(published), self._job.plan
        mixed = plan.mixed
        others = [tensor for tensor in plan.tensors if tensor.parameter not in mixed]
        wanted = {tensor.name for tensor in plan.tensors}
        if self.manifest.made_by != "mix":
            # What saves a model leaves out buffers.
            buffers = {record.name for record in plan.report.parameters if record.action == COPIED}
            others = [tensor for tensor in others if tensor.parameter not in buffers]
            wanted = {tensor.name for tensor in plan.tensors if tensor.parameter not in buffers}
        if output is None or output.tensors.keys() != wanted:
            return False
        return all(output.holds(tensor.name, tensor.suspect) for tensor in others)

    def row_checks(self) -> list[Check]:
        """Returns whether the rows that were reset are the most suspicious ones."""
        manifest, plan = self.manifest, self._job.plan
        if manifest.made_by == "mix":
            rows = manifest.purified_rows
            return [Check("reset rows", str(len(rows)), DIFFERENT, "mixing alone resets none")] if rows else []
        embedding, rows = plan.mixed.get(plan.embedding), self._vocabulary()

        def scores(tokenizer: PreTrainedTokenizerBase | None) -> np.ndarray:
            counts = count_tokens(manifest.frequencies, tokenizer, rows)
            return drift_scores(self._row_drift(embedding), counts, manifest.config.frequency_floor)

        return reset_checks(manifest, embedding and plan.embedding, rows, self._tokenizer, scores)

    def config_checks(self, published: PublishedFolder) -> list[Check]:
        """Returns whether labels and tokenizer are the suspect's."""
        return config_checks(published, self.manifest.architecture, self.suspect, self._tokenizer)

    def _vocabulary(self) -> int:
        embedding = self._job.plan.mixed.get(self._job.plan.embedding)
        return 0 if embedding is None else embedding.suspect[1].shape[0]

    def _row_drift(self, embedding: OutputTensor) -> np.ndarray:
        """Returns how far each row of the word embedding moved (L2)."""
        rows, columns = embedding.suspect[1].shape
        at_once = max(1, CHUNK // (WIDEST * columns))
        with self._files(None) as files:
            mixer = PieceMixer(files, self._job.config, at_once * columns * WIDEST)
            drift = np.empty(rows)
            for first in range(0, rows, at_once):
                count = min(at_once, rows - first)
                pair = mixer.read(Piece(embedding, first * columns, count * columns, 0))
                squared = squared_drift(*(values.view(count, columns) for values in pair))
                drift[first : first + count] = np.sqrt(squared.sum(axis=1))
        return drift

    def _again(self, output: StoredCheckpoint | None) -> dict[str, _Again]:
        """Mixes all tensors again, several at a time."""
        job = self._job
        with self._files(output) as files:
            cut_there = cut_of(job.plan, files, job.config, job.chunk, job.fisher)
            mixers: SimpleQueue[PieceMixer] = SimpleQueue()
            workers = available_workers()
            for _ in range(workers):
                mixers.put(PieceMixer(files, job.config, job.chunk, cut_there, job.fisher))

            def work(tensor: OutputTensor) -> _Again:
                mixer = mixers.get()
                try:
                    with one_torch_thread():
                        return self._mix(tensor, mixer, files, output)
                finally:
                    mixers.put(mixer)

            with ThreadPoolExecutor(workers) as pool:
                return dict(zip(job.plan.mixed, pool.map(work, job.plan.mixed.values()), strict=True))

    def _mix(
        self,
        tensor: OutputTensor,
        mixer: PieceMixer,
        files: InputFiles,
        output: StoredCheckpoint | None,
    ) -> _Again:
        stored, digest = tensor.suspect[1], hashlib.sha256()
        place = None if output is None else output.tensors.get(tensor.name)
        is_comparable = place is not None and place[1].shape == stored.shape and place[1].dtype in TORCH_NAMES
        is_there, after, drift = is_comparable and place[1].dtype == stored.dtype, 0.0, 0.0
        for piece in cut(tensor, self._job.chunk):
            if self.manifest.fine_tuned:
                drift += float(squared_drift(*mixer.read(piece)[:2]).sum())
            values, _ = mixer(piece)
            if tensor.parameter == self._job.plan.embedding:
                self._reset(piece, values, mixer)
            digest.update(values)
            if not is_comparable:
                continue
            wide = width(place[1].dtype)
            held = np.empty(piece.count * wide, dtype=np.uint8)
            files.read(place[0].path, place[1].start + piece.start * wide, held.data)
            is_there = is_there and held.data == values
            if self.manifest.fine_tuned:
                mixed = as_tensor(np.frombuffer(values, dtype=np.uint8), stored.dtype)
                after += float(squared_drift(as_tensor(held, place[1].dtype), mixed).sum())
        record = TensorRecord(tensor.parameter, TORCH_NAMES[stored.dtype], stored.shape, digest.hexdigest())
        return _Again(record, is_there, after if is_comparable else math.nan, drift)

    def _reset(self, piece: Piece, values: memoryview, mixer: PieceMixer) -> None:
        """Copies the pretrained rows that the manifest names, or what of them is in this piece."""
        stored = piece.tensor.suspect[1]
        columns, wide = stored.numel // stored.shape[0], width(stored.dtype)
        for row in self._rows[bisect_left(self._rows, piece.start // columns) :]:
            first, last = (min(max(at * columns - piece.start, 0), piece.count) for at in (row, row + 1))
            if row * columns >= piece.start + piece.count:
                return
            values[first * wide : last * wide] = mixer.pretrained[first * wide : last * wide]

    @contextmanager
    def _files(self, output: StoredCheckpoint | None) -> Iterator[InputFiles]:
        files = InputFiles()
        try:
            for file in (*self._job.input_files, *(output.files if output else ())):
                files.open(file.path)
            yield files
        finally:
            files.close()


def _output(published: PublishedFolder) -> StoredCheckpoint | None:
    try:
        return StoredCheckpoint(resolve_checkpoint(published.folder, "MODEL"), "MODEL")
    except InputError:
        # It has lines of its own.
        return None
