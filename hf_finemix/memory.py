"""How much memory is left, as far as the system tells: a model that does not fit is refused before it is read."""

from collections.abc import Callable
from pathlib import Path

from .errors import InputError


_GROUP = Path("/sys/fs/cgroup")
_GROUPS = Path("/proc/self/cgroup")
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


def _of_group() -> int | None:
    found = []
    for line in _GROUPS.read_text().splitlines():
        number, kinds, path = line.split(":", 2)
        if number == "0":
            found += _left(_GROUP, path, "memory.max", "memory.current", "")
        elif "memory" in kinds.split(","):
            files = "memory.limit_in_bytes", "memory.usage_in_bytes"
            found += _left(_GROUP / "memory", path, *files, "total_")
    return min(found) if found else None


def _left(root: Path, path: str, limit: str, usage: str, prefix: str) -> list[int]:
    """Returns what is left in a control group, and in each that it is part of, as far as they are seen from here."""
    found = []
    place = root / path.lstrip("/")
    for folder in (place, *place.parents):
        try:
            # "max", which is no number, if there is no limit.
            most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            pass
        else:
            # What files were read into is given back when it is needed.
            cached = sum(int(counts.get(f"{prefix}{name}", 0)) for name in ("inactive_file", "active_file"))
            found.append(most - used + cached)
        if folder == root:
            break
    return found


def _of_process() -> int | None:
    # Not on every system.
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return limit - int(_PROCESS.read_text().split()[0]) * resource.getpagesize()
