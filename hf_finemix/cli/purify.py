"""`hf-finemix purify`: the whole job on a suspect from the Hub or a folder."""

import argparse

from ..choices import SELECTIONS
from ..errors import InputError
from .arguments import add_columns, add_frequencies, add_triggers, check_triggers, make_triggers, show_progress


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "purify",
        help="mix a suspect with its pretrained weights, reset suspicious embeddings, fine-tune",
        description="Purify a text classifier. SUSPECT and BASE are Hub ids (id or id@revision) or local folders. "
        "DATA is a csv, tsv, json, jsonl or parquet file or a Hub data set (id:config:split).",
    )
    parser.add_argument("suspect", metavar="SUSPECT", help="the fine-tuned model that may carry a backdoor")
    parser.add_argument("--pretrained", required=True, metavar="BASE", help="the clean weights it was made from")
    parser.add_argument("--clean-data", required=True, metavar="DATA", help="a few clean labelled examples")
    parser.add_argument("--output", metavar="DIR", help="new folder for the purified model")
    add_columns(parser)
    parser.add_argument(
        "--keep-ratio", type=float, default=0.3, metavar="R", help="share of scalars kept (default: 0.3)"
    )
    parser.add_argument("--selection", choices=SELECTIONS, default="random", help="which scalars (default: random)")
    parser.add_argument(
        "--purify-top-k", type=int, default=200, metavar="K", help="embeddings to reset (default: 200)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the clean data")
    parser.add_argument("--learning-rate", type=float, metavar="LR", help="peak learning rate")
    parser.add_argument("--batch-size", type=int, metavar="N", help="examples a step")
    parser.add_argument("--max-length", type=int, metavar="N", help="longest input in tokens")
    parser.add_argument("--seed", type=int, default=0, help="seed of masks and fine-tuning (default: 0)")
    add_frequencies(parser)
    parser.add_argument("--eval-data", metavar="DATA", help="other clean examples, to measure before and after")
    add_triggers(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    check_triggers(args)
    if args.output is None and not args.dry_run:
        raise InputError("--output is missing; name a new folder, or use --dry-run.")
    if args.trigger and args.eval_data is None:
        raise InputError("--trigger needs --eval-data, clean examples to insert it into.")
    from dataclasses import fields, replace

    from ..config import FineMixConfig

    config = FineMixConfig(args.keep_ratio, args.selection, args.seed, args.purify_top_k)

    from ..pipeline import DEFAULT_RECIPE, prepare
    from ..pipeline import run as run_job
    from .console import figures

    given = {item.name: getattr(args, item.name, None) for item in fields(DEFAULT_RECIPE)}
    recipe = replace(DEFAULT_RECIPE, **{name: value for name, value in given.items() if value is not None})
    job = prepare(
        args.suspect,
        args.pretrained,
        args.clean_data,
        output=args.output,
        config=config,
        text_columns=args.text_column,
        label_column=args.label_column,
        evaluation_dataset=args.eval_data,
    )
    triggers = make_triggers(args, job.model.config.label2id, job.model.config.num_labels)
    if args.dry_run:
        examples = f"{len(job.clean)} examples"
        print(job.plan.summary())
        print(f"Of each mixed tensor a share of {config.keep_ratio} keeps the suspect's values ({config.selection}).")
        print(f"Then {config.purify_top_k} word embeddings are reset and the model is fine-tuned on {examples}.")
        return 0
    result = run_job(job, recipe, triggers=triggers, progress=show_progress())
    if result.report.evaluations:
        print(figures(result.report.evaluations))
    print(f"Purified model: {args.output}")
    return 0
