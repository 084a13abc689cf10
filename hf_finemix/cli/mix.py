"""`hf-finemix mix`: mixing alone, from disk to disk."""

import argparse
from typing import TYPE_CHECKING

from ..choices import FISHER, SELECTIONS
from ..errors import InputError
from .answers import Answer, add_json, answered
from .arguments import (
    add_allow_unmatched,
    add_allow_unrelated,
    add_pretrained,
    chosen_base,
    is_main_process,
    show_progress,
    warn_of_base,
)


if TYPE_CHECKING:
    from ..mix_job import MixJob
    from ..plan import MixReport


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "mix",
        help="mix a checkpoint with its pretrained weights, and nothing else; no model is loaded",
        description="Mix a fine-tuned checkpoint of any architecture with the pretrained weights, from disk to disk. "
        "Memory does not grow with its size. SUSPECT and BASE are Hub ids (id or id@revision) or local folders. Under "
        "torchrun or `accelerate launch` each process writes a share of the result.",
    )
    parser.add_argument("suspect", metavar="SUSPECT", help="the fine-tuned model that may carry a backdoor")
    add_pretrained(parser)
    parser.add_argument("--output", metavar="DIR", help="new folder for the mixed model")
    parser.add_argument(
        "--keep-ratio",
        required=True,
        type=float,
        metavar="R",
        help="share of the scalars that keep the suspect's value, from 0 to 1",
    )
    parser.add_argument(
        "--selection",
        choices=(*SELECTIONS, FISHER),
        default="random",
        help="which scalars keep it (default: random)",
    )
    parser.add_argument(
        "--fisher", metavar="FILE", help="Fisher information, as save_fisher writes it, for --selection fisher"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the masks (default: 0)")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="REGEX",
        help="parameters whose name matches keep the suspect's values; may be given several times",
    )
    parser.add_argument("--no-hash", action="store_true", help="leave the sha256 of weights out of the manifest")
    parser.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        help="largest file of weights, such as 5GB (default: files cut as the suspect's are)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one for each processor)")
    add_allow_unrelated(parser)
    add_allow_unmatched(parser)
    parser.add_argument("--resume", action="store_true", help="go on with what a killed process left behind")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer | int:
    """
    Runs the command.

    Its JSON: `output`, `mixed_scalars` and `kept_share`; with --dry-run `plan` (a [`~hf_finemix.MixReport`]) and
    `weights` (`files` and `bytes` that would be written).
    """
    from ..config import FineMixConfig, check_integer
    from ..crew import PeerError
    from ..loading import resolve_checkpoint
    from ..mix_job import check_ranking, prepare_mix
    from ..mix_run import check_target, mix_checkpoints
    from ..trust import is_trusted

    if args.output is None and not args.dry_run:
        raise InputError("--output is missing; name a new folder, or use --dry-run.")
    config = FineMixConfig(
        args.keep_ratio,
        args.selection,
        args.seed,
        0,
        exclude=tuple(args.exclude),
        allow_unmatched=bool(args.allow_unmatched),
    )
    # Before anything is fetched.
    check_ranking(config, args.fisher)
    if args.workers is not None:
        check_integer("workers", args.workers, 1, 1024)
    if not args.dry_run:
        check_target(args.output, args.resume)
    suspect = resolve_checkpoint(args.suspect, "SUSPECT")
    base = resolve_checkpoint(chosen_base(args), "`pretrained`")
    warn_of_base(is_trusted(base.repo_id), base.label)
    if args.dry_run:
        job = prepare_mix(
            suspect, base, config, args.max_shard_size, args.fisher, not args.allow_unrelated, strict=False
        )
        if args.json:
            # People see the plan first, and then why it is refused.
            job.plan.report.check(base.source)
        weights = {"files": [file.name for file in job.files], "bytes": job.size}
        return Answer({"plan": job.plan.report.to_dict(), "weights": weights}, lambda: _show_plan(job, base.source))
    try:
        report = mix_checkpoints(
            suspect,
            base,
            args.output,
            config,
            max_shard_size=args.max_shard_size,
            workers=args.workers,
            hashes=not args.no_hash,
            resume=args.resume,
            progress=show_progress(),
            fisher=args.fisher,
            check_base=not args.allow_unrelated,
        )
    except PeerError:
        # The process that failed says why.
        return 1
    if args.json and not is_main_process():
        return 0
    content = {"output": args.output, "mixed_scalars": report.mixed_scalars, "kept_share": report.kept_share}
    return Answer(content, lambda: _show(report, args.output))


def _show_plan(job: "MixJob", source: str) -> None:
    from .console import show_plan

    config = job.config
    show_plan(job.plan.report, source)
    print(f"Of the mixed scalars a share of {config.keep_ratio} keeps the suspect's value ({config.selection}).")
    names = job.files[0].name if len(job.files) == 1 else f"{len(job.files)} files"
    print(f"Weights to write: {job.size / 1e9:.2f} GB in {names}.")
    print("Nothing was changed or written.")


def _show(report: "MixReport", output: str) -> None:
    share = report.kept_share
    kept = "none was mixed" if share is None else f"{100 * share:.2f} % kept the suspect's value"
    print(f"Mixed scalars: {report.mixed_scalars:,}, of which {kept}.")
    print(f"Mixed model: {output}")
