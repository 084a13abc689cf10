"""`mix_checkpoints()`: mixing of two checkpoints from disk to disk, without making a model."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .checks import check_configs
from .config import FineMixConfig, check_integer
from .crew import Crew
from .errors import InputError
from .journal import Journal
from .layout import OutputFile, lay_out
from .loading import Checkpoint, resolve_checkpoint
from .manifest import MANIFEST_FILE, load_manifest
from .masks import MASK_VERSION
from .mix_plan import MixPlan, plan_mix
from .output import check_output
from .piece_mixing import InputFiles, PieceMixer, cut_of
from .pieces import CHUNK, PART, Part, cut_all, share
from .plan import MixReport
from .staging import Staging, check_space, resumable_folder, staging_path, sync_directory
from .stored import StoredCheckpoint
from .stream_hashes import StreamHashes
from .streaming import OutputFiles, Progress, available_workers, mix_parts


@dataclass(frozen=True)
class MixJob:
    """
    A mixing that was checked and planned, but not begun.

    Args:
        suspect, pretrained ([`~hf_finemix.stored.StoredCheckpoint`]): The inputs.
        config ([`FineMixConfig`]): The settings.
        plan ([`~hf_finemix.mix_plan.MixPlan`]): What is done to each tensor.
        files (`tuple[OutputFile, ...]`): The files to write.
    """

    suspect: StoredCheckpoint
    pretrained: StoredCheckpoint
    config: FineMixConfig
    plan: MixPlan
    files: tuple[OutputFile, ...]

    @property
    def size(self) -> int:
        """Bytes of the weights to write."""
        return sum(file.size for file in self.files)

    def identity(self) -> dict[str, Any]:
        """Returns all that the bytes of the output depend on, in a form that JSON can hold."""
        return {
            "config": self.config.to_dict(),
            "mask_version": MASK_VERSION,
            "suspect": self.suspect.identity(),
            "pretrained": self.pretrained.identity(),
            "files": [[file.name, file.size, file.digest] for file in self.files],
            "cut": [CHUNK, PART],
        }

    def check_unchanged(self) -> None:
        """
        Checks that the inputs are still the files that were planned with.

        Raises:
            InputError: Names the first one that is not.
        """
        for stored in (self.suspect, self.pretrained):
            name = stored.changed()
            if name is not None:
                raise InputError(
                    f"{stored.what} changed while it was read ({name}); start again with files that stay."
                )


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

    Returns:
        [`~hf_finemix.plan.MixReport`]: Every parameter with what was done to it and why.

    Raises:
        InputError: If the inputs cannot be mixed or change meanwhile, or the output cannot be made.
        OSError: If the disk fails or is full.
    """
    if workers is not None:
        check_integer("workers", workers, 1, 1024)
    target = check_target(output, resume)
    job = prepare_mix(suspect, pretrained, config, max_shard_size)
    if resume and any_file(target):
        return _finished(target, job)
    check_space(target, job.size, resume)
    crew = Crew.from_environment()
    try:
        return _run(job, target, crew, workers or max(1, available_workers() // crew.ranks), hashes, resume, progress)
    except BaseException as error:
        crew.fail(error)
        raise
    finally:
        crew.close()


def prepare_mix(
    suspect: str | Path | Checkpoint,
    pretrained: str | Path | Checkpoint,
    config: FineMixConfig | None = None,
    max_shard_size: int | str | None = None,
) -> MixJob:
    """
    Checks and plans a mixing; takes what [`mix_checkpoints`] takes.

    Raises:
        InputError: If the inputs cannot be mixed.
    """
    config = replace(config or FineMixConfig(), purify_top_k=0)
    found = suspect if isinstance(suspect, Checkpoint) else resolve_checkpoint(suspect, "SUSPECT")
    base = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "`pretrained`")
    if found.folder.resolve() == base.folder.resolve():
        raise InputError(
            f"SUSPECT and --pretrained are both {found.source!r}; give the weights that it was fine-tuned from."
        )
    if found.config.get("finemix"):
        raise InputError(
            f"SUSPECT {found.source!r} was mixed before (its config.json has a `finemix` record); start from the "
            "original suspect."
        )
    check_configs(found.config, base.config, base.source)
    stored = StoredCheckpoint(found, "SUSPECT"), StoredCheckpoint(base, "`pretrained`")
    plan = plan_mix(*stored, config)
    return MixJob(*stored, config, plan, lay_out(plan.tensors, max_shard_size))


def check_target(output: str | Path, resume: bool) -> Path:
    """
    Checks that an output folder can be made; one that is finished is left to a job that resumes.

    Raises:
        InputError: If it holds something else, or cannot be written.
    """
    path = Path(output).expanduser().resolve()
    return path if resume and (path / MANIFEST_FILE).is_file() else check_output(output)


def any_file(folder: Path) -> bool:
    """Tells whether a folder is there and holds something."""
    return folder.is_dir() and any(folder.iterdir())


def _finished(target: Path, job: MixJob) -> MixReport:
    """Returns the report of an output that an earlier process finished, if it is of the same job."""
    from .results import load_report

    manifest = load_manifest(target)
    labels = manifest.suspect.label, manifest.pretrained.label
    wanted = job.suspect.checkpoint.label, job.pretrained.checkpoint.label
    if (manifest.config, manifest.mask_version, labels) != (job.config, MASK_VERSION, wanted):
        raise InputError(f"--output {str(target)!r} already holds something else; name a new folder.")
    return load_report(target).mix


def _run(job: MixJob, target: Path, crew: Crew, workers: int, hashes: bool, resume: bool, progress: bool) -> MixReport:
    identity = job.identity()
    with ExitStack() as stack:
        # The first process makes the folder and finishes it; the others come when it is there.
        if crew.rank == 0:
            staging = stack.enter_context(resumable_folder(target, identity, resume))
            # With all their room taken, before another process opens them.
            OutputFiles(staging.output, job.files).close()
            sync_directory(staging.output)
        plans = crew.gather("plan", identity)
        if any(plan != plans[0] for plan in plans):
            raise InputError("The processes see other inputs or settings; start all of them on the same disk.")
        if crew.rank:
            staging = Staging(staging_path(target), {})
        done = crew.gather("done", [[number, kept] for number, kept in staging.done.items()])[0]
        report = _mix(job, staging, {number: kept for number, kept in done}, crew, workers, hashes, progress, target)
    crew.gather("finished", True)
    return report


def _mix(
    job: MixJob,
    staging: Staging,
    done: dict[int, dict[str, int]],
    crew: Crew,
    workers: int,
    hashes: bool,
    show: bool,
    target: Path,
) -> MixReport:
    inputs, state = InputFiles(), Progress()
    parts = cut_all(job.files)
    todo = [part for part in share(parts, crew.rank, crew.ranks) if part.number not in done]
    with ExitStack() as stack:
        stack.callback(inputs.close)
        for file in (*job.suspect.files, *job.pretrained.files):
            inputs.open(file.path)
        outputs = OutputFiles(staging.output, job.files)
        stack.callback(outputs.close)
        cut = cut_of(job.plan, inputs, job.config) if todo else None
        hashing = _start_hashing(job, parts, outputs, state, crew) if hashes else None
        journal = Journal(staging.folder, crew.rank, outputs, state)
        try:
            for number, kept in done.items():
                state.finish(number, kept)
            make = partial(PieceMixer, inputs, job.config, cut)
            mix_parts(todo, make, outputs, state, workers, journal.add, show and crew.rank == 0)
        finally:
            journal.close()
        kept = _gather_counts(crew, state, parts, done)
        found = {} if hashing is None else hashing.results()
        if state.error is not None:
            raise state.error
        job.check_unchanged()
        found = {name: digest for each in crew.gather("hashes", found) for name, digest in each.items()}
        if crew.rank == 0:
            outputs.write_headers()
    report = job.plan.report.with_counts(kept_by_parameter(job.plan, kept))
    if crew.rank == 0:
        from .mix_evidence import write_beside

        write_beside(staging.output, (job.suspect, job.pretrained), job.plan, job.files, report, found, target.name)
    return report


def _start_hashing(
    job: MixJob, parts: tuple[Part, ...], outputs: OutputFiles, state: Progress, crew: Crew
) -> StreamHashes:
    paths = {
        f"{label}/{file.path.name}": file.path
        for label, stored in (("suspect", job.suspect), ("pretrained", job.pretrained))
        for file in stored.files
    }
    mixed = {tensor.name for tensor in job.plan.mixed.values()}
    return StreamHashes(paths, job.files, mixed, parts, outputs, state, crew.rank, crew.ranks)


def _gather_counts(
    crew: Crew, state: Progress, parts: tuple[Part, ...], done: dict[int, dict[str, int]]
) -> dict[str, int]:
    """Waits until all processes have written their parts; returns the counts of kept scalars of all."""
    earlier: dict[str, int] = {}
    for kept in done.values():
        for name, count in kept.items():
            earlier[name] = earlier.get(name, 0) + count
    own = {name: count - earlier.get(name, 0) for name, count in state.kept.items()}
    total = dict(earlier)
    for counts in crew.gather("kept", own):
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    if crew.ranks > 1:
        # What others wrote is hashed here, too.
        for part in parts:
            state.finish(part.number, {})
    return total


def kept_by_parameter(plan: MixPlan, kept: dict[str, int]) -> dict[str, int]:
    """Returns how many scalars of each mixed parameter keep the suspect's value, those that were never mixed, too."""
    return {
        name: kept.get(tensor.name, 0) + tensor.suspect[1].numel - tensor.mixed for name, tensor in plan.mixed.items()
    }
