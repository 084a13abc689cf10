"""The engine: several threads read, mix and write parts of a checkpoint at the same time."""

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from .layout import OutputFile
from .piece_mixing import PieceMixer
from .pieces import Part
from .progress import Bar
from .threads import one_torch_thread


# Seconds between two looks at what the threads have done.
_TICK = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoppedError(Exception):
    """Another thread failed, or the job was interrupted; what stopped it is raised elsewhere."""


class Progress:
    """
    What is done, as the threads of a job tell each other.

    Attributes:
        kept (`Counter[str]`): How many scalars of each output tensor kept their value, over the finished parts.
        error (`BaseException`, *optional*): What stopped the job.
    """

    def __init__(self):
        self._changed = threading.Condition()
        self._finished: set[int] = set()
        self.kept: Counter[str] = Counter()
        self.written = 0
        self.error: BaseException | None = None

    def finish(self, number: int, kept: dict[str, int], size: int = 0) -> None:
        """Notes that a part is written."""
        with self._changed:
            self._finished.add(number)
            self.kept.update(kept)
            self.written += size
            self._changed.notify_all()

    def stop(self, error: BaseException) -> None:
        """Ends the job; the first call says why."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()

    def check(self) -> None:
        """
        Lets a thread end where the job does.

        Raises:
            StoppedError: If the job was stopped.
        """
        if self.error is not None:
            raise StoppedError

    def wait(self, number: int) -> None:
        """
        Waits until a part is written.

        Raises:
            StoppedError: If the job was stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: number in self._finished or self.error is not None)
        self.check()


class OutputFiles:
    """The files of an output, with all their room taken, to write at any place by several threads."""

    def __init__(self, folder: Path, files: Sequence[OutputFile]):
        self._open: list[int] = []
        self._headers = [file.header for file in files]
        try:
            for file in files:
                self._open.append(os.open(folder / file.name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
                _reserve(self._open[-1], file.size)
        except BaseException:
            self.close()
            raise

    def write(self, number: int, at: int, buffer: memoryview | bytes) -> None:
        """Writes some bytes into a file."""
        done = 0
        while done < len(buffer):
            done += os.pwrite(self._open[number], buffer[done:], at + done)

    def read(self, number: int, at: int, buffer: memoryview) -> None:
        """Fills a buffer from a file."""
        done = 0
        while done < len(buffer):
            count = os.preadv(self._open[number], [buffer[done:]], at + done)
            if count == 0:
                raise OSError("an output file was cut off by somebody else")
            done += count

    def sync(self, numbers: Iterable[int]) -> None:
        """Waits until what was written into some files is on the disk."""
        for number in numbers:
            os.fdatasync(self._open[number])

    def write_headers(self) -> None:
        """Writes what makes the files readable, which comes last: until then they look like nothing."""
        for number, header in enumerate(self._headers):
            self.write(number, 0, header)

    def close(self) -> None:
        """Closes all files."""
        while self._open:
            os.close(self._open.pop())


def mix_parts(
    parts: Sequence[Part],
    make_mixer: Callable[[], PieceMixer],
    outputs: OutputFiles,
    progress: Progress,
    workers: int,
    finished: Callable[[Part, dict[str, int]], None],
    show: bool = False,
) -> None:
    """
    Mixes parts and writes them into their places.

    Args:
        parts (`Sequence[Part]`): The parts, in the order in which they are begun.
        make_mixer (`Callable`): Makes what a thread mixes with.
        outputs ([`OutputFiles`]): Where they go.
        progress ([`Progress`]): Is told of each part, and ends the work when it is stopped.
        workers (`int`): Number of threads.
        finished (`Callable`): Is called by a worker with each written part and its counts of kept scalars.
        show (`bool`, *optional*, defaults to `False`): Whether to show a progress bar.

    Raises:
        BaseException: What stopped the job.
    """
    left, lock, started = iter(parts), threading.Lock(), threading.Event()

    def mix(mixer: PieceMixer, part: Part) -> Counter[str]:
        kept: Counter[str] = Counter()
        mixer.expect(part.pieces)
        for piece in part.pieces:
            progress.check()
            buffer, count = mixer(piece)
            if piece.is_mixed:
                kept[piece.tensor.name] += count
            outputs.write(part.file, piece.at, buffer)
        return kept

    def work() -> None:
        # Nothing is touched before the pool knows of all its threads: one that it does not know it does not wait for.
        started.wait()
        try:
            progress.check()
            mixer = make_mixer()
            with one_torch_thread():
                while True:
                    with lock:
                        part = next(left, None)
                    if part is None:
                        return
                    kept = mix(mixer, part)
                    finished(part, kept)
                    progress.finish(part.number, kept, part.size)
        except StoppedError:
            pass
        except BaseException as error:
            progress.stop(error)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="mixing")
    total = sum(part.size for part in parts)
    bar = Bar(total, "mixing", show, is_bytes=True)
    with one_torch_thread(), bar:
        try:
            futures = [pool.submit(work) for _ in range(workers)]
            started.set()
            # Not `Thread.join` with a timeout: a signal that interrupts it makes a running thread count as ended.
            while wait(futures, _TICK).not_done:
                bar.update(progress.written - bar.done)
            bar.update(progress.written - bar.done)
        except BaseException as error:
            # Ctrl-C, above all: the threads end after the piece that they are at.
            progress.stop(error)
            raise
        finally:
            started.set()
            pool.shutdown()
    if progress.error is not None:
        raise progress.error


def _reserve(file: int, size: int) -> None:
    try:
        # A disk that is full shows it here, before hours of work.
        os.posix_fallocate(file, 0, size)
    except (OSError, AttributeError) as error:
        if getattr(error, "errno", None) in _FULL:
            raise
        # Not every file system can.
    os.ftruncate(file, size)
