"""Runs a program and watches it: wall time, peak of anonymous memory, with a warm or a cold page cache."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


EVERY = 0.02
BUFFER = 1 << 24


def watch(command: Sequence[str], threads: int, log: Path) -> dict[str, float]:
    """
    Runs a command to its end.

    Args:
        command (`Sequence[str]`): The program and its arguments.
        threads (`int`): How many threads its numerical libraries may use.
        log (`Path`): Takes what it prints.

    Returns:
        `dict[str, float]`: `seconds` of wall time and `anonymous_mb`, the highest sample of memory that no file backs.

    Raises:
        SystemExit: If it fails.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    highest, start = 0.0, time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        while True:
            try:
                # Ends with the process, not with the next sample: a sample must not lengthen a short run.
                process.wait(EVERY)
                break
            except subprocess.TimeoutExpired:
                highest = max(highest, anonymous_mb(process.pid))
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}:\n{log.read_text()[-2000:]}")
    return {"seconds": round(seconds, 4), "anonymous_mb": round(highest, 1)}


def anonymous_mb(pid: int) -> float:
    """Returns the anonymous memory of a process in MB (10^6 bytes), 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = (line.split()[1] for line in lines if line.startswith("RssAnon:"))
    return next((int(size) * 1024 / 1e6 for size in sizes), 0.0)


def set_cache(paths: Sequence[Path], warm: bool, drop_caches: bool) -> None:
    """
    Brings files into the page cache or out of it, once all that waits to be written is on the disk.

    Args:
        paths (`Sequence[Path]`): The files.
        warm (`bool`): Into it.
        drop_caches (`bool`): For a cold cache, empties all of the system's; only root can. Otherwise the files' alone.
    """
    os.sync()
    if warm:
        buffer = bytearray(BUFFER)
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        return
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    if drop_caches:
        Path("/proc/sys/vm/drop_caches").write_text("1")


def sync_files(folder: Path) -> float:
    """Returns how long it takes until a folder's files are on the disk, for programs that do not wait for that."""
    start = time.perf_counter()
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return round(time.perf_counter() - start, 4)
