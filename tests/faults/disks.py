"""Small disks, and disks that cannot be written."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Mounts something on a folder, which is made if need be; skips the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mounts an empty disk of so many kilobytes, which lie in memory."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}k", "none")


@contextmanager
def unwritable(folder: Path) -> Iterator[Path]:
    """Makes a folder a disk that can only be read, with what is in it."""
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield folder


def fill(folder: Path) -> Path:
    """Fills a disk up to the last byte; gives the file that takes the room."""
    path = folder / "taken"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    return path
