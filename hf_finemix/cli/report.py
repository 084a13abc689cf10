"""`hf-finemix report`: tables, figures and the paper's claims from the results of a bench."""

import argparse
import json
from dataclasses import asdict


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "report",
        help="sum up the results of a bench: tables, figures, the paper's claims",
        description="Write report.md, tables/*.csv and figures/*.png from the results of a bench, finished or not, "
        "and print the paper's claims with their answers and the averages.",
    )
    parser.add_argument("folder", metavar="DIR", help="output folder of bench")
    parser.add_argument("--output", metavar="DIR2", help="folder to write to (default: DIR)")
    parser.add_argument("--json", action="store_true", help="print claims and averages as one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
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
        print(json.dumps(found, indent=2, allow_nan=False))
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
