"""Which packages are installed, and whether they are of the versions that this one's own metadata ask for."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from .serialization import Record


DISTRIBUTION = "hf-finemix"


@dataclass(frozen=True)
class Package(Record):
    """
    One package that is needed.

    Args:
        name (`str`): Its name.
        version (`str`, *optional*): The version that is installed; `None` if none is.
        wanted (`str`): The versions that work, such as `">=2.13,<3"`.
        fits (`bool`): Whether one of them is installed.
    """

    name: str
    version: str | None
    wanted: str
    fits: bool

    @property
    def fix(self) -> str:
        """The command that installs it."""
        return f"pip install '{self.name}{self.wanted}'"


@dataclass(frozen=True)
class Extra(Record):
    """
    One extra.

    Args:
        name (`str`): Its name.
        packages (`tuple[Package, ...]`): What belongs to it.
        command (`str`): What adds it.
    """

    name: str
    packages: tuple[Package, ...]
    command: str

    @property
    def installed(self) -> bool:
        """Whether all of it is there."""
        return all(package.version is not None for package in self.packages)


def installed_version(name: str) -> str | None:
    """Returns the version of a package, `None` if there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def read_packages(
    requirements: Iterable[str],
    extras: Sequence[str] = (),
    version_of: Callable[[str], str | None] = installed_version,
) -> tuple[tuple[Package, ...], tuple[Extra, ...]]:
    """
    Compares requirements with what is installed.

    Args:
        requirements (`Iterable[str]`): As in the metadata of a distribution.
        extras (`Sequence[str]`, *optional*): Names of the extras.
        version_of (`Callable`, *optional*): Returns the version of a package, `None` if there is none.

    Returns:
        `tuple[tuple[Package, ...], tuple[Extra, ...]]`: What is needed on this machine, and the extras.
    """
    needed, parts = [], {name: [] for name in extras}
    for requirement in map(Requirement, requirements):
        found = version_of(requirement.name)
        fits = found is not None and requirement.specifier.contains(found, prereleases=True)
        package = Package(requirement.name, found, _in_order(requirement.specifier), fits)
        if _applies(requirement, ""):
            needed.append(package)
            continue
        for name in extras:
            if _applies(requirement, name):
                parts[name].append(package)
    return tuple(needed), tuple(
        Extra(name, tuple(items), f"pip install '{DISTRIBUTION}[{name}]'") for name, items in parts.items()
    )


def _in_order(specifier: SpecifierSet) -> str:
    # The lower bound first.
    return ",".join(sorted(map(str, specifier), reverse=True))


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def own_packages() -> tuple[tuple[Package, ...], tuple[Extra, ...]]:
    """
    Returns what this package needs, Python first, and its extras.

    Raises:
        PackageNotFoundError: If it is used without having been installed.
    """
    needed, extras = read_packages(
        requires(DISTRIBUTION) or (), metadata(DISTRIBUTION).get_all("Provides-Extra") or ()
    )
    return (python_package(metadata(DISTRIBUTION)["Requires-Python"]), *needed), extras


def python_package(wanted: str) -> Package:
    """Returns Python as one of the packages, of which only the versions in `wanted` work."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Package("python", found, wanted, SpecifierSet(wanted).contains(found, prereleases=True))
