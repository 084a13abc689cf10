"""
Is there a wheel of each dependency for each Python? pip resolves, and installs nothing.

    python supply_chain/wheels.py --output tests/compatibility/results/wheels.json

pip has to be newer than 24: older ones fetch the wheels. The answer is for the system and the processor that this runs
on.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from ranges import EXTRAS, TOOLS, asked


# pymdown-extensions, which the documentation needs, wants at least 3.11.5.
PYTHONS = ("3.11.7", "3.12", "3.13", "3.14")
# Of whom a user sees the version first.
SHOWN = ("torch", "transformers", "huggingface_hub", "numpy", "pyarrow", "gradio")


def resolved(python: str, requirements: list[str], constraints: Path | None) -> dict[str, str] | None:
    """Lets pip look for wheels.

    Args:
        python: The version of Python, such as "3.13".
        requirements: What to look for, and what that needs.
        constraints: Versions for pip, or None for the newest.

    Returns:
        The versions by name, or None if there is no solution with wheels alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--python-version", python, "--target", folder, "--report", str(report)]
        if constraints:
            command += ["--constraint", str(constraints)]
        if subprocess.run([*command, *requirements], capture_output=True).returncode:
            return None
        found = [each["metadata"] for each in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {each["name"]: each["version"] for each in found}


def main() -> int:
    """Looks, prints and writes what was found.

    Returns:
        The exit status: 0 if all have wheels for all Pythons, 1 otherwise.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of all versions")
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions of Python (default: 3.11 to 3.14)")
    parser.add_argument("--constraints", type=Path, help="look for these versions (default: the newest)")
    args = parser.parse_args()
    requirements = sorted(asked(*EXTRAS, TOOLS), key=str.lower)
    results = {"system": f"{platform.system()} {platform.machine()}", "extras": [*EXTRAS, TOOLS], "pythons": {}}
    for python in args.python:
        found, missing = resolved(python, requirements, args.constraints), []
        if found is None:
            missing = [line for line in requirements if resolved(python, [line], args.constraints) is None]
        results["pythons"][python] = {"versions": found, "without": missing}
        shown = {name: version for name, version in (found or {}).items() if name in SHOWN}
        print(python, f"{len(found)} packages {shown}" if found else f"no wheels of {missing}", flush=True)
    args.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each["versions"] is None for each in results["pythons"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
