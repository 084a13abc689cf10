"""
For whoever lets models into production: a check for a pipeline that scans each of them, and fails on a finding.

    python examples/scan_in_ci.py
    python examples/scan_in_ci.py models.txt --fail-on high --sarif scans

Each line of models.txt names a suspect, its base and, if there are some, clean texts, with white space between them:
Hub ids, `id@revision` or local folders; a file or a Hub data set. Without arguments it takes what `hf-finemix demo
--fast --save-inputs inputs` leaves behind. With `--sarif` the findings go into a folder, for a code-scanning service:
a file for each line, whose number its name begins with.

Prints a line for each model. The exit status is 0 if none has a finding of that level, 1 if one has, and 2 if one
could not be scanned, for whatever reason. No finding does not prove that a model is clean.
"""

import argparse
import json
import re
from pathlib import Path

from hf_finemix import InputError, ScanReport, scan
from hf_finemix.errors import reason
from hf_finemix.printing import printable
from hf_finemix.sarif import to_sarif


LEVELS = ("low", "medium", "high")
DEMO = "inputs/suspect inputs/all-MiniLM-L6-v2 inputs/clean.csv"


def describe(report: ScanReport) -> str:
    """Says what was found; what a suspect calls its tokens and labels must not reach the terminal as it is."""
    if report.insertions:
        return printable(report.sentence(report.insertions[0]))
    token = printable(report.tokens[0].token)
    return f"the most suspicious token is {token!r}, with {report.prominence:.1f} times the score of the next ones"


def check(number: int, line: str, options: argparse.Namespace) -> int:
    """Scans the model of a line; gives its exit status."""
    words = line.split()
    if len(words) not in (2, 3):
        raise InputError(f"line {number} is not of the form SUSPECT PRETRAINED [TEXTS]; write two or three words.")
    suspect, pretrained, *texts = words
    report = scan(suspect, pretrained, texts=texts[0] if texts else None)
    print(f"{report.finding:<8}{printable(suspect)}: {describe(report)}")
    if options.sarif is not None:
        options.sarif.mkdir(parents=True, exist_ok=True)
        # Names that differ may be the same without their signs, and a suspect may be on several lines.
        file = options.sarif / f"{number}-{re.sub(r'[^A-Za-z0-9.-]+', '-', suspect)}.sarif"
        file.write_text(json.dumps(to_sarif(report), indent=2) + "\n", encoding="utf-8")
    return int(LEVELS.index(report.finding) >= LEVELS.index(options.fail_on))


def failed(what: str, error: Exception) -> int:
    """Says on one line what went wrong; gives the exit status."""
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    print(f"error   {printable(what)}: {kind}{printable(reason(error, limit=1000))}")
    return 2


def main() -> int:
    """Scans all models; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", type=Path)
    parser.add_argument("--fail-on", choices=LEVELS, default="high")
    parser.add_argument("--sarif", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.models is None and not Path("inputs/suspect").is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    try:
        lines = (DEMO if options.models is None else options.models.read_text(encoding="utf-8")).splitlines()
    except (OSError, ValueError) as error:
        return failed(str(options.models), error)
    status = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            status = max(status, check(number, line, options))
        except Exception as error:
            # Python's own status for it is 1, which would be taken for a finding.
            status = failed(line.split()[0], error)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
