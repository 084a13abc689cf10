"""
Whether this machine has what the package needs: versions, devices, folders, and the Hub.

Nothing is changed, and nothing that is secret is part of the result.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from ._version import __version__
from .doctor_hub import UNREACHABLE, Hub, ask_hub, problem_of_client
from .doctor_machine import Device, Folder, accelerators, examine, processor
from .doctor_packages import Extra, Package, own_packages
from .errors import reason
from .serialization import Record


# Bytes; a model of the usual size would not fit below.
_LITTLE = 10**9


@dataclass(frozen=True)
class Diagnosis(Record):
    """
    What the doctor found.

    Args:
        version (`str`): Version of hf-finemix.
        system (`str`): The system that it runs on.
        packages (`tuple[Package, ...]`): Python and the packages that it needs.
        extras (`tuple[Extra, ...]`): What can be added.
        devices (`tuple[Device, ...]`): The CPU, and accelerators if there are some.
        folders (`tuple[Folder, ...]`): Where downloads go.
        hub ([`Hub`], *optional*): What the Hub says; `None` if its client cannot be imported.
        trusted_publishers (`tuple[str, ...]`): Publishers whose weights are taken as a base without a warning.
        trusted_from (`str`): Where that list is from: this package, or the variable that holds the user's own; empty
            if something that is needed to read it cannot be imported.
        problems (`tuple[str, ...]`): What keeps the package from working, each with what to do.
        warnings (`tuple[str, ...]`): What may be meant to be so.
    """

    version: str
    system: str
    packages: tuple[Package, ...]
    extras: tuple[Extra, ...]
    devices: tuple[Device, ...]
    folders: tuple[Folder, ...]
    hub: Hub | None
    trusted_publishers: tuple[str, ...]
    trusted_from: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, and whether the extras are installed."""
        extras = [extra.to_dict() | {"installed": extra.installed} for extra in self.extras]
        return super().to_dict() | {"extras": extras}


def diagnose(offline: bool = False) -> Diagnosis:
    """
    Looks at this machine.

    Args:
        offline (`bool`, *optional*, defaults to `False`): Do not ask the Hub.
    """
    problems, warnings = [], []
    try:
        packages, extras = own_packages()
    except PackageNotFoundError:
        packages, extras = (), ()
        warnings.append("hf-finemix runs from a folder and is not installed, so that nobody knows what it needs.")
    problems += of_packages(packages)
    warnings += of_extras(extras)
    devices = [processor()]
    missing = {package.name for package in packages if package.version is None}
    if "torch" not in missing:
        try:
            devices += accelerators()
        except (ImportError, OSError) as error:
            problems.append(f"torch cannot be imported ({reason(error)}); install it anew.")
    folders, hub = (), None
    broken = "" if "huggingface_hub" in missing else problem_of_client()
    if broken:
        problems.append(broken)
    elif "huggingface_hub" not in missing:
        folders, hub = _folders(), ask_hub(offline)
        problems += [
            f"{folder.path} cannot be written ({folder.note}); make it writable, or set {folder.purpose} to another "
            "folder."
            for folder in folders
            if not folder.writable
        ]
        warnings += [
            f"{folder.path} has {folder.free / 1e9:.1f} GB left."
            for folder in folders
            if folder.free is not None and folder.free < _LITTLE
        ]
        problems += [hub.problem] if hub.problem else []
        warnings += of_hub(hub)
    names, source = (), ""
    try:
        names, source = _trusted()
    except (ImportError, OSError, ValueError) as error:
        # What is told of the Hub's client stops this, too.
        if not problems:
            problems.append(f"A package that is needed cannot be imported ({reason(error)}); install it anew.")
    return Diagnosis(
        version=__version__,
        system=platform.platform(),
        packages=packages,
        extras=extras,
        devices=tuple(devices),
        folders=folders,
        hub=hub,
        trusted_publishers=names,
        trusted_from=source,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def of_packages(packages: Sequence[Package]) -> list[str]:
    """Returns a sentence for each package that is missing or of a version that does not work."""
    said = []
    for package in packages:
        if package.name == "python" and not package.fits:
            said.append(f"Python is {package.version}, but {package.wanted} is needed; use another one.")
        elif package.version is None:
            said.append(f"{package.name} is not installed; {package.fix}")
        elif not package.fits:
            said.append(f"{package.name} is {package.version}, but {package.wanted} is needed; {package.fix}")
    return said


def of_extras(extras: Sequence[Extra]) -> list[str]:
    """Returns a sentence for each package of an extra that is there, but of a version that does not work with it."""
    return [
        f"{package.name} is {package.version}, but the extra {extra.name!r} needs {package.wanted}; {package.fix}"
        for extra in extras
        for package in extra.packages
        if package.version is not None and not package.fits
    ]


def of_hub(hub: Hub) -> list[str]:
    """Returns a sentence if the Hub cannot be used as a user may expect."""
    if hub.state == UNREACHABLE:
        return [f"The Hub ({hub.endpoint}) cannot be reached ({hub.note}); local folders and the cache still work."]
    if hub.accepted is False:
        return ["The Hub does not accept your token; run `hf auth login`, or set HF_TOKEN."]
    return []


def _trusted() -> tuple[tuple[str, ...], str]:
    # Its own imports are among what is looked at here.
    from .trust import VARIABLE, trusted_publishers

    names = tuple(sorted(trusted_publishers(), key=str.lower))
    return names, VARIABLE if VARIABLE in os.environ else "hf-finemix"


def _folders() -> tuple[Folder, ...]:
    from huggingface_hub import constants

    home, cache = Path(constants.HF_HOME), Path(constants.HF_HUB_CACHE)
    found = [examine("HF_HOME", home)]
    if home not in cache.parents:
        found.append(examine("HF_HUB_CACHE", cache))
    return tuple(found)
