"""Builds the sdist and the wheel of the last commit, with the same bytes anywhere; `make build` runs it."""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import repro_tarfile


ROOT = Path(__file__).resolve().parent.parent


def commit_time(repository: Path) -> str:
    """The time of the last commit, in seconds since 1970."""
    command = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(command, cwd=repository, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def export(repository: Path, folder: Path) -> None:
    """Writes the files of the last commit, and no others, into a folder."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=repository, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "--extract", "--file", "-"], cwd=folder, input=archive, check=True)


def repack(sdist: Path, output: Path) -> Path:
    """Writes an sdist again with sorted members, fixed owners and modes, and SOURCE_DATE_EPOCH as the only time.

    Args:
        sdist: What setuptools made; it keeps times, owners and modes of the files that it found.
        output: The folder to write to.

    Returns:
        The new sdist.
    """
    target = output / sdist.name
    with tarfile.open(sdist) as source, repro_tarfile.open(target, "w:gz") as repacked:
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            # Else the old times stay in the extended headers.
            member.pax_headers = {}
            repacked.addfile(member, source.extractfile(member) if member.isfile() else None)
    return target


def build(repository: Path, output: Path) -> list[Path]:
    """Builds the sdist from the last commit and the wheel from the sdist.

    Args:
        repository: A git repository of the project.
        output: The folder to write to.

    Returns:
        The two files.

    Raises:
        subprocess.CalledProcessError: If git, tar or the build fails.
    """
    os.umask(0o022)
    os.environ.setdefault("SOURCE_DATE_EPOCH", commit_time(repository))
    output.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "build", "--quiet", "--no-isolation"]
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "source"), Path(folder, "made")
        source.mkdir()
        export(repository, source)
        subprocess.run([*command, "--sdist", "--outdir", str(made), str(source)], check=True)
        sdist = repack(next(made.glob("*.tar.gz")), output)
        subprocess.run([*command, "--wheel", "--outdir", str(made), str(sdist)], check=True)
        wheel = next(made.glob("*.whl"))
        target = output / wheel.name
        target.write_bytes(wheel.read_bytes())
    return [sdist, target]


def main() -> None:
    """Builds, and prints what was built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=ROOT)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    for path in build(arguments.repository, arguments.output.resolve()):
        print(path.name)


if __name__ == "__main__":
    main()
