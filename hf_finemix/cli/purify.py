"""`hf-finemix purify`: the whole job on a suspect from the Hub or a folder."""

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, TypeVar

from ..choices import SELECTIONS
from ..errors import InputError
from .answers import Answer, add_json, answered
from .arguments import (
    add_align_vocabulary,
    add_allow_unmatched,
    add_allow_unrelated,
    add_columns,
    add_frequencies,
    add_hub,
    add_pretrained,
    add_triggers,
    check_triggers,
    chosen_base,
    is_main_process,
    make_triggers,
    show_progress,
    warn_of_base,
)


if TYPE_CHECKING:
    from ..config import FineMixConfig
    from ..pipeline import PurifyResult
    from ..publishing import Published
    from ..results import Distillation, Recipe

    _Settings = TypeVar("_Settings", FineMixConfig, Distillation, Recipe)


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "purify",
        help="mix a suspect with its pretrained weights, reset suspicious embeddings, fine-tune",
        description="Purify a text classifier or a language model. SUSPECT and BASE are Hub ids (id or id@revision) "
        "or local folders. DATA is a csv, tsv, json, jsonl or parquet file or a Hub data set (id:config:split), with "
        "a column of texts and one of labels; for a language model with prompts and responses, or with chats in a "
        "column `messages`.",
    )
    parser.add_argument("suspect", metavar="SUSPECT", help="the fine-tuned model that may carry a backdoor")
    add_pretrained(parser)
    parser.add_argument(
        "--clean-data", required=True, metavar="DATA", help="some dozens of clean labelled examples, or conversations"
    )
    parser.add_argument(
        "--labels", nargs="+", metavar="NAME", help="names of the labels, which a suspect that is an adapter lacks"
    )
    parser.add_argument("--output", metavar="DIR", help="new folder for the purified model")
    parser.add_argument(
        "--unlabeled-data",
        metavar="DATA",
        help="clean texts without labels, on which the suspect's answers teach the mixed model; also a .txt file",
    )
    add_columns(parser)
    parser.add_argument(
        "--keep-ratio",
        type=_ratio,
        metavar="R",
        help="share of the scalars that keep the suspect's value, from 0 to 1, or auto: choose it with held-out clean "
        "data and a planted backdoor as positive control (default: 0.1; of a language model 0.3)",
    )
    parser.add_argument("--selection", choices=SELECTIONS, help="which scalars keep it (default: random)")
    parser.add_argument(
        "--purify-top-k", type=int, metavar="K", help="suspicious word embeddings to reset (default: 200)"
    )
    parser.add_argument(
        "--recipe", metavar="YAML", help="file with the settings of a card; options given here go before them"
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="passes over the clean data (default: 2; of a language model 3)"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="LR",
        help="peak learning rate (default: 1e-5; of a language model 5e-5)",
    )
    parser.add_argument(
        "--distillation-epochs",
        type=int,
        metavar="N",
        help="passes over all texts with the suspect's answers as labels, before that (default: 3; 0: none)",
    )
    parser.add_argument(
        "--distillation-learning-rate", type=float, metavar="LR", help="its peak learning rate (default: 1e-4)"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="examples a step (default: 8)")
    parser.add_argument("--max-length", type=int, metavar="N", help="longest input in tokens (default: 128)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of masks and fine-tuning (default: 0)")
    add_frequencies(parser)
    parser.set_defaults(frequencies=None)
    parser.add_argument("--eval-data", metavar="DATA", help="other clean examples, to measure before and after")
    parser.add_argument("--clean-model", metavar="MODEL", help="a model without a backdoor, measured as the baseline")
    add_triggers(parser)
    parser.add_argument("--push-to-hub", metavar="REPO", help="publish the result there, as `hf-finemix push` does")
    add_hub(parser)
    add_allow_unrelated(parser)
    add_allow_unmatched(parser)
    add_align_vocabulary(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer | int:
    """
    Runs the command.

    Its JSON: `output`, `card` and `report` (paths), `evaluations` and `search` (as in the report), and `published` (as
    the JSON of `push`, or null). With --dry-run: `plan` (a [`~hf_finemix.MixReport`]), `auto` (whether the ratio is
    still to be chosen), `reset` (the embeddings, each with `rank`, `id`, `token` and `score`), `recipe`,
    `distillation`, `examples` and `texts` (how many), and `max_length` (in tokens).
    """
    check_triggers(args)
    if args.output is None and not args.dry_run:
        raise InputError("--output is missing; name a new folder, or use --dry-run.")
    if args.trigger and args.eval_data is None:
        raise InputError("--trigger needs --eval-data, clean examples to insert it into.")
    if args.push_to_hub is None and (args.private is not None or args.commit_message):
        raise InputError("--private, --public and --commit-message need --push-to-hub, the repository to publish to.")
    if args.clean_model and args.eval_data is None:
        raise InputError("--clean-model needs --eval-data, the examples to measure it on.")

    from dataclasses import asdict

    from ..adapter_suspects import find_suspect, is_language_model
    from ..choices import AUTO
    from ..job import prepare
    from ..job_checks import check_distillation, check_kind
    from ..output import check_output
    from ..pipeline import run as run_job
    from ..publishing import check_target
    from ..recipes import full_name, read_recipe, usual_settings
    from ..trust import is_trusted
    from .console import printable
    from .purified import content_of, plan_answer, print_result
    from .push import print_published

    auto = args.keep_ratio == AUTO
    if args.output is not None:
        # Before anything is fetched.
        check_output(args.output)
    if args.push_to_hub is not None and not args.dry_run:
        check_target(args.push_to_hub)
    suspect = find_suspect(args.suspect)
    answers = is_language_model(suspect)
    config, recipe, distillation = usual_settings(answers)
    if args.recipe is not None:
        config, recipe, distillation = read_recipe(args.recipe, config, recipe, distillation)
    if auto:
        args.keep_ratio = None
    config, recipe = _with_options(config, args), _with_options(recipe, args)
    try:
        distillation = _with_options(distillation, args, "distillation_")
    except InputError as error:
        raise InputError(full_name(error)) from None
    check_kind((), answers, auto)
    if answers:
        _check_generator(args)
    check_distillation(args.unlabeled_data is not None and not answers, distillation)
    job = prepare(
        suspect,
        chosen_base(args, suspect),
        args.clean_data,
        output=args.output,
        config=config,
        text_columns=args.text_column,
        label_column=args.label_column,
        evaluation_dataset=args.eval_data,
        clean_model=args.clean_model,
        unlabeled_dataset=args.unlabeled_data,
        allow_unrelated=args.allow_unrelated,
        labels=args.labels,
        strict=not args.dry_run,
    )
    named = job.origin.named_base if is_main_process() else None
    used = job.pretrained.source
    if named is not None and named != used:
        print(f"The adapter names {printable(named[:200])} as its base; {printable(used)} is used.")
    if is_main_process():
        warn_of_base(is_trusted(job.pretrained.repo_id), job.pretrained.label)
    if job.own_template and is_main_process():
        print("hf-finemix: warning: the suspect's chat template is not that of the base; read it.", file=sys.stderr)
    triggers = make_triggers(args, job.model.config, answers)
    if args.dry_run:
        if not is_main_process():
            return 0
        return plan_answer(job, recipe, distillation, auto, args.json)
    options = {"distillation": distillation, "auto": auto, "progress": show_progress()}
    result = run_job(job, recipe, triggers=triggers, **options)
    if not is_main_process():
        return 0
    content = content_of(result, args.output)
    if not args.json:
        # Before it is published, which may fail.
        print_result(result, args.output)
    published = None if args.push_to_hub is None else _push(result, args)
    if published is None:
        return Answer(content, lambda: None)
    return Answer(content | {"published": asdict(published)}, lambda: print_published(published))


def _check_generator(args: argparse.Namespace) -> None:
    for name in ("distillation_epochs", "distillation_learning_rate"):
        if getattr(args, name):
            raise InputError(f"--{name.replace('_', '-')} is for classifiers; a language model is not distilled.")


def _ratio(text: str) -> float | str:
    from ..choices import AUTO

    if text == AUTO:
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 0 to 1 nor {AUTO}") from None


def _with_options(settings: "_Settings", args: argparse.Namespace, prefix: str = "") -> "_Settings":
    from dataclasses import fields, replace

    given = {item.name: getattr(args, prefix + item.name, None) for item in fields(settings)}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _push(result: "PurifyResult", args: argparse.Namespace) -> "Published":
    try:
        return result.push_to_hub(args.push_to_hub, private=args.private, commit_message=args.commit_message)
    except (RuntimeError, OSError, InputError) as error:
        options = [] if args.private is None else ["--private" if args.private else "--public"]
        if args.commit_message is not None:
            options.append(f"--commit-message={args.commit_message}")
        command = shlex.join(["hf-finemix", "push", str(result.folder), args.push_to_hub, *options])
        raise RuntimeError(f"{error} The purified model is safe; `{command}` publishes it.") from error
