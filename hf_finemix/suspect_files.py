"""Files of a folder that a stranger filled: plain ones alone, of sane size, and none that leads out of it."""

import json
import os
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .errors import InputError


MB = 1 << 20
# What models of 400 B parameters and vocabularies of a million tokens stay far below; of weights there is no limit.
_LIMITS = (
    ("*.safetensors", None),
    ("*.bin", None),
    ("*.safetensors.index.json", 64 * MB),
    ("tokenizer.json", 128 * MB),
    ("vocab.*", 64 * MB),
    ("merges.txt", 64 * MB),
    ("bpe.codes", 64 * MB),
    ("*.model", 64 * MB),
    ("*.jinja", 1 * MB),
    ("*.md", 4 * MB),
    ("config.json", 16 * MB),
    ("*.json", 32 * MB),
)
_DEEPEST = 40


def check_files(folder: Path, patterns: Iterable[str], what: str) -> None:
    """
    Checks the files of a folder that are to be read, before one of them is.

    Args:
        folder (`Path`): The folder of a model.
        patterns (`Iterable[str]`): Names of what is read from it.
        what (`str`): The model, for messages.

    Raises:
        InputError: If one is no plain file, is a link that leads out of the folder, or is too large.
    """
    patterns = tuple(patterns)
    try:
        names = sorted(name for name in os.listdir(folder) if any(fnmatchcase(name, pattern) for pattern in patterns))
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}.") from None
    for name in names:
        check_file(folder, name, what)


def check_file(folder: Path, name: str, what: str) -> None:
    """
    Checks one file, as [`check_files`]; one that is not there passes.

    Raises:
        InputError: If it is no plain file, is a link that leads out of the folder, or is too large.
    """
    path = folder / name
    limit = next((limit for pattern, limit in _LIMITS if fnmatchcase(name, pattern)), 32 * MB)
    # A name may hold anything.
    name = name if name.isprintable() else ascii(name)
    if not os.path.lexists(path):
        return
    if path.is_symlink() and not _stays(folder, path):
        raise InputError(f"{what} has a {name} that is a link to a place outside its folder; give the file itself.")
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{what} has a {name} that cannot be read: {error.strerror or error}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{what} has a {name} that is no file.")
    if limit is not None and found.st_size > limit:
        size = found.st_size / MB
        raise InputError(
            f"{what} has a {name} of {size:.0f} MB; of such a file no more than {limit // MB} MB are read."
        )


def _stays(folder: Path, path: Path) -> bool:
    # In the cache of the Hub's client, files are links to the blobs of the same repository.
    target, home = os.path.realpath(path), os.path.realpath(folder)
    places = [home]
    if os.path.basename(os.path.dirname(home)) == "snapshots":
        places.append(os.path.join(os.path.dirname(os.path.dirname(home)), "blobs"))
    return any(os.path.commonpath([target, place]) == place for place in places)


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """
    Reads a JSON file of a model's folder.

    Raises:
        InputError: If it is missing, no JSON, no object, too large or nested too deeply.
    """
    if not path.is_file():
        raise InputError(f"{what} has no {path.name}; give the folder of a model, or a Hub id.")
    check_file(path.parent, path.name, what)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        raise InputError(f"{what} has a {path.name} that is no readable JSON.") from None
    if not isinstance(content, dict):
        raise InputError(f"{what} has a {path.name} that is no JSON object.")
    if is_deeper(content, _DEEPEST):
        raise InputError(f"{what} has a {path.name} that is nested more than {_DEEPEST} deep.")
    return content


def is_deeper(content: Any, depth: int) -> bool:
    """Tells whether lists and objects are nested more than `depth` deep."""
    containers = [content] if isinstance(content, (dict, list)) else []
    for _ in range(depth):
        values = (value for part in containers for value in (part.values() if isinstance(part, dict) else part))
        containers = [value for value in values if isinstance(value, (dict, list))]
    return bool(containers)
