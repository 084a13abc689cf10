"""`hf-finemix push`: publish an output folder on the Hub, in one commit."""

import argparse
from typing import TYPE_CHECKING

from .answers import Answer, add_json, answered
from .arguments import add_hub


if TYPE_CHECKING:
    from ..publishing import Published


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "push",
        help="publish an output folder on the Hub, in one commit",
        description="Upload model, tokenizer, card, report and manifest of an output folder, and nothing else. The "
        "token is the one of `hf auth login`, or HF_TOKEN.",
    )
    parser.add_argument("folder", metavar="DIR", help="output folder of purify, of a trainer or of a mixin")
    parser.add_argument("repo_id", metavar="REPO", help="Hub id; the repository is made if it does not exist")
    add_hub(parser)
    parser.add_argument("--revision", metavar="BRANCH", help="branch to commit to; made if it does not exist")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    parser.add_argument(
        "--sign-key", metavar="PEM", help="private key of an elliptic curve, to sign the files with (extra: sign)"
    )
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """
    Runs the command.

    Its JSON: `repo_id`, `commit_url`, `oid`, `pr_url`, `files`, `removed` and `conversions`, as in
    [`~hf_finemix.publishing.Published`].
    """
    from dataclasses import asdict

    from ..publishing import publish

    published = publish(
        args.folder,
        args.repo_id,
        private=args.private,
        revision=args.revision,
        create_pr=args.create_pr,
        commit_message=args.commit_message,
        sign_key=args.sign_key,
    )
    return Answer(asdict(published), lambda: print_published(published, args.revision))


def print_published(published: "Published", revision: str | None = None) -> None:
    """Prints where a model went."""
    from .console import printable

    for name in published.removed:
        print(f"Removed from the repository, where it belonged to another model: {printable(name)}")
    for name in published.conversions:
        print(f"Still there, and made from other weights: {printable(name)}")
    print(f"Published {len(published.files)} files: {published.pr_url or published.commit_url}")
    if published.pr_url is None:
        where = published.repo_id if revision is None else f"{published.repo_id}@{revision}"
        print(f"Anybody can check them: hf-finemix verify {where}")
