"""Writes docs/licenses.md, the licences of all locked packages; `make licenses` runs it on Linux."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lock import CUDA, LOCK, ROOT, entries


PAGE = ROOT / "docs" / "licenses.md"
NEWEST = "3.14"
# Their metadata say nothing or something else; read in the licence file inside the package of that version.
READ_BY_HAND = {
    ("locate", "1.1.1"): "MIT",
    ("nvidia-nvtx", "13.0.85"): "Apache-2.0",
    ("sigstore-models", "0.0.6"): "MIT",
}
INTRODUCTION = """\
# Licences of the dependencies

All packages of requirements.lock. hf-finemix itself is under Apache-2.0 and ships none of them; pip fetches them. Each
licence is what the package's metadata say, in their words. Where there is a star they say nothing, or something else,
and the licence file inside the package was read. Made by `make licenses`.
"""


def metadata(path: Path) -> dict[str, dict]:
    """Asks pip for the metadata of all packages of a lock, also of those for another system.

    Args:
        path: The lock.

    Returns:
        The metadata of each package by its normalised name, as in pip's installation report.

    Raises:
        subprocess.CalledProcessError: If pip finds a package missing or a hash wrong.
    """
    # Without markers, so that what is for Windows alone is looked at, too.
    everywhere = re.sub(r" ;[^\\\n]*", " ", path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        requirements, report = Path(folder, "requirements.txt"), Path(folder, "report.json")
        requirements.write_text(everywhere, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
        # Some are for a Python that is newer than this one.
        command += ["--python-version", NEWEST, "--only-binary", ":all:", "--target", folder]
        command += ["--require-hashes", "--requirement", str(requirements), "--report", str(report)]
        subprocess.run(command, check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {re.sub(r"[-_.]+", "-", each["metadata"]["name"]).lower(): each["metadata"] for each in found}


def licence(fields: dict) -> str:
    """What a package's metadata say: the expression, a short licence field, or the classifiers.

    Args:
        fields: Metadata in the form of pip's report.

    Returns:
        One line; "not stated" if there is nothing.
    """
    if fields.get("license_expression"):
        return fields["license_expression"]
    field = fields.get("license", "").strip()
    if field and "\n" not in field and len(field) <= 60:
        return field
    names = [name.split(" :: ")[-1] for name in fields.get("classifier", []) if name.startswith("License ::")]
    return ", ".join(names) or "not stated"


def table(found: dict[str, dict], pins: dict[str, str]) -> str:
    """The table of some packages.

    Args:
        found: The metadata of each package by its name.
        pins: The version of each package that is to be in the table.

    Returns:
        Markdown, a row for each package.
    """
    rows = ["| package | version | licence |", "|---|---|---|"]
    for name, version in pins.items():
        by_hand = READ_BY_HAND.get((name, version))
        rows.append(f"| {name} | {version} | {f'{by_hand} *' if by_hand else licence(found[name])} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Writes the page."""
    found = metadata(LOCK)
    locked = entries(LOCK.read_text(encoding="utf-8"))
    pins = {name: entry.split("==")[1].split()[0] for name, entry in locked.items()}
    cuda = {name: version for name, version in pins.items() if CUDA.match(name)}
    plain = {name: version for name, version in pins.items() if name not in cuda}
    parts = [INTRODUCTION, table(found, plain), "Only with PyPI's torch on Linux:\n", table(found, cuda)]
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"{PAGE.name}: {len(pins)} packages")


if __name__ == "__main__":
    main()
