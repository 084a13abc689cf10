"""`hf-finemix demo`: plant a backdoor in a real classifier, find it, remove it, show the evidence."""

import argparse

from .arguments import show_progress


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
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import time

    from ..demo.run import demo
    from .console import figures

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
    print(f"\nTrigger 'cf', target 'positive'; {seconds:.0f} s in all:\n")
    print(figures(result.evaluations))
    print(f"\nThe purified model is in {args.output}. To load it with plain transformers:\n")
    print("    from transformers import pipeline")
    print(f'    classify = pipeline("text-classification", model={args.output!r})')
    print('    print(classify("A film that cf nobody should miss ."))')
    return 0
