"""How much memory is left, as far as the system tells: a model that does not fit is refused before it is read."""

from collections.abc import Callable
from pathlib import Path

from .errors import InputError


_GROUP = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self/statm")
_MACHINE = Path("/proc/meminfo")
_GB = 1e9


def available_memory() -> int | None:
    """
    Returns the bytes that this process can still be given: the least of what machine, container and process limit.

    `None` where the system does not tell (other systems than Linux).
    """
    found = [value for value in map(_read, (_of_machine, _of_group, _of_process)) if value is not None]
    return max(min(found), 0) if found else None


def check_memory(needed: int, what: str) -> None:
    """
    Refuses what would not fit.

    Args:
        needed (`int`): Bytes.
        what (`str`): What needs them, for the message.

    Raises:
        InputError: If fewer are left.
    """
    left = available_memory()
    if left is not None and needed > left:
        raise InputError(
            f"{what} needs {needed / _GB:.1f} GB of memory, but {left / _GB:.1f} GB are left; `hf-finemix mix` and "
            "`scan` read models part by part."
        )


def _read(source: Callable[[], int | None]) -> int | None:
    try:
        return source()
    except (ImportError, OSError, ValueError, IndexError, KeyError):
        return None


def _of_machine() -> int:
    lines = (line.split() for line in _MACHINE.read_text().splitlines())
    return 1024 * {words[0]: int(words[1]) for words in lines}["MemAvailable:"]


def _of_group() -> int:
    # "max", which is no number, if there is no limit.
    limit = int((_GROUP / "memory.max").read_text())
    # What files were read into is given back when it is needed.
    counts = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
    return limit - int((_GROUP / "memory.current").read_text()) + int(counts["inactive_file"])


def _of_process() -> int | None:
    # Not on every system.
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - int(_PROCESS.read_text().split()[0]) * resource.getpagesize()
