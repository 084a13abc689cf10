"""What a visitor gives: names of models and uploaded files, checked like any input."""

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

from ..adapters import ADAPTER_FILE
from ..errors import InputError
from ..loading import _FETCHED, HUB_ID
from ..readers import READERS
from .settings import GB, MB, AppSettings
from .tables import check_table


DATA_TYPES = tuple(kind for kind in READERS if kind != ".txt")
TEXT_TYPES = tuple(READERS)
_LONGEST_NAME = 300
# How many of the largest models a hub-only app keeps.
_CACHED = 6
# What is asked of the Hub for a suspect, be it a whole model or an adapter.
FETCHED = (*_FETCHED, ADAPTER_FILE)
_REVISION = re.compile(r"[\w./-]{1,100}", re.ASCII)


def check_model(text: str | None, field: str, settings: AppSettings) -> str:
    """
    Checks what stands in the field of a model.

    Args:
        text (`str`, *optional*): A Hub id, `id@revision`, or a folder where the app runs for its own user.
        field (`str`): Name of the field.
        settings ([`AppSettings`]): The app's.

    Returns:
        `str`: The same without white space around it.

    Raises:
        InputError: If it is empty, or in a hub-only app anything but a Hub id.
    """
    source = (text or "").strip()
    if not source:
        wanted = "a Hub id" if settings.hub_only else "a Hub id or a folder"
        raise InputError(f"{field} is empty; give {wanted}.")
    if len(source) > _LONGEST_NAME or not source.isprintable():
        raise InputError(f"{field} is no name of a model.")
    if settings.hub_only:
        name, at, revision = source.partition("@")
        is_id = HUB_ID.fullmatch(name) and not any(part.startswith(".") for part in name.split("/"))
        # Whether there is a folder of that name is not looked at: the app works where there is none.
        if not is_id or (at and not _REVISION.fullmatch(revision)):
            raise InputError(f"{field} {source!r} is no Hub id; this app takes models from the Hub alone.")
    return source


def check_size(source: str, field: str, settings: AppSettings) -> str:
    """
    Asks the Hub how large a model is, before a hub-only app fetches it.

    Returns:
        `str`: The model at the commit whose size was checked; in an app for its own user, the same source.

    Raises:
        InputError: If it is too large or its size is not known, or the Hub does not answer.
    """
    if not settings.hub_only:
        return source
    from huggingface_hub import HfApi

    from ..loading import download_errors, split_hub_id

    repo_id, revision = split_hub_id(source, field)
    with download_errors(field, repo_id, revision):
        found = HfApi().model_info(repo_id, revision=revision, files_metadata=True)
    sizes = [file.size for file in found.siblings or () if any(fnmatch(file.rfilename, name) for name in FETCHED)]
    if None in sizes:
        raise InputError(f"{field} {source!r} has files whose size the Hub does not tell; give another model.")
    size = sum(sizes)
    if size > settings.max_model_gb * GB:
        raise InputError(
            f"{field} {source!r} has {size / GB:.1f} GB, but this app takes models of up to "
            f"{settings.max_model_gb} GB; use `pip install hf-finemix` on a machine of your own."
        )
    return f"{repo_id}@{found.sha}"


def empty_cache(settings: AppSettings) -> None:
    """Removes what a hub-only app has fetched, if it is much."""
    if settings.hub_only and settings.hub_cache.is_dir():
        size = sum(path.stat().st_size for path in settings.hub_cache.rglob("*") if path.is_file())
        # Links of the cache count twice, which does no harm.
        if size > _CACHED * settings.max_model_gb * GB:
            shutil.rmtree(settings.hub_cache)


def take_upload(
    path: object, field: str, name: str, folder: Path, settings: AppSettings, types: tuple[str, ...] = DATA_TYPES
) -> Path | None:
    """
    Copies an uploaded file into a visitor's own folder, under a name of ours.

    Args:
        path (`dict` or `str`, *optional*): What the field of a file holds, or where Gradio put it.
        field (`str`): Name of the field.
        name (`str`): Name that the copy gets, without its type.
        folder (`Path`): The visitor's folder.
        settings ([`AppSettings`]): The app's.
        types (`tuple[str, ...]`, *optional*): Types of files that are taken.

    Returns:
        `Path`, *optional*: The copy; `None` if there is no file.

    Raises:
        InputError: If it is no upload, or of another type, or too large, also when it is read.
    """
    for old in folder.glob(f"{name}.*"):
        old.unlink()
    if not path:
        return None
    given = check_upload(path, field, settings)
    kind = given.suffix.lower()
    if kind not in types:
        raise InputError(f"{field} is a file of the type {kind[:20]!r}; give {', '.join(types)}.")
    if given.stat().st_size > settings.max_upload_mb * MB:
        raise InputError(f"{field} is larger than {settings.max_upload_mb} MB; give fewer examples.")
    check_table(given, field, settings)
    return Path(shutil.copyfile(given, folder / f"{name}{kind}"))


def check_upload(path: object, field: str, settings: AppSettings) -> Path:
    """
    Checks that a path is that of an uploaded file.

    Raises:
        InputError: If it is not.
    """
    if isinstance(path, dict):
        path = path.get("path")
    given = Path(path) if isinstance(path, str) else None
    # Below the folder of uploads lie nothing but uploads, and what the app offers itself.
    is_upload = given is not None and given.is_file() and not given.is_symlink()
    if not is_upload or not given.resolve().is_relative_to(settings.uploads.resolve()):
        raise InputError(f"{field} is no file that was uploaded; upload it again.")
    return given


def columns(text: str | None) -> list[str] | None:
    """Returns the names of columns that are written with commas between them; `None` if there are none."""
    return [name.strip() for name in (text or "").split(",") if name.strip()] or None
