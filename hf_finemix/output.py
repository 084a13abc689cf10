"""Output folders that are whole or not there at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


def check_output(path: str | Path, argument: str = "--output") -> Path:
    """
    Checks that an output folder can be made, without making it.

    Raises:
        InputError: If it holds something, or cannot be written.
    """
    # Links are followed: the folder is renamed into its place, which would fail on a link.
    path = Path(os.path.expanduser(path)).resolve()
    if path.exists() and not path.is_dir():
        raise InputError(f"{argument} {str(path)!r} is a file; name a folder.")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{argument} {str(path)!r} already holds something; name a new folder.")
    if path.is_dir() and path.samefile(Path.cwd()):
        raise InputError(f"{argument} {str(path)!r} is the current folder; name a new folder inside it.")
    if os.path.ismount(path):
        raise InputError(f"{argument} {str(path)!r} is a mount point; name a new folder inside it.")
    parent = next(folder for folder in path.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{argument} {str(path)!r} cannot be made: {str(parent)!r} is not a folder that you can write."
        )
    return path


def check_file(path: str | Path, argument: str) -> Path:
    """
    Checks that a file can be written or replaced, without doing so.

    Raises:
        InputError: If it is a folder, or its folder is missing or cannot be written.
    """
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        raise InputError(f"{argument} {str(path)!r} is a folder; name a file.")
    if not os.path.isdir(path.parent) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{argument} {str(path)!r} cannot be written: name a file in a folder that you can write.")
    return path


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """
    Gives a temporary folder beside `path` that takes its place when the block ends, and vanishes if it fails.

    Whatever stops the block (an error, Ctrl-C, a full disk), nothing is left behind.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    staging = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".finemix-", dir=path.parent))
        yield staging
        sync_folder(staging)
        open_up(staging)
        # Replaces an empty folder, and fails on one that was filled in the meantime.
        os.rename(staging, path)
    except BaseException:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


@contextmanager
def scratch_folder() -> Iterator[str]:
    """Gives a temporary folder that vanishes when the block ends, even if Ctrl-C comes while it is removed."""
    folder = tempfile.mkdtemp(prefix="finemix-")
    try:
        yield folder
        shutil.rmtree(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Writes a text file so that, whatever happens, either the old content is there or the whole new one."""
    with replaced_file(path) as staging:
        staging.write_text(text, encoding="utf-8")


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Gives a temporary file beside `path` that takes its place when the block ends, and vanishes if it fails."""
    handle, name = tempfile.mkstemp(prefix=".finemix-", dir=path.parent)
    os.close(handle)
    staging = Path(name)
    try:
        yield staging
        with staging.open("rb") as file:
            os.fsync(file.fileno())
        os.chmod(staging, 0o666 & ~_umask())
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def open_up(folder: Path) -> None:
    """Gives a folder and its files the rights that a plain `mkdir` would have given them."""
    # mkdtemp makes folders, and safetensors files, that only their owner can read: not what a plain `mkdir` would do.
    umask = _umask()
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def sync_folder(folder: Path) -> None:
    """Waits until the files of a folder are on the disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
