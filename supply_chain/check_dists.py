"""Builds twice from two clones and compares the bytes; `make wheel-check` runs it."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
# What differs between two machines: where it lies, who may read it, where the clock is, how sets are ordered.
PLACES = [
    ("first", 0o022, {"TZ": "UTC", "PYTHONHASHSEED": "1"}),
    ("another/deeper", 0o077, {"TZ": "XYZ-9", "PYTHONHASHSEED": "2"}),
]


def built(folder: Path, umask: int, environment: dict[str, str]) -> dict[str, str]:
    """Clones the project and builds it.

    Args:
        folder: Where to clone to; must not exist.
        umask: The mask under which git writes the files.
        environment: Variables that differ from those of this process.

    Returns:
        The sha256 of each file that was built.

    Raises:
        subprocess.CalledProcessError: If git or the build fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True, umask=umask)
    command = [sys.executable, str(ROOT / "supply_chain" / "build_dists.py"), "--repository", str(folder)]
    variables = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run(
        [*command, "--output", str(folder / "dist")],
        check=True,
        env=variables | environment,
        stdout=subprocess.DEVNULL,
        umask=umask,
    )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "dist").iterdir())}


def main() -> int:
    """Prints the sha256 of all files that were built.

    Returns:
        The exit status: 0 if both builds are the same, 1 otherwise.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, umask, environment in PLACES:
            results.append(built(Path(folder, name), umask, environment))
            for file, value in results[-1].items():
                print(f"{value}  {file}")
            # Times in a tar archive and in a gzip header are whole seconds, in a zip archive two.
            time.sleep(3)
    same = len(results[0]) == 2 and results[0] == results[1]
    print("same" if same else "different")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
