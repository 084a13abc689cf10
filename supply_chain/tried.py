"""
Keeps what the tests said about an environment, and writes the tables of docs/compatibility.md from it.

    ENVIRONMENT/bin/python -m pytest --junitxml tests.xml ...
    ENVIRONMENT/bin/python supply_chain/tried.py keep tests.xml tests/compatibility/results/NAME.json
    python supply_chain/tried.py tables
"""

import argparse
import importlib.metadata
import json
import platform
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ranges import EXTRAS, ROOT, asked, name_of


PAGE = ROOT / "docs" / "compatibility.md"
RESULTS = ROOT / "tests" / "compatibility" / "results"
# The columns of the table of versions, and how they are headed.
ENVIRONMENTS = {
    "lowest": "lowest",
    "newest": "newest",
    "newest-python-3.13": "newest",
}


def keep(junits: list[Path], output: Path) -> None:
    """Writes what this environment has installed, and how the tests went in it.

    Args:
        junits: What pytest wrote with `--junitxml`. A later file counts for a test that is in several.
        output: The JSON file to write.
    """
    outcomes: dict[str, str] = {}
    again = []
    for case in [case for path in junits for case in ElementTree.parse(path).iter("testcase")]:
        # A test that was interrupted has no class name, and no result.
        if case.get("classname"):
            name = f"{case.get('classname')}.{case.get('name')}"
            if outcomes.get(name) == "failed":
                again.append(name)
            outcomes[name] = _outcome(case)
    named = {kind: sorted(name for name, each in outcomes.items() if each == kind) for kind in ("failed", "skipped")}
    names = sorted({name_of(line) for line in asked(*EXTRAS)})
    installed = {name_of(each.metadata["Name"]): each.version for each in importlib.metadata.distributions()}
    result = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: installed[name] for name in names if name in installed},
        "passed": list(outcomes.values()).count("passed"),
        **named,
        "failed_at_first": again,
        "files": sorted({re.match(r"[a-z_.0-9]+(?=\.)", name)[0] for name in outcomes}),
    }
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{output.name}: {result['passed']} passed, {len(named['failed'])} failed, {len(named['skipped'])} skipped")


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"


def versions_table(results: dict[str, dict]) -> str:
    """The versions in each environment, with the ranges of pyproject.toml, and how the tests went.

    Args:
        results: What `keep` wrote, by the name of the file.

    Returns:
        Markdown.
    """
    ranges = {name_of(line): re.sub(r"^[\w.-]+(\[\w+\])?", "", line) for line in asked(*EXTRAS)}
    head = [f"{ENVIRONMENTS[name]}, Python {each['python']}" for name, each in results.items()]
    lines = [f"| | allowed | {' | '.join(head)} |", f"|---|---|{'---|' * len(head)}"]
    for name in sorted(ranges):
        cells = [each["versions"].get(name, "") for each in results.values()]
        lines.append(f"| {name} | `{ranges[name]}` | {' | '.join(cells)} |")
    counts = [f"{each['passed']} / {len(each['failed'])} / {len(each['skipped'])}" for each in results.values()]
    files = [str(len(each["files"])) for each in results.values()]
    lines += [f"| **tests passed / failed / skipped** | | {' | '.join(counts)} |"]
    again = [str(len(each["failed_at_first"])) for each in results.values()]
    lines += [f"| of these, passed only when run again | | {' | '.join(again)} |"]
    lines += [f"| files of tests that were run | | {' | '.join(files)} |"]
    return "\n".join(lines)


def wheels_table(results: dict[str, dict]) -> str:
    """How many packages have wheels for each Python.

    Args:
        results: What wheels.py wrote, by what was looked for.

    Returns:
        Markdown.
    """
    lines = ["| Python | looked for | packages, all with wheels | without a wheel |", "|---|---|---:|---|"]
    for what, found in results.items():
        for python, each in found["pythons"].items():
            count = len(each["versions"]) if each["versions"] else "-"
            lines.append(f"| {python} | {what} | {count} | {', '.join(each['without']) or 'none'} |")
    return "\n".join(lines)


def fill(page: str, name: str, table: str) -> str:
    """Puts a table between the two marks of its name."""
    pattern = rf"(?s)(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)"
    return re.sub(pattern, lambda found: f"{found[1]}\n{table}\n{found[2]}", page)


def read(name: str) -> dict:
    """Reads one of the files of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def tables() -> str:
    """The page with its tables renewed."""
    page = PAGE.read_text(encoding="utf-8")
    page = fill(page, "versions", versions_table({name: read(name) for name in ENVIRONMENTS if _there(name)}))
    return fill(page, "wheels", wheels_table({"the newest": read("wheels"), "constraints.txt": read("wheels-tested")}))


def _there(name: str) -> bool:
    return (RESULTS / f"{name}.json").exists()


def main() -> None:
    """Runs one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keeper = commands.add_parser("keep", help="write what an environment has and how its tests went")
    keeper.add_argument("junits", type=Path, nargs="+")
    keeper.add_argument("output", type=Path)
    commands.add_parser("tables", help="renew the tables of docs/compatibility.md")
    args = parser.parse_args()
    if args.command == "keep":
        keep(args.junits, args.output)
    else:
        PAGE.write_text(tables(), encoding="utf-8")


if __name__ == "__main__":
    main()
