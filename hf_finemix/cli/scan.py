"""`hf-finemix scan`: what moved suspiciously in a suspect, and what its suspicious tokens do; changes nothing."""

import argparse

from ..choices import FINDINGS
from .answers import Answer, answered, as_json, print_json
from .arguments import (
    add_allow_unrelated,
    add_frequencies,
    add_pretrained,
    chosen_base,
    show_progress,
    warn_of_base,
)


_FORMATS = ("text", "json", "sarif")


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "scan",
        help="rank suspicious tokens and layers of a suspect; changes nothing",
        description="Compare a fine-tuned model with its pretrained weights: which word embeddings moved further than "
        "their frequency explains, how far each layer moved, and what moved out of line. With clean texts, also put "
        "the suspicious tokens into them and count how many predictions flip.",
    )
    parser.add_argument("suspect", metavar="SUSPECT", help="the fine-tuned model: Hub id, id@revision or local folder")
    add_pretrained(parser)
    parser.add_argument("--top", type=int, default=20, metavar="N", help="how many tokens to show (default: 20)")
    parser.add_argument(
        "--clean-data",
        metavar="DATA",
        help="clean texts to insert suspicious tokens into, at most 100 of them: a csv, tsv, json, jsonl, parquet or "
        "txt file, or a Hub data set (id:config:split); labels are not needed, and the suspect must be a classifier",
    )
    parser.add_argument(
        "--text-column",
        action="append",
        metavar="C",
        help="column of the text; give it twice for sentence pairs (default: text, sentence or content, or a usual "
        "pair such as premise and hypothesis)",
    )
    parser.add_argument(
        "--search-top",
        type=int,
        default=100,
        metavar="N",
        help="how many of the first tokens to insert (default: 100)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the places (default: 0)")
    parser.add_argument("--format", choices=_FORMATS, help="what to print (default: text)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, as --format json does")
    parser.add_argument(
        "--prescan",
        action="store_true",
        help="let picklescan look at pickles that lie in SUSPECT's folder (needs hf-finemix[prescan]); none is loaded",
    )
    parser.add_argument("--sarif", metavar="FILE", help="write the findings as SARIF 2.1.0, too; replaces the file")
    parser.add_argument("--fail-on", choices=FINDINGS, help="exit with status 1 if the finding is at least this level")
    add_frequencies(parser)
    add_allow_unrelated(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: the fields of a [`~hf_finemix.ScanReport`]."""
    from ..errors import InputError
    from ..loading import resolve_checkpoint
    from ..output import check_file, replace_text
    from ..sarif import to_sarif
    from ..scanning import scan
    from ..trust import is_trusted
    from .scanned import as_text

    if args.json and args.format not in (None, "json"):
        raise InputError(f"--json and --format {args.format} contradict each other; give one of them.")
    target = None if args.sarif is None else check_file(args.sarif, "--sarif")
    base = resolve_checkpoint(chosen_base(args), "`pretrained`")
    warn_of_base(is_trusted(base.repo_id), base.label)
    report = scan(
        args.suspect,
        base,
        top=args.top,
        frequencies=args.frequencies,
        texts=args.clean_data,
        text_columns=args.text_column,
        search_top=args.search_top,
        seed=args.seed,
        allow_unrelated=args.allow_unrelated,
        prescan=args.prescan,
        progress=show_progress(),
    )
    if target is not None:
        replace_text(target, as_json(to_sarif(report)) + "\n")
    content = report.to_dict()
    shown = {
        "text": lambda: print(as_text(report)),
        "json": lambda: print_json(content),
        "sarif": lambda: print_json(to_sarif(report)),
    }
    found = FINDINGS.index(report.finding)
    status = int(args.fail_on is not None and found >= FINDINGS.index(args.fail_on))
    return Answer(content, shown[args.format or "text"], status)
