"""Programs that run on a pseudo-terminal, and what a person would see there."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pytest


# Variables that change what is drawn.
SETTINGS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
# How a terminal is told to move, colour and hide the cursor.
_CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    """
    What came of a program.

    Args:
        status (`int`): Its exit status.
        raw (`str`): All that the terminal was sent.
        out (`str`): What went to standard output instead, if that is a pipe.
    """

    status: int
    raw: str
    out: str = ""

    @property
    def text(self) -> str:
        """The text without what steers the terminal."""
        return _CONTROL.sub("", self.raw).replace("\r\n", "\n")

    @property
    def has_cursor(self) -> bool:
        """Whether the cursor is seen at the end."""
        return self.raw.rfind("\x1b[?25h") >= self.raw.rfind("\x1b[?25l")


def on_terminal(
    command: Sequence[object],
    *,
    columns: int = 80,
    piped: bool = False,
    interrupt_at: str | None = None,
    **variables: str,
) -> Shown:
    """
    Runs a program.

    Args:
        command (`Sequence`): The program and its arguments; one that begins with a dash is Python's.
        columns (`int`, *optional*, defaults to 80): Width of the terminal.
        piped (`bool`, *optional*, defaults to `False`): Whether standard output is a pipe; the rest is the terminal.
        interrupt_at (`str`, *optional*): The program is sent SIGINT when this is seen.
        **variables (`str`): Further variables of its environment.
    """
    if sys.platform == "win32":
        pytest.skip("needs a pseudo-terminal")
    import fcntl
    import pty
    import termios

    command = [str(item) for item in command]
    if command[0].startswith("-"):
        command.insert(0, sys.executable)
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # What the developer's own terminal is must not reach the test.
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment |= {"TERM": "xterm-256color"} | variables
    out = subprocess.PIPE if piped else terminal
    options = {"stdin": terminal, "stdout": out, "stderr": terminal, "env": environment}
    # Ctrl-C is off in what a shell starts in the background, tests included.
    options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, **options) as process:
        os.close(terminal)
        raw = b""
        # A terminal whose other end is closed fails to be read.
        with contextlib.suppress(OSError):
            while chunk := os.read(reader, 1 << 16):
                raw += chunk
                if interrupt_at is not None and interrupt_at.encode() in raw:
                    process.send_signal(signal.SIGINT)
                    interrupt_at = None
        os.close(reader)
        said = process.stdout.read().decode() if piped else ""
    return Shown(process.returncode, raw.decode(), said)
