"""Licences: what the cards of suspect and base state, and whether the purified model can take it over."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import REGEX_YAML_BLOCK

from .loading import CARD_FILE, Checkpoint
from .serialization import read_yaml


_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,40}")
# Names that say nothing by themselves: the text that they stand for lies elsewhere.
_NO_LICENSES = ("other", "unknown")
_LARGEST_HEADER = 1 << 16


def license_id(value: object) -> str | None:
    """Returns a licence id of the form that the Hub knows, such as `"apache-2.0"`; `None` for everything else."""
    return value if isinstance(value, str) and _LICENSE.fullmatch(value) else None


def stated_license(checkpoint: Checkpoint) -> str | None:
    """Returns the licence that the card beside a checkpoint states, `None` if it states none or cannot be read."""
    return license_id(card_header(checkpoint.folder).get("license"))


def card_header(folder: Path) -> dict[str, Any]:
    """Returns the metadata of the card in a folder; nothing if there is none, or it cannot be read."""
    try:
        with (folder / CARD_FILE).open(encoding="utf-8") as file:
            match = REGEX_YAML_BLOCK.match(file.read(_LARGEST_HEADER))
        header = read_yaml(match[2]) if match else None
    except (OSError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def common_license(licenses: dict[str, str | None]) -> str | None:
    """Returns the licence that suspect and base share; `None` if one of them states none, or another."""
    stated = {license_id(licenses.get(name)) for name in ("suspect", "pretrained")}
    shared = stated.pop()
    return shared if not stated and shared not in _NO_LICENSES else None
