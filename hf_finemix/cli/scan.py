"""`hf-finemix scan`: rank suspicious tokens and layers; changes nothing."""

import argparse
import json

from ..choices import FINDINGS
from .arguments import add_frequencies


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "scan",
        help="rank suspicious tokens and layers of a suspect; changes nothing",
        description="Compare a fine-tuned model with its pretrained weights: which word embeddings moved further than "
        "their frequency explains, and how far each layer moved.",
    )
    parser.add_argument("suspect", metavar="SUSPECT", help="the fine-tuned model: Hub id, id@revision or local folder")
    parser.add_argument("--pretrained", required=True, metavar="BASE", help="the clean weights it was made from")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="how many tokens to show (default: 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--fail-on", choices=FINDINGS, help="exit with status 1 if the finding is at least this level")
    add_frequencies(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from ..scanning import scan
    from .console import printable, table

    report = scan(args.suspect, args.pretrained, top=args.top, frequencies=args.frequencies)
    if args.json:
        print(json.dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        rows = [
            [str(item.rank), printable(item.token), str(item.id), f"{item.score:.5f}", f"{item.deviation:.1f}"]
            for item in report.tokens
        ]
        print(table(["rank", "token", "id", "score", "deviations"], rows))
        print()
        print(
            table(
                ["group", "scalars", "drift"],
                [[g.group, f"{g.scalars:,}", f"{100 * g.relative_drift:.2f} %"] for g in report.layers],
            )
        )
        print()
        print(f"Finding: {report.finding} (prominence {report.prominence:.2f}).")
        print("A low finding does not prove that the model is clean.")
    found = FINDINGS.index(report.finding)
    return int(args.fail_on is not None and found >= FINDINGS.index(args.fail_on))
