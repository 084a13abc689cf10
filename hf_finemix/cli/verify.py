"""`hf-finemix verify`: check a purified model against its manifest, and compute its mixing again."""

import argparse
from typing import TYPE_CHECKING

from .answers import Answer, add_json, answered
from .arguments import show_progress


if TYPE_CHECKING:
    from ..verification import Verification


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "verify",
        help="check a purified model against its manifest, and compute its mixing again",
        description="Compare the files of a purified model with its manifest, fetch suspect and pretrained weights at "
        "the recorded commits, mix them again and compare each tensor. Exit status 1 if something is different.",
    )
    parser.add_argument("model", metavar="MODEL", help="output folder, Hub id or id@revision")
    parser.add_argument("--suspect", metavar="SUSPECT", help="where the suspect is, if it is not on the Hub")
    parser.add_argument("--pretrained", metavar="BASE", help="where the pretrained weights are, if not on the Hub")
    parser.add_argument("--strict", action="store_true", help="fail also on what is not available")
    parser.add_argument("--retrain", action="store_true", help="repeat the fine-tuning of `purify`, too, and compare")
    parser.add_argument("--clean-data", metavar="DATA", help="the clean data for --retrain, if not on the Hub")
    parser.add_argument("--eval-data", metavar="DATA", help="the evaluation data for --retrain, if not on the Hub")
    parser.add_argument(
        "--unlabeled-data", metavar="DATA", help="the unlabelled texts for --retrain, if not on the Hub"
    )
    parser.add_argument("--public-key", metavar="PEM", help="check the signature with this public key (extra: sign)")
    parser.add_argument("--fisher", metavar="FILE", help="the Fisher information, if the model was mixed with some")
    parser.add_argument("--all", action="store_true", help="print a line for each tensor, not only where they differ")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: the fields of a [`~hf_finemix.Verification`], and whether it `failed`."""
    from ..errors import InputError
    from ..verifying import verify

    if not args.retrain and (args.clean_data or args.eval_data or args.unlabeled_data):
        raise InputError("--clean-data, --eval-data and --unlabeled-data are for --retrain; add it.")
    found = verify(
        args.model,
        suspect=args.suspect,
        pretrained=args.pretrained,
        retrained=args.retrain,
        clean_dataset=args.clean_data,
        evaluation_dataset=args.eval_data,
        unlabeled_dataset=args.unlabeled_data,
        public_key=args.public_key,
        fisher=args.fisher,
        progress=show_progress(),
    )
    failed = found.failed(args.strict)
    return Answer(found.to_dict() | {"failed": failed}, lambda: _print(found, args), int(failed))


def _print(found: "Verification", args: argparse.Namespace) -> None:
    from ..verification import DIFFERENT, NOT_AVAILABLE, SAME
    from .console import STYLES, paint, printable, wrapped

    tensors = [check for check in found.checks if check.part == "mixed tensor"]
    lines = [
        (check.status, check.part, printable(check.item), printable(check.note))
        for check in found.checks
        if check.part != "mixed tensor" or args.all or check.status == DIFFERENT
    ]
    for status in (SAME, DIFFERENT, NOT_AVAILABLE):
        some = [check for check in tensors if check.status == status]
        if some and not args.all:
            lines.append((status, "mixed tensors", f"{len(some)} of {len(tensors)}", printable(some[0].note)))
    _print_lines(lines)
    print()
    repeated = any(check.item == "weights" and check.status != NOT_AVAILABLE for check in found.checks)
    if found.fine_tuned and not repeated:
        way = ""
        if found.moved is not None:
            way = (
                f" It moved them by {100 * found.moved:.1f} % of the distance between suspect and pretrained weights."
            )
        print(wrapped(f"What happened to the weights after the mixing is vouched for by the publisher alone.{way}"))
    print(wrapped(f"Settings: {printable(found.settings)}."))
    words = [f"{found.count(status)} {status}" for status in (SAME, DIFFERENT, NOT_AVAILABLE)]
    said = DIFFERENT if found.count(DIFFERENT) else NOT_AVAILABLE if found.count(NOT_AVAILABLE) else SAME
    print(paint(f"{printable(found.source)}: {', '.join(words)}.", STYLES[said]))


def _print_lines(lines: list[tuple[str, str, str, str]]) -> None:
    from .console import STYLES, on_terminal, table

    if on_terminal():
        styles = [STYLES[status] for status, *_ in lines]
        # Most often there is nothing to note.
        count = 4 if any(note for *_, note in lines) else 3
        header = ["status", "part", "item", "note"][:count]
        print(table(header, [line[:count] for line in lines], left=count, styles=styles))
        return
    for status, part, item, note in lines:
        print(f"{status:<13}  {part}: {item}" + (f"  ({note})" if note else ""))
