"""Pickles that lie beside a suspect's weights: what a scanner of pickles says of them, without one being loaded."""

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, reason
from .serialization import Record


# Pickles, and archives that hold some.
_SUFFIXES = (
    *(".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".data"),
    *(".npy", ".npz", ".zip", ".tar", ".h5", ".keras", ".mar"),
)
_MOST_FILES = 1000
_SHOWN = 20


@dataclass(frozen=True)
class StrangeFile(Record):
    """
    A file that a scanner of pickles warns of.

    Args:
        name (`str`): Its path in the suspect's folder.
        calls (`tuple[str, ...]`): Functions that it would call, such as `"posix.system"`, at most 20; empty if the
            scanner could not read it.
        level (`str`): `"dangerous"`, `"suspicious"` or `"unreadable"`.
    """

    name: str
    calls: tuple[str, ...]
    level: str


def prescan(folder: Path) -> tuple[StrangeFile, ...]:
    """
    Scans the pickles of a folder by picklescan, which reads them as data.

    Args:
        folder (`Path`): A suspect's folder; links are not followed.

    Returns:
        `tuple[StrangeFile, ...]`: The files that it warns of, by name.

    Raises:
        InputError: If picklescan is not installed, or the folder holds more than 1,000 such files.
    """
    try:
        from picklescan.scanner import SafetyLevel, scan_file_path
    except ImportError:
        raise InputError("--prescan needs picklescan; install hf-finemix[prescan].") from None
    names = _candidates(folder)
    if len(names) > _MOST_FILES:
        raise InputError(f"SUSPECT holds more than {_MOST_FILES} pickles; none was scanned.")
    found = []
    for name in names:
        try:
            result = scan_file_path(str(folder / name))
        except Exception as error:
            found.append(StrangeFile(name, (reason(error, 80),), "unreadable"))
            continue
        calls = {
            level: sorted(f"{item.module}.{item.name}"[:80] for item in result.globals if item.safety is level)
            for level in (SafetyLevel.Dangerous, SafetyLevel.Suspicious)
        }
        if result.issues_count:
            found.append(StrangeFile(name, tuple(calls[SafetyLevel.Dangerous][:_SHOWN]), "dangerous"))
        elif result.scan_err:
            found.append(StrangeFile(name, (), "unreadable"))
        elif calls[SafetyLevel.Suspicious]:
            found.append(StrangeFile(name, tuple(calls[SafetyLevel.Suspicious][:_SHOWN]), "suspicious"))
    return tuple(found)


def _candidates(folder: Path) -> list[str]:
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name.lower().endswith(_SUFFIXES) and path.is_file() and not path.is_symlink():
                found.append(path.relative_to(folder).as_posix())
                if len(found) > _MOST_FILES:
                    return found
    return sorted(found)
