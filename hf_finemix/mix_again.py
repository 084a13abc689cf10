"""A mixing from disk to disk, done again from its inputs and compared with what was recorded; no model is made."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

from .again import config_checks
from .errors import InputError
from .hashes import TensorRecord
from .input_files import InputFiles
from .loading import Checkpoint, load_tokenizer, resolve_checkpoint
from .manifest import Manifest
from .mix_job import prepare_mix
from .mix_plan import OutputTensor
from .piece_mixing import PieceMixer, cut_of
from .pieces import cut
from .published import PublishedFolder
from .stored import TORCH_NAMES, StoredCheckpoint, width
from .verification import DIFFERENT, SAME, Check


class MixAgain:
    """
    The mixing, done again piece by piece; gives the checks that [`~hf_finemix.again.Again`] gives.

    Args:
        manifest ([`~hf_finemix.manifest.Manifest`]): Of an output of [`~hf_finemix.mix_checkpoints`].
        suspect, pretrained ([`~hf_finemix.loading.Checkpoint`]): Its inputs.
        fisher (`str` or `Path`, *optional*): The Fisher information that it ranked with.

    Raises:
        InputError: If these cannot be mixed.
    """

    def __init__(
        self, manifest: Manifest, suspect: Checkpoint, pretrained: Checkpoint, fisher: str | Path | None = None
    ):
        self.manifest, self.suspect = manifest, suspect
        self._job = prepare_mix(suspect, pretrained, manifest.config, fisher=fisher)

    def tensor_checks(self, published: PublishedFolder) -> tuple[list[Check], float | None]:
        """Returns a line for each mixed tensor, and 0 if the output holds exactly these."""
        job, records = self._job, {record.name: record for record in self.manifest.mixed_tensors}
        output = self._output(published)
        checks, are_same = [], True
        with ExitStack() as stack:
            files = InputFiles()
            stack.callback(files.close)
            for file in (*job.input_files, *(output.files if output else ())):
                files.open(file.path)
            cut_there = cut_of(job.plan, files, job.config, job.chunk, job.fisher)
            mixer = PieceMixer(files, job.config, job.chunk, cut_there, job.fisher)
            for name, tensor in job.plan.mixed.items():
                # A tensor that is not in the list would have kept its value in secret.
                record = records.pop(name, None)
                again, is_there = _mix(tensor, mixer, files, job.chunk, output)
                is_same = record is not None and record == again
                if record is not None and record.sha256 is None:
                    is_same = is_there and (record.dtype, record.shape) == (again.dtype, again.shape)
                note = "not in the manifest" if record is None else ""
                checks.append(Check("mixed tensor", name, SAME if is_same else DIFFERENT, note))
                are_same = are_same and is_there
        note = "by its settings, or for want of a counterpart, it cannot have been mixed"
        checks += [Check("mixed tensor", name, DIFFERENT, note) for name in records]
        return checks, 0.0 if are_same else None

    def others_are_the_suspects(self, published: PublishedFolder) -> bool:
        """Tells whether all tensors that were not mixed are in the output as they are in the suspect."""
        output = self._output(published)
        mixed = self._job.plan.mixed
        others = [tensor for tensor in self._job.plan.tensors if tensor.parameter not in mixed]
        if output is None or output.tensors.keys() != {tensor.name for tensor in self._job.plan.tensors}:
            return False
        return all(output.holds(tensor.name, tensor.suspect) for tensor in others)

    def row_checks(self) -> list[Check]:
        """Returns nothing: no rows were reset."""
        rows = self.manifest.purified_rows
        return [Check("reset rows", str(len(rows)), DIFFERENT, "mixing alone resets none")] if rows else []

    def config_checks(self, published: PublishedFolder) -> list[Check]:
        """Returns whether labels and tokenizer are the suspect's."""
        tokenizer = load_tokenizer(self.suspect, "--suspect") if self.suspect.has_tokenizer else None
        return config_checks(published, self.manifest.architecture, self.suspect, tokenizer)

    def _output(self, published: PublishedFolder) -> StoredCheckpoint | None:
        try:
            return StoredCheckpoint(resolve_checkpoint(published.folder, "MODEL"), "MODEL")
        except InputError:
            # It has lines of its own.
            return None


def _mix(
    tensor: OutputTensor, mixer: PieceMixer, files: InputFiles, chunk: int, output: StoredCheckpoint | None
) -> tuple[TensorRecord, bool]:
    """Mixes one tensor; returns its record, and whether the output holds its very bytes."""
    stored, digest = tensor.suspect[1], hashlib.sha256()
    place = None if output is None else output.tensors.get(tensor.name)
    is_there = place is not None and (place[1].dtype, place[1].shape) == (stored.dtype, stored.shape)
    for piece in cut(tensor, chunk):
        values, _ = mixer(piece)
        digest.update(values)
        if is_there:
            held = memoryview(bytearray(piece.size))
            files.read(place[0].path, place[1].start + piece.start * width(stored.dtype), held)
            is_there = held == values
    return TensorRecord(tensor.parameter, TORCH_NAMES[stored.dtype], stored.shape, digest.hexdigest()), is_there
