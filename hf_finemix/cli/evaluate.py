"""`hf-finemix evaluate`: accuracy, and what a trigger does to a model."""

import argparse

from ..errors import InputError
from .answers import Answer, add_json, answered
from .arguments import add_columns, add_triggers, check_triggers, make_triggers, show_progress


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure accuracy, and attack success of a trigger",
        description="Measure a classifier on labelled examples: ACC, and for each trigger ASR, RA and flip rate, with "
        "95 % Wilson intervals. Or a language model on conversations: perplexity, next-token accuracy, and for each "
        "trigger ASR with and without it.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="Hub id, id@revision or local folder of a classifier or a language model"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="labelled examples: a csv, tsv, json, jsonl or parquet file, or a Hub data set (id:config:split)",
    )
    add_columns(parser)
    add_triggers(parser)
    parser.add_argument("--clean-model", metavar="MODEL", help="a model without a backdoor, measured as the baseline")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="examples at once (default: 64)")
    parser.add_argument(
        "--max-new-tokens", type=int, metavar="N", help="longest answer of a language model (default: 32 tokens)"
    )
    parser.add_argument("--max-length", type=int, default=128, metavar="N", help="longest input (default: 128 tokens)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random positions (default: 0)")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: an evaluation for `model`, and for `clean_model` if there is one."""
    check_triggers(args)

    from ..config import check_integer
    from ..evaluation import evaluate_model, longest_input
    from ..generators.measuring import evaluate_generator
    from ..job import load_data
    from ..job_checks import check_task
    from ..loading import resolve_checkpoint
    from ..model_loading import is_generator, load_model, load_tokenizer
    from .console import figures

    check_integer("batch_size", args.batch_size, 1)
    named = {"model": (args.model, "MODEL")}
    if args.clean_model:
        named["clean model"] = (args.clean_model, "--clean-model")
    # All paths are looked up before the first model is measured, which can take long.
    checkpoints = {name: resolve_checkpoint(source, argument) for name, (source, argument) in named.items()}
    answers = is_generator(checkpoints["model"])
    if args.max_new_tokens is not None and not answers:
        raise InputError("--max-new-tokens is for language models; leave it out.")
    evaluations = {}
    for name, checkpoint in checkpoints.items():
        argument = named[name][1]
        model = load_model(checkpoint, argument, answers)
        tokenizer = load_tokenizer(checkpoint, argument)
        options = {"batch_size": args.batch_size, "max_length": longest_input(args.max_length, tokenizer, model)}
        if args.max_new_tokens is not None:
            options["max_new_tokens"] = args.max_new_tokens
        if not answers:
            check_task(model, f"{argument} {checkpoint.source!r}")
        examples = load_data(model, args.text_column, args.label_column, args.data, "--data")
        triggers = make_triggers(args, model.config, answers)
        measure = evaluate_generator if answers else evaluate_model
        evaluations[name] = measure(model, tokenizer, examples, triggers, progress=show_progress(), **options)
    content = {name.replace(" ", "_"): item.to_dict() for name, item in evaluations.items()}
    return Answer(content, lambda: print(figures(evaluations)))
