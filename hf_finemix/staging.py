"""A folder that grows beside its target, survives a kill, and takes the target's place when it is whole."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError
from .journal import read_journals
from .output import open_up, replace_text, sync_folder
from .serialization import to_json


_PLAN, _OUTPUT = "plan.json", "output"
# Room for everything but weights: tokenizer, report, card and journal.
_SMALL_FILES = 1 << 26


@dataclass(frozen=True)
class Staging:
    """
    Where an output is made.

    Args:
        folder (`Path`): The hidden folder beside the target, with the journal.
        done (`dict[int, dict[str, int]]`): Parts that an earlier process finished, with their counts.
    """

    folder: Path
    done: dict[int, dict[str, int]]

    @property
    def output(self) -> Path:
        """The folder that will become the target."""
        return self.folder / _OUTPUT


def staging_path(target: Path) -> Path:
    """Returns the hidden folder beside a target, the same each time."""
    return target.parent / f".{target.name}.finemix-mix"


@contextmanager
def resumable_folder(target: Path, plan: dict[str, Any], resume: bool) -> Iterator[Staging]:
    """
    Gives a folder that takes the target's place when the block ends, and vanishes if it fails.

    Only what stops a process without asking, such as `kill -9` or a power cut, leaves it behind, under a hidden name
    and without what a model is loaded by; the next call goes on with it, or clears it away.

    Args:
        target (`Path`): The folder to make.
        plan (`dict[str, Any]`): All that the bytes depend on, for JSON; under `files`, name, size and sha256 of the
            header of each file of weights. What was left behind counts only if it was made by the same plan.
        resume (`bool`): Whether to go on with what was left behind; otherwise it is removed.

    Raises:
        InputError: If another process makes the same target, or what was left behind was made by another plan.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    folder = staging_path(target)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(lock, folder, target)
        done = _left_behind(folder, target, plan) if resume else None
        try:
            if done is None:
                _clear(folder)
                replace_text(folder / _PLAN, to_json(plan))
            staging = Staging(folder, done or {})
            staging.output.mkdir(exist_ok=True)
            yield staging
            sync_folder(staging.output)
            open_up(staging.output)
            # Replaces an empty folder, and fails on one that was filled in the meantime.
            os.rename(staging.output, target)
            sync_directory(target.parent)
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made:
                if parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()
            raise
    finally:
        os.close(lock)


def check_space(target: Path, size: int, resume: bool) -> None:
    """
    Checks that the disk has room for an output.

    Args:
        target (`Path`): The folder to make.
        size (`int`): Bytes of its weights.
        resume (`bool`): Whether the room that an earlier process took counts.

    Raises:
        InputError: If it has not.
    """
    parent = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(parent).free
    left = staging_path(target)
    if left.is_dir():
        # Cleared away or used again, it takes no room of its own.
        free += sum(path.stat().st_blocks * 512 for path in left.rglob("*") if path.is_file())
    if free < size + min(_SMALL_FILES, size):
        raise InputError(
            f"--output {str(target)!r} needs {size / 1e9:.2f} GB, but its disk has {free / 1e9:.2f} GB left; make "
            "room or name a folder on another disk."
        )


def sync_directory(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(lock: int, folder: Path, target: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise InputError(f"--output {str(target)!r} is being made by another process; wait for it.") from None
        # Not every file system can lock; there, two processes must not be started.
    if not folder.is_dir() or os.stat(folder).st_ino != os.fstat(lock).st_ino:
        # Another process finished in this very moment.
        raise InputError(f"--output {str(target)!r} was made by another process; name a new folder.")


def _left_behind(folder: Path, target: Path, plan: dict[str, Any]) -> dict[int, dict[str, int]] | None:
    """Returns the finished parts of an earlier process, `None` if there was none."""
    if not (folder / _PLAN).is_file():
        return None
    try:
        found = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    if found != plan:
        raise InputError(
            f"--resume: what was left of {str(target)!r} came from other inputs or settings; leave --resume out to "
            "start anew."
        )
    sizes = {path.name: path.stat().st_size for path in (folder / _OUTPUT).glob("*.safetensors")}
    # A file that is gone, or that there was no room for, makes what the journals say about it untrue.
    return read_journals(folder) if sizes == {name: size for name, size, _ in plan["files"]} else {}


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
