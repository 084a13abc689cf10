"""`hf-finemix verify`: check a purified model against its manifest, and compute its mixing again."""

import argparse
import json
from typing import TYPE_CHECKING

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
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
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
    if args.json:
        print(json.dumps(found.to_dict() | {"failed": found.failed(args.strict)}, indent=2, allow_nan=False))
    else:
        _print(found, args)
    return int(found.failed(args.strict))


def _print(found: "Verification", args: argparse.Namespace) -> None:
    from ..verification import DIFFERENT, NOT_AVAILABLE, SAME
    from .console import printable

    tensors = [check for check in found.checks if check.part == "mixed tensor"]
    for check in found.checks:
        if check.part != "mixed tensor" or args.all or check.status == DIFFERENT:
            note = f"  ({printable(check.note)})" if check.note else ""
            print(f"{check.status:<13}  {check.part}: {printable(check.item)}{note}")
    for status in (SAME, DIFFERENT, NOT_AVAILABLE):
        some = [check for check in tensors if check.status == status]
        if some and not args.all:
            note = f"  ({printable(some[0].note)})" if some[0].note else ""
            print(f"{status:<13}  mixed tensors: {len(some)} of {len(tensors)}{note}")
    print()
    repeated = any(check.item == "weights" and check.status != NOT_AVAILABLE for check in found.checks)
    if found.fine_tuned and not repeated:
        way = ""
        if found.moved is not None:
            way = (
                f" It moved them by {100 * found.moved:.1f} % of the distance between suspect and pretrained weights."
            )
        print(f"What happened to the weights after the mixing is vouched for by the publisher alone.{way}")
    print(f"Settings: {printable(found.settings)}.")
    words = [f"{found.count(status)} {status}" for status in (SAME, DIFFERENT, NOT_AVAILABLE)]
    print(f"{printable(found.source)}: {', '.join(words)}.")
