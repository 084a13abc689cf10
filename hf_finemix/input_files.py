"""Files that are read at any place, by several threads at a time."""

import os
from contextlib import ExitStack
from pathlib import Path

from .errors import InputError


class InputFiles:
    """Open files by path, to read at any place by several threads; closed all at once."""

    def __init__(self):
        self._open: dict[Path, int] = {}
        self._stack = ExitStack()

    def open(self, path: Path) -> None:
        """Opens a file; not for several threads."""
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, self._open[path])

    def close(self) -> None:
        """Closes all files."""
        self._stack.close()
        self._open.clear()

    def expect(self, path: Path, start: int, size: int) -> None:
        """Lets the system read some bytes ahead, unless they are in memory, as far as their end tells."""
        try:
            os.preadv(self._open[path], [bytearray(1)], start + size - 1, os.RWF_NOWAIT)
        except BlockingIOError:
            os.posix_fadvise(self._open[path], start, size, os.POSIX_FADV_WILLNEED)
        except OSError:
            # Not every file system can say, and it is no more than a matter of time.
            return

    def read(self, path: Path, start: int, buffer: memoryview) -> None:
        """
        Fills a buffer with the bytes at some place of a file.

        Raises:
            InputError: If the file ends before.
        """
        done = 0
        while done < len(buffer):
            count = os.preadv(self._open[path], [buffer[done:]], start + done)
            if count == 0:
                raise InputError(f"{path.name} was cut off while it was read; start again with inputs that stay.")
            done += count
