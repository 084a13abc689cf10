"""Prints constraints that pin each direct dependency to the floor of its range, for `make test-lowest`."""

import re
import tomllib
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
# What people install. The tools of the tests come from constraints.txt: their ranges promise nothing to anybody.
EXTRAS = ("bench", "docs", "prescan", "sign", "ui", "wordfreq")
TOOLS = "dev"


def asked(*extras: str) -> list[str]:
    """The requirements of the package and of some of its extras, as pyproject.toml has them.

    Args:
        extras: The names of the extras.

    Returns:
        The requirements.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [line for name in extras for line in project["optional-dependencies"][name]]


def name_of(requirement: str) -> str:
    """The normalised name of what a requirement asks for."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def lowest() -> dict[str, str]:
    """Pins each direct dependency to the floor of its range, and the tools of the tests to the tested versions.

    Returns:
        The versions by name.
    """
    floors = {name_of(line): re.search(r">=([\w.]+)", line)[1] for line in asked(*EXTRAS)}
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    tested = {name_of(name): version for name, version in pins.items()}
    return {name: tested[name] for name in map(name_of, asked(TOOLS)) if name in tested} | floors


def main() -> None:
    """Prints them."""
    for name, version in sorted(lowest().items()):
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
