"""`hf-finemix report`: a purification as a page to look at, or a bench as tables, figures and the paper's claims."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from .answers import print_json


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "report",
        help="show a purification as a page, or sum up the results of a bench",
        description="Of a purified model: write finemix_report.html, a page that needs no network. Of a bench, done "
        "or not: write report.md, tables/*.csv and figures/*.png, and print the paper's claims with their answers and "
        "the averages.",
    )
    parser.add_argument(
        "folder", metavar="DIR", help="output folder of purify, a trainer or mix, a Hub id of such a model, or a bench"
    )
    parser.add_argument("--output", metavar="DIR2", help="folder to write to (default: DIR; a Hub id needs one)")
    parser.add_argument("--json", action="store_true", help="print what was found as one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from ..errors import InputError
    from ..laboratory.results import CONFIG_FILE
    from ..loading import WEIGHTS_FILE
    from ..results import REPORT_FILE

    if args.output == "":
        raise InputError("--output is empty; name a folder.")
    folder = Path(os.path.expanduser(args.folder))
    # Unlike `Path`, these take a name of any length.
    if os.path.isfile(folder / REPORT_FILE) or not os.path.exists(folder):
        return _show_purification(args)
    if not os.path.isfile(folder / CONFIG_FILE) or os.path.isfile(folder / WEIGHTS_FILE):
        raise InputError(
            f"DIR {args.folder!r} has neither {REPORT_FILE}, which `purify` writes, nor {CONFIG_FILE} of a bench."
        )
    return _sum_up_bench(args)


def _show_purification(args: argparse.Namespace) -> int:
    from ..card_sections import tone, verdict
    from ..errors import InputError
    from ..evidence import rewrite_page
    from ..html_report.page import HTML_FILE, render_html
    from ..html_report.sources import find_evidence
    from ..output import check_file, replace_text
    from .console import printable

    folder = Path(os.path.expanduser(args.output or args.folder))
    if args.output is None and not os.path.isdir(folder):
        raise InputError(
            f"DIR {args.folder!r} is no local folder; name one, or give --output with a model that is on the Hub."
        )
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"--output {str(folder)!r} is no folder; name one.")
    # A folder that is not there yet is to be made in one that is.
    check_file(folder / HTML_FILE if os.path.isdir(folder) else folder, "--output" if args.output else "DIR")
    found = find_evidence(args.folder)
    path, text = folder / HTML_FILE, render_html(found.title, found.report, found.manifest, found.differences)
    if found.folder is not None and folder.is_dir() and folder.samefile(found.folder):
        rewrite_page(folder, text, found.manifest)
    else:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"--output {str(folder)!r} cannot be made: {error.strerror}; name another.") from None
        replace_text(path, text)
    said = verdict(found.report)
    if args.json:
        print_json({"report": str(path), "verdict": said, "tone": tone(found.report)})
    else:
        print(f"{printable(said.replace('**', ''))}\nReport: {path}")
    return 0


def _sum_up_bench(args: argparse.Namespace) -> int:
    from ..laboratory.reporting import make_report, save_report
    from ..laboratory.results import Results

    results = Results.load(args.folder)
    report = make_report(results)
    written = save_report(report, args.output or args.folder)
    if args.json:
        found = {
            "claims": [asdict(claim) for claim in report.claims],
            "averages": [asdict(average) for average in report.averages],
            "failures": len(results.failures),
            "missing_cells": len(results.missing),
            "report": str(written[0]),
        }
        print_json(found)
        return 0
    for line in _claims(report.claims) + _averages(report.averages):
        print(line)
    if results.missing:
        print(f"Unfinished: {len(results.missing)} of {len(results.config['cells'])} cells have no result yet.")
    if results.failures:
        print(f"Failed: {len(results.failures)}; the report says why.")
    print(f"Report: {written[0]}")
    return 0


def _claims(claims: tuple) -> list[str]:
    from .console import printable

    if not claims:
        return ["Nothing was measured.", ""]
    lines = []
    for claim in claims:
        lines.append(f"{claim.number}. {claim.answer}: {printable(f'{claim.statement} [{claim.model}]')}")
        lines.append(f"   {printable(claim.figures)}")
    return [*lines, ""]


def _averages(averages: tuple) -> list[str]:
    from ..laboratory.summary import DEFENSE
    from ..laboratory.tables import of_e_pur, percent
    from .console import printable, table

    if not averages:
        return []
    several = len({average.model for average in averages}) > 1
    rows = []
    for average in averages:
        name = printable(average.defense if not several else f"{average.model}: {average.defense}")
        e_pur = of_e_pur(average.e_pur) if average.role == DEFENSE else ""
        rates = (average.accuracy, average.asr, average.flip_rate, average.ra)
        rows.append([name, e_pur, *map(percent, rates), f"{average.measured} of {average.planned}"])
    header = ["mean", "E-PUR", "ACC", "ASR", "flip rate", "RA", "pairs"]
    return [table(header, rows), "", "In percent, over pairs of task and attack.", ""]
