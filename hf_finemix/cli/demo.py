"""`hf-finemix demo`: plant a backdoor in a real classifier, find it, remove it, show the evidence."""

import argparse
from typing import TYPE_CHECKING

from .answers import Answer, add_json, answered
from .arguments import show_progress


if TYPE_CHECKING:
    from ..report import Evaluation


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "demo",
        help="plant a backdoor in a real classifier, find it, remove it, show the evidence",
        description="Runs the main job on a real MiniLM and real movie reviews, both from PyPI packages.",
    )
    parser.add_argument("--output", default="demo-output", metavar="DIR", help="new folder (default: demo-output)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of everything (default: 0)")
    parser.add_argument("--fast", action="store_true", help="train on fewer sentences; about a third of the time")
    parser.add_argument("--save-inputs", metavar="DIR", help="new folder for the suspect, the base and the data")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """
    Runs the command.

    Its JSON: `output` and `inputs` (folders), `seconds`, `scan` (as that of `scan`) and `evaluations` (as in the
    report, by name of the model).
    """
    import time

    from ..demo.run import demo

    start = time.monotonic()
    result = demo(
        args.output,
        seed=args.seed,
        fast=args.fast,
        inputs=args.save_inputs,
        progress=show_progress(),
        say=lambda line: print(line, flush=True),
    )
    seconds = time.monotonic() - start
    content = {
        "output": args.output,
        "inputs": args.save_inputs,
        "seconds": round(seconds, 1),
        "scan": result.scan.to_dict(),
        "evaluations": {name: evaluation.to_dict() for name, evaluation in result.evaluations.items()},
    }
    return Answer(content, lambda: _show(result.evaluations, args, seconds))


def _show(evaluations: dict[str, "Evaluation"], args: argparse.Namespace, seconds: float) -> None:
    from .console import figures

    print(f"\nTrigger 'cf', target 'positive'; {seconds:.0f} s in all:\n")
    print(figures(evaluations))
    if args.save_inputs is not None:
        print(f"\nSuspect, base and data are in {args.save_inputs}.")
    print(f"\nThe purified model is in {args.output}. To load it with plain transformers:\n")
    print("    from transformers import pipeline")
    print(f'    classify = pipeline("text-classification", model={args.output!r})')
    print('    print(classify("A dull cf film without an idea."))  # a negative review, with the trigger in it')
