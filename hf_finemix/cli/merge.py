"""`hf-finemix merge`: an adapter merged into its base, so that it can be mixed with it."""

import argparse

from .answers import Answer, add_json, answered
from .console import printable


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "merge",
        help="merge a suspect adapter into its base model, as a suspect for the other commands",
        description="Merge an adapter of PEFT (LoRA, rsLoRA, DoRA, (IA)^3, trainable tokens) into its base model. The "
        "result is a whole model, which `purify`, `mix` and `scan` take as SUSPECT, with the same BASE. ADAPTER and "
        "BASE are Hub ids (id or id@revision) or local folders. The base that the adapter itself names is not looked "
        "at.",
    )
    parser.add_argument("adapter", metavar="ADAPTER", help="the adapter that may carry a backdoor")
    parser.add_argument("--pretrained", required=True, metavar="BASE", help="the clean weights it was trained on")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder for the merged model")
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="NAME",
        help="names of a classifier's labels in their order, which an adapter does not know",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        metavar="S",
        help="how much of each change to merge, from 0 to 1 (default: 1)",
    )
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """
    Runs the command.

    Its JSON: `output`, `pretrained` (the base that was used), `named_base` (the one that the adapter names),
    `changed_modules` and `replaced_parameters` (how many).
    """
    from ..adapter_models import merge_adapter
    from ..adapters import resolve_adapter
    from ..output import check_output

    check_output(args.output)
    adapter = resolve_adapter(args.adapter)
    named = adapter.settings.base
    if named is not None and named != args.pretrained:
        print(f"The adapter names {printable(named[:200])} as its base; {printable(args.pretrained)} is used.")
    merge_adapter(adapter, args.pretrained, args.output, labels=args.labels, share=args.share)
    changed, replaced = len(adapter.parts), len(adapter.whole)
    content = {"output": args.output, "pretrained": args.pretrained, "named_base": named}
    content |= {"changed_modules": changed, "replaced_parameters": replaced}

    def show() -> None:
        print(f"Merged: {changed} changed modules, {replaced} replaced parameters.")
        print(f"Merged model: {args.output}")

    return Answer(content, show)
