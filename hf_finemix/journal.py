"""What of a long job is safe on the disk, so that it can go on after it was killed."""

import json
import os
import queue
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from .pieces import Part
from .streaming import OutputFiles, Progress


_NAME = "journal-{}.jsonl"


def read_journals(folder: Path) -> dict[int, dict[str, int]]:
    """
    Reads which parts are safe, whichever process wrote them.

    Returns:
        `dict[int, dict[str, int]]`: By the number of the part, how many scalars of each of its tensors were kept.
    """
    done = {}
    for path in sorted(folder.glob(_NAME.format("*"))):
        for line in path.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
                done[int(entry["part"])] = {str(name): int(count) for name, count in entry["kept"].items()}
            except (ValueError, KeyError, TypeError, AttributeError):
                # The last line of a process that was killed while it wrote it.
                continue
    return done


class Journal:
    """
    Brings written parts to the disk, on a thread of its own, and then notes that they are there.

    Args:
        folder (`Path`): Where the journal goes.
        rank (`int`): Number of this process; each has its own file.
        outputs ([`~hf_finemix.streaming.OutputFiles`]): What the parts were written to.
        progress ([`~hf_finemix.streaming.Progress`]): Is stopped if the disk fails.
    """

    def __init__(self, folder: Path, rank: int, outputs: OutputFiles, progress: Progress):
        self._outputs, self._progress = outputs, progress
        self._queue: queue.SimpleQueue[tuple[Part, dict[str, int]] | None] = queue.SimpleQueue()
        self._file = (folder / _NAME.format(rank)).open("ab")
        # A killed process may have left half a line, which ends here.
        self._file.write(b"\n")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._future = self._pool.submit(self._work)

    def add(self, part: Part, kept: dict[str, int]) -> None:
        """Takes a part that was written; returns at once."""
        self._queue.put((part, kept))

    def close(self) -> None:
        """Waits until all parts are on the disk and noted, and ends."""
        self._queue.put(None)
        # Not the thread's `join`, after which an interrupted process takes a running thread for an ended one.
        wait([self._future])
        self._pool.shutdown()
        self._file.close()

    def _work(self) -> None:
        try:
            while self._progress.error is None and (batch := self._next()):
                self._outputs.sync({part.file for part, _ in batch})
                self._write(batch)
        except BaseException as error:
            self._progress.stop(error)

    def _next(self) -> list[tuple[Part, dict[str, int]]]:
        """Waits for a part and gives it with all others that have come meanwhile; nothing at the end."""
        batch = [self._queue.get()]
        while batch[-1] is not None and not self._queue.empty():
            batch.append(self._queue.get())
        if batch[-1] is None:
            # The end comes last, and is met again at the next call.
            self._queue.put(batch.pop())
        return batch

    def _write(self, batch: Iterable[tuple[Part, dict[str, int]]]) -> None:
        for part, kept in batch:
            self._file.write(json.dumps({"part": part.number, "kept": kept}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
