"""The files of a stranger's tokenizer, copied to a place of their own without what names other files or code."""

import re
import shutil
from pathlib import Path
from typing import Any

from .errors import InputError
from .loading import CONFIG_FILE, TOKENIZER_FILES, Checkpoint
from .output import replace_text
from .plain_config import NOT_TAKEN
from .serialization import to_json
from .suspect_files import check_files, read_json_object


_TEMPLATES = "additional_chat_templates"
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
_NAMES_FILES = re.compile(r"(?:^|_)(?:files?|paths?|inputs)$")
_VOCABULARY = ("vocab", "merges")


def copy_tokenizer(checkpoint: Checkpoint, target: Path, what: str) -> None:
    """
    Copies what a tokenizer is made of: known files alone, their settings without names of files and of code.

    Args:
        checkpoint ([`~hf_finemix.loading.Checkpoint`]): The folder that they lie in.
        target (`Path`): An empty folder.
        what (`str`): The tokenizer, for messages.

    Raises:
        InputError: If a file is a link to another place, too large or no file.
    """
    folder = checkpoint.folder
    check_files(folder, TOKENIZER_FILES, what)
    for name in TOKENIZER_FILES:
        if not (folder / name).is_file():
            continue
        if name in _SETTINGS:
            content = read_json_object(folder / name, what)
            replace_text(target / name, to_json(plain_settings(content)))
        else:
            shutil.copyfile(folder / name, target / name)
    templates = folder / _TEMPLATES
    if templates.is_symlink():
        raise InputError(f"{what} has a folder {_TEMPLATES} that is a link; give the folder itself.")
    if templates.is_dir():
        check_files(templates, ["*.jinja"], what)
        (target / _TEMPLATES).mkdir()
        for path in sorted(templates.glob("*.jinja")):
            shutil.copyfile(path, target / _TEMPLATES / path.name)
    # The class of a tokenizer may hang on the type of the model.
    kind = {"model_type": checkpoint.config.get("model_type")} if checkpoint.config else {}
    if isinstance(kind.get("model_type"), str):
        replace_text(target / CONFIG_FILE, to_json(kind))


def plain_settings(content: dict[str, Any]) -> dict[str, Any]:
    """Returns settings of a tokenizer without names of code and of files."""
    return {
        key: value
        for key, value in content.items()
        if key not in NOT_TAKEN
        and not _NAMES_FILES.search(key)
        and not (key in _VOCABULARY and isinstance(value, str))
    }
