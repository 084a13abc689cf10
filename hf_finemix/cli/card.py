"""`hf-finemix card`: render the defence card of an output folder again."""

import argparse
from pathlib import Path

from ..errors import InputError
from .answers import Answer, add_json, answered


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "card",
        help="render the defence card of an output folder again",
        description="Render README.md from the report of an output folder, and bring the manifest up to date. What "
        "you wrote before or after the generated part, under headings of your own or into the metadata, is kept.",
    )
    parser.add_argument("folder", metavar="DIR", help="output folder of purify, of a trainer or of a mixin")
    parser.add_argument("--name", metavar="NAME", help="name of the model (default: the repository's or the folder's)")
    parser.add_argument("--repo-id", metavar="REPO", help="where on the Hub the model is, or will be")
    parser.add_argument("--license", metavar="L", help="licence id to state, such as apache-2.0")
    parser.add_argument("--language", metavar="CODE", help="language of the model, such as en")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: `card`, the path."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    from ..card import DefenseCard, read_card
    from ..card_merge import card_title
    from ..evidence import rewrite_card
    from ..licenses import license_id
    from ..results import load_report

    if args.license is not None and license_id(args.license) is None:
        raise InputError(f"--license {args.license!r} is no licence id of the Hub; take one such as apache-2.0.")
    if args.repo_id is not None:
        try:
            validate_repo_id(args.repo_id)
            if not args.repo_id:
                raise HFValidationError("it is empty")
        except HFValidationError as error:
            raise InputError(f"--repo-id {args.repo_id!r} is no id of the Hub: {error}") from None
    folder = Path(args.folder)
    report = load_report(folder)
    existing = read_card(folder)
    kept = None if existing is None or args.repo_id else card_title(existing)
    title = args.name or kept or (args.repo_id or folder.absolute().name).split("/")[-1]
    card = DefenseCard(report, title, args.repo_id, args.license, args.language)
    path = rewrite_card(folder, card)
    return Answer({"card": str(path)}, lambda: print(f"Card: {path}"))
