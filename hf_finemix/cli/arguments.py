"""Arguments that several commands share."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ..choices import MATCHES, POSITIONS
from ..errors import InputError


if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ..adapters import Adapter
    from ..attacks.trigger import Trigger
    from ..generators.triggers import ResponseTrigger
    from ..loading import Checkpoint


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Adds the names of the data's columns."""
    parser.add_argument(
        "--text-column",
        action="append",
        metavar="C",
        help="column of the text; give it twice for sentence pairs (default: text, sentence or content, or a usual "
        "pair such as premise and hypothesis); of a language model: of the prompts",
    )
    parser.add_argument(
        "--label-column",
        metavar="C",
        help="column of label ids or names (default: label, labels or class); of a language model: of the responses",
    )


def add_triggers(parser: argparse.ArgumentParser) -> None:
    """Adds the triggers to measure."""
    parser.add_argument(
        "--trigger",
        action="append",
        metavar="TEXT",
        help="word or sentence to insert, to measure the attack; may be given several times",
    )
    parser.add_argument("--target-label", metavar="L", help="label (id or name) that the trigger is meant to cause")
    parser.add_argument(
        "--target-text", metavar="TEXT", help="what it is meant to make a language model say; keywords: with | between"
    )
    parser.add_argument(
        "--match",
        choices=MATCHES,
        help="when a language model said so: its answer is the text, holds a keyword, is a refusal, or is none where "
        "one is due (default: exact)",
    )
    parser.add_argument("--position", choices=POSITIONS, default="random", help="where to insert it (default: random)")
    parser.add_argument("--trigger-seed", type=int, metavar="N", help="seed of random positions (default: the --seed)")


def add_frequencies(parser: argparse.ArgumentParser) -> None:
    """Adds the source of token counts."""
    parser.add_argument(
        "--frequencies",
        default="vocabulary",
        metavar="SOURCE",
        help="source of token counts: vocabulary, wordfreq, or a text file with one text a line (default: vocabulary)",
    )


def add_hub(parser: argparse.ArgumentParser) -> None:
    """Adds what a publication can be told."""
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument(
        "--private", action="store_true", default=None, help="make a new repository private; refuse a public one"
    )
    visibility.add_argument(
        "--public", dest="private", action="store_false", help="make a new repository public; refuse a private one"
    )
    parser.add_argument("--commit-message", metavar="TEXT", help="first line of the commit's message")


def check_triggers(args: argparse.Namespace) -> None:
    """
    Checks that triggers and what they aim at come together.

    Raises:
        InputError: If one of them is missing, or a trigger is blank.
    """
    if any(not text.strip() for text in args.trigger or ()):
        raise InputError("--trigger is blank; give the word or sentence to insert.")
    says = args.target_text is not None or args.match is not None
    if args.trigger and args.target_label is None and not says:
        raise InputError(
            "--trigger needs --target-label, the label that the trigger is meant to cause, or of a language model "
            "--target-text or --match."
        )
    for name in ("target_label", "target_text", "match"):
        if getattr(args, name) is not None and not args.trigger:
            raise InputError(f"--{name.replace('_', '-')} needs --trigger, the text to insert.")
    if args.target_label is not None and says:
        raise InputError("--target-label is for classifiers, --target-text and --match for language models; give one.")
    needs_text = args.match in (None, *MATCHES[:2])
    if says and needs_text != bool((args.target_text or "").strip()):
        raise InputError(
            f"--match {args.match or MATCHES[0]} needs --target-text, what the model is meant to say."
            if needs_text
            else f"--target-text is of no use with --match {args.match}; leave it out."
        )


def make_triggers(
    args: argparse.Namespace, config: "PreTrainedConfig", answers: bool
) -> list["Trigger"] | list["ResponseTrigger"]:
    """
    Builds the triggers, with the target label's name mapped to its id.

    Args:
        args (`argparse.Namespace`): Checked by [`check_triggers`].
        config ([`~transformers.PreTrainedConfig`]): That of the model.
        answers (`bool`): Whether it is a language model.

    Raises:
        InputError: If the target label is unknown, or what the triggers aim at is not what such a model gives.
    """
    from ..attacks.trigger import Trigger
    from ..generators.triggers import ResponseTrigger
    from ..labels import find_label

    if not args.trigger:
        return []
    seed = args.trigger_seed if args.trigger_seed is not None else args.seed or 0
    if answers:
        if args.target_label is not None:
            raise InputError("--target-label is for classifiers; say what a language model says with --target-text.")
        match = args.match or MATCHES[0]
        return [ResponseTrigger(text, args.target_text or "", match, args.position, seed) for text in args.trigger]
    if args.target_label is None:
        raise InputError("--target-text and --match are for language models; give --target-label.")
    target = find_label(args.target_label, config.label2id, config.num_labels, "--target-label")
    return [Trigger(text, target, args.position, seed) for text in args.trigger]


def show_progress() -> bool:
    """Tells whether progress bars have a terminal to be drawn on."""
    return sys.stderr.isatty() and is_main_process()


def is_main_process() -> bool:
    """Tells whether this is the process that speaks, among those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def add_allow_unrelated(parser: argparse.ArgumentParser) -> None:
    """Adds the option to go on with a base that is no relative of the suspect."""
    parser.add_argument(
        "--allow-unrelated",
        action="store_true",
        help="go on with a base whose weights have hardly a direction in common with the suspect's",
    )


def add_align_vocabulary(parser: argparse.ArgumentParser) -> None:
    """Adds the option to pair the rows of vocabularies by their tokens."""
    parser.add_argument(
        "--align-vocabulary",
        action="store_true",
        default=None,
        help="pair the rows of the two vocabularies by their tokens, if these are not in the same order; tokens that "
        "the base lacks keep the suspect's embedding",
    )


def add_allow_unmatched(parser: argparse.ArgumentParser) -> None:
    """Adds the option to keep parameters that the base should have and lacks."""
    parser.add_argument(
        "--allow-unmatched",
        action="store_true",
        default=None,
        help="keep the suspect's values of parameters that the base should have and lacks, instead of refusing it",
    )


def add_pretrained(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that names the base, and the option to take the one that the suspect's card names."""
    parser.add_argument(
        "--pretrained",
        required=True,
        metavar="BASE",
        help="the clean weights that it was made from; `auto` for those that the suspect's card names, after asking",
    )
    parser.add_argument("--follow-card", action="store_true", help="with --pretrained auto: take them without asking")


def chosen_base(args: argparse.Namespace, suspect: "Checkpoint | Adapter | None" = None) -> str:
    """
    Returns the base that was given, or the one that the suspect's card names if the user says so.

    Raises:
        InputError: If the card names none, or the user was not asked or said no.
    """
    if args.pretrained != "auto":
        if args.follow_card:
            raise InputError("--follow-card needs --pretrained auto.")
        return args.pretrained
    from ..loading import resolve_checkpoint
    from ..trust import named_base

    name = named_base(suspect or resolve_checkpoint(args.suspect, "SUSPECT"))
    if args.follow_card:
        return name
    if sys.stdin.isatty() and sys.stderr.isatty():
        print(f"The suspect's card names {name} as its base. Use it? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return name
    raise InputError(f"the suspect's card names {name!r} as its base; give --pretrained {name}, or --follow-card.")


def warn_of_base(trusted: bool | None, label: str) -> None:
    """Says on standard error that a base is of somebody who is not on the user's list."""
    if trusted is False:
        from ..trust import warning

        print(f"hf-finemix: warning: {warning(label.split('@')[0])}.", file=sys.stderr)
