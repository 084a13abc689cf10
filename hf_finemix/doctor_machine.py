"""What this machine gives the work: processors, memory, accelerators, and folders for what is downloaded."""

import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import reason
from .memory import available_memory
from .serialization import Record


if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Device(Record):
    """
    Something that computes.

    Args:
        kind (`str`): `"cpu"`, `"cuda"` or `"mps"`.
        name (`str`): What it calls itself.
        memory (`int`, *optional*): Bytes: of a CPU those that are left, of an accelerator all; `None` if unknown.
        bf16 (`bool`): Whether it computes in bfloat16.
        units (`int`, *optional*): Of a CPU, the processors that this process may use.
    """

    kind: str
    name: str
    memory: int | None
    bf16: bool
    units: int | None = None


@dataclass(frozen=True)
class Folder(Record):
    """
    A folder that files are downloaded to.

    Args:
        purpose (`str`): What it is for, by the name of the variable that moves it.
        path (`str`): Where it is, or will be.
        size (`int`): Bytes of the files in it.
        free (`int`, *optional*): Bytes that are left on its disk; `None` if it cannot be reached.
        writable (`bool`): Whether a file can be made in it.
        note (`str`): Why not.
    """

    purpose: str
    path: str
    size: int
    free: int | None
    writable: bool
    note: str = ""


def processor() -> Device:
    """Returns the CPU as far as it is known without torch, in which every CPU computes in bfloat16."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Device("cpu", platform.machine(), available_memory(), True, usable)


def accelerators() -> tuple[Device, ...]:
    """
    Returns the GPUs that torch sees.

    Raises:
        ImportError, OSError: If torch cannot be imported.
    """
    import torch

    found = [_cuda(torch, number) for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        # bfloat16 came with macOS 14.
        memory = torch.mps.recommended_max_memory()
        found.append(Device("mps", platform.processor(), memory, torch.backends.mps.is_macos_or_newer(14, 0)))
    return tuple(found)


def _cuda(torch: "torch", number: int) -> Device:
    properties = torch.cuda.get_device_properties(number)
    # From compute capability 8.0 on without emulation.
    return Device("cuda", properties.name, properties.total_memory, properties.major >= 8)


def examine(purpose: str, path: Path) -> Folder:
    """Measures a folder, and tries whether a file can be made in it; leaves nothing behind, not even the folder."""
    free, note = None, ""
    try:
        there = _nearest(path)
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        # The path, which some of them repeat, is said anyway.
        note = error.strerror or reason(error)
    return Folder(purpose, str(path), sum(_sizes(path)), free, not note, note)


def _nearest(path: Path) -> Path:
    """Returns the first of a path and its parents that is there: what is not yet will be made in it."""
    for folder in (path, *path.absolute().parents):
        try:
            folder.stat()
        except FileNotFoundError:
            continue
        return folder
    # Only Windows has paths without a beginning.
    raise FileNotFoundError(errno.ENOENT, "its drive is not there")


def _sizes(path: Path) -> Iterable[int]:
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                # A link to a file of the cache is no second copy of it.
                yield os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                # Another process has taken it away, or nobody but its owner may look at it.
                continue
