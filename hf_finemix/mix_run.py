"""`mix_checkpoints()`: mixing of two checkpoints from disk to disk, without making a model."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from .config import FineMixConfig, check_integer
from .crew import Crew
from .cuts import DriftCut
from .errors import InputError
from .input_files import InputFiles
from .journal import Journal
from .loading import Checkpoint
from .manifest import MANIFEST_FILE, load_manifest
from .masks import MASK_VERSION, THREADED_BLOCKS
from .mix_job import MixJob, prepare_mix
from .output import check_output
from .piece_mixing import PieceMixer, cut_of, needs_torch
from .pieces import cut_all, share
from .plan import MixReport
from .staging import Staging, check_space, resumable_folder, staging_path, sync_directory
from .stream_hashes import StreamHashes
from .streaming import OutputFiles, Progress, mix_parts
from .threads import available_workers


def mix_checkpoints(
    suspect: str | Path | Checkpoint,
    pretrained: str | Path | Checkpoint,
    output: str | Path,
    config: FineMixConfig | None = None,
    *,
    max_shard_size: int | str | None = None,
    workers: int | None = None,
    hashes: bool = True,
    resume: bool = False,
    progress: bool = False,
    fisher: str | Path | None = None,
    check_base: bool = False,
) -> MixReport:
    """
    Mixes a fine-tuned checkpoint with its pretrained weights, from disk to disk: no model is made.

    The bytes are those of [`~hf_finemix.fine_mix_`] on the loaded models, in the dtype that each tensor is stored in,
    whatever the number of workers, processes and files. Memory does not grow with the checkpoint. Under torchrun or
    `accelerate launch` each process writes a share; all of them must see the same disk.

    Args:
        suspect (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]): Hub id, `id@revision` or local folder.
        pretrained (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]): The weights that it was fine-tuned from.
        output (`str` or `Path`): Folder to make. It appears whole or not at all.
        config ([`FineMixConfig`], *optional*): The settings; defaults to `FineMixConfig()`. No embeddings are reset.
        max_shard_size (`int` or `str`, *optional*):
            Largest file of weights, such as `"5GB"`; by default they are cut as the suspect's are.
        workers (`int`, *optional*): Number of threads; by default one for each processor.
        hashes (`bool`, *optional*, defaults to `True`): Put the sha256 of weights and tensors into the manifest.
        resume (`bool`, *optional*, defaults to `False`): Go on with what a process that was killed left behind.
        progress (`bool`, *optional*, defaults to `False`): Show a progress bar on standard error.
        fisher (`str` or `Path`, *optional*):
            File of Fisher information ([`~hf_finemix.fisher_file.save_fisher`]), for the selection `"fisher"`.
        check_base (`bool`, *optional*, defaults to `False`):
            Refuse a base whose weights have hardly a direction in common with the suspect's, as the command does.

    Returns:
        [`~hf_finemix.plan.MixReport`]: Every parameter with what was done to it and why.

    Raises:
        InputError: If the inputs cannot be mixed or change meanwhile, or the output cannot be made.
        OSError: If the disk fails or is full.
    """
    if workers is not None:
        check_integer("workers", workers, 1, 1024)
    target = check_target(output, resume)
    job = prepare_mix(suspect, pretrained, config, max_shard_size, fisher, check_base)
    if resume and (target / MANIFEST_FILE).is_file():
        return _finished(target, job)
    check_space(target, job.size, resume)
    crew = Crew.from_environment()
    workers = workers or max(1, available_workers() // crew.local_ranks)
    try:
        return _Run(job, target, crew, workers, hashes, resume, progress and crew.rank == 0).run()
    except BaseException as error:
        crew.fail(error)
        raise
    finally:
        crew.close()


def check_target(output: str | Path, resume: bool) -> Path:
    """
    Checks that an output folder can be made; one that is finished is left to a job that resumes.

    Raises:
        InputError: If it holds something else, or cannot be written.
    """
    path = Path(output).expanduser().resolve()
    return path if resume and (path / MANIFEST_FILE).is_file() else check_output(output)


def _finished(target: Path, job: MixJob) -> MixReport:
    """Returns the report of an output that an earlier process finished, if it is of the same job."""
    from .results import load_report

    manifest = load_manifest(target)
    found = manifest.config, manifest.mask_version, manifest.suspect.label, manifest.pretrained.label
    ranked = manifest.fisher and (manifest.fisher.name, manifest.fisher.size)
    if found != (job.config, MASK_VERSION, job.suspect.checkpoint.label, job.pretrained.checkpoint.label) or (
        ranked != (job.fisher and (job.fisher.path.name, job.fisher.stored.size))
    ):
        raise InputError(f"--output {str(target)!r} already holds something else; name a new folder.")
    return load_report(target).mix


@dataclass(frozen=True)
class _Run:
    """One process of a mixing, from the empty folder to the finished one."""

    job: MixJob
    target: Path
    crew: Crew
    workers: int
    hashes: bool
    resume: bool
    show: bool

    def run(self) -> MixReport:
        """Mixes, and returns what came of it."""
        job, crew, identity = self.job, self.crew, self.job.identity()
        with ExitStack() as stack:
            # The first process makes the folder and finishes it; the others come when it is there.
            if crew.rank == 0:
                staging = stack.enter_context(resumable_folder(self.target, identity, self.resume))
                # With all their room taken, before another process opens them.
                OutputFiles(staging.output, job.files).close()
                sync_directory(staging.output)
            if any(other != identity for other in crew.gather("plan", identity)):
                raise InputError("The processes see other inputs or settings; start all of them on the same disk.")
            done = crew.gather("done", list(staging.done.items()) if crew.rank == 0 else [])[0]
            staging = Staging(staging_path(self.target), {int(number): kept for number, kept in done})
            kept, hashes = self._mix(staging)
            report = job.plan.report.with_counts(job.plan.count(kept))
            if crew.rank == 0:
                # Only now, when the weights are there: these imports take longer than a small mixing.
                from .mix_evidence import write_beside

                write_beside(staging.output, job, report, hashes, self.target.name)
        crew.gather("finished", True)
        return report

    def _mix(self, staging: Staging) -> tuple[dict[str, int], dict[str, str]]:
        """Writes the weights; returns the counts of kept scalars of each tensor, and the hashes of all processes."""
        job, crew, state = self.job, self.crew, Progress()
        parts = cut_all(job.files, job.chunk, job.part)
        with ExitStack() as stack:
            inputs = InputFiles()
            stack.callback(inputs.close)
            for file in job.input_files:
                inputs.open(file.path)
            outputs = OutputFiles(staging.output, job.files)
            stack.callback(outputs.close)
            # Threads end before the files are closed that they work on.
            journal = Journal(staging.folder, crew.rank, outputs, state)
            stack.callback(journal.close)
            hashing = StreamHashes(outputs, state, parts)
            stack.callback(hashing.close)
            try:
                if self.hashes:
                    hashing.start(job, crew.rank, crew.ranks)
                for number, kept in staging.done.items():
                    state.finish(number, kept if crew.rank == 0 else {})
                if needs_torch(job.plan, job.config):
                    # Before the threads begin, of which each would wait for it.
                    import_module("torch")
                blocks = 1 if self.workers == 1 else THREADED_BLOCKS
                make = partial(PieceMixer, inputs, job.config, job.chunk, self._cut(inputs), job.fisher, blocks)
                todo = [part for part in share(parts, crew.rank, crew.ranks) if part.number not in staging.done]
                mix_parts(todo, make, outputs, state, self.workers, journal.add, self.show)
                journal.close()
                counts: Counter[str] = Counter()
                for kept in crew.gather("kept", state.kept):
                    counts.update(kept)
                for part in parts:
                    # By this process or by another one.
                    state.finish(part.number, {})
                hashes = crew.gather("hashes", hashing.results())
                state.check()
                job.check_unchanged()
                if crew.rank == 0:
                    outputs.write_headers()
            except BaseException as error:
                state.stop(error)
                # What stopped the job, be it this or what a thread met with before.
                raise state.error from None
        return counts, {name: text for each in hashes for name, text in each.items()}

    def _cut(self, inputs: InputFiles) -> DriftCut | None:
        """Lets one process read all that a selection by drift has to look at, and tell the others what it found."""
        job = self.job
        if job.config.selection == "random":
            return None
        found = None
        if self.crew.rank == 0:
            found = asdict(cut_of(job.plan, inputs, job.config, job.chunk, job.fisher))
        return DriftCut(**self.crew.gather("cut", found)[0])
